package sim

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// How often guests write, and all domains are looked at.
const (
	scribbleEvery = 300 * time.Millisecond
	watchEvery    = 250 * time.Millisecond
)

// diskKey names a root disk: an instance has one for each disk epoch.
type diskKey struct {
	id    cluster.InstanceID
	epoch uint64
}

// annal is what a root disk, and the memory that was last booted from it, have to hold. A disk begins with what it was made from, and
// is only ever appended to. So a move that is reverted goes back to the very disk that it left, and a rebuild begins anew.
type annal struct {
	text   string
	boots  int           // of the disk
	boot   int           // that the memory lives in
	uptime time.Duration // of the memory, when it was seen last
}

// annals are those of all disks. The lock of records guards them.
type annals struct {
	disks map[diskKey]*annal
	from  map[diskKey]origin
	last  map[cluster.InstanceID]uint64 // disk epoch that is committed
}

// origin is what a disk was made from.
type origin struct {
	parent uint64 // disk epoch; 0: an image
	image  cluster.Hash
}

func newAnnals() annals {
	return annals{disks: map[diskKey]*annal{}, from: map[diskKey]origin{}, last: map[cluster.InstanceID]uint64{}}
}

// lineage takes down where the disks of an instance come from. anew tells that what was committed begins with an image.
func (a *annals) lineage(in *cluster.Instance, anew bool) {
	image := origin{}
	for _, img := range in.Images {
		if img.Part == cluster.BootDisk {
			image.image = img.Root
		}
	}
	if m := moveOf(in); m != nil && m.Epoch != 0 {
		from := origin{parent: m.WasDisk}
		if in.Op.Kind == cluster.OpEvacuate {
			from = image
		}
		a.note(diskKey{in.ID, m.Epoch}, from)
	}
	now := in.DiskEpoch()
	from := origin{parent: a.last[in.ID]}
	if anew || from.parent == 0 {
		from = image
	}
	a.note(diskKey{in.ID, now}, from)
	a.last[in.ID] = now
}

func (a *annals) note(k diskKey, from origin) {
	if _, known := a.from[k]; !known {
		a.from[k] = from
	}
}

func moveOf(in *cluster.Instance) *cluster.Move {
	if in.Op == nil {
		return nil
	}
	return in.Op.Move
}

// annal finds what a disk has to hold. Its first sight makes it: by then nothing is written to what it was made from any more.
func (w *World) annal(k diskKey) *annal {
	all := &w.records.annals
	if a := all.disks[k]; a != nil {
		return a
	}
	a := &annal{}
	switch from := all.from[k]; {
	case from.parent == k.epoch: // never: an epoch is not made from itself
	case from.parent != 0:
		*a = *w.annal(diskKey{k.id, from.parent})
	default:
		a.text = w.blobs.text(from.image)
	}
	all.disks[k] = a
	return a
}

// examine compares a domain with what it has to hold. Records are locked.
func (w *World) examine(m *machine, h sim.Held) {
	if !h.Defined || h.Root.Epoch == 0 || h.Domain.Stamp.Instance != h.Domain.ID {
		return
	}
	k := diskKey{h.Domain.ID, h.Root.Epoch}
	if _, known := w.records.annals.from[k]; !known {
		return // of an instance that was planted, or that the start's own check finds
	}
	a := w.annal(k)
	if h.Root.Wrote != a.text {
		w.broken(CheckContent, "the disk of %s on machine %d, made for epoch %d, holds %q, and %q was written to it", k.id, m.number, k.epoch,
			tail(h.Root.Wrote), tail(a.text))
	}
	if h.Root.Boots < a.boots {
		w.broken(CheckContent, "the disk of %s on machine %d, made for epoch %d, was booted %d times, and %d times before", k.id, m.number, k.epoch,
			h.Root.Boots, a.boots)
	}
	a.boots = h.Root.Boots
	if h.Rescued || h.Boot == 0 {
		return
	}
	if h.Boot < a.boot || h.Boot == a.boot && h.Uptime < a.uptime {
		w.broken(CheckMemory, "the memory of %s on machine %d lives %v in boot %d: it lived %v in boot %d before", k.id, m.number, h.Uptime, h.Boot,
			a.uptime, a.boot)
	}
	a.boot, a.uptime = h.Boot, h.Uptime
}

// tail is the end of a text.
func tail(s string) string { return s[max(0, len(s)-shownText):] }

const shownText = 60

// watch looks at all domains, again and again.
func (w *World) watch(ctx context.Context) {
	if !w.thorough() {
		return // what starts is looked at
	}
	for line := 0; pause(ctx, watchEvery); {
		w.look()
		if w.now()/uint64(scribbleEvery) != (w.now()-uint64(watchEvery))/uint64(scribbleEvery) {
			line++
			w.scribble(line)
		}
	}
}

// look asks of all domains together that no instance runs twice, and of each that it holds what it has to.
func (w *World) look() {
	w.records.mu.Lock()
	defer w.records.mu.Unlock()
	at := map[cluster.InstanceID]*machine{}
	seen := make([][]sim.Held, len(w.machines))
	for i, m := range w.machines {
		seen[i] = m.driver.LookAll()
		for _, h := range seen[i] {
			if h.Domain.Power != virt.PowerRunning {
				continue
			}
			id := h.Domain.ID
			if other := at[id]; other != nil {
				if again, _ := other.driver.Look(id); again.Domain.Power == virt.PowerRunning {
					w.broken(CheckOne, "instance %s runs on machines %d and %d", id, other.number, m.number)
				}
			}
			at[id] = m
		}
	}
	for i, m := range w.machines {
		for _, h := range seen[i] {
			w.examine(m, h)
		}
	}
}

// scribble lets a guest write a line to its disk.
func (w *World) scribble(line int) {
	m := w.machines[w.dice.below(len(w.machines), "scribble at", w.now())]
	all := m.driver.LookAll()
	if len(all) == 0 {
		return
	}
	h := all[w.dice.below(len(all), "scribble in", w.now())]
	if h.Domain.Power != virt.PowerRunning || h.Rescued {
		return
	}
	w.records.mu.Lock()
	defer w.records.mu.Unlock()
	w.examine(m, h)
	text := fmt.Sprintf("line %d", line)
	if m.driver.GuestWrite(h.Domain.ID, text) != nil {
		return // it stopped at this very moment
	}
	now, _ := m.driver.Look(h.Domain.ID)
	if strings.HasSuffix(now.Root.Wrote, text+"\n") {
		w.annal(diskKey{h.Domain.ID, now.Root.Epoch}).text += text + "\n"
	}
}
