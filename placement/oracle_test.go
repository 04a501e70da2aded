package placement

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"pgregory.net/rapid"
)

// oracle is a deliberately dumb index: it keeps what it is told and walks over all of it for every question.
type oracle struct {
	options   Options
	nodes     map[cluster.NodeID]*cluster.Node
	allocated map[cluster.NodeID]cluster.Resources
	claimed   map[cluster.NodeID]cluster.Resources
	hints     map[cluster.NodeID]Hint
	zones     map[cluster.NodeID]string // by aggregates
}

func newOracle(o Options) *oracle {
	return &oracle{
		options:   o,
		nodes:     make(map[cluster.NodeID]*cluster.Node),
		allocated: make(map[cluster.NodeID]cluster.Resources),
		claimed:   make(map[cluster.NodeID]cluster.Resources),
		hints:     make(map[cluster.NodeID]Hint),
		zones:     make(map[cluster.NodeID]string),
	}
}

func (o *oracle) free(id cluster.NodeID) cluster.Resources {
	return o.nodes[id].Capacity.Limit().Sub(o.allocated[id]).Sub(o.claimed[id])
}

// passes asks what Choose promises, written without a look at the filters.
func (o *oracle) passes(id cluster.NodeID, r *Request) bool {
	n := o.nodes[id]
	if !r.Resources.Fits(o.free(id)) || r.Host != "" && r.Host != n.Name {
		return false
	}
	if r.Forced {
		return true
	}
	if n.Service.Disabled || n.Service.Draining || n.Service.ForcedDown || !n.Host.Ready {
		return false
	}
	if o.hints[id].Silent || o.hints[id].DiskFull || slices.Contains(r.Avoid, id) {
		return false
	}
	zone := n.Zone
	if o.zones[id] != "" {
		zone = o.zones[id]
	}
	if r.needs.zone != "" && r.needs.zone != zone {
		return false
	}
	if len(r.needs.aggregate) > 0 && o.zones[id] != r.needs.aggregate[0].want {
		return false
	}
	if w := r.wishes; w != nil && !o.wished(id, w) {
		return false
	}
	for _, t := range r.needs.traits {
		if !slices.Contains(n.Host.Traits, t) {
			return false
		}
	}
	for _, t := range r.needs.forbidden {
		if slices.Contains(n.Host.Traits, t) {
			return false
		}
	}
	for _, l := range r.needs.labels {
		if n.Bridges[l] == "" {
			return false
		}
	}
	return true
}

// wished asks what wishes say of one node.
func (o *oracle) wished(id cluster.NodeID, w *wishes) bool {
	if w.together && !slices.Contains(w.same, id) || slices.Contains(w.different, id) {
		return false
	}
	switch {
	case w.group == nil:
		return true
	case w.group.of.Policy == cluster.AntiAffinity:
		return w.group.members.At[id] < max(1, int(w.group.of.MaxPerHost))
	}
	return len(w.group.members.Home) == 0 || w.group.members.Home[0] == id
}

// score weighs a node with the scale of the index: what is compared is the choice, not the formula.
func (o *oracle) score(x *Index, id cluster.NodeID, r *Request) int64 {
	h := o.hints[id]
	total := x.scale.score(&x.options.Weights, o.free(id), int64(max(h.IOPressure, h.MemoryPressure))).total()
	if slices.Contains(r.Holders, id) {
		total += x.options.Weights.Image * (scoreUnit / 1000)
	}
	return total
}

// best gives the best score of all nodes that pass.
func (o *oracle) best(x *Index, r *Request) (best int64, ok bool) {
	for id := range o.nodes {
		if o.passes(id, r) {
			if s := o.score(x, id, r); !ok || s > best {
				best, ok = s, true
			}
		}
	}
	return best, ok
}

// An index and the oracle hear of the same changes in any order: nodes come, change and go, claims are made and given
// back, hints arrive. After each, the index must find a node exactly when there is one, only ever one that passes, and one
// with the best score: exactly when there are few nodes, and within a bucket when there are many.
func TestChoose_AgreesWithAPlainLoopOverAllNodes(t *testing.T) {
	for _, nodes := range []int{5, 200} {
		for _, weights := range []Weights{Spread, Pack} {
			t.Run(fmt.Sprintf("nodes=%d/cpu=%d", nodes, weights.CPU), func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) {
					playAgainstOracle(t, nodes, Options{Weights: weights, Seed: 7})
				})
			})
		}
	}
}

func playAgainstOracle(t *rapid.T, nodes int, options Options) {
	f := newFleet(rapid.Uint64().Draw(t, "fleet"))
	g := &game{t: t, f: f, x: New(options), o: newOracle(options), nodes: nodes}
	if rapid.Bool().Draw(t, "sizes known") {
		g.x.SetSizes(f.sizes())
	}
	for i := range nodes {
		g.set(i)
	}
	for range rapid.IntRange(1, 30).Draw(t, "steps") {
		g.step()
		g.decide()
	}
}

// game is an index and an oracle that hear the same.
type game struct {
	t     *rapid.T
	f     *fleet
	x     *Index
	o     *oracle
	nodes int
}

func (g *game) set(i int) {
	n, allocated := g.f.node(i)
	g.x.SetNode(n, allocated)
	g.o.nodes[n.ID], g.o.allocated[n.ID] = n, allocated
}

