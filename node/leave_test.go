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

// A node is away while the only node that it knows leaves, and another takes its place that joined in the meantime. When it is back, a
// leader talks to it that it has never heard of. It must let it in, or it would never hear of anything again.
func TestReturn_ToAClusterOfStrangers(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	n2 := l.join(2, n1)
	enabled := func(from *running, names ...string) func() bool {
		return func() bool {
			nodes, err := from.nodes()
			for _, name := range names {
				if err != nil || nodes[name].Status != "enabled" || nodes[name].Part == "none" {
					return false
				}
			}
			return true
		}
	}
	l.until("two nodes", enabled(n2, "n1", "n2"))
	if err := n2.stop(); err != nil {
		t.Fatal(err)
	}
	n3 := l.join(3, n1)
	l.until("the third is in and the second is missed", func() bool {
		nodes, err := n1.nodes()
		return err == nil && enabled(n3, "n1", "n3")() && nodes["n2"].State == "down"
	})
	nodes, err := n1.nodes()
	if err != nil {
		t.Fatal(err)
	}
	if err := n1.ask(http.MethodDelete, "/nodes/"+string(nodes["n1"].ID), nil, nil); err != nil {
		t.Fatalf("leave: %v", err)
	}
	l.until("the third leads", func() bool {
		nodes, err := n3.nodes()
		return err == nil && len(nodes) == 2 && nodes["n3"].Part == "leader"
	})
	n2 = l.run(n2.cfg)
	l.until("the second one has caught up", func() bool {
		nodes, err := n2.nodes()
		return err == nil && len(nodes) == 2 && nodes["n3"].Part == "leader" && nodes["n2"].Status == "enabled"
	})
}
