package node

import (
	"errors"
	"net/http"
	"testing"
	"time"
)

// A node is removed while it is down. When it comes back nobody lets it in, so it cannot read of its removal; it asks, and ends.
func TestStanding_WhoWasRemovedWhileAwayEnds(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	n2 := l.join(2, n1)
	l.until("two nodes", func() bool {
		nodes, err := n1.nodes()
		return err == nil && nodes["n2"].Status == "enabled"
	})
	if err := n2.stop(); err != nil {
		t.Fatal(err)
	}
	if err := n1.ask(http.MethodDelete, "/nodes/n2?force=true", nil, nil); err != nil {
		t.Fatal(err)
	}
	n2 = l.run(n2.cfg)
	select {
	case <-n2.done:
	case <-time.After(30 * time.Second):
		t.Fatal("the removed node goes on running")
	}
	if err := n2.stop(); !errors.Is(err, errRemoved) {
		t.Errorf("the removed node ended with %v", err)
	}
}