func (g *game) anyNode() (cluster.NodeID, int) {
	i := g.f.rng.IntN(g.nodes)
	return cluster.NodeID(fmt.Sprintf("%08x-0000-4000-8000-%012x", i, i)), i
}

func (g *game) step() {
	id, i := g.anyNode()
	_, there := g.o.nodes[id]
	switch rapid.IntRange(0, 5).Draw(g.t, "step") {
	case 0:
		g.set(i)
	case 1:
		g.x.RemoveNode(id)
		delete(g.o.nodes, id)
		delete(g.o.claimed, id)
		delete(g.o.hints, id)
	case 2:
		hint := Hint{Silent: g.f.rng.IntN(3) == 0, DiskFull: g.f.rng.IntN(5) == 0, IOPressure: uint8(g.f.rng.IntN(100))}
		g.x.SetHint(id, hint)
		if there {
			g.o.hints[id] = hint
		}
	case 3:
		claimed := g.o.claimed[id]
		g.x.Release(id, claimed)
		delete(g.o.claimed, id)
	case 5:
		g.o.zones = map[cluster.NodeID]string{}
		said := map[cluster.NodeID]*aggregated{}
		for range g.f.rng.IntN(5) {
			id, _ := g.anyNode()
			zone := g.f.zones[g.f.rng.IntN(len(g.f.zones))]
			g.o.zones[id] = zone
			said[id] = &aggregated{values: map[string][]string{}}
			said[id].add(&cluster.Aggregate{Metadata: map[string]string{cluster.ZoneKey: zone}})
			said[id].finish()
		}
		g.x.setAggregates(said)
	case 4:
		g.x.SetSizes(g.f.sizes()[:1+g.f.rng.IntN(len(g.f.flavors))])
	}
}

// decide asks both and claims what came out.
func (g *game) decide() {
	r := g.f.request()
	id, i := g.anyNode()
	other, _ := g.anyNode()
	switch g.f.rng.IntN(16) {
	case 4:
		r.wishes = &wishes{different: []cluster.NodeID{id, other}}
	case 5:
		r.wishes = &wishes{together: true, same: []cluster.NodeID{id, other}}
	case 6:
		r.wishes = &wishes{group: &grouping{
			of:      &cluster.ServerGroup{ID: "g", Policy: cluster.AntiAffinity, MaxPerHost: int64(g.f.rng.IntN(3))},
			members: cluster.Members{At: map[cluster.NodeID]int{id: 1, other: 2}},
		}}
	case 7:
		r.wishes = &wishes{group: &grouping{
			of:      &cluster.ServerGroup{ID: "g", Policy: cluster.Affinity},
			members: cluster.Members{At: map[cluster.NodeID]int{id: 3}, Home: []cluster.NodeID{id}},
		}}
	case 8:
		spec := cluster.Spec{Flavor: g.f.flavors[0]}
		spec.Flavor.ExtraSpecs = map[string]string{"aggregate_instance_extra_specs:" + cluster.ZoneKey: g.f.zones[0]}
		r = NewRequest(&spec, nil, nil)
	case 0:
		r.Host = fmt.Sprintf("n%d", i)
		r.Forced = g.f.rng.IntN(2) == 0
	case 1:
		r = r.Avoiding(id, other)
	case 2:
		r.Holders = []cluster.NodeID{id, other}
	case 3:
		r.Resources.MemoryMiB += int64(g.f.rng.IntN(5000))
	}
	best, want := g.o.best(g.x, &r)
	c, ok := g.x.Choose(&r)
	if ok != want {
		g.t.Fatalf("Choose(%+v) found a node: %v; there is one: %v", r, ok, want)
	}
	e := g.x.Explain(&r)
	if (e.Node != "") != want || e.Considered != len(g.o.nodes) {
		g.t.Fatalf("Explain(%+v) = %+v; there is a node: %v", r, e, want)
	}
	if !ok {
		return
	}
	if !g.o.passes(c.Node, &r) {
		g.t.Fatalf("Choose(%+v) = %s, which does not pass", r, c.Node)
	}
	if got := g.o.score(g.x, c.Node, &r); got < best-g.slack(&r) {
		g.t.Fatalf("Choose(%+v) scored %d, the best is %d", r, got, best)
	}
	cheap := g.x.Explained(&r, c)
	if cheap.Node != c.Node || cheap.Considered != len(g.o.nodes) {
		g.t.Fatalf("Explained = %+v", cheap)
	}
	if g.exact(&r) && !slices.Equal(cheap.Removed, e.Removed) {
		g.t.Fatalf("counted by class %v, node by node %v", cheap.Removed, e.Removed)
	}
	g.x.Claim(c.Node, r.Resources)
	g.o.claimed[c.Node] = g.o.claimed[c.Node].Add(r.Resources)
}

// slack is how far from the best a choice may be.
func (g *game) slack(r *Request) int64 {
	switch {
	case len(g.o.nodes) <= exactNodes:
		return 0
	case g.exact(r):
		return g.x.scale.span/buckets + 1
	default:
		return g.x.scale.span
	}
}

// exact tells whether the size asked for is a border of the board's levels.
func (g *game) exact(r *Request) bool {
	size := roomFor(r.Resources)
	return g.x.grid.border(size) == g.x.grid.inside(size)
}
