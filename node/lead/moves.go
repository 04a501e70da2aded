package lead

import (
	"context"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

// copyGivenUp is how long the destination of a move may be silent before the instance goes back to what it was. Nothing
// runs at the destination yet, so going back is safe.
const copyGivenUp = time.Minute

// awaitGivenUp is how long a node that an operator says is down has to be silent before nothing waits for it any more, and awaitEvery how
// often that is looked at.
const (
	awaitGivenUp = 30 * time.Second
	awaitEvery   = time.Second
)

// Lifecycle is how long the cluster waits before it does by itself what a user left open.
type Lifecycle struct {
	ResizeConfirm  time.Duration // a resize is confirmed after it; 0: never, Nova's resize_confirm_window
	DeferredDelete time.Duration // a deleted instance may be restored until then; 0: not at all, Nova's reclaim_instance_interval
}

// moves brings on what waits for the leader in the operations under way.
func (l *Leader) moves(ctx context.Context, view *cluster.View) {
	for in := range view.UnderWay() {
		if ctx.Err() != nil {
			return
		}
		switch in.Op.Step {
		case cluster.StepPlacing:
			if !in.Op.Move.Auto && (in.Op.Kind != cluster.OpEvacuate || in.Mode.Await == "" && l.knows(in.Op.Move.From)) {
				l.placeMove(ctx, in)
			}
		case cluster.StepCopying:
			l.giveUpCopy(ctx, in)
		case cluster.StepWaiting:
			l.confirm(ctx, in)
		}
	}
}

// knows tells whether gossip says that a node answers, or that it does not. A leader that was started a moment ago may not have heard
// of it yet: taken for one that answers, a dead node would be waited for.
func (l *Leader) knows(node cluster.NodeID) bool {
	h := l.Hints()[node]
	return h.Silent || h.SilentFor == 0
}

func (l *Leader) placeMove(ctx context.Context, in *cluster.Instance) {
	l.patiently(ctx, "find a destination for instance "+string(in.ID), func() error {
		op, release := l.Chooser.placeMove(in)
		defer release()
		op.Answers = in.Op.Kind == cluster.OpEvacuate && !l.Hints()[in.Op.Move.From].Silent
		err := l.propose(ctx, op)
		if op.Node == "" || !hopeless(err, in.Op.Move.Forced) {
			return err
		}
		return l.propose(ctx, &cluster.PlaceMove{ID: op.ID, Operation: op.Operation,
			Explanation: cluster.Explanation{At: op.Explanation.At, Considered: op.Explanation.Considered, Reasons: []string{err.Error()}}})
	})
}

// hopeless tells whether the state would refuse a choice again. That a node has no room any more is news to the chooser, unless it was
// told to look at nothing else.
func hopeless(err error, forced bool) bool {
	switch cluster.CodeOf(err) {
	case cluster.Invalid, cluster.Conflict:
		return true
	case cluster.NoRoom:
		return forced
	}
	return false
}

// giveUpCopy ends a move whose destination is gone before it has anything that runs.
func (l *Leader) giveUpCopy(ctx context.Context, in *cluster.Instance) {
	h := l.Hints()[in.Op.Move.To]
	if !h.Silent || h.SilentFor < copyGivenUp {
		return
	}
	l.patiently(ctx, "end the move to a silent node of instance "+string(in.ID), func() error {
		return l.propose(ctx, &cluster.AdvanceOperation{Node: in.Op.Move.To, ID: in.ID, Operation: in.Op.ID, Step: in.Op.Step,
			Error: "The destination does not answer any more."})
	})
}

// stopAwaiting ends the waiting for nodes that an operator has given up, and that have been silent for a while: one that was given up too
// soon, or in the middle of a move. Neither the word nor the silence is enough alone. It looks at every node, so not at each change.
func (l *Leader) stopAwaiting(ctx context.Context, view *cluster.View) {
	if time.Since(l.awaited) < awaitEvery {
		return
	}
	l.awaited = time.Now()
	for n := range view.Nodes() {
		if h := l.Hints()[n.ID]; !h.Silent || h.SilentFor < awaitGivenUp || !isAwaited(view, n) {
			continue
		}
		l.patiently(ctx, "stop waiting for node "+string(n.ID), func() error {
			return l.propose(ctx, &cluster.StopAwaiting{Node: n.ID})
		})
	}
}

// isAwaited tells whether an instance waits until a node has cleared what it has, and need not if that node is dead.
func isAwaited(view *cluster.View, n *cluster.Node) bool {
	for t := range view.TombstonesOn(n.ID) {
		if in, ok := view.Instance(t.Instance); ok && in.AwaitsDead(n) {
			return true
		}
	}
	return false
}

// confirm ends a move that its user did not decide about in time, and at once one that was for draining a node.
func (l *Leader) confirm(ctx context.Context, in *cluster.Instance) {
	window := l.Lifecycle.ResizeConfirm
	if !in.Op.Move.Drain && (window <= 0 || time.Since(in.Op.Stepped.Std()) < window) {
		return
	}
	l.patiently(ctx, "confirm the move of instance "+string(in.ID), func() error {
		return l.propose(ctx, &cluster.EndMove{ID: in.ID, Operation: in.Op.ID, By: cluster.By{User: in.User, Project: in.Project}})
	})
}

// reclaim deletes for good what was deleted softly long enough ago. It looks at every instance, so not at each change.
func (l *Leader) reclaim(ctx context.Context, view *cluster.View) {
	if time.Since(l.reclaimed) < reclaimEvery {
		return
	}
	l.reclaimed = time.Now()
	now := cluster.At(l.reclaimed)
	for in := range view.Instances() {
		if in.Mode.Reclaim == 0 || in.Mode.Reclaim > now || in.Wanted == cluster.WantDeleted {
			continue
		}
		l.patiently(ctx, "reclaim instance "+string(in.ID), func() error {
			return l.propose(ctx, &cluster.DeleteInstance{ID: in.ID, User: in.User, Project: in.Project, Due: true})
		})
	}
}

// placeMove chooses the destination of a move: another node, or, for a resize that fits on no other, the same.
func (c *Chooser) placeMove(in *cluster.Instance) (op *cluster.PlaceMove, release func()) {
	c.hint()
	c.mu.Lock()
	defer c.mu.Unlock()
	view, m := c.refresh(), in.Op.Move
	requests := []placement.Request{placement.ForMove(view, in, &m.Flavor, []cluster.NodeID{m.From}, m.Host, m.Forced)}
	decisions := c.decide(requests)
	if decisions[0].Node == "" && in.Op.Kind == cluster.OpResize && m.Host == "" {
		requests[0] = placement.ForMove(view, in, &m.Flavor, nil, "", false)
		if stay := c.decide(requests); stay[0].Node != "" {
			decisions = stay
		}
	}
	if in.Op.Kind == cluster.OpResize && !requests[0].Resources.Fits(in.Spec.Resources()) {
		c.withinReserve(view, requests, decisions, in.HA()) // what only changes its place may use the reserve
	}
	return &cluster.PlaceMove{ID: in.ID, Operation: in.Op.ID, Node: decisions[0].Node, Explanation: decisions[0].Explanation},
		c.releaser(requests, decisions)
}
