package sim

import (
	"bytes"
	"context"
	"reflect"
	"slices"
	"sync"

	"github.com/kilonova/kilonova/cluster"
)

// compareEvery is how often a replica's state is compared as a whole, in entries: a difference stays. The results are compared
// at every index, and the whole again after each restart and at rest.
const compareEvery = 4

// replica is a node's own copy of the state. It applies what the ledger committed, in order, from the encoding. In a large
// cluster, who has no vote takes the views that the ledger published instead, at its own pace: a thousand copies of a thousand
// nodes do not fit in memory.
type replica struct {
	w      *World
	number int // of its machine

	mu      sync.Mutex
	state   *cluster.State // nil: it takes the ledger's views
	view    *cluster.View
	changed chan struct{} // closed when there is a newer view
}

// newReplica reads a snapshot; nil: it begins with nothing.
func newReplica(w *World, number int, snapshot []byte) *replica {
	if !w.thorough() && number >= maxVoters {
		return &replica{w: w, number: number, view: cluster.NewState().View(), changed: make(chan struct{})}
	}
	state := cluster.NewState()
	if snapshot != nil {
		var err error
		if state, err = cluster.ReadState(bytes.NewReader(snapshot)); err != nil {
			w.broken(CheckReplicas, "machine %d cannot read its own snapshot: %v", number, err)
			state = cluster.NewState()
		}
	}
	r := &replica{w: w, number: number, state: state, view: state.View(), changed: make(chan struct{})}
	if snapshot != nil {
		w.ledger.compare(r.view, number)
	}
	return r
}

func (r *replica) latest() (*cluster.View, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view, r.changed
}

// snapshot is what the node would find after a restart.
func (r *replica) snapshot() []byte {
	view, _ := r.latest()
	var b bytes.Buffer
	if _, err := view.WriteTo(&b); err != nil {
		r.w.broken(CheckReplicas, "machine %d cannot write a snapshot: %v", r.number, err)
		return nil
	}
	return b.Bytes()
}

// advance applies everything up to an index.
func (r *replica) advance(to uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.view
	defer func() {
		if r.view != before {
			close(r.changed)
			r.changed = make(chan struct{})
		}
	}()
	if r.state == nil {
		if e, ok := r.w.ledger.entry(to); ok && to > r.view.Index() {
			r.view = e.view
		}
		return
	}
	for r.view.Index() < to {
		e, ok := r.w.ledger.entry(r.view.Index() + 1)
		if !ok {
			return
		}
		commands, err := cluster.DecodeEntry(e.data)
		if err != nil {
			r.w.broken(CheckReplicas, "machine %d cannot read entry %d: %v", r.number, e.index, err)
			return
		}
		if r.w.cfg.Bug == BugApplyOrder && r.number == 1 {
			slices.Reverse(commands)
		}
		results, err := r.state.Apply(e.index, commands)
		if err != nil {
			r.w.broken(CheckReplicas, "machine %d cannot apply entry %d: %v", r.number, e.index, err)
			return
		}
		r.view = r.state.View()
		if r.w.thorough() && r.w.cfg.Bug != BugApplyOrder && !reflect.DeepEqual(results, e.results) {
			r.w.broken(CheckReplicas, "entry %d: machine %d gives other results", e.index, r.number)
		}
		if (e.index+uint64(r.number))%r.w.every(compareEvery) == 0 {
			r.w.ledger.compare(r.view, r.number)
		}
	}
}

// wait waits until the replica holds an index.
func (r *replica) wait(ctx context.Context, index uint64) error {
	for {
		view, changed := r.latest()
		if view.Index() >= index {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
