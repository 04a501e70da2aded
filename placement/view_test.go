package placement

import (
	"fmt"
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// ledger is a real replicated state, to take views from.
type ledger struct {
	t     *testing.T
	state *cluster.State
	index uint64
}

func uid(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-000000000000", i) }

func short(i int) string { return fmt.Sprintf("%032x", i) }

func ledgerNode(i int) cluster.Node {
	n := *plainNode(fmt.Sprintf("n%d", i))
	n.ID, n.Address = cluster.NodeID(uid(i)), fmt.Sprintf("192.0.2.%d", i)
	return n
}

// newLedger holds a cluster of n nodes, a flavor of the size small, a network on the label lan, and an active image that
// the last node has.
func newLedger(t *testing.T, n int) *ledger {
	l := &ledger{t: t, state: cluster.NewState()}
	l.do(&cluster.InitCluster{
		Authority: cluster.Authority{ClusterID: uid(100)}, Node: ledgerNode(1),
		Roles:   []cluster.Role{{ID: cluster.RoleID(short(1)), Name: cluster.RoleAdmin}},
		Project: cluster.Project{ID: cluster.ProjectID(short(2)), Name: "p"},
		Admin:   cluster.User{ID: cluster.UserID(short(3)), Name: "admin"},
	})
	l.do(&cluster.PutJoinToken{Token: cluster.JoinToken{
		ID: cluster.TokenID(short(4)), Hash: cluster.Hash{1}, Uses: 100, Expires: 1 << 60,
	}})
	for i := 2; i <= n; i++ {
		l.do(&cluster.EnrolNode{Token: cluster.TokenID(short(4)), Secret: cluster.Hash{1}, Node: ledgerNode(i)})
	}
	spec := specOf(small)
	spec.Flavor.ID, spec.Flavor.Name = "small", "small"
	l.do(&cluster.PutFlavor{Flavor: spec.Flavor})
	l.do(&cluster.PutNetwork{Network: cluster.Network{
		ID: cluster.NetworkID(uid(200)), Project: cluster.ProjectID(short(2)), Name: "lan", Physical: "lan", MTU: 1500,
	}})
	l.do(&cluster.PutImage{Image: cluster.Image{
		ID: cluster.ImageID(uid(300)), Owner: cluster.ProjectID(short(2)), Name: "img", Status: cluster.ImageActive,
		Visibility: cluster.Private, Format: cluster.ImageFormat{Disk: "raw", Container: "bare"},
		Data: &cluster.ImageData{Root: cluster.Hash{1}, Size: 1, Nodes: []cluster.NodeID{cluster.NodeID(uid(n))}},
	}})
	return l
}

func (l *ledger) do(op cluster.Op) {
	l.t.Helper()
	l.index++
	results, err := l.state.Apply(l.index, []cluster.Command{{Time: cluster.Time(l.index), Op: op}})
	if err != nil {
		l.t.Fatal(err)
	}
	if results[0].Err != nil {
		l.t.Fatalf("%T: %v", op, results[0].Err)
	}
}

// create is the command of a user who wants count instances on the network.
func (l *ledger) create(first, count int) *cluster.CreateInstances {
	flavor, _ := l.state.View().Flavor("small")
	c := &cluster.CreateInstances{
		Request: "req-1", Project: cluster.ProjectID(short(2)), User: cluster.UserID(short(3)),
		Spec: cluster.Spec{Flavor: *flavor, Image: cluster.ImageID(uid(300))},
	}
	for i := first; i < first+count; i++ {
		c.Items = append(c.Items, cluster.NewInstance{
			ID: cluster.InstanceID(uid(1000 + i)), Name: fmt.Sprintf("vm%d", i), Hostname: fmt.Sprintf("vm%d", i),
			Ports: []cluster.NewPort{{New: &cluster.Port{
				ID: cluster.PortID(uid(2000 + i)), Project: c.Project, Network: cluster.NetworkID(uid(200)),
				MAC: fmt.Sprintf("fa:16:3e:00:00:%02x", i),
			}}},
		})
	}
	return c
}

// The leader's way: a command arrives, its instances are placed in one pass and claimed, the command is committed, and the
// claims give way to what the state says. At no point is room counted twice or lost.
func TestIndex_ClaimsGiveWayToTheCommittedState(t *testing.T) {
	l := newLedger(t, 3)
	x := NewIndex(l.state.View(), Options{Seed: 1})
	c := l.create(0, 6)
	var rs []Request
	for i := range c.Items {
		rs = append(rs, ForCreate(l.state.View(), c, i))
	}
	for i, d := range x.ChooseMany(rs) {
		c.Items[i].Node, c.Items[i].Explanation = d.Node, &d.Explanation
	}
	l.do(c)
	v := l.state.View()
	for i, item := range c.Items {
		in, ok := v.Instance(item.ID)
		if !ok || in.Node != item.Node || in.Node == "" {
			t.Fatalf("instance %d is on %q, placed on %q", i, in.Node, item.Node)
		}
		x.Refresh(v, item.Node)
		x.Release(item.Node, rs[i].Resources)
	}
	for id, slot := range x.ids {
		h := &x.hosts[slot]
		if h.claimed != (cluster.Resources{}) || h.allocated != v.Allocated(id) {
			t.Errorf("%s: claimed %+v, allocated %+v, state %+v", id, h.claimed, h.allocated, v.Allocated(id))
		}
	}
	if rest := NewIndex(v, Options{Seed: 1}); rest.Len() != 3 {
		t.Errorf("%d nodes", rest.Len())
	}
}

// What a request asks is read from the state: the label of its ports' network, and who has the image.
func TestForCreate_ReadsNetworksAndImageFromTheView(t *testing.T) {
	l := newLedger(t, 3)
	v := l.state.View()
	r := ForCreate(v, l.create(0, 1), 0)
	if len(r.needs.labels) != 1 || r.needs.labels[0] != "lan" || len(r.Holders) != 1 || r.Holders[0] != cluster.NodeID(uid(3)) {
		t.Errorf("request %+v", r)
	}
	x := NewIndex(v, Options{})
	if c, ok := x.Choose(&r); !ok || c.Node != cluster.NodeID(uid(3)) {
		t.Errorf("chose %v, %v", c.Node, ok)
	}
	l.do(l.create(0, 1)) // without nodes: it waits
	in, _ := l.state.View().Instance(cluster.InstanceID(uid(1000)))
	if again := ForInstance(l.state.View(), in); again.key != r.key || again.Resources != r.Resources {
		t.Errorf("as an instance %+v, as a command %+v", again, r)
	}
}

// Nodes change in the state. An index that follows it sees what a new one would.
func TestUpdate_FollowsTheState(t *testing.T) {
	l := newLedger(t, 3)
	x := NewIndex(l.state.View(), Options{})
	r := Request{Resources: small}
	l.do(&cluster.SetNodeService{ID: cluster.NodeID(uid(1)), Service: cluster.ServiceState{Draining: true}})
	l.do(&cluster.RemoveNode{ID: cluster.NodeID(uid(2))})
	l.do(&cluster.EnrolNode{Token: cluster.TokenID(short(4)), Secret: cluster.Hash{1}, Node: ledgerNode(4)})
	v := l.state.View()
	x.Update(v)
	fresh := NewIndex(v, Options{})
	got, want := x.Explain(&r), fresh.Explain(&r)
	if fmt.Sprint(got.Considered, got.Removed, got.Reasons) != fmt.Sprint(want.Considered, want.Removed, want.Reasons) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got.Considered != 3 || len(got.Reasons) != 1 || got.Reasons[0] != "n1 draining" {
		t.Errorf("explained %+v", got)
	}
	x.Refresh(v, cluster.NodeID(uid(2)), cluster.NodeID(uid(99)))
	if x.Len() != 3 {
		t.Errorf("%d nodes", x.Len())
	}
}
