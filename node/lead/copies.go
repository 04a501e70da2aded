package lead

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

// copiesAtOnce is how many instances are without a current copy at the same time because the nodes of their copies are drained.
const copiesAtOnce = 2

// retireCopies takes the copies of disks off the nodes that are drained, a few at a time: an instance has none that is current from when its copy is
// given up until the next is filled elsewhere. One that no other node can take stays. It looks at every instance, so not at each change, and at none
// while no node is drained.
func (l *Leader) retireCopies(ctx context.Context, view *cluster.View) {
	if time.Since(l.rid) < drainEvery || !view.AllKnow(cluster.CopyCommands) {
		return
	}
	l.rid = time.Now()
	drained := map[cluster.NodeID]bool{}
	for n := range view.Nodes() {
		if n.Service.Draining {
			drained[n.ID] = true
		}
	}
	for id := range l.retired {
		if in, ok := view.Instance(id); !ok || in.CurrentReplica() != nil || !in.MayPlaceReplica() && !in.MayMoveReplica() {
			delete(l.retired, id)
		}
	}
	if len(drained) == 0 {
		return
	}
	for in := range view.Instances() {
		if len(l.retired) >= copiesAtOnce || ctx.Err() != nil {
			return
		}
		if in.MayMoveReplica() && drained[in.Replica.Node] {
			l.retireCopy(ctx, in)
		}
	}
}

func (l *Leader) retireCopy(ctx context.Context, in *cluster.Instance) {
	l.patiently(ctx, "take the replica of instance "+string(in.ID)+" off a drained node", func() error {
		next, release := l.Chooser.placeReplica(in)
		release() // this is only to see that there is one
		if next.Node == "" {
			return fmt.Errorf("%w: %s", errNoRoom, next.Note)
		}
		err := l.propose(ctx, &cluster.RetireReplica{ID: in.ID, Epoch: in.Epoch, Replica: in.Replica.Epoch})
		if err == nil {
			if l.retired == nil {
				l.retired = map[cluster.InstanceID]bool{}
			}
			l.retired[in.ID] = true
		}
		return err
	})
}

// NoPlaceForCopy says why no other node can take the copy of an instance's disk now; "" when one can.
func (c *Chooser) NoPlaceForCopy(in *cluster.Instance) (why string) {
	c.hint()
	c.mu.Lock()
	defer c.mu.Unlock()
	r := placement.ForReplica(c.refresh(), in)
	if e := c.index.Explain(&r); e.Node == "" {
		why = "no other node can take it: " + strings.Join(e.Reasons, ", ")
	}
	return why
}
