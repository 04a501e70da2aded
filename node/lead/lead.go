package lead

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

// How often the leader looks when nothing changes, how soon again when much does, and how long a node may be silent
// before a deletion on it no longer keeps its user waiting.
const (
	leadEvery    = time.Second
	leadPause    = 10 * time.Millisecond
	forgetAfter  = 30 * time.Second
	reclaimEvery = 10 * time.Second
	placeAtOnce  = 128 // proposals under way
)

// Cluster is the leader's replica.
type Cluster interface {
	// Latest returns the newest view and a channel that is closed when there is a newer one.
	Latest() (*cluster.View, <-chan struct{})

	// Propose commits a command. A refusal may come as an error or in the result.
	Propose(ctx context.Context, c cluster.Command) (cluster.Result, error)
}

// Duty is something more that the leader looks after. Patiently does what it is given unless the same failed a short
// while ago.
type Duty func(ctx context.Context, view *cluster.View, patiently func(what string, do func() error))

// Config is what a Leader is made of.
type Config struct {
	Cluster   Cluster
	Chooser   *Chooser
	Hints     func() map[cluster.NodeID]placement.Hint // what gossip says; nobody changes it
	Lifecycle Lifecycle
	Duties    []Duty // are attended to before all others in each pass
	Log       *slog.Logger
}

// Leader is what the leader does on its own account, for as long as its term lasts. Make it with New, then call Run.
type Leader struct {
	Config
	refused   patience
	reclaimed time.Time // when reclaim looked last
	drained   time.Time // when drain did
	mirrored  time.Time // when replicas did
	rid       time.Time // when retireCopies did
	awaited   time.Time // when stopAwaiting did
	drains    map[cluster.InstanceID]drainTry
	retired   map[cluster.InstanceID]bool       // whose copy left a drained node, and is not current elsewhere yet
	orphans   map[cluster.OperationID]time.Time // when this leader saw first that the node of what is started elsewhere was removed
}

// New makes the leader of one term.
func New(c Config) *Leader { return &Leader{Config: c} }

// Run is one term. It returns when ctx ends, and all that it began has ended.
func (l *Leader) Run(ctx context.Context) {
	l.Log.Info("leading the cluster")
	for {
		view, changed := l.Cluster.Latest()
		l.Chooser.hint()
		for _, duty := range l.Duties {
			duty(ctx, view, func(what string, do func() error) { l.patiently(ctx, what, do) })
		}
		l.placeWaiting(ctx, view)
		l.restarts(ctx, view)
		l.moves(ctx, view)
		l.stopAwaiting(ctx, view)
		l.forget(ctx, view)
		l.tend(ctx, view)
		l.replicas(ctx, view)
		l.retireCopies(ctx, view)
		l.drain(ctx, view)
		l.reclaim(ctx, view)
		l.refused.tidy()
		if !pause(ctx, leadPause) {
			break
		}
		timer := time.NewTimer(leadEvery)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	l.Log.Info("no longer leading the cluster")
}

// patiently does something unless it failed a short while ago: what is refused would be refused again, and every attempt
// changes the state's index, which wakes the loop.
func (l *Leader) patiently(ctx context.Context, what string, f func() error) {
	if !l.refused.due(what) {
		return
	}
	err := f()
	if ctx.Err() != nil {
		return // the term is over
	}
	if err != nil {
		wait := l.refused.failed(what)
		l.Log.Warn(what, "err", err, "again_in", wait)
		return
	}
	l.refused.done(what)
}

// placeInstance proposes a choice. What the state would refuse again ends in error, with the reason.
func (l *Leader) placeInstance(ctx context.Context, in *cluster.Instance, op *cluster.PlaceInstance) error {
	err := l.propose(ctx, op)
	if op.Node == "" || !hopeless(err, in.Spec.Scheduling.Forced) {
		return err
	}
	none := *op
	none.Node = ""
	none.Explanation.Node, none.Explanation.NodeName, none.Explanation.Reasons = "", "", []string{err.Error()}
	return l.propose(ctx, &none)
}

// placeWaiting finds nodes for instances without one: those whose first choice had no room any more when they were
// committed. Many at once share an entry of the log.
func (l *Leader) placeWaiting(ctx context.Context, view *cluster.View) {
	if view.Restored().Held() {
		return // each would be refused, and those that no node has room for yet would end in error
	}
	var group errgroup.Group
	group.SetLimit(placeAtOnce)
	for in := range view.InstancesOn("") {
		if !in.WaitsForNode() || ctx.Err() != nil {
			continue
		}
		what := "place instance " + string(in.ID)
		if !l.refused.due(what) {
			continue
		}
		op, release := l.Chooser.place(in)
		group.Go(func() error {
			defer release()
			l.patiently(ctx, what, func() error { return l.placeInstance(ctx, in, op) })
			return nil
		})
	}
	_ = group.Wait() // each has told its own trouble
}

// forget finishes deletions that wait for a node which does not answer. The room stays taken until it does.
func (l *Leader) forget(ctx context.Context, view *cluster.View) {
	for id, h := range l.Hints() {
		if !h.Silent || h.SilentFor < forgetAfter {
			continue
		}
		for in := range view.InstancesOn(id) {
			if in.Wanted == cluster.WantDeleted {
				l.patiently(ctx, "finish the deletion on a silent node of instance "+string(in.ID), func() error {
					return l.propose(ctx, &cluster.ForgetInstance{ID: in.ID})
				})
			}
		}
	}
}

// propose commits an op of the leader's own. A refusal is an error.
func (l *Leader) propose(ctx context.Context, op cluster.Op) error {
	res, err := l.Cluster.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op})
	if err == nil && res.Err != nil {
		return res.Err
	}
	return err
}

// pause waits, or returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
