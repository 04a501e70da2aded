package cluster

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// together adds what busyTown needs of groups, aggregates and finer quotas.
func (w *town) together() {
	w.do(&CreateServerGroup{Group: someGroup("g1", AntiAffinity)})
	w.do(&PutAggregate{Aggregate: Aggregate{ID: "ag1", Name: "ssd", Hosts: []NodeID{first}, Metadata: map[string]string{"ssd": "true"}}})
	w.do(&PutQuota{Quota: Quota{Project: home, User: root, Limits: map[QuotaName]int64{QuotaCores: 19}}})
	w.do(&PutQuotaClass{Class: QuotaClass{Name: DefaultQuotaClass, Limits: map[QuotaName]int64{QuotaRAM: 40960}}})
}

func someGroup(id GroupID, p GroupPolicy) ServerGroup {
	return ServerGroup{ID: id, Project: home, User: root, Name: "group " + string(id), Policy: p}
}

// member asks for an instance of a group on a node.
func member(id string, node NodeID, g GroupID) *CreateInstances {
	o := create(id, node)
	o.Spec.Scheduling.Group = g
	return o
}

// Two creates into an anti-affinity group were decided at the same time, both for n1. The second instance is made, but it
// waits: Apply does not let it onto the node. A leader that still does not know is refused, and another node is taken.
func TestCreateInstances_AntiAffinityIsCheckedAgain(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.do(&CreateServerGroup{Group: someGroup("g", AntiAffinity)})
	w.do(member("a", first, "g"))
	w.do(member("b", first, "g"))
	if a, b := w.instance("a"), w.instance("b"); a.Node != first || b.Node != "" || b.Status.Task != TaskScheduling {
		t.Fatalf("a is on %q, b on %q doing %q", a.Node, b.Node, b.Status.Task)
	}
	b := w.instance("b")
	w.refuse(&PlaceInstance{ID: "b", Generation: b.Generation, Epoch: b.Epoch, Node: first}, NoRoom, "anti-affinity")
	w.do(&PlaceInstance{ID: "b", Generation: b.Generation, Epoch: b.Epoch, Node: "n2"})
	m := w.s.View().MembersOf("g", "")
	if m.At[first] != 1 || m.At["n2"] != 1 {
		t.Fatalf("members are at %v", m.At)
	}
}

// A burst that a stale leader put onto one node goes there as far as the policy allows, and no further.
func TestCreateInstances_MaxServerPerHostCounts(t *testing.T) {
	w := newTown(t)
	g := someGroup("g", AntiAffinity)
	g.MaxPerHost = 2
	w.do(&CreateServerGroup{Group: g})
	o := member("a", first, "g")
	for _, id := range []string{"b", "c"} {
		o.Items = append(o.Items, create(id, first).Items[0])
	}
	w.do(o)
	if n := w.s.View().MembersOf("g", "").At[first]; n != 2 {
		t.Fatalf("%d members are on n1", n)
	}
	w.do(&DeleteInstance{ID: "a"})
	w.reports("a", func(r *InstanceReport) { r.Gone = true })
	c := w.instance("c")
	w.do(&PlaceInstance{ID: "c", Generation: c.Generation, Epoch: c.Epoch, Node: first})
	if got := ids(w.s.View().GroupMembers("g"), func(i *Instance) string { return string(i.ID) }); got != "b c " {
		t.Fatalf("members are %q: a deleted one has not left", got)
	}
}

// The first member decides where an affinity group lives. Soft policies hold nobody up.
func TestCreateInstances_AffinityJoinsTheFirstMember(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.do(&CreateServerGroup{Group: someGroup("g", Affinity)})
	w.do(&CreateServerGroup{Group: someGroup("soft", SoftAffinity)})
	w.do(member("a", "n2", "g"))
	w.do(member("b", first, "g"))
	w.do(member("c", "n2", "g"))
	if b, c := w.instance("b"), w.instance("c"); b.Node != "" || c.Node != "n2" {
		t.Fatalf("b is on %q, c on %q", b.Node, c.Node)
	}
	w.do(&DeleteServerGroup{ID: "g"})
	b := w.instance("b")
	w.do(&PlaceInstance{ID: "b", Generation: b.Generation, Epoch: b.Epoch, Node: first})
	if _, ok := w.s.View().GroupOf(w.instance("b")); ok {
		t.Fatal("b is in a group that was deleted")
	}
	w.do(member("d", first, "soft"))
	w.do(member("e", "n2", "soft"))
	if e := w.instance("e"); e.Node != "n2" {
		t.Fatalf("a soft policy kept e off: %q", e.Node)
	}
}

