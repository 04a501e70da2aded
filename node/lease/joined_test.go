package lease

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// A node joins long after its leader was elected. It is not taken for dead before it had the time to ask for a lease; but it is when it never does.
func TestWarden_ANewNodeHasTheTimeToAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, "")
		defer w.close()
		w.must(&cluster.BeginTerm{Term: "t1", Leader: nodeID(0)})
		var lost []cluster.NodeID
		warden := NewWarden("t1", time.Now(), func(_ context.Context, op cluster.Op) error {
			if o, ok := op.(*cluster.LoseNode); ok {
				lost = append(lost, o.Node)
			}
			return nil
		})
		attend := func() {
			t.Helper()
			view, _ := w.nodes[0].Latest()
			for _, h := range w.nodes {
				if _, err := warden.Renew(h.id, time.Now(), view); err != nil {
					t.Fatal(err)
				}
			}
			warden.Attend(t.Context(), view, func(_ string, do func() error) { _ = do() })
		}
		attend()
		time.Sleep(time.Hour)
		w.must(&cluster.PutJoinToken{Token: cluster.JoinToken{ID: "late", Hash: cluster.Hash{1}, Uses: 1, Expires: cluster.At(time.Now().Add(time.Hour))}})
		w.must(&cluster.EnrolNode{Token: "late", Secret: cluster.Hash{1}, Node: record(2)})
		view, _ := w.nodes[0].Latest()
		limit := max(quick.Dead, view.Settings().Former)
		attend()
		time.Sleep(limit - time.Second)
		attend()
		if len(lost) > 0 {
			t.Errorf("%v are taken for dead before they could ask", lost)
		}
		time.Sleep(time.Second)
		attend()
		if !slices.Equal(lost, []cluster.NodeID{nodeID(2)}) {
			t.Errorf("%v are taken for dead; want the one that never asked", lost)
		}
	})
}
