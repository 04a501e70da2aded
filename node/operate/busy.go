package operate

import (
	"sync"

	"github.com/kilonova/kilonova/cluster"
)

// busy counts what goes on for each instance. What a tombstone covers must not be removed meanwhile, or the disks that are being made
// would be left over. The zero value is ready.
type busy struct {
	mu sync.Mutex
	n  map[cluster.InstanceID]int
}

// begin counts one more, until done is called.
func (b *busy) begin(id cluster.InstanceID) (done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n == nil {
		b.n = map[cluster.InstanceID]int{}
	}
	b.n[id]++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.n[id]--; b.n[id] == 0 {
			delete(b.n, id)
		}
	}
}

// Busy tells whether disks of the instance may be made here right now. It is safe for concurrent use.
func (b *busy) Busy(id cluster.InstanceID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n[id] > 0
}
