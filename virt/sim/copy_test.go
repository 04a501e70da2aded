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

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// A server is made from a snapshot of another. Its disk shows what was written there, and counts on.
func TestCapture_IsABaseForOtherGuests(t *testing.T) {
	d := open(t, sim.Config{Boot: time.Nanosecond})
	ctx := t.Context()
	must(t, d.Build(ctx, guest(vm)), d.Start(ctx, vm), d.GuestWrite(vm, "from the first"))
	path := filepath.Join(t.TempDir(), "snapshot.qcow2")
	must(t, d.Capture(ctx, vm, virt.DiskRoot, path, true, nil), d.GuestWrite(vm, "too late"))

	other := cluster.InstanceID("other")
	g := guest(other)
	g.Root = virt.RootDisk{Base: path, BaseFormat: "qcow2"}
	must(t, d.Build(ctx, g), d.Start(ctx, other))
	h, _ := d.Look(other)
	if h.Wrote != "from the first\n" || h.Boot != 2 {
		t.Errorf("the second guest has %+v", h)
	}
	if text := console(t, d, other); !strings.Contains(text, "boot 2 of this disk") || !strings.Contains(text, "vda: 3 GiB") {
		t.Errorf("console %q", text)
	}
}

// A capture that fails on its way leaves half a file, as QEMU does, and the next one replaces it.
func TestCapture_FailsAtAPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sim.Config{})
		must(t, d.Build(t.Context(), guest(vm)))
		path := filepath.Join(t.TempDir(), "x")
		for _, c := range []struct {
			fault sim.Fault
			want  error
		}{
			{sim.Fault{Fail: 1, At: 40, Slow: 10 * time.Second}, sim.ErrInjected},
			{sim.Fault{Hang: true, At: 40}, virt.ErrUnavailable},
			{sim.Fault{Lose: 1}, virt.ErrUnavailable},
		} {
			d.SetFault(sim.OpCapture, c.fault)
			last := -1
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err := d.Capture(ctx, vm, virt.DiskRoot, path, false, func(p int) { last = p })
			cancel()
			if !errors.Is(err, c.want) || (c.fault.At > 0) != (last == 30) {
				t.Errorf("%+v: %v, after %d per cent", c.fault, err, last)
			}
			if info, err := os.Stat(path); err != nil || (info.Size() == 0) != (c.fault.At > 0) {
				t.Errorf("%+v: the file has %d bytes, %v", c.fault, info.Size(), err)
			}
		}
		d.SetFault(sim.OpCapture, sim.Fault{})
		must(t, d.Capture(t.Context(), vm, virt.DiskRoot, path, false, nil))
	})
}

// A disk comes over the network. What is not one is refused, and nothing of it is kept.
func TestImport_RefusesWhatIsNoDisk(t *testing.T) {
	d := open(t, sim.Config{})
	base := virt.RootDisk{Base: "/base", BaseFormat: "raw"}
	text := strings.NewReader(strings.Repeat("x", 8192))
	for name, e := range map[string]virt.ExportedDisk{
		"of another name":      {ID: "v1", Format: "raw", Bytes: 1},
		"in another format":    {ID: virt.DiskRoot, Format: "vmdk", Bytes: 1},
		"not what it says":     {ID: virt.DiskRoot, Format: "qcow2", Bytes: 8192, File: text, Extents: []virt.Extent{{Offset: 0, Length: 8192}}},
		"beyond its end":       {ID: virt.DiskRoot, Format: "raw", Bytes: 10, File: text, Extents: []virt.Extent{{Offset: 8, Length: 8}}},
		"backwards":            {ID: virt.DiskRoot, Format: "raw", Bytes: 99, File: text, Extents: []virt.Extent{{Offset: 8, Length: 8}, {Offset: 0, Length: 8}}},
		"of negative size":     {ID: virt.DiskRoot, Format: "raw", Bytes: -1, File: text, Extents: []virt.Extent{{Offset: 0, Length: 8}}},
		"shorter than it says": {ID: virt.DiskRoot, Format: "raw", Bytes: 9000, File: text, Extents: []virt.Extent{{Offset: 0, Length: 9000}}},
	} {
		if err := d.Import(t.Context(), vm, 1, e, base, 0); err == nil {
			t.Errorf("a disk %s was taken", name)
		}
	}
	overlay := virt.ExportedDisk{ID: virt.DiskRoot, Format: "raw", Overlay: true, Bytes: 8192, File: text}
	if err := d.Import(t.Context(), vm, 1, overlay, virt.RootDisk{}, 0); err == nil {
		t.Error("an overlay was taken without its base")
	}
	if h, ok := d.Look(vm); ok {
		t.Errorf("it keeps %+v", h)
	}
	must(t, d.Import(t.Context(), vm, 1, overlay, base, 7<<30), d.Build(t.Context(), func() virt.Guest { g := guest(vm); g.DiskEpoch = 1; return g }()))
	if err := d.Import(t.Context(), vm, 1, overlay, base, 0); err == nil {
		t.Error("the disk of a defined domain was replaced")
	}
}

// A large disk that holds little travels as little.
func TestExport_ExtentsHoldWhatThereIs(t *testing.T) {
	d := open(t, sim.Config{})
	g := guest(vm)
	g.Disks = []virt.Disk{{ID: virt.DiskSwap, Make: virt.MadeDisk{SizeMiB: 4096, Use: "swap"}}}
	must(t, d.Build(t.Context(), g), d.Start(t.Context(), vm), d.Stop(t.Context(), vm, virt.Destroy))
	disks, err := d.Export(t.Context(), vm, 0)
	must(t, err)
	if len(disks) != 2 || !disks[0].Overlay || disks[1].Overlay || disks[1].Bytes != 4<<30 || len(disks[1].Extents) != 0 {
		t.Fatalf("disks %+v", disks)
	}
	sum := int64(0)
	for _, x := range disks[0].Extents {
		sum += x.Length
	}
	if sum == 0 || sum > 32<<10 {
		t.Errorf("the overlay holds %d bytes", sum)
	}
}

// A guest fills its disk. It is told so, as by a real one, and its record stays short enough for the host's file.
func TestGuestWrite_FullDiskIsRefused(t *testing.T) {
	d := open(t, sim.Config{File: filepath.Join(t.TempDir(), "sim.json")})
	must(t, d.Build(t.Context(), guest(vm)), d.Start(t.Context(), vm))
	line := strings.Repeat("\x01", 1000)
	full := false
	for range 100 {
		if err := d.GuestWrite(vm, line); err != nil {
			full = strings.Contains(err.Error(), "no space left")
			break
		}
	}
	if !full {
		t.Error("the disk never was full")
	}
	must(t, d.Stop(t.Context(), vm, virt.Destroy))
}
