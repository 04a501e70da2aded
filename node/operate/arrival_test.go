package operate

import (
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// The source dies for good after it handed the guest over and before it could say so. The destination has it running and says
// so after a while; what only prepares, is paused, or still needs its source, is not taken for it.
func TestArrivals_TheDestinationSpeaksForASourceThatCannot(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.hosts[n1].stop()
		w.hosts[n2].stop()
		defer func() { w.hosts[n1].stop, w.hosts[n2].stop = func() {}, func() {} }()
		w.begin(cluster.OpLive, n2)
		move := w.instance().Op.Move
		domain := func(epoch uint64, p virt.Power, reason string) func() ([]virt.Domain, error) {
			return func() ([]virt.Domain, error) {
				return []virt.Domain{{ID: one, Stamp: virt.Stamp{Instance: one, Epoch: epoch}, Power: p, Reason: reason}}, nil
			}
		}
		view, _ := w.Latest()
		for name, have := range map[string]func() ([]virt.Domain, error){
			"another epoch": domain(move.Epoch-1, virt.PowerRunning, "migrated"),
			"still paused":  domain(move.Epoch, virt.PowerPaused, "migrating"),
			"post-copy":     domain(move.Epoch, virt.PowerRunning, "post-copy"),
		} {
			var a arrivals
			now := time.Now()
			a.look(now, n2, view, have)
			if over := a.look(now.Add(2*arrivedFor), n2, view, have); len(over) > 0 {
				t.Errorf("%s is taken for an arrival", name)
			}
		}
		var a arrivals
		now, here := time.Now(), domain(move.Epoch, virt.PowerRunning, "migrated")
		if over := a.look(now, n2, view, here); len(over) > 0 {
			t.Error("it spoke too soon")
		}
		if over := a.look(now.Add(2*arrivedFor), n1, view, here); len(over) > 0 {
			t.Error("the source spoke as the destination")
		}
		a = arrivals{}
		a.look(now, n2, view, here)
		over := a.look(now.Add(arrivedFor), n2, view, here)
		if len(over) != 1 {
			t.Fatalf("%d arrivals", len(over))
		}
		w.must(over[0])
		if got := w.instance(); got.Node != n2 || got.Op != nil {
			t.Errorf("on %s, %+v", got.Node, got.Op)
		}
	})
}

// MayArrive implements Orders.
func (h *host) MayArrive(cluster.InstanceID) error {
	if h.doubt.Load() {
		return cluster.Errorf(cluster.Unavailable, "an earlier start is in doubt")
	}
	return nil
}

// The destination's hypervisor was told to start the guest some time ago and never answered. The migration waits until that is in doubt no longer, and goes on.
func TestMigrate_WaitsWhileAnEarlierStartIsInDoubt(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.hosts[n2].doubt.Store(true)
		w.begin(cluster.OpLive, n2)
		w.settle(time.Minute)
		if held, there := w.hosts[n2].sim.Look(one); there || w.power(n1) != virt.PowerRunning {
			t.Fatalf("the destination prepared: %+v", held)
		}
		w.hosts[n2].doubt.Store(false)
		w.settle(time.Minute)
		w.alive(n2, virt.PowerRunning)
	})
}
