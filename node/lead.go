package node

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
	"github.com/kilonova/kilonova/raftfsm"
)

// How often the leader looks when nothing changes, how soon again when much does, and how long a node may be silent
// before a deletion on it no longer keeps its user waiting.
const (
	leadEvery    = time.Second
	leadPause    = 10 * time.Millisecond
	forgetAfter  = 30 * time.Second
	changeMember = 5 * time.Second
	reclaimEvery = 10 * time.Second
	placeAtOnce  = 128 // proposals under way
)

// leader is what the leader does on its own account, for as long as its term lasts: it brings Raft's members in line
// with the nodes of the state, finds nodes for instances that have none, and keeps images on enough nodes.
type leader struct {
	agreement ledger
	self      cluster.NodeID
	chooser   *chooser
	hints     func() map[cluster.NodeID]placement.Hint
	lifecycle Lifecycle
	log       *slog.Logger
	refused   patience
	reclaimed time.Time // when reclaim looked last
}

// ledger is the leader's replica, as the loops use it.
type ledger interface {
	Latest() (*cluster.View, <-chan struct{})
	Propose(ctx context.Context, c cluster.Command) (cluster.Result, error)
	Members() []raftfsm.Member
	AddMember(ctx context.Context, id cluster.NodeID, addr string) error
	RemoveMember(ctx context.Context, id cluster.NodeID) error
}

// lead runs one term. It returns when ctx ends, and all that it began has ended.
func (l *leader) lead(ctx context.Context) {
	l.log.Info("leading the cluster")
	for {
		view, changed := l.agreement.Latest()
		l.chooser.hint()
		l.members(ctx, view)
		l.placeWaiting(ctx, view)
		l.moves(ctx, view)
		l.forget(ctx, view)
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
	l.log.Info("no longer leading the cluster")
}

// members adds to Raft who is in the state and not in Raft, and removes who is no longer in the state.
func (l *leader) members(ctx context.Context, view *cluster.View) {
	have := map[cluster.NodeID]raftfsm.Member{}
	for _, m := range l.agreement.Members() {
		have[m.ID] = m
	}
	for n := range view.Nodes() {
		addr := hostPort(n.Address, PeerPort)
		if m, ok := have[n.ID]; ok && m.Addr == addr {
			continue
		}
		l.change(ctx, "add "+n.Name, func(ctx context.Context) error { return l.agreement.AddMember(ctx, n.ID, addr) })
	}
	for id := range have {
		if _, ok := view.Node(id); !ok && id != l.self { // itself: see handOver
			l.change(ctx, "remove "+string(id), func(ctx context.Context) error { return l.agreement.RemoveMember(ctx, id) })
		}
	}
}

func (l *leader) change(ctx context.Context, what string, f func(context.Context) error) {
	l.patiently(ctx, "change raft's members: "+what, func() error {
		bounded, cancel := context.WithTimeout(ctx, changeMember)
		defer cancel()
		if err := f(bounded); err != nil {
			return err
		}
		l.log.Info("changed raft's members: " + what)
		return nil
	})
}

// patiently does something unless it failed a short while ago: what is refused would be refused again, and every attempt
// changes the state's index, which wakes the loop.
func (l *leader) patiently(ctx context.Context, what string, f func() error) {
	if !l.refused.due(what) {
		return
	}
	err := f()
	if ctx.Err() != nil {
		return // the term is over
	}
	if err != nil {
		wait := l.refused.failed(what)
		l.log.Warn(what, "err", err, "again_in", wait)
		return
	}
	l.refused.done(what)
}

// placeWaiting finds nodes for instances without one: those whose first choice had no room any more when they were
// committed. Many at once share an entry of the log.
func (l *leader) placeWaiting(ctx context.Context, view *cluster.View) {
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
		op, release := l.chooser.place(in)
		group.Go(func() error {
			defer release()
			l.patiently(ctx, what, func() error { return l.propose(ctx, op) })
			return nil
		})
	}
	_ = group.Wait() // each has told its own trouble
}

// forget finishes deletions that wait for a node which does not answer. The room stays taken until it does.
func (l *leader) forget(ctx context.Context, view *cluster.View) {
	for id, h := range l.hints() {
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
func (l *leader) propose(ctx context.Context, op cluster.Op) error {
	res, err := l.agreement.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op})
	if err == nil && res.Err != nil {
		return res.Err
	}
	return err
}
