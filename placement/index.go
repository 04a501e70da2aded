package placement

import (
	"cmp"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// maxClasses bounds the classes with a board of their own. Nodes with further facts share the mixed class, where every
// node is asked: right, but slower.
const maxClasses = 512

// mixedClass is the number of the class of nodes with facts of their own.
const mixedClass = 0

// maxSize is the largest amount that the board tells apart, of any resource.
const maxSize = math.MaxInt32

// Hint is what is known of a node at the moment, from gossip and leases. It is not agreed upon and never changes the
// state. The zero Hint says that nothing is wrong.
type Hint struct {
	Silent    bool          // it does not answer: takes no instances
	SilentFor time.Duration // for the explanation; above 0 for one that is not Silent: it was not heard of yet, and that is no news so far
	DiskFull  bool          // no space is left where instances' disks are, whatever was promised: takes no instances

	// In per cent of the time that something had to wait. They only lower the score.
	IOPressure     uint8
	MemoryPressure uint8
}

// Options is what an index is made with.
type Options struct {
	Weights Weights // the zero value is Spread
	Seed    uint64  // decides whose turn it is first among equal nodes
}

// Index is what is known of the nodes, arranged for choosing one. It has one user at a time.
type Index struct {
	options Options
	scale   scale
	grid    grid
	largest cluster.Resources

	ids   map[cluster.NodeID]int32 // node -> slot
	names map[string]int32
	hosts []host
	rooms []room // by slot, as hosts: what a decision reads
	links []link
	spare []int32 // pages without nodes

	classes  []*class
	classFor map[string]int32
	matches  map[string]*match // by key of needs
	pages    []page
	pass     uint64 // counts Updates

	aggregates   map[cluster.NodeID]*aggregated
	aggregatesAt uint64 // the log index of what is known of them
	groups       groupClaims
}

// host is everything about a node that a decision seldom reads.
type host struct {
	node      *cluster.Node
	facts     *facts
	limit     cluster.Resources
	allocated cluster.Resources // committed
	claimed   cluster.Resources // decided and not yet committed
	hint      Hint
	class     int32
	open      bool // takes instances
	pass      uint64
}

func (h *host) free() cluster.Resources { return h.limit.Sub(h.allocated).Sub(h.claimed) }

func (x *Index) subject(slot int32) subject {
	h := &x.hosts[slot]
	return subject{node: h.node, hint: h.hint, facts: h.facts, free: h.free(), claims: &x.groups}
}

// room is what is free on a node, at most maxSize of each, and its score.
type room struct{ vcpu, memory, disk, score int32 }

func (r room) holds(n room) bool {
	return r.vcpu >= n.vcpu && r.memory >= n.memory && r.disk >= n.disk
}

// narrow fits an amount into the board's range.
func narrow(n int64) int32 { return int32(min(max(n, math.MinInt32), maxSize)) }

func roomFor(r cluster.Resources) room {
	return room{vcpu: narrow(r.VCPUs), memory: narrow(r.MemoryMiB), disk: narrow(r.DiskGiB)}
}

// New makes an index of no nodes.
func New(o Options) *Index {
	if o.Weights == (Weights{}) {
		o.Weights = Spread
	}
	o.Weights = o.Weights.bounded()
	x := &Index{
		options:  o,
		ids:      make(map[cluster.NodeID]int32),
		names:    make(map[string]int32),
		classFor: make(map[string]int32),
		matches:  make(map[string]*match),
	}
	x.classes = append(x.classes, newClass("", nil))
	x.scale = newScale(o.Weights, x.largest)
	x.grid = newGrid(nil)
	return x
}

// NewIndex makes an index of a view's nodes.
func NewIndex(v *cluster.View, o Options) *Index {
	x := New(o)
	x.Update(v)
	return x
}

// Len is the number of nodes.
func (x *Index) Len() int { return len(x.ids) }

// Update brings the index to a view: sizes, nodes and what is allocated on them. Claims and hints stay. It looks at every
// node; who knows which ones changed calls Refresh.
func (x *Index) Update(v *cluster.View) {
	var sizes []cluster.Resources
	for f := range v.Flavors() {
		sizes = append(sizes, f.Resources())
	}
	x.SetSizes(sizes)
	x.Follow(v)
	x.pass++
	nodes := slices.Collect(v.Nodes())
	if len(x.ids) == 0 {
		x.shuffle(nodes)
	}
	for _, n := range nodes {
		x.hosts[x.set(n, v.Allocated(n.ID))].pass = x.pass
	}
	for slot := len(x.hosts) - 1; slot >= 0; slot-- { // from the end: a removal moves the last one into the gap
		if h := &x.hosts[slot]; h.pass != x.pass {
			x.RemoveNode(h.node.ID)
		}
	}
}

// Refresh brings some nodes to a view.
func (x *Index) Refresh(v *cluster.View, nodes ...cluster.NodeID) {
	x.Follow(v)
	for _, id := range nodes {
		if n, ok := v.Node(id); ok {
			x.SetNode(n, v.Allocated(id))
		} else {
			x.RemoveNode(id)
		}
	}
}

// shuffle sorts the nodes in an order that only the seed knows: it decides the first turns.
func (x *Index) shuffle(nodes []*cluster.Node) {
	rank := make(map[cluster.NodeID]uint64, len(nodes))
	for _, n := range nodes {
		h := fnv.New64a()
		var seed [8]byte
		for i := range seed {
			seed[i] = byte(x.options.Seed >> (8 * i))
		}
		_, _ = h.Write(seed[:])
		_, _ = h.Write([]byte(n.ID))
		rank[n.ID] = h.Sum64()
	}
	slices.SortFunc(nodes, func(a, b *cluster.Node) int { return cmp.Compare(rank[a.ID], rank[b.ID]) })
}

// SetSizes tells which sizes will be asked for: those of the flavors. The levels of the boards begin at them, so that
// telling whether one of these sizes fits needs no look at the nodes. It costs O(nodes) when it changes the levels.
func (x *Index) SetSizes(sizes []cluster.Resources) {
	if g := newGrid(sizes); g != x.grid {
		x.grid = g
		x.rebuild()
	}
}

// SetNode adds a node or replaces what is known of it. The node is kept and must not change.
func (x *Index) SetNode(n *cluster.Node, allocated cluster.Resources) { x.set(n, allocated) }

func (x *Index) set(n *cluster.Node, allocated cluster.Resources) int32 {
	slot, known := x.ids[n.ID]
	if known && x.hosts[slot].node == n && x.hosts[slot].allocated == allocated {
		return slot
	}
	if !known {
		slot = x.newSlot()
		x.ids[n.ID] = slot
	}
	x.take(slot)
	h := &x.hosts[slot]
	if h.node != n {
		x.setFacts(slot, n)
	}
	h.allocated = allocated
	x.settle(slot)
	return slot
}

// newSlot finds room for a node.
func (x *Index) newSlot() int32 {
	x.hosts = append(x.hosts, host{class: none})
	x.rooms = append(x.rooms, room{})
	x.links = append(x.links, link{bucket: -1})
	return int32(len(x.hosts) - 1)
}

// setFacts replaces the node of a slot that is not on the board.
func (x *Index) setFacts(slot int32, n *cluster.Node) {
	h := &x.hosts[slot]
	if h.node == nil || h.node.Name != n.Name {
		x.forgetName(slot)
		x.names[n.Name] = slot
	}
	h.node, h.limit = n, n.Capacity.Limit()
	f := factsOf(n, x.aggregates[n.ID])
	key := f.key()
	if h.class == none || x.classes[h.class].key != key || h.class == mixedClass {
		x.leaveClass(slot)
		h.facts = f
		x.joinClass(slot, key)
	}
	larger := cluster.Resources{
		VCPUs:     max(x.largest.VCPUs, h.limit.VCPUs),
		MemoryMiB: max(x.largest.MemoryMiB, h.limit.MemoryMiB),
		DiskGiB:   max(x.largest.DiskGiB, h.limit.DiskGiB),
	}
	if larger != x.largest {
		x.largest = larger
		if s := newScale(x.options.Weights, larger); s != x.scale {
			x.scale = s
			x.rebuild()
			x.take(slot)
		}
	}
}

func (x *Index) forgetName(slot int32) {
	if n := x.hosts[slot].node; n != nil && x.names[n.Name] == slot {
		delete(x.names, n.Name)
	}
}

// settle works out a node's room, score and state, and puts it where it belongs.
func (x *Index) settle(slot int32) {
	x.take(slot)
	h := &x.hosts[slot]
	free := h.free()
	total := x.scale.score(&x.options.Weights, free, h.pressure()).total()
	x.rooms[slot] = roomFor(free)
	x.rooms[slot].score = narrow(total)
	h.open = whyState(nil, subject{node: h.node, hint: h.hint}) == ""
	if h.open {
		x.put(slot)
	}
}

func (h *host) pressure() int64 { return int64(max(h.hint.IOPressure, h.hint.MemoryPressure)) }

// rebuild settles every node anew.
func (x *Index) rebuild() {
	for slot := range x.hosts {
		x.take(int32(slot))
	}
	for slot := range x.hosts {
		if x.hosts[slot].node != nil { // nil: just being added
			x.settle(int32(slot))
		}
	}
}

// RemoveNode forgets a node, its claims and its hint. One that is not there is left alone.
func (x *Index) RemoveNode(id cluster.NodeID) {
	slot, ok := x.ids[id]
	if !ok {
		return
	}
	x.take(slot)
	x.leaveClass(slot)
	x.forgetName(slot)
	delete(x.ids, id)

	last := int32(len(x.hosts) - 1)
	if slot != last {
		x.move(last, slot)
	}
	x.hosts[last] = host{}
	x.hosts, x.rooms, x.links = x.hosts[:last], x.rooms[:last], x.links[:last]
}

// move gives a node another slot, whose own node is gone already.
func (x *Index) move(from, to int32) {
	onBoard := x.links[from].bucket >= 0
	x.take(from)
	x.hosts[to], x.rooms[to] = x.hosts[from], x.rooms[from]
	x.links[to] = link{bucket: -1}
	n := x.hosts[to].node
	x.ids[n.ID] = to
	if x.names[n.Name] == from {
		x.names[n.Name] = to
	}
	if onBoard {
		x.put(to)
	}
}

// Room is what is free on a node, less what is claimed, and whether it takes instances now. An unknown node has none.
func (x *Index) Room(id cluster.NodeID) (free cluster.Resources, open bool) {
	slot, ok := x.ids[id]
	if !ok {
		return cluster.Resources{}, false
	}
	return x.hosts[slot].free(), x.hosts[slot].open
}

// SetHint replaces the hint of a node. An unknown node is left alone.
func (x *Index) SetHint(id cluster.NodeID, hint Hint) {
	slot, ok := x.ids[id]
	if !ok || x.hosts[slot].hint == hint {
		return
	}
	h := &x.hosts[slot]
	before := h.pressure()
	h.hint = hint
	if h.open != (whyState(nil, subject{node: h.node, hint: hint}) == "") || h.pressure() != before {
		x.settle(slot)
	}
}

// Claim takes room on a node for something that is decided but not committed. Release it when the outcome is known and the
// index was brought to a view that holds it, or the room would be counted twice or not at all. False: no such node.
func (x *Index) Claim(id cluster.NodeID, r cluster.Resources) bool {
	slot, ok := x.ids[id]
	if ok {
		x.claim(slot, r)
	}
	return ok
}

// Release gives a claim back. False: no such node, so its claims are gone with it.
func (x *Index) Release(id cluster.NodeID, r cluster.Resources) bool {
	return x.Claim(id, cluster.Resources{}.Sub(r))
}

func (x *Index) claim(slot int32, r cluster.Resources) {
	h := &x.hosts[slot]
	h.claimed = h.claimed.Add(r)
	x.settle(slot)
}
