package cluster

import "testing"

// The quorum is gone, and one node goes on. The lost voter never comes back under its ID, keeps the instances that it may still run, takes no new
// ones, and does not hold up commands that it does not know. Its guarded instance is started elsewhere by a later leader's word, and by that alone.
func TestRecoverCluster_GivesUpTheLostVoters(t *testing.T) {
	w := haven(t)
	w.do(&RecoverCluster{ID: "r1", Leader: "n2", Lost: []NodeID{first, "unknown"}})
	v := w.s.View()
	n, _ := v.Node(first)
	if n.Revision != v.Index() || !v.WasRemoved(first) || !v.WasRemoved("unknown") || v.WasRemoved("n2") || v.Recovered().Node != "n2" {
		t.Errorf("after it: %+v, %+v", n, v.Recovered())
	}
	if in := w.instance("a"); in.Node != first || in.Op != nil {
		t.Errorf("its instance is on %q, %+v", in.Node, in.Op)
	}
	w.do(create("new", first))
	if w.instance("new").Node != "" {
		t.Error("it takes a new instance")
	}
	w.refuse(&LoseNode{Node: first, Term: "t1"}, Stale, "Another term")
	w.do(&BeginTerm{Term: "t2", Leader: "n2"})
	w.do(&LoseNode{Node: first, Term: "t2"})
	w.is("lost", "a", first, VMActive, TaskRebuilding, StepPlacing)
	n, _ = w.s.View().Node(first)
	w.refuse(&ReturnNode{Node: first, Lost: n.Lost.At}, Conflict, "given up")
	w.do(&UpdateNode{Node: someNode("n2", "192.0.2.2")})
	up := someNode(first, "192.0.2.1")
	w.do(&UpdateNode{Node: up})
	w.do(&RemoveNode{ID: first, Force: true})
}

// A recovery that is carried out again after a crash is the same as once, and nobody gives itself up.
func TestRecoverCluster_TwiceIsTheSameAsOnce(t *testing.T) {
	w := haven(t)
	o := &RecoverCluster{ID: "r1", Leader: "n2", Lost: []NodeID{first}}
	w.do(o)
	before := w.s.View().Recovered()
	w.do(o)
	if w.s.View().Recovered() != before {
		t.Error("it was recovered again")
	}
	w.refuse(&RecoverCluster{ID: "r2", Leader: "n2", Lost: []NodeID{"n2"}}, Invalid, "itself")
	w.refuse(&RecoverCluster{ID: "r2", Leader: "n9"}, NotFound, "n9")
	w.refuse(&RecoverCluster{Leader: "n2"}, Invalid, "")
}

// A node that was given up is not waited for: commands that it does not know may be used.
func TestAllKnow_DoesNotWaitForTheExpelled(t *testing.T) {
	w := haven(t)
	old := someNode(first, "192.0.2.1")
	old.Commands = 1
	w.do(&UpdateNode{Node: old})
	rest := someNode("n2", "192.0.2.2")
	rest.Commands = CommandVersion
	w.do(&UpdateNode{Node: rest})
	if w.s.View().AllKnow(RecoveryCommands) {
		t.Error("a node that is a member does not count")
	}
	w.do(&RecoverCluster{ID: "r1", Leader: "n2", Lost: []NodeID{first}})
	if !w.s.View().AllKnow(RecoveryCommands) {
		t.Error("a node that was given up counts")
	}
}

func TestLogEnd_TheHigherTermHasMore(t *testing.T) {
	for _, c := range []struct {
		a, b LogEnd
		want bool
	}{
		{LogEnd{LastTerm: 2, Last: 5}, LogEnd{LastTerm: 1, Last: 9}, true},
		{LogEnd{LastTerm: 1, Last: 9}, LogEnd{LastTerm: 2, Last: 5}, false},
		{LogEnd{LastTerm: 2, Last: 6}, LogEnd{LastTerm: 2, Last: 5}, true},
		{LogEnd{LastTerm: 2, Last: 5, Term: 9}, LogEnd{LastTerm: 2, Last: 5}, false},
	} {
		if got := c.a.Beyond(c.b); got != c.want {
			t.Errorf("%+v beyond %+v: %v", c.a, c.b, got)
		}
	}
}
