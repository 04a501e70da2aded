package libvirt

import (
	"testing"
	"time"
)

// A disk writes so many bytes a second, and others want a part of it. A copy to it must leave every step short, use a good part of what is
// left, and never stand still.
func TestNextPace_LeavesTheDiskToOthersAndUsesTheRest(t *testing.T) {
	for _, disk := range []float64{20 * mib, 100 * mib, 1 * gib} {
		speed, took, copied := uint64(paceFirst), time.Duration(0), 0.0
		var all, longest time.Duration
		for range 2000 {
			since := max(paceStep, took)
			wrote := float64(speed) * since.Seconds()
			took = time.Duration(wrote / disk * float64(time.Second))
			speed = nextPace(speed, stride{wrote: int64(wrote), since: since, took: took})
			all, copied = all+since, copied+wrote
			if all > time.Minute { // once it knows the disk
				longest = max(longest, took)
			}
		}
		if most := 2 * paceLong; longest > most {
			t.Errorf("on a disk of %.0f MiB/s a step took %v, want %v at most", disk/mib, longest, most)
		}
		if rate := copied / all.Seconds(); rate < disk/4 {
			t.Errorf("a disk of %.0f MiB/s took %.0f MiB/s", disk/mib, rate/mib)
		}
	}
}

// A disk that hangs for a while, and one on which the copy finds nothing to write, must not lead it to extremes.
func TestNextPace_StaysWithinItsBounds(t *testing.T) {
	speed := uint64(paceFirst)
	for range 100 {
		speed = nextPace(speed, stride{wrote: 1, since: paceStep, took: time.Hour})
	}
	if speed != paceLeast {
		t.Errorf("behind a disk that hangs it goes at %d, want %d", speed, paceLeast)
	}
	if next := nextPace(speed, stride{since: paceStep}); next != speed {
		t.Errorf("nothing was written, and the speed went from %d to %d", speed, next)
	}
	for range 100 {
		speed = nextPace(speed, stride{wrote: int64(speed), since: paceStep})
	}
	if speed != paceMost {
		t.Errorf("on a disk without a limit it goes at %d, want %d", speed, int64(paceMost))
	}
}

// Most of a large disk was never written to. The copy is soon through that, and does not fall upon the disk with what comes behind it.
func TestNextPace_HurriesThroughHoles(t *testing.T) {
	const hole = 100 * gib
	speed, gone := uint64(paceFirst), 0.0
	var all time.Duration
	for gone < hole {
		went := float64(speed) * paceStep.Seconds()
		speed = nextPace(speed, stride{went: int64(went), since: paceStep})
		gone, all = gone+went, all+paceStep
	}
	if most := 4 * time.Minute; all > most {
		t.Errorf("a hole of 100 GiB took %v, want %v at most", all, most)
	}
	if speed > paceHoles {
		t.Errorf("behind the hole it goes at %d, want %d at most", speed, paceHoles)
	}
	if next := nextPace(paceMost, stride{went: paceMost, since: paceStep}); next != paceMost {
		t.Errorf("a hole slowed the copy down to %d", next)
	}
}
