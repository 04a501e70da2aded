package sim_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

func look(t *testing.T, d *sim.Driver) sim.Held {
	t.Helper()
	h, ok := d.Look(vm)
	if !ok {
		t.Fatal("the host holds nothing of it")
	}
	return h
}

// A pause and saved memory keep the guest where it was: its time stands still, and it lives in the same boot. The
// power takes all that, but not what it wrote.
func TestMemory_LastsOverPauseAndSaveAndNotOverThePower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sim.Config{})
		ctx := t.Context()
		must(t, d.Build(ctx, guest(vm)), d.Start(ctx, vm), d.GuestWrite(vm, "kept"))
		time.Sleep(10 * time.Second)
		must(t, d.Pause(ctx, vm))
		time.Sleep(time.Hour)
		must(t, d.Unpause(ctx, vm))
		time.Sleep(10 * time.Second)
		must(t, d.Save(ctx, vm), d.Save(ctx, vm))
		time.Sleep(time.Hour)
		if h := look(t, d); h.Uptime != 20*time.Second || h.Boot != 1 || !h.Domain.Saved || h.Domain.Power != virt.PowerOff {
			t.Fatalf("saved: %+v", h)
		}
		must(t, d.Start(ctx, vm))
		if h := look(t, d); h.Uptime != 20*time.Second || h.Boot != 1 || h.Domain.Saved {
			t.Fatalf("restored: %+v", h)
		}
		must(t, d.Save(ctx, vm), d.Stop(ctx, vm, virt.Destroy), d.Start(ctx, vm))
		if h := look(t, d); h.Uptime != 0 || h.Boot != 2 || h.Wrote != "kept\n" {
			t.Fatalf("booted anew: %+v", h)
		}
	})
}

// Somebody pressed the power button, and then the guest was paused. It goes down when it has run for long enough.
func TestPause_HoldsBackWhatTheGuestWasAboutToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sim.Config{Shutdown: 10 * time.Second})
		ctx := t.Context()
		must(t, d.Build(ctx, guest(vm)), d.Start(ctx, vm), d.Stop(ctx, vm, virt.Shutdown))
		time.Sleep(5 * time.Second)
		must(t, d.Pause(ctx, vm))
		time.Sleep(time.Hour)
		must(t, d.Unpause(ctx, vm))
		time.Sleep(4 * time.Second)
		if p := power(t, d, vm); p != virt.PowerRunning {
			t.Fatalf("power %v", p)
		}
		time.Sleep(2 * time.Second)
		if p := power(t, d, vm); p != virt.PowerOff {
			t.Fatalf("power %v", p)
		}
	})
}

// The host went down. What was saved is still there; what only ran is not.
func TestSave_OutlivesTheHost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sim.json")
	d := open(t, sim.Config{File: file, HostBoot: "b-1"})
	ctx := t.Context()
	must(t, d.Build(ctx, guest(vm)), d.Start(ctx, vm), d.Save(ctx, vm), d.Close())
	again := open(t, sim.Config{File: file, HostBoot: "b-2"})
	if h := look(t, again); !h.Domain.Saved || h.Boot != 1 {
		t.Fatalf("after the host's boot: %+v", h)
	}
	must(t, again.Start(ctx, vm))
	if h := look(t, again); h.Boot != 1 || h.Domain.Power != virt.PowerRunning {
		t.Fatalf("after the start: %+v", h)
	}
}

// A guest that does not let go of a disk keeps it, and the caller is told by its deadline.
func TestDetach_GuestThatHoldsKeepsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sim.Config{})
		must(t, d.Build(t.Context(), guest(vm)), d.Start(t.Context(), vm),
			d.AttachDisk(t.Context(), vm, virt.Disk{ID: "v1", Path: "/v/1", Format: "raw"}))
		d.SetFault(sim.OpDetachDisk, sim.Fault{Hold: true})
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		if err := d.DetachDisk(ctx, vm, "v1"); !errors.Is(err, virt.ErrUnsupported) {
			t.Errorf("detach: %v", err)
		}
		if h := look(t, d); h.Domain.Disks != "v1" {
			t.Errorf("disks %q", h.Domain.Disks)
		}
		must(t, d.Stop(t.Context(), vm, virt.Destroy), d.DetachDisk(t.Context(), vm, "v1"))
		if h := look(t, d); h.Domain.Disks != "" {
			t.Errorf("disks %q", h.Domain.Disks)
		}
	})
}

// A host that was updated finds what an earlier version recorded, with its disk.
func TestNew_ReadsTheRecordsOfEarlierVersions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sim.json")
	must(t, os.WriteFile(file, []byte(`{"id":"`+string(vm)+`","record":{"defined":true,"disks":true,`+
		`"stamp":{"Cluster":"c-1","Instance":"`+string(vm)+`","Generation":1,"Epoch":4},"domain":"x",`+
		`"machine":{"name":"web-1","vcpus":2,"memory_mib":512,"size_gib":3},"power":2,`+
		`"boots":[{"on":"2026-01-01T00:00:00Z"}]}}`+"\n"), 0o600))
	d := open(t, sim.Config{File: file})
	if h := look(t, d); h.Domain.Power != virt.PowerRunning || len(h.Epochs) != 1 || h.Epochs[0] != 4 || h.Uptime < time.Hour {
		t.Fatalf("%+v", h)
	}
	if text := console(t, d, vm); !strings.Contains(text, "vda: 3 GiB") || !strings.Contains(text, "login:") {
		t.Errorf("console %q", text)
	}
}

func TestNew_RecordsOfLaterVersionsAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sim.json")
	must(t, os.WriteFile(file, []byte(`{"id":"x","record":{"format":2}}`+"\n"), 0o600))
	if d, err := sim.New(sim.Config{File: file}); err == nil {
		t.Fatal("opened", d.Close())
	}
}
