package reconcile

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// fencing is a lease that is held again after its guests were ended for want of one.
type fencing struct{}

func (fencing) MayStart() error                                  { return nil }
func (fencing) Ordering(cluster.InstanceID) (func(error), error) { return func(error) {}, nil }
func (fencing) Fenced(*cluster.Instance) bool                    { return true }
func (fencing) Started(cluster.InstanceID)                       {}

// A guest was to be stopped for a resize when its node lost the lease and ended it. It is off, as it is to be: the node says so, and the resize goes on.
func TestLoop_AFencedGuestIsOffWhenItIsToBe(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.create(one, here)
		w.settle(5 * time.Second)
		w.stop()
		w.must(&cluster.BeginMove{ID: one, Operation: "o1", What: cluster.OpResize,
			Flavor: &cluster.Flavor{ID: "9", Name: "large", VCPUs: 2, MemoryMiB: 512, DiskGiB: 20}})
		w.must(&cluster.PlaceMove{ID: one, Operation: "o1", Node: there})
		if err := w.sim.Stop(t.Context(), one, virt.Destroy); err != nil {
			t.Fatal(err)
		}
		w.lease = fencing{}
		w.start("boot-1", "boot-1")
		w.settle(20 * time.Second)
		if op := w.instance(one).Op; op == nil || op.Step != cluster.StepCopying {
			t.Errorf("the resize is at %+v", op)
		}
	})
}

// leaveless is a lease that can be away.
type leaveless struct {
	fencing
	away *atomic.Bool
}

func (leaveless) Fenced(*cluster.Instance) bool { return false }

func (l leaveless) MayStart() error {
	if l.away.Load() {
		return cluster.Errorf(cluster.Unavailable, "this node holds no lease")
	}
	return nil
}

// A rescued guest is switched off to go back to its own disk, just when its node loses the lease, so that nothing is built, and no event tells of it. It comes back as it is to be
// when there is a lease again: what was switched off is still the rescued one.
func TestLoop_WhatWasNotBuiltAnewIsNotStartedAsItWas(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		var away atomic.Bool
		w.stop()
		w.lease, w.deaf = leaveless{away: &away}, true
		w.start("boot-1", "boot-1")
		w.create(one, here)
		w.settle(5 * time.Second)
		w.must(&cluster.RescueInstance{ID: one})
		w.settle(10 * time.Second)
		away.Store(true)
		w.must(&cluster.RescueInstance{ID: one, End: true})
		w.settle(100 * time.Millisecond)
		if p := w.power(one); p != virt.PowerOff {
			t.Fatalf("without a lease it is %v", p)
		}
		away.Store(false)
		w.settle(3 * time.Second) // and not until it is listed: a guest that runs gets the stamp of the present generation, whatever it is
		domains, err := w.sim.Domains(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := w.instance(one).Generation; len(domains) != 1 || domains[0].Power != virt.PowerRunning || domains[0].Stamp.Generation != want {
			t.Errorf("generation %d is wanted, and there are %+v", want, domains)
		}
	})
}
