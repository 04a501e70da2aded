package libvirt

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/kilonova/kilonova/virt"
)

// Many want to do something to one instance at once. They do it one after the other, and nothing is kept of it.
func TestTurns_OneAtATime(t *testing.T) {
	var (
		all    turns
		inside int // of whoever has the turn
		wg     sync.WaitGroup
	)
	for range 50 {
		wg.Go(func() {
			done, err := all.take(t.Context(), "a")
			if err != nil {
				t.Error(err)
				return
			}
			if inside++; inside != 1 {
				t.Errorf("%d at once", inside)
			}
			inside--
			done()
		})
	}
	wg.Wait()
	if len(all.held) != 0 {
		t.Errorf("%d turns are kept", len(all.held))
	}
}

// Whoever does not want to wait any more goes; another instance is not waited for.
func TestTurns_WaitingCanBeGivenUp(t *testing.T) {
	var all turns
	done, err := all.take(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := all.take(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("a second one: %v", err)
	}
	other, err := all.take(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	done()
	if len(all.held) != 0 {
		t.Errorf("%d turns are kept", len(all.held))
	}
}

// Two captures of one guest are asked for at once, as two snapshots of its volumes are. Each is whole.
func TestQEMU_CapturesOfOneGuestWaitForEachOther(t *testing.T) {
	b := newBench(t, func(g *virt.Guest) { fill(t, g, "30M") })
	b.start()
	var both sync.WaitGroup
	paths := []string{filepath.Join(b.config.DataDir, "one"), filepath.Join(b.config.DataDir, "two")}
	errs := make([]error, len(paths))
	for i, path := range paths {
		both.Go(func() { errs[i] = b.driver.Capture(b.ctx, b.id, virt.DiskRoot, path, false, nil) })
	}
	both.Wait()
	for i, path := range paths {
		b.must(fmt.Sprintf("capture %d", i), errs[i])
		b.captured(path)
	}
}
