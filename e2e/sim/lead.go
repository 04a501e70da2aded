package sim

import (
	"context"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// As package node has them.
const (
	leadEvery   = time.Second
	leadPause   = 10 * time.Millisecond
	forgetAfter = 30 * time.Second
)

// lead is what a leader does on its own account during one term: it finds nodes for instances that have none, and ends
// deletions that wait for a silent node.
func (w *World) lead(ctx context.Context, d *daemon) {
	for {
		view, changed := d.replica.latest()
		p := w.ledger.currentPlacer(d)
		if p == nil {
			return
		}
		p.hint(w.gossip.hints())
		w.placeWaiting(ctx, d, p, view)
		w.forget(ctx, d, view)
		w.evacuateHastily(ctx, view)
		if !pause(ctx, leadPause) {
			return
		}
		timer := time.NewTimer(leadEvery)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (l *ledger) currentPlacer(d *daemon) *placer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leader != d {
		return nil
	}
	return l.placer
}

func (w *World) placeWaiting(ctx context.Context, d *daemon, p *placer, view *cluster.View) {
	for in := range view.InstancesOn("") {
		if in.Wanted == cluster.WantDeleted || in.Status.VM != cluster.VMBuilding {
			continue
		}
		op, release := p.place(in)
		_, _ = w.ledger.propose(ctx, d, cluster.Command{Time: d.machine.clock(), Op: op}) // a refusal: the next pass decides anew
		release()
		if ctx.Err() != nil {
			return
		}
	}
}

func (w *World) forget(ctx context.Context, d *daemon, view *cluster.View) {
	hints := w.gossip.hints()
	for _, m := range w.machines {
		if h := hints[m.id]; !h.Silent || h.SilentFor < forgetAfter {
			continue
		}
		for in := range view.InstancesOn(m.id) {
			if in.Wanted == cluster.WantDeleted {
				_, _ = w.ledger.propose(ctx, d, cluster.Command{Time: d.machine.clock(), Op: &cluster.ForgetInstance{ID: in.ID}})
			}
		}
	}
}
