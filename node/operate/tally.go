package operate

import (
	"context"
	"fmt"
	"sync"

	"github.com/kilonova/kilonova/cluster"
)

// tally counts what came of the disks of an instance, and tells of it.
type tally struct {
	w     *work
	total int64 // set before the first add

	mu   sync.Mutex
	done int64
}

func (t *tally) add(ctx context.Context, bytes int64) {
	t.mu.Lock()
	t.done += bytes
	done := min(t.done, t.total) // a disk may be read twice
	t.mu.Unlock()
	t.w.progressed()
	t.w.note(ctx, fmt.Sprintf("copying disks: %d %%", 100*done/max(1, t.total)),
		&cluster.MoveProgress{DiskTotal: t.total, DiskProcessed: done, DiskRemaining: t.total - done})
}
