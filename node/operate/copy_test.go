package operate

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/failpoint"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// An instance is resized onto another node, and confirmed. What its guest wrote is there, and nothing is left behind.
func TestCopy_ResizeToAnotherNodeAndConfirm(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.begin(cluster.OpResize, n2)
		w.settle(30 * time.Second)
		w.expect("moved", n2, cluster.VMResized, virt.PowerRunning)
		if got := w.disk(n2); !strings.Contains(got, "written on n1") {
			t.Errorf("the guest finds %q on its disk", got)
		}
		w.must(&cluster.EndMove{ID: one})
		w.settle(30 * time.Second)
		w.expect("confirmed", n2, cluster.VMActive, virt.PowerRunning)
		if _, err := w.hosts[n1].sim.Export(t.Context(), one, 1); !errors.Is(err, virt.ErrNotFound) {
			t.Errorf("the disks that were left: %v", err)
		}
	})
}

// The guest writes on at the destination, and then its user goes back: what was written there must be gone, what was written
// before must not.
func TestCopy_ResizeAndRevertIsAsBefore(t *testing.T) {
	for _, to := range []cluster.NodeID{n1, n2} {
		t.Run("to "+string(to[len(to)-1:]), func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				w.begin(cluster.OpResize, to)
				w.settle(30 * time.Second)
				w.expect("moved", to, cluster.VMResized, virt.PowerRunning)
				if err := w.hosts[to].sim.GuestWrite(one, "written after"); err != nil {
					t.Fatal(err)
				}
				w.must(&cluster.EndMove{ID: one, Revert: true})
				w.settle(30 * time.Second)
				w.expect("reverted", n1, cluster.VMActive, virt.PowerRunning)
				if got := w.disk(n1); !strings.Contains(got, "written on n1") || strings.Contains(got, "written after") {
					t.Errorf("the guest finds %q on its disk", got)
				}
			})
		})
	}
}

// A stopped instance is migrated. It must be there, off.
func TestCopy_StoppedInstanceArrivesStopped(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.must(&cluster.SetPower{ID: one, Request: "req-2", Wanted: cluster.WantOff})
		w.settle(time.Minute)
		w.begin(cluster.OpMigrate, n2)
		w.settle(30 * time.Second)
		w.expect("moved", n2, cluster.VMResized, virt.PowerOff)
		w.must(&cluster.EndMove{ID: one})
		w.settle(30 * time.Second)
		w.expect("confirmed", n2, cluster.VMStopped, virt.PowerOff)
	})
}

// The source is out of reach for a while, the hypervisor fails once, the answer to the import is lost: the move goes on by
// itself when that has passed.
func TestCopy_TroubleThatPasses(t *testing.T) {
	for name, trouble := range map[string]func(w *world) (mend func()){
		"the nodes are cut off from each other": func(w *world) func() { w.setCut(true); return func() { w.setCut(false) } },
		"there is no quorum":                    func(w *world) func() { w.quorum(false); return func() { w.quorum(true) } },
		"the hypervisor is down":                func(w *world) func() { w.hosts[n2].sim.SetDown(true); return func() { w.hosts[n2].sim.SetDown(false) } },
		"the import fails once": func(w *world) func() {
			w.hosts[n2].sim.SetFault(sim.OpImport, sim.Fault{Fail: 1})
			return func() {}
		},
		"an answer is lost": func(w *world) func() {
			w.hosts[n2].sim.SetFault(sim.OpImport, sim.Fault{Lose: 1})
			return func() {}
		},
		"the destination's daemon dies in the middle": func(w *world) func() {
			w.hosts[n2].sim.SetFault(sim.OpImport, sim.Fault{Hang: true})
			return func() { w.hosts[n2].stop(); w.hosts[n2].sim.SetFault(sim.OpImport, sim.Fault{}); w.hosts[n2].start() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				w.must(&cluster.SetPower{ID: one, Request: "req-2", Wanted: cluster.WantOff})
				w.settle(time.Minute)
				w.must(&cluster.BeginMove{ID: one, Operation: op1, What: cluster.OpMigrate})
				w.must(&cluster.PlaceMove{ID: one, Operation: op1, Node: n2, Explanation: cluster.Explanation{Node: n2}})
				mend := trouble(w)
				w.settle(40 * time.Second)
				mend()
				w.settle(time.Minute)
				w.expect("at last", n2, cluster.VMResized, virt.PowerOff)
			})
		})
	}
}

// The disk cannot be made at the destination, or its source never answers: the instance goes back to where it was, running, and
// nothing is left at the destination.
func TestCopy_TroubleThatStaysTakesTheInstanceBack(t *testing.T) {
	for name, trouble := range map[string]func(w *world){
		"imports fail":                          func(w *world) { w.hosts[n2].sim.SetFault(sim.OpImport, sim.Fault{FailRate: 1}) },
		"the nodes are cut off from each other": func(w *world) { w.setCut(true) },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				trouble(w)
				w.begin(cluster.OpMigrate, n2)
				w.settle(10 * time.Minute)
				w.expect("back", n1, cluster.VMActive, virt.PowerRunning)
				if got := w.disk(n1); !strings.Contains(got, "written on n1") {
					t.Errorf("the guest finds %q on its disk", got)
				}
				view, _ := w.Latest()
				for range view.TombstonesOn(n2) {
					t.Error("something is left at the destination")
				}
			})
		})
	}
}

