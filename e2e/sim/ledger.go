package sim

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// errLost says that nobody knows what became of a proposal.
var errLost = errors.New("leadership was lost, or the answer was")

// How long agreement takes.
const (
	leastCommit, mostCommit     = time.Millisecond, 15 * time.Millisecond
	leastElection, mostElection = 300 * time.Millisecond, 2 * time.Second
	leastHop, mostHop           = 100 * time.Microsecond, 4 * time.Millisecond
)

// maxBatch is how many commands travel in one entry.
const maxBatch = 64

// entry is a committed entry of the log.
type entry struct {
	index   uint64
	data    []byte
	results []cluster.Result
	view    *cluster.View // the state after it
	hash    cluster.Hash  // of view; zero: not worked out yet
}

// proposal is a command on its way into the log.
type proposal struct {
	command cluster.Command
	release func()
	done    chan answer // holds one
}

type answer struct {
	result cluster.Result
	err    error
}

// ledger is the model of Raft: what is committed, who leads, and what becomes of proposals when leaders change.
type ledger struct {
	w    *World
	kick chan struct{} // something was proposed; holds one

	mu      sync.Mutex
	entries []entry
	truth   *cluster.State // of all that is committed
	view    *cluster.View
	changed chan struct{} // closed when something is committed or who reaches whom changes
	term    uint64
	leader  *daemon // nil: nobody leads
	deposed bool    // the leader is to step down
	queue   []*proposal
}

func newLedger(w *World) *ledger {
	s := cluster.NewState()
	return &ledger{w: w, kick: make(chan struct{}, 1), truth: s, view: s.View(), changed: make(chan struct{})}
}

func (l *ledger) latest() *cluster.View {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view
}

// entry is a committed entry; false when the log is shorter.
func (l *ledger) entry(index uint64) (entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if index == 0 || index > uint64(len(l.entries)) {
		return entry{}, false
	}
	return l.entries[index-1], true
}

// touch tells everybody that who reaches whom has changed.
func (l *ledger) touch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.announce()
}

func (l *ledger) announce() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// commit makes commands the next entry. Everything that can be asked of a state is asked here.
func (l *ledger) commit(commands []cluster.Command) []cluster.Result {
	data, err := cluster.EncodeEntry(commands)
	if err != nil {
		panic("sim: a command cannot be encoded: " + err.Error()) // it was encoded once before
	}
	if commands, err = cluster.DecodeEntry(data); err != nil {
		panic("sim: an entry cannot be decoded: " + err.Error())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := entry{index: uint64(len(l.entries)) + 1, data: data}
	if e.results, err = l.truth.Apply(e.index, commands); err != nil {
		l.w.broken(CheckReplicas, "entry %d: %v", e.index, err)
		return make([]cluster.Result, len(commands))
	}
	l.view = l.truth.View()
	e.view = l.view
	l.entries = append(l.entries, e)
	l.w.committed(l.view, commands, e.results)
	l.announce()
	return e.results
}

// compare holds a replica's view against what the same index was when it was committed.
func (l *ledger) compare(v *cluster.View, number int) {
	want := l.hash(v.Index())
	if !want.IsZero() && v.Hash() != want {
		l.w.broken(CheckReplicas, "machine %d differs at index %d", number, v.Index())
	}
}

// hash is that of the state at an index; zero: there is no such entry.
func (l *ledger) hash(index uint64) cluster.Hash {
	l.mu.Lock()
	defer l.mu.Unlock()
	if index == 0 || index > uint64(len(l.entries)) {
		return cluster.Hash{}
	}
	e := &l.entries[index-1]
	if e.hash.IsZero() {
		e.hash = e.view.Hash()
	}
	return e.hash
}

// horizon is how far a node can know the log to be committed, and a channel that is closed when that may have changed.
func (l *ledger) horizon(d *daemon) (index uint64, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leader != nil && l.w.net.reaches(d.machine, l.leader.machine) {
		index = l.view.Index()
	}
	return index, l.changed
}

// leaderFor is whom a node takes its questions to; nil: nobody.
func (l *ledger) leaderFor(d *daemon) *daemon {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leader == nil || !l.w.net.reaches(d.machine, l.leader.machine) {
		return nil
	}
	return l.leader
}

// barrier is the index that a linearizable read at a leader has to wait for; false when it does not lead.
func (l *ledger) barrier(leader *daemon) (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view.Index(), l.leader == leader && l.reigns(leader)
}

// submit hands a command to a leader. The answer comes in the channel; an error means that it does not lead.
func (l *ledger) submit(leader *daemon, c cluster.Command) (<-chan answer, error) {
	l.mu.Lock()
	ok := l.leader == leader && l.reigns(leader)
	l.mu.Unlock()
	if !ok {
		return nil, errLost
	}
	c.Time = min(c.Time, leader.machine.clock()) // as package node does
	data, err := cluster.EncodeEntry([]cluster.Command{c})
	if err != nil {
		return nil, err
	}
	copies, err := cluster.DecodeEntry(data) // as if it had come over the wire
	if err != nil {
		return nil, err
	}
	pr := &proposal{command: copies[0], done: make(chan answer, 1)}
	done := pr.done
	pr.release = leader.chooser.Prepare(pr.command.Op)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leader != leader {
		pr.release()
		return nil, errLost
	}
	l.queue = append(l.queue, pr)
	l.acknowledgeFirst(pr)
	select {
	case l.kick <- struct{}{}:
	default:
	}
	return done, nil
}

// acknowledgeFirst is a planted bug.
func (l *ledger) acknowledgeFirst(pr *proposal) {
	res := cluster.Result{Index: l.view.Index()}
	switch o := pr.command.Op.(type) {
	case *cluster.CreateInstances:
		if l.w.cfg.Bug != BugAckFirst {
			return
		}
		for i := range o.Items {
			res.IDs = append(res.IDs, string(o.Items[i].ID))
		}
	case *cluster.DeleteInstance:
		if l.w.cfg.Bug != BugAckDeleteFirst {
			return
		}
		res.IDs = []string{string(o.ID)}
	default:
		return
	}
	pr.done <- answer{result: res}
	pr.done = make(chan answer, 1) // nobody hears of the true one
}

// propose submits and waits.
func (l *ledger) propose(ctx context.Context, leader *daemon, c cluster.Command) (cluster.Result, error) {
	done, err := l.submit(leader, c)
	if err != nil {
		return cluster.Result{}, err
	}
	select {
	case a := <-done:
		return a.result, a.err
	case <-ctx.Done():
		return cluster.Result{}, ctx.Err()
	}
}
