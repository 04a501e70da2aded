package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/virt"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// at is a moment of a made-up history.
func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

// running is the record of a guest that was booted at a moment and whose processors run since another.
func running(On, since float64, ran time.Duration, boots int) *Held {
	h := &Held{Defined: true, Power: virt.PowerRunning, Boots: []Boot{{On: at(On), Since: at(since), Ran: ran}}}
	return h.withRoot(1, boots)
}

// still is the record of a guest whose processors do not run any more.
func still(On float64, ran time.Duration, p virt.Power, boots int) *Held {
	h := &Held{Defined: true, Power: p, Boots: []Boot{{On: at(On), Ran: ran}}}
	return h.withRoot(1, boots)
}

func (h *Held) withRoot(epoch uint64, boots int) *Held {
	f := File{Epoch: epoch, ID: virt.DiskRoot}
	f.Notes.Boots = boots
	h.Storage.Epoch, h.Storage.Files = epoch, append(h.Storage.Files, f)
	return h
}

// A guest is migrated, and each host ran it in its time: they are a microsecond apart.
func TestChronicle_AHandOverIsNoSecondCopy(t *testing.T) {
	c := NewChronicle()
	c.Take("a", Entry{"i", running(0, 0, 0, 1)})
	c.Take("a", Entry{"i", still(0, 5*time.Second, virt.PowerPaused, 1)})
	c.Take("b", Entry{"i", running(0, 5.000001, 5*time.Second, 1)})
	c.Take("a", Entry{"i", nil})
	if Twice := c.Twice(); len(Twice) > 0 {
		t.Error(Twice)
	}
	if n := c.Booted("i"); n != 1 {
		t.Errorf("it was booted %d times", n)
	}
}

// The planted bug: a destination starts without having looked at the epoch that is committed, while the source still runs. The hosts' files are
// read in any order, and only after both have ended.
func TestChronicle_FindsTwoCopiesHoweverShort(t *testing.T) {
	a := []Entry{{"i", running(0, 0, 0, 1)}, {"i", still(0, 5*time.Second, virt.PowerOff, 1)}}
	b := []Entry{{"i", running(4.999, 4.999, 0, 2)}, {"i", still(4.999, time.Second, virt.PowerOff, 2)}}
	for name, order := range map[string][2]string{"the first host first": {"a", "b"}, "the second host first": {"b", "a"}} {
		t.Run(name, func(t *testing.T) {
			c := NewChronicle()
			for _, host := range order {
				for _, e := range map[string][]Entry{"a": a, "b": b}[host] {
					c.Take(host, e)
				}
			}
			if Twice := c.Twice(); len(Twice) != 1 || !strings.Contains(Twice[0], "instance i ran on a until 12:00:05.000000 and on b from 12:00:04.999000") {
				t.Errorf("found %q", Twice)
			}
		})
	}
}

// A guest is paused on one host and goes on elsewhere; later it goes on on the first, too.
func TestChronicle_FindsACopyThatWakesUp(t *testing.T) {
	c := NewChronicle()
	c.Take("a", Entry{"i", running(0, 0, 0, 1)})
	c.Take("a", Entry{"i", still(0, time.Second, virt.PowerPaused, 1)})
	c.Take("b", Entry{"i", running(0, 2, time.Second, 1)})
	if Twice := c.Twice(); len(Twice) > 0 {
		t.Fatal(Twice)
	}
	c.Take("a", Entry{"i", running(0, 3, time.Second, 1)})
	if Twice := c.Twice(); len(Twice) != 1 {
		t.Errorf("found %q", Twice)
	}
}

