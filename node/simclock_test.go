package node

import (
	"os"
	"testing"
	"time"
)

// The wall clock of a simulated host is set ten minutes back, and its daemon starts again. Its guests' clock goes on as if nothing had happened. After
// a boot, and after a power cut in the middle of writing, it is what the wall clock says.
func TestSimClock_GoesOnWhenTheWallClockIsSet(t *testing.T) {
	d := &dataDir{path: t.TempDir()}
	up, wall := time.Hour, time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	begin := func(incarnation string) func() time.Time {
		t.Helper()
		now, err := d.simClock(incarnation, func() time.Time { return wall }, func() time.Duration { return up })
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	expect := func(what string, got, want time.Time) {
		t.Helper()
		if !got.Equal(want) {
			t.Errorf("%s: it is %s; want %s", what, got, want)
		}
	}
	first, began := begin("boot 1"), wall
	up, wall = up+time.Minute, wall.Add(time.Minute-10*time.Minute)
	expect("while it runs", first(), began.Add(time.Minute))
	expect("started again", begin("boot 1")(), began.Add(time.Minute))
	up = time.Minute
	expect("booted", begin("boot 2")(), wall)
	if err := os.WriteFile(d.file(simClockFile), []byte(`{"incarnation": "boot 2", "bo`), 0o600); err != nil {
		t.Fatal(err)
	}
	wall = wall.Add(time.Hour)
	expect("half written", begin("boot 2")(), wall)
}
