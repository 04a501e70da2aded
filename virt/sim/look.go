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
	Defined bool // false: only its disks are left
	Disks   bool
}

// Look tells what the host holds of an instance at this moment; false: nothing. It is for tests: it goes past every fault and
// past SetDown, and it answers after Close.
func (d *Driver) Look(id cluster.InstanceID) (Held, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.records[id]
	return held(id, r, time.Now()), ok
}

// LookAll is Look for everything that the host holds, sorted by ID.
func (d *Driver) LookAll() []Held {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Held, 0, len(d.records))
	now := time.Now()
	for id, r := range d.records {
		all = append(all, held(id, r, now))
	}
	slices.SortFunc(all, func(a, b Held) int { return strings.Compare(string(a.Domain.ID), string(b.Domain.ID)) })
	return all
}

// held describes a record as it is by now, what its guest was bound to do included.
func held(id cluster.InstanceID, r record, now time.Time) Held {
	p := r.Power
	if !r.Due.IsZero() && !r.Due.After(now) {
		p = r.DuePower
	}
	return Held{
		Domain:  virt.Domain{ID: id, Name: r.Domain, Stamp: r.Stamp, Power: p, Reason: r.Reason},
		Defined: r.Defined, Disks: r.Disks,
	}
}
