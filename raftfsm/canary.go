package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

const (
	canaryFile = "canary"

	// canaryEvery is how often a leader tries its disk.
	canaryEvery = time.Second

	// termRetry is the pause before a new leader tries again to commit its first entry.
	termRetry = 50 * time.Millisecond
)

// canary writes a small file over and over while this node leads. A disk that hangs stops raft's main loop but
// not its heartbeats, so followers would stay with a leader that can commit nothing. When a write does not end,
// the canary silences the leader: it steps down for lack of a majority, or, if it cannot even do that, another is
// elected over its head. Asking raft for a transfer would need the main loop that hangs. While the log is written the
// canary is spared: what is committed meanwhile would only wait for the disk twice.
type canary struct {
	r    *Raft
	path string
	born time.Time
	log  atomic.Int64 // nanoseconds from born to the end of the log's last write
	took atomic.Int64 // nanoseconds of the last write
}

func newCanary(r *Raft) *canary {
	return &canary{r: r, path: filepath.Join(r.cfg.Dir, canaryFile), born: time.Now()}
}

// spare says that the log has just been written.
func (c *canary) spare() { c.log.Store(int64(time.Since(c.born))) }

// needed tells whether it is not known that the disk works.
func (c *canary) needed() bool { return time.Since(c.born)-time.Duration(c.log.Load()) >= canaryEvery }

func (c *canary) run() {
	tick := time.NewTicker(canaryEvery)
	defer tick.Stop()
	stall := time.NewTimer(0)
	<-stall.C
	defer stall.Stop()
	done := make(chan error, 1)
	var began time.Time // zero: no write is under way
	for {
		select {
		case <-tick.C:
			if !began.IsZero() || !c.needed() || !c.r.IsLeader() {
				continue
			}
			began = time.Now()
			stall.Reset(c.r.cfg.Timing.DiskStall)
			c.r.loops.Go(func() { done <- c.r.cfg.seams.touch(c.path) })
		case <-stall.C:
			c.r.cfg.Log.Warn("the disk has stalled: this node gives up leading", "for", time.Since(began))
			c.r.trans.muted.Store(true)
		case err := <-done:
			c.took.Store(int64(time.Since(began)))
			began = time.Time{}
			stall.Stop()
			c.r.trans.muted.Store(false)
			if err != nil {
				c.r.fault.fail(fmt.Errorf("try the disk: %w", err))
			}
		case <-c.r.closing:
			return
		}
	}
}

// touch writes over the file and waits until the disk has it. The size never changes, so a full disk is no error.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("kilonova"), 0)
	return errors.Join(err, f.Sync(), f.Close())
}

// waitTimer waits, or returns false when ctx ends first.
func waitTimer(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