// A host writes a shorter file now and then, and says again what is the case.
func TestChronicle_SayingItTwiceIsTheSameAsOnce(t *testing.T) {
	c := NewChronicle()
	for range 2 {
		c.Take("a", Entry{"i", running(0, 0, 0, 1)})
	}
	if n := len(c.spans["i"]); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

// The planted bug: a copy of a disk is taken from before the guest's last boot. Its count does not fit the boots that there were.
func TestChronicle_CountsBootsWhereverTheyWere(t *testing.T) {
	c := NewChronicle()
	c.Take("a", Entry{"i", running(0, 0, 0, 1)})
	c.Take("a", Entry{"i", still(0, time.Second, virt.PowerOff, 1)})
	c.Take("a", Entry{"i", running(2, 2, 0, 2)})
	c.Take("a", Entry{"i", still(2, time.Second, virt.PowerOff, 2)})
	lost := running(4, 4, 0, 2) // from a copy that counted one
	c.Take("b", Entry{"i", lost})
	if n := c.Booted("i"); n != 3 || lost.Root().Notes.Boots == n {
		t.Errorf("%d boots, and the disk counts %d", n, lost.Root().Notes.Boots)
	}
	rescue := running(9, 9, 0, 3)
	rescue.Storage.Files = append(rescue.Storage.Files, File{Epoch: 1, ID: virt.DiskRescue})
	c.Take("b", Entry{"i", rescue})
	if n := c.Booted("i"); n != 3 {
		t.Errorf("a rescue is not a boot of the guest's own disk: %d", n)
	}
}

// A host loses its power. What it writes of its guest when it is back, that it ran all the time, is not so.
func TestChronicle_APowerCutEndsWhatRan(t *testing.T) {
	c := NewChronicle()
	c.Take("a", Entry{"i", running(0, 0, 0, 1)})
	c.CutPower("a", at(5))
	c.Take("b", Entry{"i", running(7, 7, 0, 2)})
	c.Take("a", Entry{"i", still(0, 9*time.Second, virt.PowerOff, 1)})
	if twice := c.Twice(); len(twice) > 0 {
		t.Error(twice)
	}
	c.Take("a", Entry{"i", running(10, 10, 0, 3)})
	if twice := c.Twice(); len(twice) != 1 {
		t.Errorf("it was started again while it ran elsewhere, and found is %q", twice)
	}
}

// A daemon stands still for longer than its node's lease: a watchdog would have killed the guest, which is started elsewhere. What overlaps before or after
// is found.
func TestChronicle_AWatchdogEndsWhatTheDaemonCannot(t *testing.T) {
	for name, c := range map[string]struct {
		since, until float64 // the other copy
		twice        int
	}{"meanwhile": {6, 7, 0}, "too early": {4.9, 7, 1}, "for too long": {6, 8.1, 1}, "later": {9, 10, 1}} {
		t.Run(name, func(t *testing.T) {
			h := NewChronicle()
			h.Take("a", Entry{"i", running(0, 0, 0, 1)})
			h.Ended("a", "i", at(5))
			h.Ended("a", "i", at(6))
			h.MayRun("a", "i", at(8))
			h.Take("b", Entry{"i", running(c.since, c.since, 0, 2)})
			h.Take("b", Entry{"i", still(c.since, time.Duration((c.until-c.since)*float64(time.Second)), virt.PowerOff, 2)})
			if twice := h.Twice(); len(twice) != c.twice {
				t.Errorf("found %q", twice)
			}
		})
	}
}

// with gives a record another volume.
func (h *Held) with(volume string) *Held {
	h.Storage.Volumes = append(h.Storage.Volumes, struct {
		ID string `json:"id"`
	}{volume})
	return h
}

// The planted bug: a volume is given to a second guest while the first one runs and has it. One that was taken away first, or whose guest ended, may be given.
func TestChronicle_FindsTwoWriters(t *testing.T) {
	c := NewChronicle()
	c.Take("a", Entry{"i", running(0, 0, 0, 1).with("v")})
	c.Take("a", Entry{"i", still(0, 5*time.Second, virt.PowerOff, 1).with("v")})
	c.Take("b", Entry{"j", running(5.1, 5.1, 0, 1).with("v")})
	if twice := c.Twice(); len(twice) > 0 {
		t.Fatal(twice)
	}
	c.Take("b", Entry{"j", running(5.1, 5.1, 0, 1)})
	c.Take("b", Entry{"k", running(7, 7, 0, 1).with("w")})
	c.Take("b", Entry{"l", running(8, 8, 0, 1).with("w")})
	c.Take("a", Entry{"m", running(9, 9, 0, 1).with("x")})
	c.Take("b", Entry{"m", running(9.5, 9.5, 0, 1).with("x")})
	twice := c.Twice()
	if len(twice) != 3 || !strings.Contains(strings.Join(twice, "\n"), "volume w had k on b until now and l on b from 12:00:08") {
		t.Errorf("found %q", twice)
	}
}
