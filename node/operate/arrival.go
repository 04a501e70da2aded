package operate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/failpoint"
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

// Arrivals looks at guests that were on their way to this node.
type Arrivals interface {
	// Settled ends what still arrives of an instance's guest, waits until the hypervisor has made up its mind about it, and says what
	// it is here under the epoch of its move.
	Settled(ctx context.Context, in *cluster.Instance) (peer.Arrival, error)
}

// errNotArrived says that the guest of a migration whose source died is not here.
//
//lint:ignore ST1005 users read it as it is
var errNotArrived = errors.New("The guest had not arrived when its node died.")

// tellArrival says whether the guest of an instance is here whose source an operator gave up in the middle of its migration. nil: it is.
func (w *work) tellArrival(ctx context.Context, in *cluster.Instance) error {
	if err := failpoint.Hit(ctx, PointAskBegun); err != nil {
		return err
	}
	a, err := w.Arrivals.Settled(ctx, in)
	if err != nil {
		return undecided{fmt.Errorf("look whether the guest has arrived: %w", err)}
	}
	if judge(in.Wanted, sighting{}, &a) == arrived {
		return nil
	}
	return giveUp{errNotArrived}
}
