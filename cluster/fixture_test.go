package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// town is a state with a cluster in it, for tests: one node n1 with room for 8 vCPUs, 16 GiB and 100 GiB, the project
// home with the administrator root, a flavor, an active image, and a network lan with a small subnet.
type town struct {
	t     testing.TB
	s     *State
	index uint64
	now   Time
}

const (
	root  = UserID("root")
	home  = ProjectID("home")
	lan   = NetworkID("lan")
	lan4  = SubnetID("lan4")
	disk  = ImageID("disk")
	first = NodeID("n1")
)

func newTown(t testing.TB) *town {
	t.Helper()
	w := &town{t: t, s: NewState(), now: At(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))}
	for _, op := range foundation() {
		w.do(op)
	}
	return w
}

// foundation is what makes a town out of an empty state.
func foundation() []Op {
	return []Op{
		&InitCluster{
			Authority: Authority{ClusterID: "c1"},
			Node:      someNode(first, "192.0.2.1"),
			Roles:     []Role{{ID: "r-admin", Name: RoleAdmin}, {ID: "r-member", Name: RoleMember}, {ID: "r-reader", Name: RoleReader}},
			Project:   Project{ID: home, Name: "admin"},
			Admin:     User{ID: root, Name: "admin"},
		},
		&PutImage{Image: Image{
			ID: disk, Owner: home, Name: "debian", Status: ImageActive, Visibility: Public,
			Data: &ImageData{Root: Hash{1}, Size: 1, Nodes: []NodeID{first}},
		}},
		&PutFlavor{Flavor: someFlavor()},
		&PutNetwork{Network: Network{ID: lan, Project: home, Name: "lan", Physical: "lan", PortSecurity: true}},
		&PutSubnet{Subnet: Subnet{
			ID: lan4, Project: home, Network: lan, CIDR: "10.0.0.0/28", Gateway: "10.0.0.1",
			Pools: []AddressPool{{Start: "10.0.0.1", End: "10.0.0.15"}},
		}},
	}
}

func someNode(id NodeID, address string) Node {
	return Node{
		ID: id, Name: "host-" + string(id), Address: address, Zone: "z1", Voter: VoterAuto,
		Capacity: Capacity{
			VCPUs: 2, VCPURatio: 4000, MemoryMiB: 16 << 10, MemoryRatio: 1000, DiskGiB: 110, DiskRatio: 1000, ReservedDiskGiB: 10,
		},
		Host: HostFacts{Type: "fake", Ready: true},
	}
}

func someFlavor() Flavor {
	return Flavor{ID: "1", Name: "small", VCPUs: 2, MemoryMiB: 512, DiskGiB: 5, RxTxFactor: 1}
}

// apply applies one command and gives its result. Whatever it is, the state must keep its promises.
func (w *town) apply(c Command) Result {
	w.t.Helper()
	w.index++
	w.now = w.now.Add(time.Second)
	if c.Time == 0 {
		c.Time = w.now
	}
	r, err := w.s.Apply(w.index, []Command{c})
	if err != nil {
		w.t.Fatalf("apply %s: %v", c.Op.Kind(), err)
	}
	if err := w.s.View().Verify(); err != nil {
		w.t.Fatalf("after %s: %v", c.Op.Kind(), err)
	}
	return r[0]
}

// do applies an op that must succeed.
func (w *town) do(op Op) Result {
	w.t.Helper()
	r := w.apply(Command{Op: op})
	if r.Err != nil {
		w.t.Fatalf("%s is refused: %s: %s", op.Kind(), r.Err.Code, r.Err.Message)
	}
	return r
}

// refuse applies an op that must be refused with that code and words, and must change nothing.
func (w *town) refuse(op Op, code Code, words string) {
	w.t.Helper()
	before := *w.s.View()
	r := w.apply(Command{Op: op})
	if r.Err == nil {
		w.t.Fatalf("%s is not refused", op.Kind())
	}
	if r.Err.Code != code || !strings.Contains(r.Err.Message, words) {
		w.t.Fatalf("%s is refused with %s %q, want %s %q", op.Kind(), r.Err.Code, r.Err.Message, code, words)
	}
	after := *w.s.View()
	after.t.meta = before.t.meta // only index and time went on
	if before.Hash() != after.Hash() {
		w.t.Fatalf("%s was refused and changed the state", op.Kind())
	}
}

// create asks for an instance on a node, with one new port on the lan.
func create(id string, node NodeID) *CreateInstances {
	return &CreateInstances{
		Request: "req-create", Project: home, User: root,
		Spec: Spec{Image: disk, Flavor: someFlavor()},
		Items: []NewInstance{{
			ID: InstanceID(id), Name: id, Hostname: id, Node: node, Explanation: explain(node),
			Ports: []NewPort{{New: somePort("port-"+id, id)}},
		}},
	}
}

func explain(node NodeID) *Explanation {
	if node == "" {
		return nil
	}
	return &Explanation{Node: node, Considered: 1}
}

// somePort is a port on the lan whose MAC is a function of seed.
func somePort(id, seed string) *Port {
	var n uint32
	for _, c := range seed {
		n = n*131 + uint32(c)
	}
	return &Port{
		ID: PortID(id), Project: home, Network: lan, PortSecurity: true,
		MAC: fmt.Sprintf("fa:16:%02x:%02x:%02x:%02x", byte(n>>24), byte(n>>16), byte(n>>8), byte(n)),
	}
}

func (w *town) instance(id string) *Instance {
	w.t.Helper()
	in, ok := w.s.View().Instance(InstanceID(id))
	if !ok {
		w.t.Fatalf("instance %s is not there", id)
	}
	return in
}

// reports says something about an instance as its node would, at the present generation and epoch.
func (w *town) reports(id string, change func(*InstanceReport)) {
	w.t.Helper()
	in := w.instance(id)
	r := InstanceReport{ID: in.ID, Generation: in.Generation, Epoch: in.Epoch, Boot: in.Boot, Power: PowerRunning}
	change(&r)
	w.do(&ReportInstances{Node: in.Node, Reports: []InstanceReport{r}})
}

func power(p PowerState) func(*InstanceReport) { return func(r *InstanceReport) { r.Power = p } }

// active makes an instance that runs on n1.
func (w *town) active(id string) *Instance {
	w.t.Helper()
	w.do(create(id, first))
	w.reports(id, power(PowerRunning))
	return w.instance(id)
}

// enrol adds a node.
func (w *town) enrol(id NodeID, address string) {
	w.t.Helper()
	token := TokenID("t-" + string(id))
	w.do(&PutJoinToken{Token: JoinToken{ID: token, Hash: Hash{9}, Uses: 1, Expires: w.now.Add(time.Hour)}})
	w.do(&EnrolNode{Token: token, Secret: Hash{9}, Node: someNode(id, address)})
}

// actions gives the actions of an instance as "kind: event result" lines.
func (w *town) actions(id string) string {
	var b strings.Builder
	for a := range w.s.View().Actions(InstanceID(id)) {
		fmt.Fprintf(&b, "%s:", a.Kind)
		for _, e := range a.Events {
			fmt.Fprintf(&b, " %s=%s", e.Name, e.Result)
		}
		b.WriteString("\n")
	}
	return b.String()
}
