package main

import (
	"context"
	"time"
)

// What is promised of an idle node.
const (
	maxIdleMiB     = 64
	maxIdlePercent = 1 // of one core

	idleFor    = 30 * time.Second
	settleTime = 10 * time.Second
)

// measureIdle looks at the nodes while nobody asks anything of them, soon after an administrator logged in.
func measureIdle(ctx context.Context, b *bench) error {
	t, err := b.town(ctx)
	if err != nil {
		return err
	}
	if err := t.admin.logIn(ctx, ""); err != nil {
		return err
	}
	leader, err := t.leader(ctx)
	if err != nil {
		return err
	}
	if err := sleep(ctx, settleTime); err != nil {
		return err
	}
	cpu, rss := map[string][]float64{}, map[string][]float64{}
	w, err := startWatch(b.dir, t.pids())
	if err != nil {
		return err
	}
	for range b.runs {
		used, err := t.cpuDuring(func() error { return sleep(ctx, idleFor) })
		if err != nil {
			return err
		}
		for i, p := range t.peers {
			role := "follower"
			if p == leader {
				role = "leader"
			}
			bytes, err := rssOf(p.pid())
			if err != nil {
				return err
			}
			cpu[role] = append(cpu[role], 100*used[i].Seconds()/idleFor.Seconds())
			rss[role] = append(rss[role], float64(bytes)/(1<<20))
		}
	}
	during := w.stop()
	for _, role := range []string{"leader", "follower"} {
		b.add(
			figure{Name: "idle " + role + ", memory (RSS)", Unit: "MiB", Values: rss[role], Limit: maxIdleMiB, During: during},
			figure{Name: "idle " + role + ", processor", Unit: "% of a core", Values: cpu[role], Limit: maxIdlePercent, During: during},
		)
	}
	return nil
}

// cpuDuring says how much processor time each node used while do ran.
func (t *town) cpuDuring(do func() error) ([]time.Duration, error) {
	before := make([]time.Duration, len(t.peers))
	used := make([]time.Duration, len(t.peers))
	var err error
	for i, p := range t.peers {
		if before[i], err = cpuOf(p.pid()); err != nil {
			return nil, err
		}
	}
	if err := do(); err != nil {
		return nil, err
	}
	for i, p := range t.peers {
		now, err := cpuOf(p.pid())
		if err != nil {
			return nil, err
		}
		used[i] = now - before[i]
	}
	return used, nil
}

// sleep waits, or returns why not.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
