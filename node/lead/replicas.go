package lead

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

// How often it is looked which replicas are missing, and how long after one was given up the next is begun: what broke it may do so again, and
// each copies the whole disk.
const (
	replicasEvery = time.Second
	replicaPause  = 5 * time.Second
)

// replicas finds places for the replicas that are asked for and not there, and ends those that nobody asks for any more. It looks at every
// instance, so not at each change.
func (l *Leader) replicas(ctx context.Context, view *cluster.View) {
	if time.Since(l.mirrored) < replicasEvery || !view.AllKnow(cluster.ReplicaCommands) {
		return
	}
	l.mirrored = time.Now()
	for in := range view.Instances() {
		if ctx.Err() != nil {
			return
		}
		switch {
		case in.SpareReplica():
			l.patiently(ctx, "end the replica of instance "+string(in.ID), func() error {
				return l.propose(ctx, &cluster.PlaceReplica{ID: in.ID, Epoch: in.Epoch, Was: in.Replica.Epoch})
			})
		case in.MayPlaceReplica() && (in.Replica == nil || l.mirrored.Sub(in.Replica.Since.Std()) >= replicaPause):
			l.patiently(ctx, "place the replica of instance "+string(in.ID), func() error {
				op, release := l.Chooser.placeReplica(in)
				defer release()
				if op.Node == "" {
					return fmt.Errorf("%w: %s", errNoRoom, op.Note)
				}
				return l.propose(ctx, op)
			})
		}
	}
}

// placeReplica chooses the node of an instance's replica. Without one, the note says why.
func (c *Chooser) placeReplica(in *cluster.Instance) (op *cluster.PlaceReplica, release func()) {
	c.hint()
	c.mu.Lock()
	defer c.mu.Unlock()
	requests := []placement.Request{placement.ForReplica(c.refresh(), in)}
	decisions := c.decide(requests)
	op = &cluster.PlaceReplica{ID: in.ID, Epoch: in.Epoch, Node: decisions[0].Node}
	if in.Replica != nil {
		op.Was = in.Replica.Epoch
	}
	if op.Node == "" {
		op.Note = strings.Join(decisions[0].Explanation.Reasons, ", ")
	}
	return op, c.releaser(requests, decisions)
}
