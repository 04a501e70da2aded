package cluster

import "testing"

// A node has moved to another address. It is found there by whoever looks, and its old address is free for another one. A copy of its data directory
// that says it has moved, too, from where the node was once, is refused.
func TestRelocateNode_OnceAndFromWhereItIs(t *testing.T) {
	w := haven(t)
	move := &RelocateNode{ID: "n2", From: []string{"192.0.2.2"}, To: "192.0.2.22"}
	w.do(move)
	n, _ := w.s.View().Node("n2")
	if n.Address != "192.0.2.22" || n.Revision != w.s.View().Index() {
		t.Errorf("the node is %+v", n)
	}
	before := n.Revision
	w.do(move)
	if n, _ = w.s.View().Node("n2"); n.Revision != before {
		t.Error("the second time changed something")
	}
	w.refuse(&RelocateNode{ID: "n2", From: []string{"192.0.2.2"}, To: "192.0.2.23"}, Stale, "192.0.2.22")
	w.refuse(&RelocateNode{ID: "n2", From: []string{"192.0.2.22"}, To: "192.0.2.1"}, Conflict, "belongs to")
	w.refuse(&RelocateNode{ID: "n2", From: []string{"192.0.2.22"}, To: "nowhere"}, Invalid, "")
	w.refuse(&RelocateNode{ID: "n9", From: []string{"192.0.2.22"}, To: "192.0.2.9"}, NotFound, "n9")
	w.enrol("n3", "192.0.2.2")
	w.do(&RecoverCluster{ID: "r1", Leader: first, Lost: []NodeID{"n2"}})
	w.refuse(&RelocateNode{ID: "n2", From: []string{"192.0.2.22"}, To: "192.0.2.9"}, Conflict, "removed")
}
