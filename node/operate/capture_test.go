package operate

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/failpoint"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// beginCapture begins to save the instance's disk.
func (w *world) beginCapture(what cluster.OperationKind) {
	w.t.Helper()
	w.must(&cluster.BeginCapture{ID: one, Operation: op1, What: what, Image: cluster.Image{ID: saved, Name: "saved", Visibility: cluster.Private}})
}

func (w *world) image() *cluster.Image {
	v, _ := w.Latest()
	img, ok := v.Image(saved)
	if !ok {
		return &cluster.Image{}
	}
	return img
}

// expectImage tells whether the image is one that an instance can be made from, holds what the guest wrote, and left nothing beside it.
func (w *world) expectImage(when string) {
	w.t.Helper()
	img := w.image()
	if img.Status != cluster.ImageActive || img.Data == nil || len(img.Data.Nodes) != 2 ||
		img.Format != (cluster.ImageFormat{Disk: "qcow2", Container: "bare", MinDiskGiB: 1}) {
		w.t.Fatalf("%s: the image is %+v, %+v", when, img, img.Data)
	}
	all := w.hosts[n1].vault.imported
	if len(all) == 0 || !strings.HasPrefix(all[len(all)-1], "QFI\xfb") {
		w.t.Errorf("%s: what was stored is no qcow2 image", when)
	}
	if left, err := os.ReadDir(w.hosts[n1].dir); err == nil && len(left) > 0 {
		w.t.Errorf("%s: %v is left", when, left)
	}
}

// A snapshot is made of an instance in each state in which it may be. The guest's state stays what it was.
func TestCapture_InEveryState(t *testing.T) {
	for action, want := range map[string]struct {
		vm    cluster.VMState
		power virt.Power
	}{
		"":        {cluster.VMActive, virt.PowerRunning},
		"pause":   {cluster.VMPaused, virt.PowerPaused},
		"suspend": {cluster.VMSuspended, virt.PowerOff},
		"stop":    {cluster.VMStopped, virt.PowerOff},
	} {
		t.Run("after "+action, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				switch action {
				case "":
				case "stop":
					w.must(&cluster.SetPower{ID: one, Request: "req-2", Wanted: cluster.WantOff})
				default:
					w.must(&cluster.SetPower{ID: one, Request: "req-2", Action: action})
				}
				w.settle(time.Minute)
				w.beginCapture(cluster.OpSnapshot)
				w.settle(time.Minute)
				w.expect("afterwards", n1, want.vm, want.power)
				w.expectImage("afterwards")
				if held, _ := w.hosts[n1].sim.Look(one); held.Boot > 1 {
					t.Errorf("the guest was booted again: boot %d", held.Boot)
				}
			})
		})
	}
}

// A running instance is shelved: it is stopped first, and nothing but the image is left.
func TestCapture_Shelve(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.beginCapture(cluster.OpShelve)
		w.settle(2 * time.Minute)
		w.expectImage("shelved")
		if got := w.instance(); got.Status.VM != cluster.VMOffloaded || got.Node != "" {
			t.Errorf("the instance is %s on %q", got.Status.VM, got.Node)
		}
		if held, there := w.hosts[n1].sim.Look(one); there && (held.Defined || held.Disks) {
			t.Errorf("left on the node: %+v", held)
		}
	})
}

// Daemons, hypervisors and quorums come and go: the image is complete in the end, once.
func TestCapture_TroubleThatPasses(t *testing.T) {
	for name, trouble := range map[string]func(w *world) (mend func()){
		"there is no quorum":     func(w *world) func() { w.quorum(false); return func() { w.quorum(true) } },
		"the hypervisor is down": func(w *world) func() { w.hosts[n1].sim.SetDown(true); return func() { w.hosts[n1].sim.SetDown(false) } },
		"too few nodes":          func(w *world) func() { w.hosts[n1].vault.refuse(2); return func() {} },
		"it fails in the middle": func(w *world) func() {
			w.hosts[n1].sim.SetFault(sim.OpCapture, sim.Fault{Fail: 1, At: 50})
			return func() {}
		},
		"the daemon dies in the middle": func(w *world) func() {
			w.hosts[n1].sim.SetFault(sim.OpCapture, sim.Fault{Hang: true, At: 50})
			return func() { w.hosts[n1].stop(); w.hosts[n1].sim.SetFault(sim.OpCapture, sim.Fault{}); w.hosts[n1].start() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				w.beginCapture(cluster.OpSnapshot)
				mend := trouble(w)
				w.settle(40 * time.Second)
				mend()
				w.settle(time.Minute)
				w.expect("at last", n1, cluster.VMActive, virt.PowerRunning)
				w.expectImage("at last")
			})
		})
	}
}

