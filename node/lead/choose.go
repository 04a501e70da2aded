package lead

import (
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

// Chooser fills in the node of instances, on the leader, before their command is logged. It keeps its index warm
// on every node, and holds what it chose back until the command is in the state, so that commands under way at the same
// time do not count on the same room. It is safe for concurrent use.
type Chooser struct {
	view  func() *cluster.View
	hints func() map[cluster.NodeID]placement.Hint
	count func(cluster.NodeID) // is told of every choice; "": no node fits

	mu        sync.Mutex
	index     *placement.Index
	seen      *cluster.View
	allocated map[cluster.NodeID]nodeAt // what the index was told
	hinted    time.Time                 // when the hints were taken
	reserve   *reserve
}

// hintEvery is how old hints may be.
const hintEvery = time.Second

// nodeAt is a node's record and allocation at one view.
type nodeAt struct {
	node      *cluster.Node
	allocated cluster.Resources
}

// NewChooser makes a Chooser that goes by the newest view of this node and by what gossip says. Count is told of every
// choice, "" when no node fits; nil: nobody counts. None of the three may block.
func NewChooser(seed uint64, view func() *cluster.View, hints func() map[cluster.NodeID]placement.Hint, count func(cluster.NodeID)) *Chooser {
	if count == nil {
		count = func(cluster.NodeID) {}
	}
	index := placement.New(placement.Options{Seed: seed})
	return &Chooser{view: view, hints: hints, count: count, index: index, allocated: map[cluster.NodeID]nodeAt{}, reserve: newReserve(index)}
}

// Prepare chooses for an op that places instances. The caller calls release when the op was applied, or was not.
func (c *Chooser) Prepare(op cluster.Op) (release func()) {
	create, ok := op.(*cluster.CreateInstances)
	if !ok {
		return func() {}
	}
	c.hint()
	c.mu.Lock()
	defer c.mu.Unlock()
	view := c.refresh()
	requests := placement.ForCommand(view, create)
	decisions := c.decide(requests)
	c.withinReserve(view, requests, decisions, (&cluster.Instance{Spec: create.Spec}).HA())
	for i, d := range decisions {
		e := d.Explanation
		create.Items[i].Node, create.Items[i].Explanation = d.Node, &e
	}
	return c.releaser(requests, decisions)
}

// place chooses for an instance that waits for a node.
func (c *Chooser) place(in *cluster.Instance) (op *cluster.PlaceInstance, release func()) {
	c.hint()
	c.mu.Lock()
	defer c.mu.Unlock()
	view := c.refresh()
	requests := []placement.Request{placement.ForInstance(view, in)}
	decisions := c.decide(requests)
	c.withinReserve(view, requests, decisions, in.HA())
	return &cluster.PlaceInstance{
		ID: in.ID, Generation: in.Generation, Epoch: in.Epoch,
		Node: decisions[0].Node, Explanation: decisions[0].Explanation,
	}, c.releaser(requests, decisions)
}

// Explain says where an instance would go now, and why, without taking any room.
func (c *Chooser) Explain(in *cluster.Instance) cluster.Explanation {
	c.hint()
	c.mu.Lock()
	defer c.mu.Unlock()
	r := placement.ForInstance(c.refresh(), in)
	e := c.index.Explain(&r)
	e.At = cluster.At(time.Now())
	return e
}

// decide chooses, and stamps the explanations.
func (c *Chooser) decide(requests []placement.Request) []placement.Decision {
	decisions := c.index.ChooseMany(requests)
	now := cluster.At(time.Now())
	for i := range decisions {
		decisions[i].Explanation.At = now
		c.reserve.touch(decisions[i].Node)
		c.count(decisions[i].Node)
	}
	return decisions
}

func (c *Chooser) releaser(requests []placement.Request, decisions []placement.Decision) func() {
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		view := c.refresh() // the state counts what was applied before the claim goes
		c.reserve.follow(view)
		for i, d := range decisions {
			if d.Node != "" {
				c.index.ReleaseRequest(d.Node, &requests[i])
				c.reserve.settle(view, d.Node, requests[i].Instance)
			}
		}
	}
}

// refresh brings the index to the latest view and returns it. It looks at the nodes that changed since the last one; at all of them only
// when the view does not remember that far back.
func (c *Chooser) refresh() *cluster.View {
	view, last := c.view(), c.seen
	if last == view {
		return view
	}
	c.seen = view
	if last != nil {
		if changed, ok := view.NodesChanged(last.Index()); ok {
			for id := range changed {
				c.bring(view, id)
			}
			c.index.Follow(view)
			return view
		}
	}
	c.index.Update(view)
	for n := range view.Nodes() {
		c.bring(view, n.ID)
	}
	for id := range c.allocated {
		c.bring(view, id)
	}
	return view
}

// bring tells the index of one node, if it is not as the index was told last.
func (c *Chooser) bring(view *cluster.View, id cluster.NodeID) {
	n, there := view.Node(id)
	now := nodeAt{n, view.Allocated(id)}
	switch was, known := c.allocated[id]; {
	case there && was != now:
		c.allocated[id] = now
		c.index.SetNode(n, now.allocated)
	case !there && known:
		delete(c.allocated, id)
		c.index.RemoveNode(id)
	}
}

// hint tells the index what gossip says of the nodes, unless it did so a moment ago: a new leader must not choose a node that died
// with its predecessor, and a follower explains as the leader would.
func (c *Chooser) hint() {
	c.mu.Lock()
	fresh := time.Since(c.hinted) < hintEvery
	if !fresh {
		c.hinted = time.Now()
	}
	c.mu.Unlock()
	if fresh {
		return
	}
	hints := c.hints()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh()
	for id := range c.allocated {
		c.index.SetHint(id, hints[id])
		c.reserve.touch(id)
	}
}
