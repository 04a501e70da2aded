package reconcile

import (
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// expects compares the instance and its domain with what they should be.
func (w *world) expects(when string, vm cluster.VMState, p virt.Power) {
	w.t.Helper()
	if got := w.instance(one); got.Status.VM != vm || got.Status.Task != cluster.TaskNone || w.power(one) != p {
		w.t.Fatalf("%s: %s/%s, domain %v; want %s, domain %v", when, got.Status.VM, got.Status.Task, w.power(one), vm, p)
	}
}

// An instance is paused and goes on, is suspended and goes on. The guest's memory must be the same throughout: it is
// started once.
func TestLoop_PausesAndSuspendsWithoutLosingMemory(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.create(one, here)
		w.settle(5 * time.Second)
		w.sim.SetFault(sim.OpBuild, sim.Fault{FailRate: 1}) // nothing of this takes a new definition
		for _, step := range []struct {
			action string
			vm     cluster.VMState
			power  virt.Power
		}{
			{"pause", cluster.VMPaused, virt.PowerPaused},
			{"unpause", cluster.VMActive, virt.PowerRunning},
			{"suspend", cluster.VMSuspended, virt.PowerOff},
			{"resume", cluster.VMActive, virt.PowerRunning},
		} {
			w.must(&cluster.SetPower{ID: one, Request: "req-2", Action: step.action})
			w.settle(10 * time.Second)
			w.expects(step.action, step.vm, step.power)
		}
	})
}

// The host loses its power under a suspended instance and a paused one. The first goes on from its disk when it is
// asked to, the memory of the second is lost, and the user is told.
func TestLoop_PowerCutUnderSuspendedAndPaused(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.create(one, here)
		w.create(two, here)
		w.settle(5 * time.Second)
		w.must(&cluster.SetPower{ID: one, Request: "req-2", Action: "suspend"})
		w.must(&cluster.SetPower{ID: two, Request: "req-2", Action: "pause"})
		w.settle(10 * time.Second)
		w.stop()
		if err := w.sim.PowerCut(); err != nil {
			t.Fatal(err)
		}
		w.start("boot-2", "boot-1")
		w.settle(20 * time.Second)
		w.expects("suspended, after the cut", cluster.VMSuspended, virt.PowerOff)
		if got := w.instance(two); got.Status.VM != cluster.VMStopped || got.Wanted != cluster.WantOff {
			t.Errorf("the paused instance is %v, wanted %s", got.Status, got.Wanted)
		}
		w.must(&cluster.SetPower{ID: one, Request: "req-3", Action: "resume"})
		w.settle(10 * time.Second)
		w.expects("resumed", cluster.VMActive, virt.PowerRunning)
	})
}

// A hard reboot of a suspended instance throws its memory away and boots.
func TestLoop_HardRebootOfASuspendedInstanceBoots(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.create(one, here)
		w.settle(5 * time.Second)
		w.must(&cluster.SetPower{ID: one, Request: "req-2", Action: "suspend"})
		w.settle(10 * time.Second)
		w.must(&cluster.SetPower{ID: one, Request: "req-3", Wanted: cluster.WantOn, Reboot: cluster.RebootHard})
		w.settle(20 * time.Second)
		w.expects("rebooted", cluster.VMActive, virt.PowerRunning)
	})
}

// A rebuild removes the old disks, and only them, and boots from new ones, also when the daemon dies in the middle.
func TestLoop_RebuildsWithNewDisks(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.create(one, here)
		w.settle(5 * time.Second)
		w.sim.SetFault(sim.OpRemoveDisks, sim.Fault{Fail: 1})
		w.must(&cluster.RebuildInstance{ID: one, Image: "33333333-3333-4333-8333-333333333333"})
		w.settle(500 * time.Millisecond)
		w.stop()
		w.start("boot-1", "boot-1")
		w.settle(30 * time.Second)
		w.expects("rebuilt", cluster.VMActive, virt.PowerRunning)
		for range w.cloud.view.TombstonesOn(here) {
			t.Error("a tombstone was not settled")
		}
	})
}

// A rescue boots beside the instance's own disk, and unrescuing boots from it again.
func TestLoop_RescuesAndGoesBack(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.create(one, here)
		w.settle(5 * time.Second)
		w.must(&cluster.RescueInstance{ID: one})
		w.settle(10 * time.Second)
		w.expects("rescued", cluster.VMRescued, virt.PowerRunning)
		w.must(&cluster.RescueInstance{ID: one, End: true})
		w.settle(10 * time.Second)
		w.expects("back", cluster.VMActive, virt.PowerRunning)
	})
}

// An operation that owns the domain is left alone with it, even when the domain leaves.
func TestLoop_LeavesADomainToItsOperation(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.create(one, here)
		w.settle(5 * time.Second)
		w.must(&cluster.BeginMove{ID: one, Operation: "o1", What: cluster.OpLive})
		w.must(&cluster.PlaceMove{ID: one, Operation: "o1", Node: there})
		if err := w.sim.Remove(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		w.settle(30 * time.Second)
		if p := w.power(one); p != virt.PowerUnknown {
			t.Fatalf("a domain that migrated away was built again: %v", p)
		}
	})
}

// The daemon dies and comes back, and has not looked for any image since. What is asked of a running guest then must be done all
// the same: its domain is told of the change, which takes its images.
func TestLoop_ChangesAGuestAfterARestart(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.create(one, here)
		w.settle(5 * time.Second)
		w.stop()
		w.images.mu.Lock()
		w.images.empty = true
		w.images.mu.Unlock()
		w.must(&cluster.SetPower{ID: one, Request: "req-2", Action: "suspend"})
		w.start("boot-1", "boot-1")
		w.settle(30 * time.Second)
		w.expects("suspend", cluster.VMSuspended, virt.PowerOff)
		if w.images.fetches != 1 {
			t.Errorf("%d images were looked for", w.images.fetches)
		}
	})
}

// A guest was asked to go off for a resize, which ends before the guest has obeyed. It runs on and is reported so; when it then obeys, it
// is started, as nobody wanted that any more. A guest that goes off by itself much later stays off.
func TestLoop_StartsAGuestThatObeysTooLate(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.create(one, here)
		w.settle(5 * time.Second)
		w.must(&cluster.BeginMove{ID: one, Operation: "o1", What: cluster.OpResize,
			Flavor: &cluster.Flavor{ID: "9", Name: "large", VCPUs: 2, MemoryMiB: 512, DiskGiB: 20}})
		w.must(&cluster.PlaceMove{ID: one, Operation: "o1", Node: there})
		w.settle(100 * time.Millisecond) // it was asked, and takes a second
		w.must(&cluster.AdvanceOperation{Node: here, ID: one, Operation: "o1", Step: cluster.StepStopping, Error: "somebody changed their mind"})
		w.settle(100 * time.Millisecond)
		w.expects("before it obeys", cluster.VMActive, virt.PowerRunning)
		w.settle(time.Minute)
		w.expects("after it obeyed", cluster.VMActive, virt.PowerRunning)
		if held, _ := w.sim.Look(one); held.Boot != 2 {
			t.Errorf("it is in boot %d", held.Boot)
		}
		w.settle(3 * shutdownGrace)
		if err := w.sim.PowerOffGuest(one); err != nil {
			t.Fatal(err)
		}
		w.settle(time.Minute)
		w.expects("off by itself", cluster.VMStopped, virt.PowerOff)
	})
}