// The instance is deleted while its disks are copied: the copy stops, and nothing is left anywhere.
func TestCopy_DeletedInTheMiddle(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.hosts[n2].sim.SetFault(sim.OpImport, sim.Fault{Slow: time.Hour})
		w.begin(cluster.OpMigrate, n2)
		w.settle(30 * time.Second)
		w.must(&cluster.DeleteInstance{ID: one, Request: "req-3"})
		w.settle(time.Minute)
		view, _ := w.Latest()
		for _, id := range []cluster.NodeID{n1, n2} {
			for range view.TombstonesOn(id) {
				t.Errorf("a tombstone is left on %s", id)
			}
		}
	})
}

// A daemon dies at each of the named moments. Whatever the next one finds, the move comes to its end.
func TestCopy_EveryFailpoint(t *testing.T) {
	for _, point := range []string{PointCopyConfirmed, PointCopyListed, PointCopyImported, PointCopyDone, PointCopyBlock} {
		t.Run(point, func(t *testing.T) {
			if err := failpoint.Set(point + "=1*error"); err != nil {
				t.Fatal(err)
			}
			defer failpoint.Set("")
			in(t, func(t *testing.T, w *world) {
				w.begin(cluster.OpMigrate, n2)
				w.settle(time.Minute)
				w.expect("moved", n2, cluster.VMResized, virt.PowerRunning)
			})
		})
	}
}

// Other nodes, other operations and other steps get nothing of a disk.
func TestSource_ServesOnlyTheMoveThatTheStateNames(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.hosts[n2].sim.SetFault(sim.OpImport, sim.Fault{Slow: time.Hour})
		source := w.hosts[n1].source
		right := peer.Move{Instance: one, Operation: op1, Asker: n2}
		refused := func(when string, m peer.Move) {
			t.Helper()
			if _, err := source.Disks(t.Context(), m); cluster.CodeOf(err) != cluster.Stale {
				t.Errorf("%s: %v", when, err)
			}
		}
		refused("before the move", right)
		w.begin(cluster.OpMigrate, n2)
		w.settle(30 * time.Second)
		disks, err := source.Disks(t.Context(), right)
		if err != nil || len(disks) != 3 {
			t.Fatalf("the move's own destination: %v, %v", disks, err)
		}
		for when, spoil := range map[string]func(*peer.Move){
			"another node":      func(m *peer.Move) { m.Asker = n1 },
			"nobody":            func(m *peer.Move) { m.Asker = "" },
			"another operation": func(m *peer.Move) { m.Operation = "o2" },
			"another instance":  func(m *peer.Move) { m.Instance = "i2" },
		} {
			m := right
			spoil(&m)
			refused(when, m)
		}
		var out strings.Builder
		for _, bad := range []peer.Extent{{Offset: -1, Length: 1}, {Offset: disks[0].Bytes, Length: 1}, {Offset: 0, Length: disks[0].Bytes + 1}, {Offset: 1 << 62, Length: 1 << 62}} {
			if err := source.Block(t.Context(), &out, right, disks[0].ID, []peer.Extent{bad}); cluster.CodeOf(err) != cluster.Invalid {
				t.Errorf("%v: %v", bad, err)
			}
		}
		if err := source.Block(t.Context(), &out, right, "volume", []peer.Extent{{Offset: 0, Length: 1}}); cluster.CodeOf(err) != cluster.NotFound {
			t.Errorf("a disk that there is not: %v", err)
		}
	})
}

// byName has every image here, under its name.
type byName struct{ shelf }

// Base implements Images.
func (byName) Base(img cluster.BootImage) (string, string, bool) {
	return string(img.Image), "qcow2", true
}

// An instance is rescued from another image when it is moved. Its own disk goes on lying on its own image.
func TestCopy_ARescuedInstanceKeepsItsBase(t *testing.T) {
	in := &cluster.Instance{
		Images: []cluster.BootImage{{Part: cluster.BootDisk, Image: "own"}, {Part: cluster.BootKernel, Image: "kernel"}},
		Mode:   cluster.Mode{Rescue: &cluster.Rescue{Images: []cluster.BootImage{{Part: cluster.BootDisk, Image: "tools"}}}},
	}
	w := &work{Loop: &Loop{Config: Config{Images: byName{}}}}
	if base, err := w.base(t.Context(), in); err != nil || base.Base != "own" {
		t.Errorf("its disk would lie on %q, %v", base.Base, err)
	}
}

// A server that boots from a volume moves. It has no disk that could be copied, and nobody is asked for one.
func TestCopy_NothingIsAskedForWhereThereAreOnlyVolumes(t *testing.T) {
	in := &cluster.Instance{ID: one, Spec: cluster.Spec{Boot: cluster.BootSource{Volume: true}}, Op: &cluster.Operation{Move: &cluster.Move{From: n1, To: n2}}}
	w := &work{Loop: &Loop{Config: Config{Node: n2}}} // it would panic
	if err := w.copy(t.Context(), in); err != nil {
		t.Error(err)
	}
	in.Spec.Flavor.SwapMiB = 1
	if !ownDisks(in) {
		t.Error("its swap disk was forgotten")
	}
}
