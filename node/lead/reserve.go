package lead

import (
	"fmt"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

// reserve knows whether what asks for high availability could be started elsewhere after the loss of any so many nodes.
//
// It counts in slots: a slot has room for the largest of those instances. A node offers as many as fit into what is free there. When the
// nodes of a set are lost, what is guarded on them has to find as many slots on the others; the worst set is that of the nodes with the largest
// sums of both, which a histogram of the sums gives. So a change of one instance or node costs the same however many there are, and what is
// admitted fits for sure, wherever the slots are. What else a guest asks of a node (zone, traits, place of its replica) is not looked at.
//
// It is the Chooser's, under its lock.
type reserve struct {
	index *placement.Index
	nodes int // that may be lost
	seen  *cluster.View

	slot  cluster.Resources
	sizes map[cluster.Resources]int // of what is guarded, and how many have it
	held  map[cluster.InstanceID]guarded
	at    map[cluster.NodeID]*offer
	sums  []int // number of nodes by slots and guarded together
	spare int   // slots of all nodes, less what lost nodes have left behind
}

// guarded is an instance that asks for high availability, and counts.
type guarded struct {
	node cluster.NodeID
	size cluster.Resources
}

// offer is what a node offers, and what would have to leave it.
type offer struct {
	slots, guarded int
	lost           bool // its instances look for slots already
}

// mostSlots bounds what one node is taken to offer.
const mostSlots = 1 << 12

// sum is what the loss of the node would cost; nothing when it is lost already.
func (o *offer) sum() int {
	if o.lost {
		return 0
	}
	return o.slots + o.guarded
}

func newReserve(x *placement.Index) *reserve {
	r := &reserve{index: x}
	r.forget()
	return r
}

// forget begins anew.
func (r *reserve) forget() {
	r.seen, r.slot, r.spare, r.sums = nil, cluster.Resources{}, 0, make([]int, 1)
	r.sizes, r.held, r.at = map[cluster.Resources]int{}, map[cluster.InstanceID]guarded{}, map[cluster.NodeID]*offer{}
}

// follow brings the reserve to a view and to what the index says of its nodes.
func (r *reserve) follow(view *cluster.View) {
	if r.nodes = view.Settings().ReserveNodes; r.nodes == 0 {
		if r.seen != nil {
			r.forget()
		}
		return
	}
	if r.seen == view {
		return
	}
	known := r.seen != nil
	if known {
		instances, ok := view.InstancesChanged(r.seen.Index())
		nodes, okay := view.NodesChanged(r.seen.Index())
		if known = ok && okay; known {
			for id := range instances {
				r.look(view, id)
			}
			for id := range nodes {
				r.weigh(view, id)
			}
		}
	}
	if !known {
		r.forget()
		for n := range view.Nodes() {
			r.weigh(view, n.ID)
		}
		for in := range view.Instances() {
			r.look(view, in.ID)
		}
	}
	r.seen = view
}

// look counts an instance as it is in a view.
func (r *reserve) look(view *cluster.View, id cluster.InstanceID) {
	in, ok := view.Instance(id)
	if !ok || in.Node == "" || in.Wanted == cluster.WantDeleted || !view.WantsGuard(in) {
		r.count(id, guarded{})
		return
	}
	r.count(id, guarded{node: in.Node, size: in.Spec.Resources()})
}

// count replaces what is known of an instance. The zero value: it does not count.
func (r *reserve) count(id cluster.InstanceID, now guarded) {
	was, known := r.held[id]
	if was == now {
		return
	}
	delete(r.held, id)
	if now.node != "" {
		r.held[id] = now
		r.sizes[now.size]++
		r.add(now.node, 1)
	}
	if known {
		if r.sizes[was.size]--; r.sizes[was.size] == 0 {
			delete(r.sizes, was.size)
		}
		r.add(was.node, -1)
	}
	if now.node != "" && r.sizes[now.size] == 1 || known && r.sizes[was.size] == 0 {
		r.resize()
	}
}

// resize makes a slot as large as the largest of what counts, and every offer anew when that is another size.
func (r *reserve) resize() {
	var slot cluster.Resources
	for s := range r.sizes {
		slot = cluster.Resources{VCPUs: max(slot.VCPUs, s.VCPUs), MemoryMiB: max(slot.MemoryMiB, s.MemoryMiB), DiskGiB: max(slot.DiskGiB, s.DiskGiB)}
	}
	if slot == r.slot {
		return
	}
	r.slot = slot
	for id, o := range r.at {
		r.change(o, func() { r.appraise(id, o) })
	}
}

// add changes how many instances of a node count.
func (r *reserve) add(id cluster.NodeID, n int) {
	o := r.at[id]
	if o == nil {
		o = &offer{}
		r.at[id] = o
		r.sums[0]++
	}
	r.change(o, func() { o.guarded += n })
}

// weigh looks at a node again.
func (r *reserve) weigh(view *cluster.View, id cluster.NodeID) {
	n, there := view.Node(id)
	o := r.at[id]
	switch {
	case !there && o == nil:
		return
	case o == nil:
		r.add(id, 0)
		o = r.at[id]
	}
	r.change(o, func() {
		o.lost = there && n.Lost != nil
		r.appraise(id, o)
	})
	if !there && o.guarded == 0 {
		r.sums[o.sum()]--
		delete(r.at, id)
	}
}

// touch looks at the room of a node again, after a claim or a hint.
func (r *reserve) touch(id cluster.NodeID) {
	if o := r.at[id]; o != nil {
		r.change(o, func() { r.appraise(id, o) })
	}
}

// settle looks at a node and an instance again, for which something was decided.
func (r *reserve) settle(view *cluster.View, node cluster.NodeID, id cluster.InstanceID) {
	if r.seen != nil {
		r.touch(node)
		r.look(view, id)
	}
}

// appraise counts the slots that a node offers.
func (r *reserve) appraise(id cluster.NodeID, o *offer) {
	o.slots = 0
	free, open := r.index.Room(id)
	if !open || r.slot == (cluster.Resources{}) {
		return
	}
	o.slots = mostSlots
	for _, d := range [][2]int64{{free.VCPUs, r.slot.VCPUs}, {free.MemoryMiB, r.slot.MemoryMiB}, {free.DiskGiB, r.slot.DiskGiB}} {
		if d[1] > 0 {
			o.slots = min(o.slots, int(max(0, d[0])/d[1]))
		}
	}
}

// change keeps the sums right while an offer changes.
func (r *reserve) change(o *offer, do func()) {
	account := func(n int) {
		for o.sum() >= len(r.sums) {
			r.sums = append(r.sums, 0)
		}
		r.sums[o.sum()] += n
		r.spare += n * o.slots
		if o.lost {
			r.spare -= n * o.guarded
		}
	}
	account(-1)
	do()
	account(1)
}

// kept tells whether, whichever nodes are lost, the others have the slots for what is guarded on them.
func (r *reserve) kept() bool {
	if r.nodes == 0 || len(r.held) == 0 {
		return true
	}
	left, spare := r.nodes, r.spare
	for sum := len(r.sums) - 1; sum > 0 && left > 0; sum-- {
		n := min(left, r.sums[sum])
		spare -= n * sum
		left -= n
	}
	return spare >= 0
}

// refusal explains why a choice was not made.
func (r *reserve) refusal(e cluster.Explanation) cluster.Explanation {
	nodes := fmt.Sprintf("%d nodes", r.nodes)
	if r.nodes == 1 {
		nodes = "a node"
	}
	e.Node, e.NodeName, e.Scores = "", "", nil
	e.Reasons = []string{"the room that is left is kept for what is started elsewhere after the loss of " + nodes + " (kilonova cluster settings --reserve-nodes)"}
	return e
}

// withinReserve takes back, from the last one, the decisions that would use the reserve, and says so in them. What asks for high availability
// will be guarded: it needs a slot from now on. Release forgets what was only decided.
func (c *Chooser) withinReserve(view *cluster.View, requests []placement.Request, decisions []placement.Decision, asks bool) {
	r := c.reserve
	if r.follow(view); r.nodes == 0 {
		return
	}
	for i, d := range decisions {
		if d.Node == "" {
			continue
		}
		r.touch(d.Node)
		if asks && requests[i].Instance != "" {
			r.count(requests[i].Instance, guarded{node: d.Node, size: requests[i].Resources})
		}
	}
	for i := len(decisions) - 1; i >= 0 && !r.kept(); i-- {
		d := &decisions[i]
		if d.Node == "" {
			continue
		}
		c.index.ReleaseRequest(d.Node, &requests[i])
		r.touch(d.Node)
		r.look(view, requests[i].Instance)
		*d = placement.Decision{Explanation: r.refusal(d.Explanation)}
	}
}

// Reserve tells how many nodes' loss room is kept for, and whether there is that room now.
func (c *Chooser) Reserve() (nodes int, kept bool) {
	c.hint()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reserve.follow(c.refresh())
	return c.reserve.nodes, c.reserve.kept()
}
