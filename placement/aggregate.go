package placement

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/cluster"
)

// aggregated is what the aggregates of a node say about it.
type aggregated struct {
	zone   string              // "": none says
	values map[string][]string // metadata; sorted, each once
	key    string              // equal for two that are
}

// add takes over one aggregate. As in Nova, a value with commas is several.
func (g *aggregated) add(a *cluster.Aggregate) {
	if a.Zone() != "" {
		g.zone = a.Zone()
	}
	for k, v := range a.Metadata {
		for one := range strings.SplitSeq(v, ",") {
			g.values[k] = append(g.values[k], strings.TrimSpace(one))
		}
	}
}

func (g *aggregated) finish() {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(g.values)) {
		slices.Sort(g.values[k])
		g.values[k] = slices.Compact(g.values[k])
		writePart(&b, k)
		writePart(&b, strconv.Itoa(len(g.values[k])))
		for _, v := range g.values[k] {
			writePart(&b, v)
		}
	}
	g.key = b.String()
}

// Follow brings to a view what nodes do not say themselves: their aggregates, and which claims of members of server groups
// the view counts by now. It costs next to nothing when neither changed. Update and Refresh call it.
func (x *Index) Follow(v *cluster.View) {
	x.groups.follow(v)
	if at := v.AggregatesChanged(); at != x.aggregatesAt {
		x.aggregatesAt = at
		x.setAggregates(aggregatesOf(v))
	}
}

// aggregatesOf gathers what is said about each node that is in an aggregate.
func aggregatesOf(v *cluster.View) map[cluster.NodeID]*aggregated {
	all := make(map[cluster.NodeID]*aggregated)
	for a := range v.Aggregates() {
		for _, id := range a.Hosts {
			if all[id] == nil {
				all[id] = &aggregated{values: make(map[string][]string)}
			}
			all[id].add(a)
		}
	}
	for _, g := range all {
		g.finish()
	}
	return all
}

// setAggregates replaces what is said about all nodes. Those about which something else is said now change their class.
func (x *Index) setAggregates(now map[cluster.NodeID]*aggregated) {
	before := x.aggregates
	x.aggregates = now
	for slot := range x.hosts {
		n := x.hosts[slot].node
		if a, b := before[n.ID], now[n.ID]; a == b || a != nil && b != nil && a.key == b.key {
			continue
		}
		x.take(int32(slot))
		x.setFacts(int32(slot), n)
		x.settle(int32(slot))
	}
}

// whyAggregates asks what AggregateInstanceExtraSpecsFilter of Nova asks: each key of the flavor must be in the metadata of
// the node's aggregates, with a value that meets it.
func whyAggregates(r *Request, s subject) string {
	for _, c := range r.needs.aggregate {
		values := s.facts.aggregated.values[c.path]
		if len(values) == 0 {
			return "is in no aggregate with " + c.path
		}
		if !slices.ContainsFunc(values, func(have string) bool { return satisfies(have, c.want) }) {
			return fmt.Sprintf("is in aggregates with %s %q, not %q", c.path, strings.Join(values, ", "), c.want)
		}
	}
	return ""
}
