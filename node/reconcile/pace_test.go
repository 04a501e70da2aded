package reconcile

import (
	"testing"
	"time"
)

// A guest that goes off sends a few events, and the last of them must be followed at once: its user waits. A storm of them has to
// share listings, however long it lasts.
func TestDue_FollowsTheFirstEventsAtOnceAndAStormSlowly(t *testing.T) {
	const took = time.Millisecond
	now := time.Now()
	d := due{}
	d.listedAt(now.Add(-took), now)
	now = now.Add(time.Minute) // a rest
	for i := range relistBurst {
		if at := d.eager(); at.After(now) {
			t.Fatalf("listing %d after a rest has to wait %s", i+1, at.Sub(now))
		}
		d.listedAt(now, now.Add(took))
		now = now.Add(took)
	}
	if at := d.eager(); !at.After(now) {
		t.Fatalf("listing %d at once", relistBurst+1)
	}
	began, n := now, 0
	for now.Sub(began) < time.Minute {
		now = d.eager()
		d.listedAt(now, now.Add(took))
		n++
	}
	if most := int(time.Minute/relistPause) + 1; n > most {
		t.Errorf("%d listings in a minute of events, want at most %d", n, most)
	}
}
