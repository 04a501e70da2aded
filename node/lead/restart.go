package lead

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

// errNoRoom keeps an instance waiting that is to be started elsewhere: nodes come back, and room becomes free.
var errNoRoom = errors.New("no node can take it now")

// restarts finds nodes for what is started elsewhere because its node died: the more important ones first, and not so many at the same time
// that all of them are slow.
func (l *Leader) restarts(ctx context.Context, view *cluster.View) {
	var waiting []*cluster.Instance
	room := view.Settings().Restarts
	for in := range view.UnderWay() {
		if in.Op.Kind != cluster.OpEvacuate || !in.Op.Move.Auto {
			continue
		}
		switch in.Op.Step {
		case cluster.StepPlacing:
			if !in.Orphaned() || l.outwaited(in, view) {
				waiting = append(waiting, in)
			}
		case cluster.StepFinishing:
			room--
		}
	}
	l.forgetOrphans(view)
	byPriority(waiting)
	for _, in := range waiting {
		if room <= 0 || ctx.Err() != nil {
			return
		}
		l.patiently(ctx, "start elsewhere instance "+string(in.ID), func() error {
			op, release := l.Chooser.placeMove(in)
			defer release()
			if op.Node == "" {
				return fmt.Errorf("%w: %s", errNoRoom, strings.Join(op.Explanation.Reasons, ", "))
			}
			err := l.propose(ctx, op)
			if err == nil {
				room--
			}
			return err
		})
	}
}

// outwaited tells whether the node that an instance was on, and that was removed, holds no lease any more. Nobody grants it one, and the last was
// granted before this leader could see that.
func (l *Leader) outwaited(in *cluster.Instance, view *cluster.View) bool {
	now, s := time.Now(), view.Settings()
	since, seen := l.orphans[in.Op.ID]
	if !seen {
		if l.orphans == nil {
			l.orphans = map[cluster.OperationID]time.Time{}
		}
		since, l.orphans[in.Op.ID] = now, now
	}
	return now.Sub(since) >= max(s.Lease.Dead, s.Former)
}

func (l *Leader) forgetOrphans(view *cluster.View) {
	if len(l.orphans) == 0 {
		return
	}
	left := map[cluster.OperationID]time.Time{}
	for in := range view.UnderWay() {
		if since, ok := l.orphans[in.Op.ID]; ok && in.Orphaned() {
			left[in.Op.ID] = since
		}
	}
	l.orphans = left
}

// byPriority puts what is started first at the front.
func byPriority(all []*cluster.Instance) {
	slices.SortFunc(all, func(a, b *cluster.Instance) int {
		return cmp.Or(cmp.Compare(b.Priority(), a.Priority()), cmp.Compare(a.Number, b.Number))
	})
}

// WithoutNode says where each instance would go that is started elsewhere when a node dies, without taking any room: the important ones choose
// first. A nil fate of an instance is that there is no room for it.
func (c *Chooser) WithoutNode(node cluster.NodeID) map[cluster.InstanceID]cluster.NodeID {
	c.hint()
	c.mu.Lock()
	defer c.mu.Unlock()
	view := c.refresh()
	var leaving []*cluster.Instance
	for in := range view.InstancesOn(node) {
		if view.WantsGuard(in) && in.Wanted != cluster.WantDeleted {
			leaving = append(leaving, in)
		}
	}
	byPriority(leaving)
	requests := make([]placement.Request, len(leaving))
	for i, in := range leaving {
		requests[i] = placement.ForMove(view, in, &in.Spec.Flavor, []cluster.NodeID{node}, "", false)
	}
	decisions := c.index.ChooseMany(requests)
	fates := make(map[cluster.InstanceID]cluster.NodeID, len(leaving))
	for i, d := range decisions {
		fates[leaving[i].ID] = d.Node
		if d.Node != "" {
			c.index.ReleaseRequest(d.Node, &requests[i])
		}
	}
	return fates
}
