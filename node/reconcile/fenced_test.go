package reconcile

import (
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
