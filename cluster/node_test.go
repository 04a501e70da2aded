package cluster

import (
	"testing"
	"time"
)

func TestInitCluster_MakesAWholeCloudOnce(t *testing.T) {
	w := newTown(t)
	v := w.s.View()
	a := v.Authority()
	if a == nil || a.ClusterID != "c1" || a.Revision != 1 || a.Created == 0 {
		t.Fatalf("authority is %+v", a)
	}
	if n, ok := v.NodeNamed("host-n1"); !ok || n.Number != 1 || n.Enrolled == 0 {
		t.Fatalf("node is %+v", n)
	}
	scopes := 0
	for as := range v.AssignmentsOf(root) {
		if as.Role == "r-admin" && (as.Project == home || as.Project == "") {
			scopes++
		}
	}
	if scopes != 2 {
		t.Fatalf("the administrator is one in %d scopes", scopes)
	}
	if r, ok := v.RoleNamed(RoleReader); !ok || !r.BuiltIn {
		t.Fatalf("reader is %+v", r)
	}
	w.refuse(foundation()[0], Conflict, "there already")

	empty := &town{t: t, s: NewState()}
	good := foundation()[0].(*InitCluster)
	for words, change := range map[string]func(*InitCluster){
		"Cluster ID": func(o *InitCluster) { o.Authority.ClusterID = "" },
		"Node ID":    func(o *InitCluster) { o.Node.ID = "" },
		"address":    func(o *InitCluster) { o.Node.Address = "somewhere" },
		"project":    func(o *InitCluster) { o.Project.Name = "" },
		"user":       func(o *InitCluster) { o.Admin.Name = "" },
		"role named": func(o *InitCluster) { o.Roles = o.Roles[1:] },
		"Role ID":    func(o *InitCluster) { o.Roles = []Role{{Name: RoleAdmin}} },
	} {
		o := *good
		change(&o)
		empty.refuse(&o, Invalid, words)
	}
}

func TestPutAuthority_RotatesKeysOfTheSameCluster(t *testing.T) {
	w := newTown(t)
	a := *w.s.View().Authority()
	a.GossipKeys = [][]byte{{1}}
	w.do(&PutAuthority{Authority: a})
	w.refuse(&PutAuthority{Authority: a}, Stale, "in the meantime")
	a = *w.s.View().Authority()
	if len(a.GossipKeys) != 1 {
		t.Fatal("the keys were not replaced")
	}
	a.ClusterID = "c2"
	w.refuse(&PutAuthority{Authority: a}, Invalid, "cannot be changed")
	a.GossipKeys = make([][]byte, 17)
	w.refuse(&PutAuthority{Authority: a}, Invalid, "keys")
	(&town{t: t, s: NewState()}).refuse(&PutAuthority{}, NotFound, "no cluster")
}

// Machines bring a token. It works as often as it may and as long as it may, and for who knows its secret.
func TestEnrolNode_TokenDecides(t *testing.T) {
	w := newTown(t)
	secret := Hash{7}
	w.do(&PutJoinToken{Token: JoinToken{ID: "t", Hash: secret, Uses: 1, Expires: w.now.Add(time.Hour), Zone: "east"}})
	n := someNode("n2", "192.0.2.2")
	n.Zone = ""
	w.refuse(&EnrolNode{Token: "x", Secret: secret, Node: n}, Unauthorized, "not known")
	w.refuse(&EnrolNode{Token: "t", Secret: Hash{8}, Node: n}, Unauthorized, "not known")
	same := n
	same.Name = "host-n1"
	w.refuse(&EnrolNode{Token: "t", Secret: secret, Node: same}, Conflict, "The name host-n1 belongs to the node n1")
	same = n
	same.Address = "192.0.2.1"
	w.refuse(&EnrolNode{Token: "t", Secret: secret, Node: same}, Conflict, "The address 192.0.2.1 belongs to the node n1")

	n.Key = Hash{5}
	w.do(&EnrolNode{Token: "t", Secret: secret, Node: n})
	got, _ := w.s.View().Node("n2")
	if got.Number != 2 || got.Zone != "east" || got.Token != "t" || got.Enrolled == 0 {
		t.Fatalf("enrolled as %+v", got)
	}
	// The answer was lost and the machine asks again: the same as once.
	before := w.s.View().Hash()
	after := w.do(&EnrolNode{Token: "t", Secret: secret, Node: n})
	if len(after.IDs) != 1 || w.s.View().Hash() == before {
		t.Fatal("the index did not go on")
	}
	if again, _ := w.s.View().Node("n2"); again.Revision != got.Revision {
		t.Fatal("enrolled twice")
	}
	thief := n
	thief.Key = Hash{6}
	w.refuse(&EnrolNode{Token: "t", Secret: secret, Node: thief}, Conflict, "in the cluster already")
	w.refuse(&EnrolNode{Token: "t", Secret: secret, Node: someNode("n3", "192.0.2.3")}, Forbidden, "used up")
	w.now = w.now.Add(2 * time.Hour)
	w.refuse(&EnrolNode{Token: "t", Secret: secret, Node: n}, Forbidden, "expired")
}

