package main

import (
	"context"
	"fmt"
	"time"
)

const (
	// A create may take three writes to disk and this on top.
	maxSyncs      = 3
	maxOverheadMS = 5

	singles     = 50 // creates in one run
	singlePause = 50 * time.Millisecond
)

// measureLatency creates servers one after the other, with pauses, through the leader and through another node.
func measureLatency(ctx context.Context, b *bench) error {
	t, err := b.town(ctx)
	if err != nil {
		return err
	}
	s, err := t.stage(ctx)
	if err != nil {
		return err
	}
	leader, err := t.leader(ctx)
	if err != nil {
		return err
	}
	follower, err := t.follower(ctx)
	if err != nil {
		return err
	}
	for _, through := range []struct {
		name string
		peer *peer
	}{{"the leader", leader}, {"another node", follower}} {
		if err := b.runSingles(ctx, through.name, t, s, through.peer); err != nil {
			return err
		}
	}
	return t.waitActive(ctx)
}

func (b *bench) runSingles(ctx context.Context, through string, t *town, s *scene, p *peer) error {
	c := t.admin.at(p.url())
	defer c.close()
	var middle, slow []float64
	w, err := startWatch(b.dir, t.pids())
	if err != nil {
		return err
	}
	for run := range b.runs {
		var took []float64
		for i := range singles {
			if err := sleep(ctx, singlePause); err != nil {
				return err
			}
			start := time.Now()
			if err := c.post(ctx, "/compute/v2.1/servers", s.server(fmt.Sprintf("single-%d-%d", run, i), 1), nil); err != nil {
				return err
			}
			took = append(took, millis(time.Since(start)))
		}
		middle, slow = append(middle, median(took)), append(slow, quantile(took, 0.99))
	}
	during := w.stop()
	goal := func(sync time.Duration) float64 { return maxSyncs*millis(sync) + maxOverheadMS }
	b.add(
		figure{Name: "one create through " + through + ", p50", Unit: "ms", Values: middle, Limit: goal(during.SyncMedian), During: during},
		figure{Name: "one create through " + through + ", p99", Unit: "ms", Values: slow, Limit: goal(during.SyncP99), During: during},
	)
	return nil
}
