package sim

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/lead"
)

// lifecycle is short, so that what users leave open ends within a round.
var lifecycle = lead.Lifecycle{ResizeConfirm: 20 * time.Second}

// lead is what a leader does on its own account during one term.
func (w *World) lead(ctx context.Context, d *daemon) {
	var granting sync.WaitGroup
	defer granting.Wait()
	if w.leased() {
		granting.Go(func() { w.grantLeases(ctx, d) })
	}
	lead.New(lead.Config{
		Cluster: &throne{w: w, d: d}, Chooser: d.chooser, Hints: w.gossip.hints, Lifecycle: lifecycle,
		Duties: []lead.Duty{func(ctx context.Context, view *cluster.View, _ func(string, func() error)) {
			w.evacuateHastily(ctx, view)
		}, func(ctx context.Context, view *cluster.View, patiently func(string, func() error)) {
			w.loseSilent(ctx, d, view, patiently)
		}},
		Log: slog.New(slog.DiscardHandler),
	}).Run(ctx)
}

// throne is the replicated state as a leader reaches it. It implements lead.Cluster.
type throne struct {
	w *World
	d *daemon
}

// Latest implements lead.Cluster.
func (t *throne) Latest() (*cluster.View, <-chan struct{}) { return t.d.replica.latest() }

// Propose implements lead.Cluster.
func (t *throne) Propose(ctx context.Context, c cluster.Command) (cluster.Result, error) {
	c.Time = c.Time.Add(t.d.machine.skewed())
	if o, ok := c.Op.(*cluster.PlaceMove); ok && t.w.cfg.Bug == BugDeafLeader {
		o.Answers = false
	}
	return t.w.ledger.propose(ctx, t.d, c)
}
