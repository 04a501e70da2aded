package raftfsm

import (
	"context"
	"sync"
)

// readIndex makes read barriers. All who ask while one is under way share the next.
type readIndex struct {
	r    *Raft
	wake chan struct{} // holds one

	mu   sync.Mutex
	next *readRound // nil: nobody waits
}

// readRound is one barrier.
type readRound struct {
	done  chan struct{}
	index uint64
	err   error
}

func newReadIndex(r *Raft) *readIndex { return &readIndex{r: r, wake: make(chan struct{}, 1)} }

// Barrier gives an index such that every view at it or later holds all that was acknowledged, by any leader, before
// the call. A node that wants to read waits with WaitApplied until its own view is there. Only the leader can give
// one, after a majority confirmed that it still leads; errors are ErrNotApplied, of which NotLeaderError is one.
func (r *Raft) Barrier(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, ProposeTimeout)
	defer cancel()
	if err := r.mayServe(); err != nil {
		return 0, err
	}
	round := r.reads.join()
	select {
	case <-round.done:
		return round.index, round.err
	case <-ctx.Done():
		return 0, notApplied(ctx.Err())
	case <-r.closing:
		return 0, notApplied(errStopped)
	}
}

func (b *readIndex) join() *readRound {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = &readRound{done: make(chan struct{})}
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	return b.next
}

// run serves rounds until the Raft is closed.
func (b *readIndex) run() {
	for {
		select {
		case <-b.wake:
		case <-b.r.closing:
			return
		}
		b.mu.Lock()
		round := b.next
		b.next = nil
		b.mu.Unlock()
		round.index, round.err = b.r.confirm()
		close(round.done)
	}
}

// confirm is one barrier. The commit index is read first; if a majority then says that this node leads, in the
// term in which it was ready before, nobody else can have committed anything in between.
func (r *Raft) confirm() (uint64, error) {
	t := r.terms.now.Load()
	if t == nil {
		return 0, r.notLeader()
	}
	commit := r.raft.CommitIndex()
	if err := r.raft.VerifyLeader().Error(); err != nil {
		return 0, notApplied(err)
	}
	if r.raft.CurrentTerm() != t.number {
		return 0, r.notLeader()
	}
	// What is committed may not be applied yet, and the last entry may be one that no view shows as its index.
	// When this node has seen all of it, the index of its view says the same and means something everywhere.
	ctx, cancel := context.WithTimeout(context.Background(), ProposeTimeout)
	defer cancel()
	var index uint64
	err := r.waitFor(ctx, func(p *published) bool {
		index = p.view.Index()
		return commit <= t.floor || p.seen >= commit
	})
	if err != nil {
		return 0, notApplied(err)
	}
	return index, nil
}