func TestServerGroup_BadOnesAreRefused(t *testing.T) {
	w := newTown(t)
	bad := someGroup("g", Affinity)
	bad.MaxPerHost = 2
	w.refuse(&CreateServerGroup{Group: bad}, Invalid, "Only anti-affinity policy supports rules.")
	w.refuse(&CreateServerGroup{Group: someGroup("g", "apart")}, Invalid, "Policy")
	w.refuse(&DeleteServerGroup{ID: "g"}, NotFound, "Instance group g could not be found.")
	w.refuse(member("a", first, "g"), Invalid, "Instance group g could not be found.")
	w.do(&PutProject{Project: Project{ID: "p2", Name: "two"}})
	other := someGroup("other", Affinity)
	other.Project = "p2"
	w.do(&CreateServerGroup{Group: other})
	w.refuse(member("a", first, "other"), Invalid, "could not be found")
	w.do(&DeleteProject{ID: "p2"})
	if _, ok := w.s.View().ServerGroup("other"); ok {
		t.Error("the group outlived its project")
	}
}

// Groups, and members of groups, are limited for projects and for users.
func TestServerGroup_QuotasHold(t *testing.T) {
	w := newTown(t)
	w.do(&PutQuota{Quota: Quota{Project: home, Limits: map[QuotaName]int64{QuotaServerGroups: 2, QuotaServerGroupMembers: 1}}})
	w.do(&CreateServerGroup{Group: someGroup("g1", SoftAffinity)})
	w.do(member("a", first, "g1"))
	w.refuse(member("b", first, "g1"), OverQuota, "Quota exceeded, too many servers in group")
	w.do(&PutQuota{Quota: Quota{Project: home, User: root, Limits: map[QuotaName]int64{QuotaServerGroups: 1}}})
	w.refuse(&CreateServerGroup{Group: someGroup("g2", SoftAffinity)}, OverQuota, "Quota exceeded, too many server groups.")
	w.do(&DeleteQuota{Project: home, User: root})
	w.do(&CreateServerGroup{Group: someGroup("g2", SoftAffinity)})
	w.refuse(&CreateServerGroup{Group: someGroup("g3", SoftAffinity)}, OverQuota, "Quota exceeded, too many server groups.")
}

// drawGroupOp gives a command about groups, aggregates or finer quotas.
func drawGroupOp(t *rapid.T, v *View) Op {
	g := someGroup(GroupID(fmt.Sprintf("g%d", v.Index())), pick(t, "policy", Affinity, AntiAffinity, SoftAffinity, SoftAntiAffinity))
	if g.Policy == AntiAffinity {
		g.MaxPerHost = rapid.Int64Range(0, 2).Draw(t, "most")
	}
	limits := map[QuotaName]int64{QuotaCores: rapid.Int64Range(-1, 20).Draw(t, "cores"), QuotaServerGroups: 5}
	switch rapid.IntRange(0, 7).Draw(t, "group op") {
	case 0, 1, 2:
		return &CreateServerGroup{Group: g}
	case 3:
		return &DeleteServerGroup{ID: drawGroup(t, v)}
	case 4, 5:
		return drawAggregate(t, v)
	case 6:
		return &PutQuota{Quota: Quota{Project: home, User: root, Limits: limits}}
	}
	return &DeleteQuota{Project: home, User: root}
}

// drawGroup picks one of the groups there are, or none.
func drawGroup(t *rapid.T, v *View) GroupID {
	all := []GroupID{""}
	for g := range v.ServerGroups("") {
		all = append(all, g.ID)
	}
	return rapid.SampledFrom(all).Draw(t, "group")
}

