package node

import (
	"errors"
	"net/http"
	"testing"
	"time"
)

// Of two nodes only one votes, and it is the one that leaves. It must see to it that the other can go on without it before it stops,
// or the cluster would be lost with everything that it agreed on.
func TestLeave_TheOnlyVoterHandsOverFirst(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	n2 := l.join(2, n1)
	l.until("two nodes", func() bool {
		nodes, err := n2.nodes()
		return err == nil && nodes["n1"].Status == "enabled" && nodes["n2"].Status == "enabled" && nodes["n2"].Part != "none"
	})
	nodes, err := n1.nodes()
	if err != nil || nodes["n1"].Part != "leader" || nodes["n2"].Part != "non-voter" {
		t.Fatalf("before: %v, %v", nodes, err)
	}
	if err := n1.ask(http.MethodDelete, "/nodes/"+string(nodes["n1"].ID), nil, nil); err != nil {
		t.Fatalf("leave: %v", err)
	}
	select {
	case <-n1.done:
	case <-time.After(60 * time.Second):
		t.Fatal("the node that left goes on running")
	}
	if err := n1.stop(); !errors.Is(err, errRemoved) {
		t.Errorf("the node that left ended with %v", err)
	}
	l.until("the other node goes on alone", func() bool {
		nodes, err := n2.nodes()
		return err == nil && len(nodes) == 1 && nodes["n2"].Part == "leader"
	})
}
