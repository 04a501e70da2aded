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