func drawAggregate(t *rapid.T, v *View) Op {
	a := Aggregate{ID: "ag", Name: pick(t, "aggregate", "x", "y", "z")}
	if old, ok := v.AggregateNamed(a.Name); ok {
		a = *old.Clone()
		if rapid.IntRange(0, 4).Draw(t, "delete") == 0 {
			return &DeleteAggregate{Number: a.Number}
		}
	}
	a.Hosts = rapid.SliceOfDistinct(rapid.SampledFrom([]NodeID{first, "n2", "n3"}), func(n NodeID) NodeID { return n }).Draw(t, "hosts")
	a.Metadata = map[string]string{}
	if zone := pick(t, "zone", "", "z1", "z2"); zone != "" {
		a.Metadata[ZoneKey] = zone
	}
	return &PutAggregate{Aggregate: a}
}

// brokenPolicies counts the members of each group by hand, at both ends of a move, and names what breaks its hard policy.
func brokenPolicies(v *View) string {
	var broken []string
	for g := range v.ServerGroups("") {
		at, on := make(map[NodeID]int), make(map[NodeID]bool)
		for in := range v.Instances() {
			if in.Spec.Scheduling.Group != g.ID || in.Node == "" {
				continue
			}
			at[in.Node]++
			on[in.Node] = true
			if in.Op != nil && in.Op.Move != nil && in.Op.Step != StepReverting {
				if to := in.Op.Move.To; to != "" && to != in.Node {
					at[to]++
				}
			}
		}
		for node, n := range at {
			if g.Policy == AntiAffinity && n > max(1, int(g.MaxPerHost)) {
				broken = append(broken, fmt.Sprintf("%d members of %s are on %s", n, g.ID, node))
			}
		}
		if g.Policy == Affinity && len(on) > 1 {
			broken = append(broken, fmt.Sprintf("the members of %s are on %v", g.ID, on))
		}
	}
	return strings.Join(broken, "; ")
}

// drawJourney takes an instance a step further on a move: it runs, begins, is given any node, and goes on.
func drawJourney(t *rapid.T, v *View) Op {
	all := []*Instance{{ID: "a"}}
	for in := range v.Instances() {
		all = append(all, in)
	}
	in := rapid.SampledFrom(all).Draw(t, "traveller")
	by := By{Request: "req-move", User: root, Project: home}
	switch {
	case in.Op != nil && in.Op.Step == StepPlacing:
		return &PlaceMove{ID: in.ID, Operation: in.Op.ID, Node: pick(t, "to", first, NodeID("n2"))}
	case in.Op != nil:
		return drawProgress(t, v, in, by)
	case in.Status.VM == VMActive:
		return &BeginMove{ID: in.ID, By: by, Operation: OperationID(fmt.Sprintf("o%d", v.Index())), What: pick(t, "what", OpMigrate, OpLive)}
	}
	return &ReportInstances{Node: in.Node, Reports: []InstanceReport{
		{ID: in.ID, Generation: in.Generation, Epoch: in.Epoch, Boot: in.Boot, Power: PowerRunning},
	}}
}

// Many creates, placements, moves, deletions and removals of nodes, decided by leaders who know nothing of policies: whatever they
// propose, no hard policy is ever broken.
func TestApply_NeverBreaksAHardPolicy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, index := NewState(), uint64(0)
		do := func(op Op) {
			index++
			if _, err := s.Apply(index, []Command{{Time: Time(index), Op: op}}); err != nil {
				t.Fatal(err)
			}
			if err := s.View().Verify(); err != nil {
				t.Fatalf("after %s: %v", op.Kind(), err)
			}
			if why := brokenPolicies(s.View()); why != "" {
				t.Fatalf("after %s: %s", op.Kind(), why)
			}
		}
		for _, op := range foundation() {
			do(op)
		}
		do(&PutJoinToken{Token: JoinToken{ID: "t", Hash: Hash{9}, Uses: 3, Expires: 1 << 40}})
		do(&EnrolNode{Token: "t", Secret: Hash{9}, Node: someNode("n2", "192.0.2.2")})
		for range 40 {
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				do(drawGroupOp(t, s.View()))
			case 1, 2, 3:
				do(pick(t, "about", drawInstanceOp, drawJourney, drawJourney, drawJourney)(t, s.View()))
			default:
				o := drawCreate(t, pick(t, "node", first, NodeID("n2")))
				o.Spec.Scheduling.Group = drawGroup(t, s.View())
				do(o)
			}
		}
	})
}
