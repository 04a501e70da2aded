package sim

import (
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// A tombstone lets the disks of the epochs up to its own go, but for the one that it keeps. The check finds whatever else goes.
func TestCheckDisks_GoesByEpoch(t *testing.T) {
	for epoch, allowed := range map[uint64]bool{1: true, 2: false, 3: true, 4: false} {
		w := &World{records: newRecords(), stop: func() {}}
		m := &machine{w: w, id: "n"}
		at := place{m.id, "i"}
		w.records.tombstones[at] = append(w.records.tombstones[at], cluster.Tombstone{Epoch: 3, Keep: 2})
		w.disksRemoved(m, "i", []uint64{epoch})
		if broken := w.violation != nil; broken == allowed {
			t.Errorf("disks of epoch %d: %v", epoch, w.violation)
		}
	}
}
