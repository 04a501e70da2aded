package operate

import (
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// die takes a host down, with all that runs on it.
func (h *host) die() {
	h.setCut(true)
	h.stop()
	if err := h.sim.PowerCut(); err != nil {
		h.t.Fatal(err)
	}
}

// rise switches a dead host on again.
func (h *host) rise() {
	h.setCut(false)
	h.start()
}

// phases are how far a live migration from n1 to n2 may be when somebody dies.
var phases = map[string]struct {
	arrange func(w *world)
	arrived bool // the guest runs at the destination, and its source does not know
}{
	"the destination prepares": {func(w *world) { w.hosts[n2].sim.SetFault(sim.OpReceive, sim.Fault{Slow: time.Hour}) }, false},
	"memory is sent":           {func(w *world) { w.hosts[n1].sim.SetFault(sim.OpMigrate, sim.Fault{Restless: true, At: 50}) }, false},
	"it is handed over":        {func(w *world) { w.hosts[n2].sim.SetFault(sim.OpLand, sim.Fault{Hang: true}) }, false},
	"it has arrived, and the word of that is lost": {func(w *world) {
		w.hosts[n2].sim.SetFault(sim.OpLand, sim.Fault{Lose: 1})
		w.hosts[n1].sim.SetFault(sim.OpMigrate, sim.Fault{Slow: 10 * time.Second, At: 1})
	}, true},
}

// fly begins a live migration from n1 to n2 and brings it to a phase.
func (w *world) fly(name string) {
	w.t.Helper()
	phases[name].arrange(w)
	w.begin(cluster.OpLive, n2)
	w.settle(2 * time.Second)
	if phases[name].arrived {
		w.hosts[n1].sim.SetFault(sim.OpAbortMigrate, sim.Fault{FailRate: 1}) // its source does not get to looking
	}
	w.settle(18 * time.Second)
	if there := w.power(n2) == virt.PowerRunning; there != phases[name].arrived {
		w.t.Fatalf("%s: it runs at the destination: %t", name, there)
	}
}

// The source of a live migration dies, and an operator gives it up. Whatever phase it was in: a guest that has arrived goes on, one that
// has not is built anew when nothing of it is left at the destination, and what the source has goes when it comes back.
func TestEvacuate_TheSourceOfALiveMigration(t *testing.T) {
	for name, phase := range phases {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				w.fly(name)
				w.hosts[n1].die()
				w.hosts[n2].sim.SetFault(sim.OpReceive, sim.Fault{})
				w.hosts[n2].sim.SetFault(sim.OpLand, sim.Fault{})
				w.must(&cluster.BeginMove{ID: one, Operation: "o2", What: cluster.OpEvacuate})
				w.settle(time.Minute)
				boots := 1
				if !phase.arrived {
					got := w.instance()
					if held, there := w.hosts[n2].sim.Look(one); there && (held.Defined || held.Disks) || got.Op == nil || got.Op.Step != cluster.StepPlacing || got.Mode.Await != "" {
						t.Fatalf("%+v waits for %q, and on n2 is %+v", got.Op, got.Mode.Await, held)
					}
					w.must(&cluster.PlaceMove{ID: one, Operation: "o2", Node: n2, Explanation: cluster.Explanation{Node: n2}})
					w.settle(time.Minute)
				}
				w.expect("evacuated", n2, cluster.VMActive, virt.PowerRunning)
				if held, _ := w.hosts[n2].sim.Look(one); held.Boot != boots || (held.Wrote == "") == phase.arrived {
					t.Errorf("it is in boot %d, with %q on its disk", held.Boot, held.Wrote)
				}
				w.hosts[n1].sim.SetFault(sim.OpAbortMigrate, sim.Fault{})
				w.hosts[n1].rise()
				w.settle(time.Minute)
				w.expect("the source is back", n2, cluster.VMActive, virt.PowerRunning)
				if held, there := w.hosts[n1].sim.Look(one); there && (held.Defined || held.Disks) {
					t.Errorf("left on n1: %+v", held)
				}
			})
		})
	}
}

// The source of a live migration dies, and its user deletes the server. Nothing is left at the destination; the source clears when it
// comes back.
func TestDelete_WhileTheSourceOfALiveMigrationIsDead(t *testing.T) {
	for name := range phases {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				w.fly(name)
				w.hosts[n1].die()
				w.hosts[n2].sim.SetFault(sim.OpReceive, sim.Fault{})
				w.hosts[n2].sim.SetFault(sim.OpLand, sim.Fault{})
				w.must(&cluster.DeleteInstance{ID: one, Request: "req-3"})
				w.settle(3 * time.Minute)
				if held, there := w.hosts[n2].sim.Look(one); there && (held.Defined || held.Disks) {
					t.Errorf("left on n2: %+v", held)
				}
				w.hosts[n1].rise()
				w.settle(time.Minute)
				if held, there := w.hosts[n1].sim.Look(one); there && (held.Defined || held.Disks) {
					t.Errorf("left on n1: %+v", held)
				}
			})
		})
	}
}

// The destination of a live migration dies. In every phase the guest goes on where it was, if need be when an operator has said that
// the destination is down, or has removed it; what had arrived there is gone with it.
func TestMigrate_TheDestinationDies(t *testing.T) {
	for name := range phases {
		for _, removed := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				in(t, func(t *testing.T, w *world) {
					w.fly(name)
					w.hosts[n2].die()
					w.hosts[n1].sim.SetFault(sim.OpAbortMigrate, sim.Fault{})
					if removed {
						w.must(&cluster.RemoveNode{ID: n2, Force: true})
					} else {
						w.must(&cluster.SetNodeService{ID: n2, Service: cluster.ServiceState{ForcedDown: true}})
					}
					w.settle(10 * time.Minute)
					w.expect("the destination is dead", n1, cluster.VMActive, virt.PowerRunning)
					if held, _ := w.hosts[n1].sim.Look(one); held.Boot != 1 || held.Wrote != "written on n1\n" {
						t.Errorf("it is in boot %d, with %q on its disk", held.Boot, held.Wrote)
					}
					if got := w.instance(); got.Op != nil {
						t.Errorf("%+v goes on", got.Op)
					}
					w.hosts[n2].start() // for the end of the test
				})
			})
		}
	}
}

// Nobody has said that the destination is down. A guest that was handed over to it waits until it can be asked: it may run there.
func TestMigrate_WithoutAWordItWaitsForTheDestination(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.fly("it has arrived, and the word of that is lost")
		w.hosts[n2].die()
		w.hosts[n1].sim.SetFault(sim.OpAbortMigrate, sim.Fault{})
		w.settle(time.Hour)
		if p := w.power(n1); p != virt.PowerPaused {
			t.Fatalf("the guest at the source is %v", p)
		}
		w.hosts[n2].rise() // without a guest: it ran there until its host died
		w.settle(time.Minute)
		w.alive(n1, virt.PowerRunning)
	})
}
