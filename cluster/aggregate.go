package cluster

import (
	"iter"
	"maps"
	"slices"
)

// ZoneKey is the metadata of an aggregate that makes its nodes an availability zone.
const ZoneKey = "availability_zone"

// Aggregate is a set of nodes with something in common, which flavors may ask for. A node may be in many, but in those of
// one availability zone only.
type Aggregate struct {
	Number   int64             `json:"number"` // its ID in Nova's API; never reused
	ID       string            `json:"id"`     // UUID
	Revision uint64            `json:"revision"`
	Name     string            `json:"name"`            // unique
	Hosts    []NodeID          `json:"hosts,omitempty"` // in the order in which they were added
	Metadata map[string]string `json:"metadata,omitempty"`
	Created  Time              `json:"created"`
	Updated  Time              `json:"updated,omitempty"` // never: it is as it was made
}

// Zone is the availability zone that the aggregate makes; "": none.
func (a *Aggregate) Zone() string { return a.Metadata[ZoneKey] }

// Clone returns a copy that may be changed.
func (a *Aggregate) Clone() *Aggregate {
	c := *a
	c.Hosts, c.Metadata = slices.Clone(a.Hosts), maps.Clone(a.Metadata)
	return &c
}

// PutAggregate makes an aggregate, when its Number is 0, or replaces one, when Revision is the present one (Stale
// otherwise). Conflict when the name is another's, or a node would be in two availability zones or would leave that of
// instances which asked for it.
type PutAggregate struct {
	Aggregate Aggregate `json:"aggregate"`
}

// DeleteAggregate removes an aggregate. Conflict while it has hosts.
type DeleteAggregate struct {
	Number int64 `json:"number"`
}

// Kind of each op.
func (*PutAggregate) Kind() Kind    { return KindPutAggregate }
func (*DeleteAggregate) Kind() Kind { return KindDeleteAggregate }

// Aggregate finds an aggregate by its number.
func (v *View) Aggregate(number int64) (*Aggregate, bool) {
	return v.t.aggregates.Get(sortable(uint64(number)))
}

// Aggregates yields every aggregate, oldest first.
func (v *View) Aggregates() iter.Seq[*Aggregate] { return values(&v.t.aggregates) }

// AggregatesOf yields the aggregates that a node is in, oldest first.
func (v *View) AggregatesOf(id NodeID) iter.Seq[*Aggregate] {
	return resolved(&v.t.aggregatesOf, &v.t.aggregates, string(id)+sep)
}

// AggregateNamed finds an aggregate by its name.
func (v *View) AggregateNamed(name string) (*Aggregate, bool) {
	return named(&v.t.aggregateByName, &v.t.aggregates, name)
}

// AggregatesChanged is the log index at which an aggregate changed last; 0: never.
func (v *View) AggregatesChanged() uint64 { return v.t.meta.AggregateIndex }

// ZoneOf is the availability zone of a node: that of its aggregates, or the one that the node was enrolled with, or
// Nova's default.
func (v *View) ZoneOf(n *Node) string { return v.t.zoneOf(n) }

func (t *tables) zoneOf(n *Node) string {
	for a := range resolved(&t.aggregatesOf, &t.aggregates, string(n.ID)+sep) {
		if zone := a.Zone(); zone != "" {
			return zone
		}
	}
	if n.Zone == "" {
		return defaultZone
	}
	return n.Zone
}

// ZoneConflict tells, in Nova's words, why an aggregate may not become what is given, for the sake of availability zones;
// "": it may.
func (v *View) ZoneConflict(a *Aggregate) string { return v.t.zoneConflict(a) }

func (t *tables) zoneConflict(a *Aggregate) string {
	zone, set := a.Metadata[ZoneKey]
	if set && zone == "" {
		return "Aggregate " + a.Name + " does not support empty named availability zone"
	}
	old, _ := t.aggregates.Get(sortable(uint64(a.Number)))
	for _, id := range a.Hosts {
		n, ok := t.nodes.Get(id)
		if !ok {
			continue // refused for that
		}
		if other := t.otherZone(a, id); zone != "" && other != "" && other != zone {
			return "Hosts already in availability zone(s): ['" + other + "']"
		}
		if t.pinned(n, t.zoneWith(a, n)) {
			return "One or more hosts contain instances in this zone"
		}
	}
	if old == nil {
		return ""
	}
	for _, id := range old.Hosts {
		n, ok := t.nodes.Get(id)
		if ok && !slices.Contains(a.Hosts, id) && t.pinned(n, t.zoneWith(a, n)) {
			return "One or more hosts contain instances in this zone"
		}
	}
	return ""
}

// otherZone is the zone that a node has through aggregates other than a; "": none.
func (t *tables) otherZone(a *Aggregate, id NodeID) string {
	for o := range resolved(&t.aggregatesOf, &t.aggregates, string(id)+sep) {
		if o.Number != a.Number && o.Zone() != "" {
			return o.Zone()
		}
	}
	return ""
}

// zoneWith is the zone that a node would have if an aggregate were as given.
func (t *tables) zoneWith(a *Aggregate, n *Node) string {
	if zone := a.Zone(); zone != "" && slices.Contains(a.Hosts, n.ID) {
		return zone
	}
	if zone := t.otherZone(a, n.ID); zone != "" {
		return zone
	}
	if n.Zone != "" {
		return n.Zone
	}
	return defaultZone
}

// pinned tells whether a node that gets another zone has instances that asked for the one that it has.
func (t *tables) pinned(n *Node, zone string) bool {
	if t.zoneOf(n) == zone {
		return false
	}
	for in := range resolved(&t.byNode, &t.instances, string(n.ID)+sep) {
		if want := in.Spec.Scheduling.Zone; want != "" && want != zone && in.Wanted != WantDeleted {
			return true
		}
	}
	return false
}
