package operate

import (
	"context"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// arrivedFor is how long a guest has to run at its destination before the destination says so itself. The source says it at once;
// only one that died at the last moment never does.
const arrivedFor = 30 * time.Second

// arrivals watches for guests that run here after a migration whose source never said that it is over. A hypervisor lets a guest
// run at its destination only when the source has handed it over for good, so whoever sees it run knows how it ended.
type arrivals struct {
	since  map[workKey]time.Time // when each was first seen to run here
	looked time.Time             // when the hypervisor was asked last
}

// look says which migrations to this node are over, as far as this node can tell.
func (a *arrivals) look(now time.Time, self cluster.NodeID, view *cluster.View, domains func() ([]virt.Domain, error)) []*cluster.AdvanceOperation {
	var coming []*cluster.Instance
	for in := range view.UnderWay() {
		if in.Op.Step == cluster.StepMigrating && in.Op.Move.To == self && in.Wanted != cluster.WantDeleted {
			coming = append(coming, in)
		}
	}
	if len(coming) > 0 && now.Sub(a.looked) < lookEvery {
		return nil
	}
	seen := map[workKey]time.Time{}
	defer func() { a.since = seen }()
	if len(coming) == 0 {
		return nil
	}
	a.looked = now
	all, err := domains()
	if err != nil {
		seen = a.since
		return nil
	}
	var over []*cluster.AdvanceOperation
	for _, in := range coming {
		if !runsHere(in, all) {
			continue
		}
		key := workKey{in.ID, in.Op.ID, in.Op.Step}
		first, ok := a.since[key]
		if !ok {
			first = now
		}
		seen[key] = first
		if now.Sub(first) >= arrivedFor {
			over = append(over, &cluster.AdvanceOperation{Node: self, ID: in.ID, Operation: in.Op.ID, Step: in.Op.Step, Done: true})
		}
	}
	return over
}

// runsHere tells whether a guest runs under the epoch of its move, and needs its source no more: during post-copy it still does.
func runsHere(in *cluster.Instance, all []virt.Domain) bool {
	for _, d := range all {
		if d.ID == in.ID {
			return d.Power == virt.PowerRunning && d.Stamp.Epoch == in.Op.Move.Epoch && !strings.HasPrefix(d.Reason, "post-copy")
		}
	}
	return false
}

// greet tells the state of guests whose source cannot.
func (l *Loop) greet(ctx context.Context, view *cluster.View) {
	over := l.arrivals.look(time.Now(), l.Node, view, func() ([]virt.Domain, error) {
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		return l.Driver.Domains(bounded)
	})
	for _, op := range over {
		l.Log.Info("a guest has arrived, and its source never said so", "instance", op.ID)
		if _, err := l.Cluster.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op}); err != nil {
			l.Log.Warn("tell of a guest that has arrived", "instance", op.ID, "err", err)
		}
	}
}
