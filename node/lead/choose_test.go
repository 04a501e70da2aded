package lead

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

// crowd is a cluster of n nodes in memory, and what chooses among them.
func crowd(t testing.TB, n int) (*cluster.State, *Chooser) {
	s := cluster.NewState()
	c := NewChooser(1, s.View, func() map[cluster.NodeID]placement.Hint { return nil }, nil)
	founder := member(0)
	write(t, s, &cluster.InitCluster{
		Authority: cluster.Authority{ClusterID: "c", CACert: []byte{1}, CAKey: []byte{2}, GossipKeys: [][]byte{make([]byte, 32)},
			TokenKeys: []cluster.SigningKey{{ID: "k", Seed: make([]byte, 32)}}},
		Node: founder, Roles: []cluster.Role{{ID: "r", Name: cluster.RoleAdmin}},
		Project: cluster.Project{ID: "p", Name: "p"}, Admin: cluster.User{ID: "u", Name: "u"},
	})
	write(t, s, &cluster.PutJoinToken{Token: cluster.JoinToken{ID: "t", Hash: cluster.Hash{1}, Uses: 1000, Expires: 1 << 60}})
	for i := 1; i < n; i++ {
		write(t, s, &cluster.EnrolNode{Token: "t", Secret: cluster.Hash{1}, Node: member(i)})
	}
	return s, c
}

func member(i int) cluster.Node {
	return cluster.Node{
		ID: cluster.NodeID(fmt.Sprintf("node-%04d", i)), Name: fmt.Sprintf("n%d", i), Address: fmt.Sprintf("10.0.%d.%d", i/250, 1+i%250), Zone: "nova",
		Voter: cluster.VoterAuto, Host: cluster.HostFacts{Type: "fake", Arch: "x86_64", Ready: true},
		Capacity: cluster.Capacity{VCPUs: 8, MemoryMiB: 8192, DiskGiB: 100, VCPURatio: 1000, MemoryRatio: 1000, DiskRatio: 1000},
	}
}

func write(t testing.TB, s *cluster.State, op cluster.Op) {
	t.Helper()
	res, err := s.Apply(s.View().Index()+1, []cluster.Command{{Time: 1, Op: op}})
	if err != nil || res[0].Err != nil {
		t.Fatalf("%T: %v, %v", op, err, res)
	}
}

// The index follows the state whatever happens to the nodes: they fill up, are changed, leave and join.
func TestChooser_FollowsEachNode(t *testing.T) {
	s, c := crowd(t, 3)
	ask := func(vcpus int64) cluster.NodeID {
		t.Helper()
		e := c.Explain(&cluster.Instance{ID: "ask", Project: "p", Spec: cluster.Spec{Flavor: cluster.Flavor{VCPUs: vcpus, MemoryMiB: 1, DiskGiB: 1}}})
		return e.Node
	}
	if ask(8) == "" {
		t.Fatal("an empty cluster has no room")
	}
	for i := range 3 {
		write(t, s, &cluster.CreateInstances{Request: "r", Project: "p", User: "u",
			Spec:  cluster.Spec{Flavor: cluster.Flavor{ID: "1", Name: "big", VCPUs: 5, MemoryMiB: 1, DiskGiB: 1}},
			Items: []cluster.NewInstance{{ID: cluster.InstanceID(fmt.Sprint("i", i)), Name: "x", Hostname: "x", Node: member(i).ID}}})
		if got := ask(8); got == "" != (i == 2) {
			t.Errorf("with %d nodes in use: %q", i+1, got)
		}
	}
	grown := member(1)
	grown.Capacity.VCPUs = 64
	write(t, s, &cluster.UpdateNode{Node: grown})
	if got := ask(8); got != grown.ID {
		t.Errorf("the node that grew is not chosen, but %q", got)
	}
	write(t, s, &cluster.RemoveNode{ID: grown.ID, Force: true})
	if got := ask(8); got != "" {
		t.Errorf("chosen: %q, which was removed, or is full", got)
	}
	write(t, s, &cluster.EnrolNode{Token: "t", Secret: cluster.Hash{1}, Node: member(3)})
	if got := ask(8); got != member(3).ID {
		t.Errorf("the node that joined is not chosen, but %q", got)
	}
}

