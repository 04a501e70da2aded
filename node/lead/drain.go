package lead

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
)

// How a node is drained: how often the leader looks, how many instances leave one node at the same time, and how soon one is tried
// again that came back, doubled each time.
const (
	drainEvery       = time.Second
	drainAtOnce      = 2
	drainRetry       = 30 * time.Second
	drainRetryAtMost = 10 * time.Minute
)

// drainTry is an instance that was to leave a node.
type drainTry struct {
	wait time.Duration
	next time.Time // not before
	seen time.Time // on a node that is drained
}

// drain takes the instances off the nodes that are drained: those that run live, those that are off cold. It looks at every node, so
// not at each change.
func (l *Leader) drain(ctx context.Context, view *cluster.View) {
	now := time.Now()
	if now.Sub(l.drained) < drainEvery {
		return
	}
	l.drained = now
	for n := range view.Nodes() {
		if n.Service.Draining && !l.Hints()[n.ID].Silent {
			l.drainNode(ctx, view, n.ID)
		}
	}
	for id, try := range l.drains {
		if now.Sub(try.seen) > drainRetryAtMost {
			delete(l.drains, id)
		}
	}
}

func (l *Leader) drainNode(ctx context.Context, view *cluster.View, node cluster.NodeID) {
	moving := 0
	for in := range view.UnderWay() {
		if in.Op.Move != nil && in.Op.Move.From == node && !in.Leftover(node) {
			moving++
		}
	}
	for in := range view.InstancesOn(node) {
		if moving >= drainAtOnce || ctx.Err() != nil {
			return
		}
		kind, _ := in.WayOut()
		if kind == "" || !l.tries(in.ID) {
			continue
		}
		moving++
		l.patiently(ctx, "take instance "+string(in.ID)+" off a drained node", func() error {
			return l.propose(ctx, &cluster.BeginMove{ID: in.ID, Operation: cluster.OperationID(uuid.NewString()), What: kind, Drain: true,
				By: cluster.By{Request: "req-" + uuid.NewString(), User: in.User, Project: in.Project}})
		})
	}
}

// tries tells whether an instance may be moved now, and then counts that as done: one that is still there later has come back, because
// there is no room elsewhere, say.
func (l *Leader) tries(id cluster.InstanceID) bool {
	now := time.Now()
	try, known := l.drains[id]
	try.seen = now
	due := !known || !now.Before(try.next)
	if due {
		try.wait = min(max(2*try.wait, drainRetry), drainRetryAtMost)
		try.next = now.Add(try.wait)
	}
	if l.drains == nil {
		l.drains = map[cluster.InstanceID]drainTry{}
	}
	l.drains[id] = try
	return due
}
