package node

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A reader may only rely on a barrier that began after it asked: one that was under way already may have missed a change that was
// acknowledged in between. All who wait at the same time share the next one.
func TestSharedBarrier_ReadersUseOneThatBeganAfterThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var began atomic.Uint64
		b := newSharedBarrier(func(context.Context) (uint64, error) {
			n := began.Add(1)
			time.Sleep(time.Second)
			return n, nil
		})
		defer b.close()
		first := make(chan uint64, 1)
		go func() { n, _ := b.wait(t.Context()); first <- n }()
		time.Sleep(500 * time.Millisecond) // the first is under way
		const many = 20
		late := make(chan uint64, many)
		for range many {
			go func() { n, _ := b.wait(t.Context()); late <- n }()
		}
		if n := <-first; n != 1 {
			t.Errorf("the first reader used barrier %d", n)
		}
		for range many {
			if n := <-late; n != 2 {
				t.Errorf("a reader that came during barrier 1 used barrier %d", n)
			}
		}
		if began.Load() != 2 {
			t.Errorf("%d barriers for %d readers", began.Load(), many+1)
		}
	})
}

// The node stops while nobody answers. Whoever waits hears of it at once, and nothing is left running.
func TestSharedBarrier_CloseEndsWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSharedBarrier(func(ctx context.Context) (uint64, error) { <-ctx.Done(); return 0, ctx.Err() })
		got := make(chan error, 2)
		for range cap(got) {
			go func() { _, err := b.wait(t.Context()); got <- err }()
			synctest.Wait()
		}
		start := time.Now()
		b.close()
		for range cap(got) {
			if err := <-got; err == nil {
				t.Error("a barrier that never was succeeded")
			}
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("closing took %v", took)
		}
		if _, err := b.wait(t.Context()); !errors.Is(err, errStopping) {
			t.Errorf("after close: %v", err)
		}
	})
}
