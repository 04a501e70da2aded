package crash

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
func running(on, since float64, ran time.Duration, boots int) *held {
	h := &held{Defined: true, Power: virt.PowerRunning, Boots: []boot{{On: at(on), Since: at(since), Ran: ran}}}
	return h.withRoot(1, boots)
}

// still is the record of a guest whose processors do not run any more.
func still(on float64, ran time.Duration, p virt.Power, boots int) *held {
	h := &held{Defined: true, Power: p, Boots: []boot{{On: at(on), Ran: ran}}}
	return h.withRoot(1, boots)
}

func (h *held) withRoot(epoch uint64, boots int) *held {
	f := file{Epoch: epoch, ID: virt.DiskRoot}
	f.Notes.Boots = boots
	h.Storage.Epoch, h.Storage.Files = epoch, append(h.Storage.Files, f)
	return h
}

// A guest is migrated, and each host ran it in its time: they are a microsecond apart.
func TestChronicle_AHandOverIsNoSecondCopy(t *testing.T) {
	c := newChronicle()
	c.take("a", entry{"i", running(0, 0, 0, 1)})
	c.take("a", entry{"i", still(0, 5*time.Second, virt.PowerPaused, 1)})
	c.take("b", entry{"i", running(0, 5.000001, 5*time.Second, 1)})
	c.take("a", entry{"i", nil})
	if twice := c.twice(); len(twice) > 0 {
		t.Error(twice)
	}
	if n := c.booted("i"); n != 1 {
		t.Errorf("it was booted %d times", n)
	}
}

// The planted bug: a destination starts without having looked at the epoch that is committed, while the source still runs. The hosts' files are
// read in any order, and only after both have ended.
func TestChronicle_FindsTwoCopiesHoweverShort(t *testing.T) {
	a := []entry{{"i", running(0, 0, 0, 1)}, {"i", still(0, 5*time.Second, virt.PowerOff, 1)}}
	b := []entry{{"i", running(4.999, 4.999, 0, 2)}, {"i", still(4.999, time.Second, virt.PowerOff, 2)}}
	for name, order := range map[string][2]string{"the first host first": {"a", "b"}, "the second host first": {"b", "a"}} {
		t.Run(name, func(t *testing.T) {
			c := newChronicle()
			for _, host := range order {
				for _, e := range map[string][]entry{"a": a, "b": b}[host] {
					c.take(host, e)
				}
			}
			if twice := c.twice(); len(twice) != 1 || !strings.Contains(twice[0], "instance i ran on a until 12:00:05.000000 and on b from 12:00:04.999000") {
				t.Errorf("found %q", twice)
			}
		})
	}
}

// A guest is paused on one host and goes on elsewhere; later it goes on on the first, too.
func TestChronicle_FindsACopyThatWakesUp(t *testing.T) {
	c := newChronicle()
	c.take("a", entry{"i", running(0, 0, 0, 1)})
	c.take("a", entry{"i", still(0, time.Second, virt.PowerPaused, 1)})
	c.take("b", entry{"i", running(0, 2, time.Second, 1)})
	if twice := c.twice(); len(twice) > 0 {
		t.Fatal(twice)
	}
	c.take("a", entry{"i", running(0, 3, time.Second, 1)})
	if twice := c.twice(); len(twice) != 1 {
		t.Errorf("found %q", twice)
	}
}

// A host writes a shorter file now and then, and says again what is the case.
func TestChronicle_SayingItTwiceIsTheSameAsOnce(t *testing.T) {
	c := newChronicle()
	for range 2 {
		c.take("a", entry{"i", running(0, 0, 0, 1)})
	}
	if n := len(c.spans["i"]); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

// The planted bug: a copy of a disk is taken from before the guest's last boot. Its count does not fit the boots that there were.
func TestChronicle_CountsBootsWhereverTheyWere(t *testing.T) {
	c := newChronicle()
	c.take("a", entry{"i", running(0, 0, 0, 1)})
	c.take("a", entry{"i", still(0, time.Second, virt.PowerOff, 1)})
	c.take("a", entry{"i", running(2, 2, 0, 2)})
	c.take("a", entry{"i", still(2, time.Second, virt.PowerOff, 2)})
	lost := running(4, 4, 0, 2) // from a copy that counted one
	c.take("b", entry{"i", lost})
	if n := c.booted("i"); n != 3 || lost.root().Notes.Boots == n {
		t.Errorf("%d boots, and the disk counts %d", n, lost.root().Notes.Boots)
	}
	rescue := running(9, 9, 0, 3)
	rescue.Storage.Files = append(rescue.Storage.Files, file{Epoch: 1, ID: virt.DiskRescue})
	c.take("b", entry{"i", rescue})
	if n := c.booted("i"); n != 3 {
		t.Errorf("a rescue is not a boot of the guest's own disk: %d", n)
	}
}
