package cluster

import "testing"

func aggregate(name string, zone string, hosts ...NodeID) *PutAggregate {
	a := Aggregate{ID: "id-" + name, Name: name, Hosts: hosts}
	if zone != "" {
		a.Metadata = map[string]string{ZoneKey: zone}
	}
	return &PutAggregate{Aggregate: a}
}

// change asks for an aggregate to become something else.
func (w *town) change(name string, f func(*Aggregate)) *PutAggregate {
	w.t.Helper()
	old, ok := w.s.View().AggregateNamed(name)
	if !ok {
		w.t.Fatalf("no aggregate %s", name)
	}
	a := old.Clone()
	f(a)
	return &PutAggregate{Aggregate: *a}
}

// An aggregate makes its nodes an availability zone, until they leave it.
func TestPutAggregate_ZoneOfItsHosts(t *testing.T) {
	w := newTown(t)
	zone := func() string {
		n, _ := w.s.View().Node(first)
		return w.s.View().ZoneOf(n)
	}
	if zone() != "z1" {
		t.Fatalf("the zone of enrolment is %q", zone())
	}
	w.do(aggregate("plain", "", first))
	r := w.do(aggregate("labagg", "labaz", first))
	if zone() != "labaz" || len(r.IDs) != 1 || r.IDs[0] != "2" || w.s.View().AggregatesChanged() != r.Index {
		t.Fatalf("zone %q, result %+v", zone(), r)
	}
	w.do(w.change("labagg", func(a *Aggregate) { a.Hosts = nil }))
	if zone() != "z1" {
		t.Fatalf("the zone after leaving is %q", zone())
	}
	if got := ids(w.s.View().AggregatesOf(first), func(a *Aggregate) string { return a.Name }); got != "plain " {
		t.Errorf("n1 is in %q", got)
	}
	a, _ := w.s.View().Aggregate(2)
	if a.Created == 0 || a.Updated <= a.Created || a.ID != "id-labagg" {
		t.Errorf("aggregate %+v", a)
	}
}

// A host is in one zone only, and does not leave the zone that its instances asked for.
func TestPutAggregate_ConflictsOfZonesAreRefused(t *testing.T) {
	w := newTown(t)
	w.do(aggregate("one", "az1", first))
	w.refuse(aggregate("two", "az2", first), Conflict, "Hosts already in availability zone(s): ['az1']")
	w.do(aggregate("one-too", "az1", first))
	w.do(aggregate("two", "az2"))
	w.refuse(w.change("two", func(a *Aggregate) { a.Hosts = []NodeID{first} }), Conflict, "already in availability zone(s)")
}

func TestPutAggregate_BadOnesAreRefused(t *testing.T) {
	w := newTown(t)
	w.do(aggregate("one", "", first))
	w.refuse(aggregate("one", ""), Conflict, "Aggregate one already exists.")
	w.refuse(aggregate("two", "", "n9"), NotFound, "Compute host n9 could not be found.")
	w.refuse(w.change("one", func(a *Aggregate) { a.Hosts = []NodeID{first, first} }), Conflict, "Aggregate 1 already has host n1.")
	w.refuse(w.change("one", func(a *Aggregate) { a.Metadata = map[string]string{ZoneKey: ""} }), Conflict, "empty named")
	w.refuse(w.change("one", func(a *Aggregate) { a.Number = 7 }), NotFound, "Aggregate 7 could not be found.")
	stale := w.change("one", func(a *Aggregate) { a.Name = "renamed" })
	w.do(w.change("one", func(a *Aggregate) { a.Name = "uno" }))
	w.refuse(stale, Stale, "changed in the meantime")
	w.refuse(&DeleteAggregate{Number: 1}, Conflict, "Cannot remove aggregate 1. Reason: Host aggregate is not empty.")
	w.refuse(&DeleteAggregate{Number: 9}, NotFound, "Aggregate 9 could not be found.")
	w.do(w.change("uno", func(a *Aggregate) { a.Hosts = nil }))
	w.do(&DeleteAggregate{Number: 1})
	w.do(aggregate("one", "", first))
	if a, ok := w.s.View().AggregateNamed("one"); !ok || a.Number != 2 {
		t.Errorf("aggregate %+v", a)
	}
}

// An instance asked for a zone. Its node stays in it.
func TestPutAggregate_InstancesKeepTheirZone(t *testing.T) {
	w := newTown(t)
	w.do(aggregate("one", "az1", first))
	o := create("a", first)
	o.Spec.Scheduling.Zone = "az1"
	w.do(o)
	w.refuse(w.change("one", func(a *Aggregate) { a.Hosts = nil }), Conflict, "One or more hosts contain instances in this zone")
	w.refuse(w.change("one", func(a *Aggregate) { a.Metadata[ZoneKey] = "az2" }), Conflict, "One or more hosts contain instances in this zone")
	w.do(w.change("one", func(a *Aggregate) { a.Metadata["ssd"] = "true" }))
	w.do(&DeleteInstance{ID: "a"})
	w.do(w.change("one", func(a *Aggregate) { a.Hosts = nil }))
}

// A node that is removed leaves its aggregates.
func TestRemoveNode_LeavesItsAggregates(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.do(aggregate("one", "az1", first, "n2"))
	before := w.s.View().AggregatesChanged()
	w.do(&RemoveNode{ID: "n2"})
	a, _ := w.s.View().AggregateNamed("one")
	if len(a.Hosts) != 1 || a.Hosts[0] != first || w.s.View().AggregatesChanged() == before {
		t.Errorf("hosts %v", a.Hosts)
	}
}
