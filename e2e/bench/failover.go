package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

const (
	// Without its leader, whose process was killed, a cluster of idle machines may acknowledge nothing for this long; on two busy processors,
	// or when the leader's whole machine falls silent, for three times that.
	maxKilledMS = 1000
	maxSilentMS = 3000

	kills    = 10 // in one run
	silences = 3
	quiet    = 2 * time.Second // between two of them
)

// measureFailover takes the leader away, again and again, and counts how long it takes until the next write is acknowledged by another node: a
// leader whose process is killed, and one that only falls silent, as when its machine loses power.
func measureFailover(ctx context.Context, b *bench) error {
	t, err := b.town(ctx)
	if err != nil {
		return err
	}
	w, err := startWatch(b.dir, nil) // the nodes come and go, and count as others
	if err != nil {
		return err
	}
	var middle, slow, silent []float64
	for run := 0; run < b.runs && err == nil; run++ {
		var took []float64
		for i := 0; i < kills && err == nil; i++ {
			took, err = t.without(ctx, took, t.killed)
		}
		for i := 0; i < silences && err == nil; i++ {
			silent, err = t.without(ctx, silent, t.silenced)
		}
		middle, slow = append(middle, median(took)), append(slow, quantile(took, 0.99))
	}
	during := w.stop()
	if err != nil {
		return err
	}
	b.add(
		figure{Name: "next acknowledged write after the leader is killed, p50", Unit: "ms", Values: middle, Limit: maxKilledMS, During: during},
		figure{Name: "next acknowledged write after the leader is killed, p99", Unit: "ms", Values: slow, Limit: maxKilledMS, During: during},
		figure{Name: "next acknowledged write after the leader falls silent", Unit: "ms", Values: silent, Limit: maxSilentMS, During: during},
	)
	return nil
}

// without measures once how long a write waits when the leader is taken away, and gives all that was measured so far.
func (t *town) without(ctx context.Context, before []float64, take func(leader *peer) (giveBack func() error, err error)) ([]float64, error) {
	if err := sleep(ctx, quiet); err != nil {
		return before, err
	}
	leader, err := t.leader(ctx)
	if err != nil {
		return before, err
	}
	var other *peer
	for _, p := range t.peers {
		if p != leader {
			other = p
		}
	}
	c := t.admin.at(other.url())
	defer c.close()
	if err := c.write(ctx); err != nil { // makes the connection, too
		return before, err
	}
	began := time.Now()
	giveBack, err := take(leader)
	if err != nil {
		return before, err
	}
	err = poll(ctx, other, func() error { return c.write(ctx) })
	took := time.Since(began)
	if err := errors.Join(err, giveBack()); err != nil {
		return before, err
	}
	return append(before, millis(took)), t.waitComplete(ctx)
}

// write has the cluster commit something small.
func (c *client) write(ctx context.Context) error {
	name := fmt.Sprint("bench-", time.Now().UnixNano())
	return c.post(ctx, "/compute/v2.1/flavors", map[string]any{"flavor": map[string]any{"name": name, "ram": 128, "vcpus": 1, "disk": 1}}, nil)
}

func (t *town) killed(leader *peer) (giveBack func() error, err error) {
	if err := leader.cmd.Process.Kill(); err != nil {
		return nil, err
	}
	return func() error {
		<-leader.done
		return t.start(leader, "run")
	}, nil
}

func (t *town) silenced(leader *peer) (giveBack func() error, err error) {
	return func() error { return leader.cmd.Process.Signal(syscall.SIGCONT) }, leader.cmd.Process.Signal(syscall.SIGSTOP)
}