// An aggregate changes what its hosts are, and no host's own record.
func TestChooser_FollowsAggregates(t *testing.T) {
	s, c := crowd(t, 3)
	c.refresh()
	ask := cluster.Instance{ID: "ask", Project: "p", Spec: cluster.Spec{
		Flavor: cluster.Flavor{VCPUs: 1, MemoryMiB: 1, DiskGiB: 1}, Scheduling: cluster.Scheduling{Zone: "az"},
	}}
	if e := c.Explain(&ask); e.Node != "" {
		t.Fatalf("chosen: %q, though there is no such zone", e.Node)
	}
	write(t, s, &cluster.PutAggregate{Aggregate: cluster.Aggregate{
		ID: "a", Name: "a", Hosts: []cluster.NodeID{member(2).ID}, Metadata: map[string]string{cluster.ZoneKey: "az"},
	}})
	if e := c.Explain(&ask); e.Node != member(2).ID {
		t.Errorf("chosen: %q, not the host of the zone", e.Node)
	}
}

// Requests for members of a group that are under way at the same time know of each other, and no longer when they are over.
func TestChooser_MembersUnderWayKeepApart(t *testing.T) {
	s, c := crowd(t, 3)
	write(t, s, &cluster.CreateServerGroup{Group: cluster.ServerGroup{ID: "g", Project: "p", User: "u", Name: "g", Policy: cluster.AntiAffinity}})
	var ops []*cluster.CreateInstances
	var releases []func()
	at := map[cluster.NodeID]bool{}
	for i := range 3 {
		op := &cluster.CreateInstances{Request: "r", Project: "p", User: "u",
			Spec:  cluster.Spec{Flavor: cluster.Flavor{ID: "1", Name: "small", VCPUs: 1, MemoryMiB: 1, DiskGiB: 1}, Scheduling: cluster.Scheduling{Group: "g"}},
			Items: []cluster.NewInstance{{ID: cluster.InstanceID(fmt.Sprint("i", i)), Name: "x", Hostname: "x"}}}
		ops, releases = append(ops, op), append(releases, c.Prepare(op))
		at[op.Items[0].Node] = true
	}
	if len(at) != 3 || at[""] {
		t.Fatalf("three members go to %v", at)
	}
	write(t, s, ops[0])
	write(t, s, ops[1])
	for _, release := range releases {
		release()
	}
	again := &cluster.CreateInstances{Request: "r", Project: "p", User: "u", Spec: ops[2].Spec, Items: []cluster.NewInstance{{ID: "j", Name: "x", Hostname: "x"}}}
	defer c.Prepare(again)()
	if again.Items[0].Node != ops[2].Items[0].Node {
		t.Errorf("the member after the one that was given up goes to %q, not to %q", again.Items[0].Node, ops[2].Items[0].Node)
	}
}

// Most changes are of a few nodes or of none. The work of following them must not grow with the number of nodes: a set of all their names
// was made for each.
func TestChooser_LooksOnlyAtNodesThatChanged(t *testing.T) {
	follow := func(nodes int) uint64 { // bytes for each view
		s, c := crowd(t, nodes)
		c.refresh()
		views := make([]*cluster.View, 100)
		for i := range views {
			write(t, s, &cluster.SetNodeService{ID: member(i % nodes).ID, Service: cluster.ServiceState{Disabled: i%2 == 0}})
			views[i] = s.View()
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, v := range views {
			c.view = func() *cluster.View { return v }
			c.refresh()
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / uint64(len(views))
	}
	if few, many := follow(10), follow(500); many > 2*few+4096 {
		t.Errorf("following a change takes %d bytes with 10 nodes, and %d with 500", few, many)
	}
}
