package sim

import (
	"maps"
	"sync"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

// placer fills in the nodes of instances on the leader, as package node does: it holds what it chose back until the
// command is applied. It is made anew with each term, from the leader's own copy of the state.
type placer struct {
	w *World
	d *daemon

	mu        sync.Mutex
	index     *placement.Index
	seen      *cluster.View
	allocated map[cluster.NodeID]nodeAt // what the index was told
}

type nodeAt struct {
	node      *cluster.Node
	allocated cluster.Resources
}

func newPlacer(w *World, d *daemon) *placer {
	return &placer{w: w, d: d, index: placement.New(placement.Options{Seed: w.cfg.Seed}), allocated: map[cluster.NodeID]nodeAt{}}
}

// prepare chooses for an op that places instances. The caller calls release when the outcome is known.
func (p *placer) prepare(op cluster.Op) (release func()) {
	create, ok := op.(*cluster.CreateInstances)
	if !ok {
		return func() {}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	view := p.refresh()
	requests := make([]placement.Request, len(create.Items))
	for i := range create.Items {
		requests[i] = placement.ForCreate(view, create, i)
	}
	decisions := p.index.ChooseMany(requests)
	for i, d := range decisions {
		create.Items[i].Node, create.Items[i].Explanation = d.Node, &d.Explanation
	}
	return p.releaser(requests, decisions)
}

// place chooses for an instance that waits for a node.
func (p *placer) place(in *cluster.Instance) (*cluster.PlaceInstance, func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	requests := []placement.Request{placement.ForInstance(p.refresh(), in)}
	decisions := p.index.ChooseMany(requests)
	return &cluster.PlaceInstance{
		ID: in.ID, Generation: in.Generation, Epoch: in.Epoch,
		Node: decisions[0].Node, Explanation: decisions[0].Explanation,
	}, p.releaser(requests, decisions)
}

func (p *placer) releaser(requests []placement.Request, decisions []placement.Decision) func() {
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.refresh() // the state counts what was applied before the claim goes
		for i, d := range decisions {
			if d.Node != "" {
				p.index.Release(d.Node, requests[i].Resources)
			}
		}
	}
}

// refresh brings the index to the leader's newest view.
func (p *placer) refresh() *cluster.View {
	view, _ := p.d.replica.latest()
	if p.seen == view {
		return view
	}
	if p.seen == nil {
		p.index.Update(view)
	}
	p.seen = view
	for n := range view.Nodes() {
		now := nodeAt{n, view.Allocated(n.ID)}
		if p.allocated[n.ID] != now {
			p.allocated[n.ID] = now
			p.index.SetNode(n, now.allocated)
		}
	}
	return view
}

// hint tells the index what gossip says, which may be old.
func (p *placer) hint(hints map[cluster.NodeID]placement.Hint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refresh()
	for id := range maps.Keys(p.allocated) {
		p.index.SetHint(id, hints[id])
	}
}
