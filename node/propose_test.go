package node

import (
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// A node's clock is an hour ahead, another's an hour behind. Only the first may not have its way: the state does not go back in
// time anyhow.
func TestNotAhead_TheLeadersClockIsTheLatest(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ proposed, logged time.Duration }{{time.Hour, 0}, {0, 0}, {-time.Hour, -time.Hour}} {
		got := notAhead(cluster.Command{Time: cluster.At(now.Add(c.proposed))}, now)
		if want := cluster.At(now.Add(c.logged)); got.Time != want {
			t.Errorf("proposed %v from the leader's clock: logged %v from it", c.proposed, got.Time.Std().Sub(now))
		}
	}
}
