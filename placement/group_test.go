package placement

import (
	"fmt"
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// group makes a server group in the state.
func (l *ledger) group(p cluster.GroupPolicy, most int64) cluster.GroupID {
	id := cluster.GroupID(uid(5000 + int(l.index)))
	l.do(&cluster.CreateServerGroup{Group: cluster.ServerGroup{
		ID: id, Project: cluster.ProjectID(short(2)), User: cluster.UserID(short(3)), Name: "g", Policy: p, MaxPerHost: most,
	}})
	return id
}

// burst decides and commits count instances of a group, and says on which nodes they are.
func (l *ledger) burst(x *Index, g cluster.GroupID, first, count int) map[cluster.NodeID]int {
	l.t.Helper()
	c := l.create(first, count)
	c.Spec.Scheduling.Group = g
	rs := ForCommand(l.state.View(), c)
	at := make(map[cluster.NodeID]int)
	for i, d := range x.ChooseMany(rs) {
		c.Items[i].Node, c.Items[i].Explanation = d.Node, &d.Explanation
		at[d.Node]++
	}
	l.do(c)
	v := l.state.View()
	for i, item := range c.Items {
		if in, _ := v.Instance(item.ID); in.Node != item.Node {
			l.t.Errorf("instance %d was placed on %q and is on %q", i, item.Node, in.Node)
		}
		if item.Node != "" {
			x.Refresh(v, item.Node)
			x.ReleaseRequest(item.Node, &rs[i])
		}
	}
	return at
}

// A burst into an anti-affinity group goes to as many nodes as it has members, in one pass, and what is left over is told
// why. The state agrees with every one of the choices.
func TestChooseMany_AntiAffinityTakesDistinctNodes(t *testing.T) {
	l := newLedger(t, 4)
	g := l.group(cluster.AntiAffinity, 0)
	x := NewIndex(l.state.View(), Options{Seed: 1})
	at := l.burst(x, g, 0, 3)
	if len(at) != 3 || at[""] != 0 {
		t.Fatalf("three members are at %v", at)
	}
	at = l.burst(x, g, 10, 2)
	if len(at) != 2 || at[""] != 1 {
		t.Fatalf("two more are at %v", at)
	}
	in, _ := l.state.View().Instance(cluster.InstanceID(uid(1011)))
	if in.Status.Fault == nil || in.Placement == nil || fmt.Sprint(in.Placement.Removed) != "[{server_group 4}]" ||
		in.Placement.Reasons[0] != "n1 has a member of the server group" {
		t.Errorf("the fifth: %+v", in.Placement)
	}
	if len(x.groups.at) != 0 || len(x.groups.members) != 0 {
		t.Errorf("claims are left: %+v", x.groups)
	}
}

func TestChooseMany_MaxServerPerHost(t *testing.T) {
	l := newLedger(t, 2)
	g := l.group(cluster.AntiAffinity, 2)
	x := NewIndex(l.state.View(), Options{Seed: 1})
	if at := l.burst(x, g, 0, 5); at[cluster.NodeID(uid(1))] != 2 || at[cluster.NodeID(uid(2))] != 2 || at[""] != 1 {
		t.Errorf("members are at %v", at)
	}
}

// Two requests are decided before either is committed: the second knows of the first.
func TestChooseMany_CountsWhatIsNotCommittedYet(t *testing.T) {
	l := newLedger(t, 2)
	g := l.group(cluster.AntiAffinity, 0)
	v := l.state.View()
	x := NewIndex(v, Options{})
	decide := func(first int) (cluster.NodeID, *Request) {
		c := l.create(first, 1)
		c.Spec.Scheduling.Group = g
		rs := ForCommand(v, c)
		return x.ChooseMany(rs)[0].Node, &rs[0]
	}
	a, ra := decide(0)
	b, _ := decide(1)
	if a == b || a == "" || b == "" {
		t.Fatalf("chose %q and %q", a, b)
	}
	if c, _ := decide(2); c != "" {
		t.Fatalf("a third went to %q", c)
	}
	x.ReleaseRequest(a, ra) // it was refused
	if c, _ := decide(2); c != a {
		t.Fatalf("a third went to %q, not to what is free again", c)
	}
}

// A burst into an affinity group goes to one node that has room for all of it, though another looks better for the first.
func TestChooseMany_AffinityFindsRoomForAll(t *testing.T) {
	l := newLedger(t, 3)
	g := l.group(cluster.Affinity, 0)
	x := NewIndex(l.state.View(), Options{Seed: 1, Weights: Pack})
	limit, _ := l.state.View().Node(cluster.NodeID(uid(1)))
	n := int(limit.Capacity.Limit().MemoryMiB/small.MemoryMiB) - 1
	n = min(n, int(limit.Capacity.Limit().VCPUs/small.VCPUs)-1, int(limit.Capacity.Limit().DiskGiB/small.DiskGiB)-1, 5)
	x.Claim(cluster.NodeID(uid(1)), nearlyAll(limit.Capacity.Limit()))
	x.Claim(cluster.NodeID(uid(2)), nearlyAll(limit.Capacity.Limit()))
	if at := l.burst(x, g, 0, n); at[cluster.NodeID(uid(3))] != n {
		t.Fatalf("%d members are at %v", n, at)
	}
	in, _ := l.state.View().Instance(cluster.InstanceID(uid(1000)))
	r := ForMove(l.state.View(), in, nil, []cluster.NodeID{in.Node}, "", false)
	if c, ok := x.Choose(&r); ok {
		t.Errorf("a member moves away to %s", c.Node)
	}
}

// nearlyAll leaves room for one small instance.
func nearlyAll(r cluster.Resources) cluster.Resources { return r.Sub(small) }

// Soft policies are kept as long as they can be.
func TestChooseMany_SoftPoliciesGiveWay(t *testing.T) {
	l := newLedger(t, 3)
	x := NewIndex(l.state.View(), Options{Seed: 1})
	at := l.burst(x, l.group(cluster.SoftAntiAffinity, 0), 0, 5)
	if len(at) != 3 || at[""] != 0 {
		t.Errorf("against each other they are at %v", at)
	}
	for id, n := range at {
		if n > 2 {
			t.Errorf("%d on %s, though others have one", n, id)
		}
	}
	soft := l.group(cluster.SoftAffinity, 0)
	at = l.burst(x, soft, 10, 3)
	if len(at) != 1 {
		t.Fatalf("together they are at %v", at)
	}
	for id := range at {
		l.do(&cluster.SetNodeService{ID: id, Service: cluster.ServiceState{Disabled: true}, Revision: l.revision(id)})
		x.Refresh(l.state.View(), id)
	}
	if at = l.burst(x, soft, 20, 1); at[""] != 0 {
		t.Errorf("no node but that of the group was taken")
	}
}

func (l *ledger) revision(id cluster.NodeID) uint64 {
	n, _ := l.state.View().Node(id)
	return n.Revision
}

// Hints about other instances, and about addresses, rule nodes out and say so.
func TestChoose_HintsOfPlace(t *testing.T) {
	l := newLedger(t, 3)
	x := NewIndex(l.state.View(), Options{})
	c := l.create(0, 1)
	c.Items[0].Node = cluster.NodeID(uid(2))
	l.do(c)
	v := l.state.View()
	x.Update(v)
	at := func(hints map[string]string) string {
		c := l.create(10, 1)
		c.Spec.Scheduling.Hints = hints
		r := ForCreate(v, c, 0)
		got, _ := x.Choose(&r)
		e := x.Explain(&r)
		if e.Node != got.Node {
			t.Errorf("%v: chose %q and explained %q", hints, got.Node, e.Node)
		}
		return fmt.Sprint(e.NodeName, e.Removed)
	}
	other := uid(1000)
	for _, c := range []struct {
		hints map[string]string
		want  string
	}{
		{map[string]string{hintSameHost: other}, "n2[{same_host 2}]"},
		{map[string]string{hintSameHost: uid(7777)}, "[{same_host 3}]"},
		{map[string]string{hintDifferentHost: uid(7777) + "," + other, hintNearHost: "192.0.2.3", hintNearCIDR: "/32"}, "n3[{different_host 1} {near_host 1}]"},
		{map[string]string{hintNearHost: "198.51.100.1"}, "[{near_host 3}]"},
		{map[string]string{hintNearHost: "192.0.2.1", hintNearCIDR: "32"}, "n1[{near_host 2}]"},
	} {
		if got := at(c.hints); got != c.want {
			t.Errorf("%v: %s, want %s", c.hints, got, c.want)
		}
	}
	if got := at(map[string]string{hintNearHost: "no address", "query": "[]"}); got == "[]" {
		t.Error("a hint that does not parse ruled every node out")
	}
}

// A flavor asks for an aggregate's metadata. The index follows the aggregates of the state.
func TestFollow_AggregatesOfTheState(t *testing.T) {
	l := newLedger(t, 3)
	x := NewIndex(l.state.View(), Options{})
	spec := specOf(small)
	spec.Flavor.ExtraSpecs = map[string]string{"aggregate_instance_extra_specs:ssd": "<or> fast <or> faster"}
	ssd := NewRequest(&spec, nil, nil)
	zoned := specOf(small)
	zoned.Scheduling.Zone = "az2"
	zone := NewRequest(&zoned, nil, nil)
	if chooses(x, &ssd) || chooses(x, &zone) {
		t.Fatal("chose a node though no aggregate says so")
	}
	if e := x.Explain(&ssd); e.Reasons[0] != "n1 is in no aggregate with ssd" {
		t.Errorf("reasons %q", e.Reasons)
	}
	l.do(&cluster.PutAggregate{Aggregate: cluster.Aggregate{ID: uid(1), Name: "a", Hosts: []cluster.NodeID{cluster.NodeID(uid(2))},
		Metadata: map[string]string{"ssd": "slow, faster", cluster.ZoneKey: "az2"}}})
	x.Follow(l.state.View())
	for _, r := range []*Request{&ssd, &zone} {
		if c, ok := x.Choose(r); !ok || c.Node != cluster.NodeID(uid(2)) {
			t.Errorf("chose %q, %v", c.Node, ok)
		}
	}
	a, _ := l.state.View().AggregateNamed("a")
	a = a.Clone()
	a.Hosts = nil
	l.do(&cluster.PutAggregate{Aggregate: *a})
	x.Follow(l.state.View())
	if chooses(x, &ssd) || chooses(x, &zone) {
		t.Error("the node is out of the aggregate and was chosen")
	}
}