func TestPutJoinToken_RefusalsAndForgetting(t *testing.T) {
	w := newTown(t)
	good := JoinToken{ID: "t", Hash: Hash{1}, Uses: 1, Expires: w.now.Add(time.Hour)}
	w.do(&PutJoinToken{Token: good})
	w.refuse(&PutJoinToken{Token: good}, Conflict, "exists already")
	for words, change := range map[string]func(*JoinToken){
		"ID":   func(j *JoinToken) { j.ID = "a/b" },
		"uses": func(j *JoinToken) { j.Uses = 0 },
		"hash": func(j *JoinToken) { j.Hash = Hash{} },
		"zone": func(j *JoinToken) { j.Zone = "\x01" },
	} {
		j := good
		j.ID = "u"
		change(&j)
		w.refuse(&PutJoinToken{Token: j}, Invalid, words)
	}
	w.now = w.now.Add(48 * time.Hour)
	good.ID, good.Expires = "u", 0
	w.do(&PutJoinToken{Token: good})
	if _, ok := w.s.View().JoinToken("t"); ok {
		t.Fatal("a token that expired long ago is still there")
	}
	w.do(&DeleteJoinToken{ID: "u"})
	w.refuse(&DeleteJoinToken{ID: "u"}, NotFound, "u")
}

// A node says what it is; what an operator decided about it is not for it to change.
func TestUpdateNode_KeepsWhatTheOperatorDecided(t *testing.T) {
	w := newTown(t)
	w.do(&SetNodeService{ID: first, Service: ServiceState{Disabled: true, Reason: "fan"}})
	n := someNode(first, "192.0.2.9") // from before it moved, it may be
	n.Zone, n.Voter, n.Number, n.Version = "mine", VoterPrefer, 99, "v2"
	w.do(&UpdateNode{Node: n})
	got, _ := w.s.View().Node(first)
	if got.Zone != "z1" || got.Voter != VoterAuto || got.Number != 1 || !got.Service.Disabled || got.Version != "v2" || got.Address != "192.0.2.1" {
		t.Fatalf("node is %+v", got)
	}
	w.refuse(&UpdateNode{Node: someNode("n9", "192.0.2.9")}, NotFound, "Node n9")
	w.refuse(&SetNodeService{ID: "n9"}, NotFound, "Node n9")
	w.refuse(&SetNodeService{ID: first, Service: ServiceState{Reason: "\x00"}}, Invalid, "reason")
	for words, change := range map[string]func(*Node){
		"ratio":     func(n *Node) { n.Capacity.DiskRatio = -1 },
		"vCPUs":     func(n *Node) { n.Capacity.VCPUs = 1 << 40 },
		"name":      func(n *Node) { n.Name = "" },
		"Voter":     func(n *Node) { n.Voter = "maybe" },
		"bridges":   func(n *Node) { n.Bridges = many(65) },
		"open":      func(n *Node) { n.Open = []string{"\x00"} },
		"traits":    func(n *Node) { n.Host.Traits = []string{"\x00"} },
		"canonical": func(n *Node) { n.Address = "192.0.2.01" },
	} {
		n := someNode(first, "192.0.2.9")
		change(&n)
		w.refuse(&UpdateNode{Node: n}, Invalid, words)
	}
	w.enrol("n2", "192.0.2.2")
	twin := someNode("n2", "192.0.2.2")
	twin.Name = someNode(first, "").Name
	w.refuse(&UpdateNode{Node: twin}, Conflict, "belongs to the node n1")
}

// Two operators look at a node, one disables it and the other drains it. The second one's change was decided without knowing the
// first one's, and must not undo it.
func TestSetNodeService_OfAnOlderRevisionIsStale(t *testing.T) {
	w := newTown(t)
	seen, _ := w.s.View().Node(first)
	w.do(&SetNodeService{ID: first, Service: ServiceState{Disabled: true, Reason: "fan"}, Revision: seen.Revision})
	w.refuse(&SetNodeService{ID: first, Service: ServiceState{Draining: true}, Revision: seen.Revision}, Stale, "in the meantime")
	now, _ := w.s.View().Node(first)
	w.do(&SetNodeService{ID: first, Service: ServiceState{Disabled: true, Draining: true}, Revision: now.Revision})
	w.do(&SetNodeService{ID: first, Service: ServiceState{}}) // says that it does not matter
}

func TestCapacityLimit_CountsAsPlacementDoes(t *testing.T) {
	c := Capacity{VCPUs: 4, VCPURatio: 4000, ReservedVCPUs: 1, MemoryMiB: 1000, MemoryRatio: 1500, ReservedMemoryMiB: 2000, DiskGiB: 10, DiskRatio: 1000}
	if got := c.Limit(); got != (Resources{VCPUs: 12, DiskGiB: 10}) {
		t.Fatalf("limit is %+v", got)
	}
}
