package raftfsm

import (
	"context"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/kilonova/kilonova/cluster"
)

// allegiance is how long this node has the same opinion of who leads.
type allegiance struct {
	mu  sync.Mutex
	ctx context.Context // ends when the opinion changes
	end context.CancelFunc
}

func newAllegiance() *allegiance {
	a := &allegiance{}
	a.ctx, a.end = context.WithCancel(context.Background())
	return a
}

// follow hears of each change from now on. It hears inside the filter, on raft's own goroutine: a channel could be full.
func (a *allegiance) follow(r *raft.Raft) {
	r.RegisterObserver(raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		if _, changes := o.Data.(raft.LeaderObservation); changes {
			a.change()
		}
		return false
	}))
}

func (a *allegiance) change() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.end()
	a.ctx, a.end = context.WithCancel(context.Background())
}

func (a *allegiance) now() context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ctx
}

// LeaderUntil names the leader as Leader does, with a context that ends as soon as this node takes another one for the leader,
// or none: what was asked of this one is then better asked again. It may end early.
func (r *Raft) LeaderUntil() (leader Peer, until context.Context, known bool) {
	until = r.allegiance.now() // before the name: a change in between ends it, rather than being missed
	addr, id := r.raft.LeaderWithID()
	return Peer{ID: cluster.NodeID(id), Addr: string(addr)}, until, id != ""
}