// The process fails at each of the named moments. The image is complete in the end, and was stored once if that was done.
func TestCapture_EveryFailpoint(t *testing.T) {
	for _, point := range []string{PointCaptureBegun, PointCaptureCopied, PointCaptureStored, PointCaptureActive} {
		t.Run(point, func(t *testing.T) {
			if err := failpoint.Set(point + "=1*error"); err != nil {
				t.Fatal(err)
			}
			defer failpoint.Set("")
			in(t, func(t *testing.T, w *world) {
				w.beginCapture(cluster.OpSnapshot)
				w.settle(time.Minute)
				w.expect("afterwards", n1, cluster.VMActive, virt.PowerRunning)
				w.expectImage("afterwards")
				if n := len(w.hosts[n1].vault.imported); n != 1 {
					t.Errorf("it was stored %d times", n)
				}
			})
		})
	}
}

// The disk cannot be captured: the image goes, and the instance goes on. One that was to be shelved runs again.
func TestCapture_FailureLeavesTheInstanceAsItWas(t *testing.T) {
	for _, what := range []cluster.OperationKind{cluster.OpSnapshot, cluster.OpShelve} {
		t.Run(string(what), func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				w.hosts[n1].sim.SetFault(sim.OpCapture, sim.Fault{FailRate: 1})
				w.beginCapture(what)
				w.settle(3 * time.Minute)
				w.expect("afterwards", n1, cluster.VMActive, virt.PowerRunning)
				if img := w.image(); img.ID != "" {
					t.Errorf("an image is left: %+v", img)
				}
			})
		})
	}
}

// The image is deleted, or the instance, while the disk is read. Nobody waits for the rest.
func TestCapture_DeletedInTheMiddle(t *testing.T) {
	t.Run("the image", func(t *testing.T) {
		in(t, func(t *testing.T, w *world) {
			w.hosts[n1].sim.SetFault(sim.OpCapture, sim.Fault{Slow: 10 * time.Minute, At: 1})
			w.beginCapture(cluster.OpSnapshot)
			w.settle(20 * time.Second)
			w.must(&cluster.DeleteImage{ID: saved})
			w.settle(5 * time.Minute)
			w.expect("afterwards", n1, cluster.VMActive, virt.PowerRunning)
		})
	})
	t.Run("the instance", func(t *testing.T) {
		in(t, func(t *testing.T, w *world) {
			w.hosts[n1].sim.SetFault(sim.OpCapture, sim.Fault{Slow: 10 * time.Minute, At: 1})
			w.beginCapture(cluster.OpSnapshot)
			w.settle(20 * time.Second)
			w.must(&cluster.DeleteInstance{ID: one, Request: "req-3"})
			w.settle(time.Minute)
			if img := w.image(); img.ID != "" {
				t.Errorf("an image is left: %+v", img)
			}
		})
	})
}

// An earlier daemon died with a half-written file. The next one removes it, and cares for nothing else.
func TestLoop_RemovesWhatACrashLeft(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		h := w.hosts[n1]
		h.stop()
		if err := errors.Join(os.MkdirAll(h.dir, 0o700), os.WriteFile(h.dir+"/old.qcow2", []byte("half"), 0o600)); err != nil {
			t.Fatal(err)
		}
		h.start()
		w.settle(time.Second)
		if left, err := os.ReadDir(h.dir); err != nil || len(left) > 0 {
			t.Errorf("%v, %v", left, err)
		}
	})
}
