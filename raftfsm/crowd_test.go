package raftfsm

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A single proposer never waits for others; after an entry that many shared, the next one does, but not for long.
func TestCrowd_OnlyACrowdIsWaitedFor(t *testing.T) {
	for name, c := range map[string]struct {
		last crowd
		want time.Duration
	}{
		"nothing yet":        {crowd{}, 0},
		"one on a slow disk": {crowd{1, time.Second}, 0},
		"many":               {crowd{20, 6 * time.Millisecond}, 3 * time.Millisecond},
		"many, slow disk":    {crowd{20, time.Second}, maxPatience},
	} {
		if got := c.last.patience(); got != c.want {
			t.Errorf("%s: it waits for %v, want %v", name, got, c.want)
		}
	}
}

// Many propose at once and then go away. The one who comes next, and alone, is answered after maxPatience at the latest, and those
// after it at once.
func TestPropose_ACrowdThatLeftDelaysNobodyForLong(t *testing.T) {
	synctest.Test(t, crowdThatLeftDelaysNobodyForLong)
}

func crowdThatLeftDelaysNobodyForLong(t *testing.T) {
	l := newLab(t)
	leader := l.found()
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() { l.must(leader, project(i)) })
	}
	wg.Wait()
	for i := range 10 {
		start := time.Now()
		if _, err := leader.Propose(context.Background(), project(100+i)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > maxPatience || i > 5 && took > 0 {
			t.Errorf("proposal %d after the crowd took %v", i, took)
		}
	}
}
