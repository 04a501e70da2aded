package reconcile

import (
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// A guest came here alive, and its host lost power before anybody knew. When its source says that it had gone, it has to run here
// again: it did not go off by itself.
func TestLoop_ResumesWhatHadArrivedBeforeAReboot(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.create(one, there)
		w.must(&cluster.ReportInstances{Node: there, Reports: []cluster.InstanceReport{
			{ID: one, Generation: 1, Epoch: 1, Power: cluster.PowerRunning, Boot: w.instance(one).Boot}}})
		w.must(&cluster.BeginMove{ID: one, Operation: "o1", What: cluster.OpLive})
		w.must(&cluster.PlaceMove{ID: one, Operation: "o1", Node: here})
		m := w.instance(one)
		if m.Op == nil || m.Op.Step != cluster.StepMigrating {
			t.Fatalf("the move is %+v", m.Op)
		}
		w.stop()
		err := w.sim.Plant(virt.Domain{ID: one, Name: "web", Power: virt.PowerOff,
			Stamp: virt.Stamp{Cluster: "c1", Instance: one, Generation: m.Generation, Epoch: m.Op.Move.Epoch}})
		if err != nil {
			t.Fatal(err)
		}
		w.start("boot-2", "boot-1")
		w.settle(10 * time.Second)
		if p := w.power(one); p != virt.PowerOff {
			t.Fatalf("what is not known to have come is %v", p)
		}
		w.must(&cluster.AdvanceOperation{Node: there, ID: one, Operation: "o1", Step: cluster.StepMigrating, Done: true})
		w.settle(20 * time.Second)
		w.expects("arrived", cluster.VMActive, virt.PowerRunning)
	})
}

// A guest was on its way to another node when its host lost power. That it is off is not news of the guest: told, it would overtake the end of
// the move, and pass for a guest that powered itself off.
func TestLoop_ResumesWhatWasLeavingBeforeAReboot(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.create(one, here)
		w.settle(20 * time.Second)
		w.expects("before", cluster.VMActive, virt.PowerRunning)
		w.must(&cluster.BeginMove{ID: one, Operation: "o1", What: cluster.OpLive})
		w.must(&cluster.PlaceMove{ID: one, Operation: "o1", Node: there})
		w.stop()
		if err := w.sim.Stop(t.Context(), one, virt.Destroy); err != nil {
			t.Fatal(err)
		}
		w.start("boot-2", "boot-1")
		w.settle(10 * time.Second)
		if p := w.instance(one).Status.Power; p != cluster.PowerRunning {
			t.Errorf("it is told that the guest is %v", p)
		}
		w.must(&cluster.AdvanceOperation{Node: here, ID: one, Operation: "o1", Step: cluster.StepMigrating, Error: "the guest does not run any more"})
		w.settle(20 * time.Second)
		w.expects("afterwards", cluster.VMActive, virt.PowerRunning)
	})
}
