package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// Held is what a host holds of one instance.
type Held struct {
	Domain  virt.Domain
	Defined bool     // false: only its disks are left
	Disks   bool     // it has disks of its own
	Epochs  []uint64 // for which it has them, ascending

	// What the guest's memory holds: which boot of its disk it lives in, and how long its processors have run since.
	// Zero when it is off and its memory was not saved.
	Boot   int
	Uptime time.Duration

	// Wrote is what its guests wrote onto the disk that it boots from, see GuestWrite.
	Wrote string

	Root    HeldDisk // the root disk of its domain; zero: it has none of its own
	Rescued bool     // it boots from a rescue disk, which Boot and Wrote are about then
}

// HeldDisk is what a disk holds.
type HeldDisk struct {
	Epoch uint64 // that it was made for
	Boots int    // how often it was booted
	Wrote string
}

// Look tells what the host holds of an instance at this moment; false: nothing. It is for tests: it goes past every fault and
// past SetDown, and it answers after Close.
func (d *Driver) Look(id cluster.InstanceID) (Held, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.records[id]
	return held(id, r, d.cfg.Now()), ok
}

// LookAll is Look for everything that the host holds, sorted by ID.
func (d *Driver) LookAll() []Held {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Held, 0, len(d.records))
	now := d.cfg.Now()
	for id, r := range d.records {
		all = append(all, held(id, r, now))
	}
	slices.SortFunc(all, func(a, b Held) int { return strings.Compare(string(a.Domain.ID), string(b.Domain.ID)) })
	return all
}

// held describes a record as it is by now, what its guest was bound to do included.
func held(id cluster.InstanceID, r record, now time.Time) Held {
	dom := r.domain(id)
	if !r.Due.IsZero() && !r.Due.After(now) {
		dom.Power = r.DuePower
	}
	h := Held{Domain: dom, Defined: r.Defined, Disks: len(r.Storage.Files) > 0}
	for _, f := range r.Storage.Files {
		h.Epochs = append(h.Epochs, f.Epoch)
	}
	slices.Sort(h.Epochs)
	h.Epochs = slices.Compact(h.Epochs)
	if b := r.lastBoot(); b != nil && b.Off.IsZero() {
		h.Boot, h.Uptime = b.Count, b.uptime(now)
	}
	if f := r.Storage.bootFile(); f != nil {
		h.Wrote = f.Notes.Text
	}
	if f := r.Storage.own(virt.DiskRoot); f != nil && r.Defined {
		h.Root = HeldDisk{Epoch: f.Epoch, Boots: f.Notes.Boots, Wrote: f.Notes.Text}
	}
	h.Rescued = r.Defined && r.Storage.index(r.Storage.Epoch, virt.DiskRescue) >= 0
	return h
}
