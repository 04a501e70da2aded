package main

import (
	"context"
	"time"
)

const maxStartSeconds = 1

// measureRestart stops a node that does not lead and starts it again, and waits for its first answers. The cluster is a new one with
// 10,000 servers, each made by a request of its own.
func measureRestart(ctx context.Context, b *bench) error {
	b.close()
	t, err := b.town(ctx)
	if err != nil {
		return err
	}
	s, err := t.stage(ctx)
	if err != nil {
		return err
	}
	load := newLoad(t.admin, t.urls())
	_, err = load.run(ctx, s, manyServers)
	load.close()
	if err != nil {
		return err
	}
	if err := t.waitActive(ctx); err != nil {
		return err
	}
	p, err := t.follower(ctx)
	if err != nil {
		return err
	}
	w, err := startWatch(b.dir, t.others(p))
	if err != nil {
		return err
	}
	var healthy, answers, cpu []float64
	for range b.runs {
		first, second, used, err := t.restart(ctx, p)
		if err != nil {
			return err
		}
		healthy, answers, cpu = append(healthy, first.Seconds()), append(answers, second.Seconds()), append(cpu, used.Seconds())
		if err := t.waitComplete(ctx); err != nil {
			return err
		}
	}
	during := w.stop()
	b.add(
		figure{Name: "start with 10,000 instances, to the first answer", Unit: "s", Values: healthy, Limit: maxStartSeconds, During: during},
		figure{Name: "start with 10,000 instances, processor time to the first answer", Unit: "s", Values: cpu, During: during},
		figure{Name: "start with 10,000 instances, to a server shown to a user", Unit: "s", Values: answers, Limit: maxStartSeconds, During: during},
	)
	return nil
}

// restart says how long a node takes from its start to the first answer, and to one that needs a token and the cluster's agreement, and
// how much processor time it used for the first.
func (t *town) restart(ctx context.Context, p *peer) (healthy, answers, used time.Duration, err error) {
	if err := p.stop(); err != nil {
		return 0, 0, 0, err
	}
	start := time.Now()
	if err := t.start(p, "run"); err != nil {
		return 0, 0, 0, err
	}
	c := t.admin.at(p.url())
	defer c.close()
	if err := poll(ctx, p, func() error { return c.get(ctx, "/livez", nil) }); err != nil {
		return 0, 0, 0, err
	}
	healthy = time.Since(start)
	if used, err = cpuOf(p.pid()); err != nil {
		return 0, 0, 0, err
	}
	err = poll(ctx, p, func() error { return c.get(ctx, "/compute/v2.1/servers?limit=1", nil) })
	return healthy, time.Since(start), used, err
}

// others are the processes of all nodes but one.
func (t *town) others(but *peer) []int {
	var out []int
	for _, p := range t.peers {
		if p != but {
			out = append(out, p.pid())
		}
	}
	return out
}
