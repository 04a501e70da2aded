package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// enqueueTimeout bounds how long raft's main loop may take to accept an entry. It is stuck for longer only when
// the disk is.
const enqueueTimeout = 2 * time.Second

// An entry waits for the crowd of the last one when that was crowdMin commands or more, and never for longer than maxPatience.
const (
	crowdMin    = 8
	maxPatience = 10 * time.Millisecond
)

// The stages of a proposal. It leaves waiting once.
const (
	waiting   int32 = iota
	taken           // is in an entry
	withdrawn       // its proposer gave up before that
)

// proposal is a command on its way into the log.
type proposal struct {
	encoded []byte
	stage   atomic.Int32
	done    chan outcome // holds one
}

type outcome struct {
	result cluster.Result
	err    error
}

// Propose has a command agreed upon and applied. Result.Err is set when it was refused, which is an outcome like
// any other. Only the leader can; elsewhere a NotLeaderError says who leads. Its other errors are ErrNotApplied,
// ErrUnknownOutcome, and for a command that cannot be encoded, or is too large, what the codec says.
func (r *Raft) Propose(ctx context.Context, c cluster.Command) (cluster.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, ProposeTimeout)
	defer cancel()
	if err := r.mayServe(); err != nil {
		return cluster.Result{}, err
	}
	encoded, err := cluster.EncodeCommand(c)
	if err != nil {
		return cluster.Result{}, err
	}
	p := &proposal{encoded: encoded, done: make(chan outcome, 1)}
	select {
	case r.queue <- p:
	case <-ctx.Done():
		return cluster.Result{}, notApplied(ctx.Err())
	default:
		return cluster.Result{}, notApplied(errors.New("too many changes are waiting"))
	}
	return r.await(ctx, p)
}

func (r *Raft) await(ctx context.Context, p *proposal) (cluster.Result, error) {
	select {
	case o := <-p.done:
		return o.result, o.err
	case <-ctx.Done():
		if p.stage.CompareAndSwap(waiting, withdrawn) {
			return cluster.Result{}, notApplied(ctx.Err())
		}
		return cluster.Result{}, unknown(ctx.Err())
	case <-r.closing:
	}
	// The coalescer answers what it took before it ends; only what it never saw has no answer.
	select {
	case <-r.coalescerDone:
	case <-ctx.Done():
	}
	select {
	case o := <-p.done:
		return o.result, o.err
	default:
	}
	if p.stage.CompareAndSwap(waiting, withdrawn) {
		return cluster.Result{}, notApplied(errStopped)
	}
	return cluster.Result{}, unknown(errStopped)
}

// mayServe tells whether this node is the leader and fit to answer.
func (r *Raft) mayServe() error {
	if err := r.fault.get(); err != nil {
		return notApplied(errStopped)
	}
	if r.terms.now.Load() == nil {
		return r.notLeader()
	}
	if r.trans.muted.Load() {
		return notApplied(errMuted)
	}
	return nil
}

// coalesce puts what is proposed into entries, one at a time, until the Raft is closed.
func (r *Raft) coalesce() {
	defer close(r.coalescerDone)
	var carried *proposal // did not fit into the last entry
	var c crowd
	for {
		first := carried
		carried = nil
		if first == nil {
			select {
			case first = <-r.queue:
			default:
				if first = r.idle(); first == nil {
					return
				}
			}
		}
		var batch []*proposal
		batch, carried = r.gather(first, c)
		if len(batch) > 0 {
			start := time.Now()
			r.commit(batch)
			c = crowd{max(len(batch), c.size/2), time.Since(start)}
		}
	}
}

// idle waits for the next proposal, or returns nil when the Raft is closed.
func (r *Raft) idle() *proposal { return r.linger(nil) }

// linger waits for the next proposal, or returns nil when it is over or the Raft is closed. Meanwhile no entry tells the followers what is
// committed.
func (r *Raft) linger(over <-chan time.Time) *proposal {
	r.notice.idle.Store(true)
	r.notice.poke()
	defer r.notice.idle.Store(false)
	select {
	case p := <-r.queue:
		return p
	case <-over:
		return nil
	case <-r.closing:
		return nil
	}
}

// crowd is what the last entry tells about the next.
type crowd struct {
	size int           // commands in it
	took time.Duration // until it was applied
}

// patience is how long the next entry stays open for more. Those who were in the last one are on their way with their next command, as
// far as they have one; an entry that closes before they are there costs the disk as much and holds little. Where there is no crowd, and
// when it does not come back, nobody waits for it.
func (c crowd) patience() time.Duration {
	if c.size < crowdMin {
		return 0
	}
	return min(c.took/2, maxPatience)
}

// gather takes what is waiting, as far as it fits into one entry. What it returns as left over goes first next.
func (r *Raft) gather(first *proposal, c crowd) (batch []*proposal, left *proposal) {
	var over <-chan time.Time
	if d := c.patience(); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	size := 0
	for p := first; ; {
		if len(batch) > 0 && size+len(p.encoded) > cluster.MaxEntryBytes {
			return batch, p
		}
		if p.stage.CompareAndSwap(waiting, taken) {
			batch, size = append(batch, p), size+len(p.encoded)
		}
		select {
		case p = <-r.queue:
			continue
		default:
		}
		if over == nil || len(batch) >= c.size {
			return batch, nil
		}
		if p = r.linger(over); p == nil {
			return batch, nil
		}
	}
}

// commit has one entry agreed upon and answers those who proposed it.
func (r *Raft) commit(batch []*proposal) {
	start := time.Now()
	results, err := r.agree(batch)
	r.metrics.commit.Observe(time.Since(start).Seconds())
	r.metrics.batch.Observe(float64(len(batch)))
	for i, p := range batch {
		if err != nil {
			p.done <- outcome{err: err}
		} else {
			p.done <- outcome{result: results[i]}
		}
	}
}

func (r *Raft) agree(batch []*proposal) ([]cluster.Result, error) {
	if err := r.mayServe(); err != nil {
		return nil, err
	}
	encoded := make([][]byte, len(batch))
	for i, p := range batch {
		encoded[i] = p.encoded
	}
	entry, err := cluster.JoinEntry(encoded)
	if err != nil {
		return nil, err
	}
	f := r.raft.Apply(entry, enqueueTimeout)
	if err := f.Error(); err != nil {
		return nil, r.translate(err)
	}
	switch answer := f.Response().(type) {
	case []cluster.Result:
		if len(answer) != len(batch) {
			panic(fmt.Sprintf("raftfsm: %d results for %d commands", len(answer), len(batch)))
		}
		return answer, nil
	case error:
		return nil, unknown(errStopped)
	default:
		panic(fmt.Sprintf("raftfsm: the state machine answered %T", answer))
	}
}
