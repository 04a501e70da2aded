package placement

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/cluster"
)

// maxWalked is in how many nodes the explanation of a choice counts what the filters on single nodes removed, which no
// class tells. In more, it leaves those out.
const maxWalked = 256

// maxReasons bounds the reasons of an explanation. One more says how many were left out.
const maxReasons = 20

// Explained explains a choice that was just made, before it is claimed: how many nodes each filter removed, and the
// scores of the winner. It costs O(classes), so nodes that stand on the border of the size asked for count as having room,
// and those of the mixed class as having the right facts.
func (x *Index) Explained(r *Request, c Choice) cluster.Explanation {
	h := &x.hosts[c.slot]
	e := cluster.Explanation{
		Considered: x.Len(),
		Node:       c.Node,
		NodeName:   h.node.Name,
		Scores:     x.scores(r, c.slot),
	}
	counts := make([]int, len(filters))
	switch {
	case r.Host != "":
		counts[filterNumber(FilterHost)] = x.Len() - 1
	case r.wishes != nil && x.Len() <= maxWalked:
		x.countByNode(r, counts)
	default:
		x.countByClass(r, counts)
	}
	e.Removed = removals(counts)
	return e
}

// countByClass adds up how many nodes each filter removes, without a look at the nodes.
func (x *Index) countByClass(r *Request, counts []int) {
	m, from := x.match(r), x.grid.border(roomFor(r.Resources))
	avoid, state, capacity := filterNumber(FilterAvoid), filterNumber(FilterState), filterNumber(FilterCapacity)
	for n, c := range x.classes {
		if c == nil {
			continue
		}
		counts[state] += c.nodes - c.open
		if by := m.removed[n]; by != 0 {
			counts[by-1] += c.open
		} else {
			counts[capacity] += c.open - c.holding(from)
		}
	}
	for i, id := range r.Avoid { // counted above, but the filter that removed them comes first
		slot, ok := x.ids[id]
		if !ok || slices.Contains(r.Avoid[:i], id) {
			continue
		}
		counts[avoid]++
		switch h := &x.hosts[slot]; {
		case !h.open:
			counts[state]--
		case m.removed[h.class] != 0:
			counts[m.removed[h.class]-1]--
		case !x.grid.border(x.rooms[slot]).covers(from):
			counts[capacity]--
		}
	}
}

// countByNode adds up how many nodes each filter removes.
func (x *Index) countByNode(r *Request, counts []int) {
	for slot := range x.hosts {
		s := x.subject(int32(slot))
		for n := range filters {
			if f := &filters[n]; f.applies(r) && f.why(r, s) != "" {
				counts[n]++
				break
			}
		}
	}
}

// holding counts the open nodes in the cells from a corner on.
func (c *class) holding(from corner) int {
	n, mask := 0, atLeast(from.vcpu, from.memory)
	for d := from.disk; d < levels; d++ {
		for w := mask; w != 0; w &= w - 1 {
			n += int(c.count[d*64+bits.TrailingZeros64(w)])
		}
	}
	return n
}

// scores gives what each weigher gave a node.
func (x *Index) scores(r *Request, slot int32) []cluster.Score {
	h := &x.hosts[slot]
	s := x.scale.score(&x.options.Weights, h.free(), h.pressure())
	out := []cluster.Score{
		{Weigher: WeigherCPU, Score: decimal(s.cpu)},
		{Weigher: WeigherMemory, Score: decimal(s.memory)},
		{Weigher: WeigherDisk, Score: decimal(s.disk)},
	}
	if s.pressure != 0 {
		out = append(out, cluster.Score{Weigher: WeigherPressure, Score: decimal(s.pressure)})
	}
	if slices.Contains(r.Holders, h.node.ID) {
		out = append(out, cluster.Score{Weigher: WeigherImage, Score: decimal(x.options.Weights.Image * (scoreUnit / 1000))})
	}
	if w := r.wishes; w != nil && w.group != nil {
		switch n := float64(w.group.count(&x.groups, h.node.ID)); w.group.of.Policy {
		case cluster.SoftAffinity:
			out = append(out, cluster.Score{Weigher: WeigherGroup, Score: n})
		case cluster.SoftAntiAffinity:
			out = append(out, cluster.Score{Weigher: WeigherGroup, Score: -n})
		}
	}
	return out
}

func decimal(score int64) float64 { return float64(score) / scoreUnit }

// refusal is why one node was removed.
type refusal struct{ node, why string }

// Explain says, node by node, what a request finds: which filter removes each node and why, and, when some node is left,
// which one would be chosen. It looks at every node, so it is for requests that failed and for people who ask.
// The reasons of the nodes that came furthest come first.
func (x *Index) Explain(r *Request) cluster.Explanation {
	counts := make([]int, len(filters))
	refused := make([][]refusal, len(filters))
	for i := range x.hosts {
		s := x.subject(int32(i))
		for n := range filters {
			f := &filters[n]
			if !f.applies(r) {
				continue
			}
			if why := f.why(r, s); why != "" {
				counts[n]++
				if f.name != FilterHost && len(refused[n]) < maxReasons {
					refused[n] = append(refused[n], refusal{s.node.Name, why})
				}
				break
			}
		}
	}
	e := cluster.Explanation{Considered: x.Len(), Removed: removals(counts), Reasons: reasons(refused, counts)}
	if _, ok := x.names[r.Host]; r.Host != "" && !ok {
		e.Reasons = []string{"no node is named " + r.Host}
	}
	if c, ok := x.Choose(r); ok {
		e.Node, e.NodeName, e.Scores = c.Node, x.hosts[c.slot].node.Name, x.scores(r, c.slot)
	}
	return e
}

// reasons puts the refusals of the last filters first, and bounds them.
func reasons(refused [][]refusal, counts []int) []string {
	var out []string
	total := 0
	for n := len(refused) - 1; n >= 0; n-- {
		if filters[n].name == FilterHost {
			continue
		}
		total += counts[n]
		slices.SortFunc(refused[n], func(a, b refusal) int { return cmp.Compare(a.node, b.node) })
		for _, r := range refused[n] {
			if len(out) < maxReasons {
				out = append(out, r.node+" "+r.why)
			}
		}
	}
	if left := total - len(out); left > 0 {
		out = append(out, fmt.Sprintf("and %d more", left))
	}
	return out
}

// removals names the counts that are not zero.
func removals(counts []int) []cluster.FilterCount {
	var out []cluster.FilterCount
	for n, count := range counts {
		if count > 0 {
			out = append(out, cluster.FilterCount{Filter: filters[n].name, Nodes: count})
		}
	}
	return out
}

func filterNumber(name string) int {
	return slices.IndexFunc(filters, func(f filter) bool { return f.name == name })
}

// Sentence says in words for the user why a request found no node: "no node fits 4 vCPU, 8192 MiB, 20 GiB disk: n1 short
// of 2 vCPU, n2 draining".
func Sentence(r cluster.Resources, e *cluster.Explanation) string {
	s := fmt.Sprintf("no node fits %d vCPU, %d MiB, %d GiB disk", r.VCPUs, r.MemoryMiB, r.DiskGiB)
	switch {
	case e.Considered == 0:
		return s + ": there are no nodes"
	case len(e.Reasons) > 0:
		return s + ": " + strings.Join(e.Reasons, ", ")
	}
	return s
}
