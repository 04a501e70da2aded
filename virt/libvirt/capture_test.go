package libvirt

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rpc "github.com/digitalocean/go-libvirt"

	"github.com/kilonova/kilonova/virt"
)

// captured checks a capture: it stands alone, is sound, and shows what the guest's disk shows. mayDiffer is for a
// guest that wrote meanwhile.
func (b *bench) captured(path string) {
	b.Helper()
	info := run(b.T, "qemu-img", "info", "-f", "qcow2", path)
	if strings.Contains(info, "backing") {
		b.Errorf("the capture does not stand alone: %s", info)
	}
	run(b.T, "qemu-img", "check", "-q", "-f", "qcow2", path)
	root := b.place().disk(4, virt.DiskRoot)
	if out, err := exec.Command("qemu-img", "compare", "-U", "-f", "qcow2", "-F", "qcow2", path, root).CombinedOutput(); err != nil {
		b.Errorf("the capture differs: %v: %s", err, out)
	}
}

// fill makes a base image with so much data behind the boot sector.
func fill(t *testing.T, g *virt.Guest, megabytes string) {
	path := g.Root.Base + ".large"
	content, err := os.ReadFile(g.Root.Base)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "qemu-img", "resize", "-q", "-f", "raw", path, "1G")
	run(t, "qemu-io", "-f", "raw", "-c", "write -q -P 5 1M "+megabytes, path)
	g.Root.Base = path
}

// A guest is captured while it runs. It goes on counting, the capture is whole, and so is one of it when it is off.
func TestQEMU_CaptureIsTheWholeDiskOfAMoment(t *testing.T) {
	b := newBench(t, func(g *virt.Guest) { fill(t, g, "200M") })
	path := filepath.Join(b.config.DataDir, "capture.qcow2")
	b.must("write something else there", os.WriteFile(path, []byte("old"), 0o600))
	b.start()
	before, _ := b.count()
	began := time.Now()
	var told []int
	b.must("capture", b.driver.Capture(b.ctx, b.id, virt.DiskRoot, path, true, func(p int) { told = append(told, p) }))
	t.Logf("capturing 200 MiB of a running guest took %v", time.Since(began))
	b.captured(path)
	b.counted(before + 1)
	if len(told) == 0 || told[len(told)-1] != 100 {
		t.Errorf("progress was %v", told)
	}
	b.must("pause", b.driver.Pause(b.ctx, b.id))
	b.must("capture a paused one", b.driver.Capture(b.ctx, b.id, virt.DiskRoot, path, false, nil))
	b.captured(path)
	b.must("stop", b.driver.Stop(b.ctx, b.id, virt.Destroy))
	b.must("capture one that is off", b.driver.Capture(b.ctx, b.id, virt.DiskRoot, path, true, nil))
	b.captured(path)
	b.is("capture what is not there", b.driver.Capture(b.ctx, b.id, virt.DiskSwap, path, false, nil), virt.ErrNotFound)
	if there, _ := exists(b.place().capture()); there {
		t.Error("half a capture is left")
	}
}

// The pause that a capture puts the guest through is shorter than what its user would notice.
func TestQEMU_CaptureHardlyPausesItsGuest(t *testing.T) {
	b := newBench(t, func(g *virt.Guest) { fill(t, g, "100M") })
	b.start()
	halted := b.longestHalt(func() {
		b.must("capture", b.driver.Capture(b.ctx, b.id, virt.DiskRoot, filepath.Join(b.config.DataDir, "c"), false, nil))
	})
	t.Logf("the guest's processors were halted for %v at most", halted)
	if halted > 200*time.Millisecond {
		t.Errorf("halted for %v, want 200 ms at most", halted)
	}
}

// longestHalt watches the domain's state during act and gives the longest time in which it did not run.
func (b *bench) longestHalt(act func()) time.Duration {
	b.Helper()
	dom, ctx, stop := b.dom(), b.ctx, make(chan struct{})
	result := make(chan time.Duration)
	go func() {
		var longest time.Duration
		last := time.Now()
		for {
			select {
			case <-stop:
				result <- longest
				return
			case <-time.After(5 * time.Millisecond):
			}
			p, err := b.driver.power(ctx, dom)
			if now := time.Now(); err == nil && p == virt.PowerRunning {
				last = now
			} else {
				longest = max(longest, now.Sub(last))
			}
		}
	}()
	act()
	close(stop)
	return <-result
}

// A capture is given up, or its daemon ends. QEMU must not go on copying, and the next capture works.
func TestQEMU_CaptureThatWasGivenUpLeavesNothing(t *testing.T) {
	b := newBench(t, func(g *virt.Guest) { fill(t, g, "600M") })
	b.start()
	path := filepath.Join(b.config.DataDir, "c")
	soon, cancel := context.WithTimeout(b.ctx, 300*time.Millisecond)
	defer cancel()
	err := b.driver.Capture(soon, b.id, virt.DiskRoot, path, false, nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("it was not given up: %v", err)
	}
	if j, err := b.driver.jobOf(b.ctx, b.dom(), false); err != nil || j.kind != rpc.DomainJobNone {
		t.Errorf("QEMU goes on: %+v, %v", j, err)
	}
	for _, left := range []string{path, b.place().capture()} {
		if there, _ := exists(left); there {
			t.Errorf("%s is left", left)
		}
	}
	// What a killed daemon leaves: the copy goes on, and nobody waits for it.
	f, err := b.driver.fit(b.ctx, b.id)
	b.must("look", err)
	dv, _ := f.live.disk(virt.DiskRoot)
	text, err := backupXML(f.live, dv, b.place().capture())
	b.must("render", err)
	b.must("begin", tell(b.ctx, b.driver.rpc, "begin", func(l *rpc.Libvirt) error { return l.DomainBackupBegin(f.dom, text, nil, 0) }))
	b.must("capture", b.driver.Capture(b.ctx, b.id, virt.DiskRoot, path, false, nil))
	b.captured(path)
}

// An instance moves, off, to another place: its disks arrive, on the base image that is there, and large enough.
func TestQEMU_DisksAreExportedAndImported(t *testing.T) {
	b := newBench(t, func(g *virt.Guest) {
		g.Disks = []virt.Disk{{ID: virt.DiskEphemeral, Make: virt.MadeDisk{SizeMiB: 16, Use: "ephemeral"}}}
	})
	b.start()
	if _, err := b.driver.Export(b.ctx, b.id, 4); err == nil {
		t.Error("the disks of a running guest were exported")
	}
	b.must("stop", b.driver.Stop(b.ctx, b.id, virt.Destroy))
	run(t, "qemu-io", "-f", "qcow2", "-c", "write -P 6 700k 64k", b.place().disk(4, virt.DiskRoot))
	base := virt.RootDisk{Base: filepath.Join(b.config.DataDir, "other-base"), BaseFormat: "raw"}
	run(t, "cp", b.guest.Root.Base, base.Base)
	for range 2 { // the second overwrites the first
		list, err := b.driver.Export(b.ctx, b.id, 4)
		b.must("export", err)
		if len(list) != 2 || list[0].ID != virt.DiskEphemeral || list[1].ID != virt.DiskRoot || !list[1].Overlay || list[1].Format != "qcow2" {
			t.Fatalf("%+v", list)
		}
		for _, e := range list {
			b.must("import", b.driver.Import(b.ctx, b.id, 6, e, base, 20*mib))
			b.must("close", e.Close())
		}
	}
	at := b.place()
	info := run(t, "qemu-img", "info", "-f", "qcow2", at.disk(6, virt.DiskRoot))
	if !strings.Contains(info, base.Base) || !strings.Contains(info, "20 MiB") {
		t.Errorf("the imported root is %s", info)
	}
	run(t, "qemu-io", "-f", "qcow2", "-c", "read -P 6 700k 64k", at.disk(6, virt.DiskRoot))
	run(t, "e2fsck", "-fn", at.disk(6, "ephemeral"))
	if size := run(t, "stat", "-c", "%s", at.disk(6, "ephemeral")); !strings.HasPrefix(size, "20971520") {
		t.Errorf("the second disk has %s bytes", size)
	}
	b.guest.DiskEpoch, b.guest.Stamp.Epoch = 6, 6
	b.guest.Root.Base = base.Base
	b.must("build on them", b.driver.Build(b.ctx, b.guest))
	b.start()
	b.must("stop", b.driver.Stop(b.ctx, b.id, virt.Destroy))
	list, err := b.driver.Export(b.ctx, b.id, 9)
	b.is("export of an epoch that it never had", err, virt.ErrNotFound)
	if len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

// Another node sends an image that would read a file of this one, or is not what it says.
func TestQEMU_ImportRefusesImagesThatLie(t *testing.T) {
	b := newBench(t, nil)
	dir := t.TempDir()
	alone, evil := filepath.Join(dir, "alone"), filepath.Join(dir, "evil")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", alone, "1M")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file="+filepath.Join(dir, "elsewhere"), evil, "1M")
	backed := filepath.Join(dir, "backed")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", backed, "1M")
	for name, c := range map[string]struct {
		file    string
		overlay bool
		format  string
		id      virt.DiskID
	}{
		"a backing file that is not named": {backed, false, "qcow2", virt.DiskRoot},
		"a data file":                      {evil, true, "qcow2", virt.DiskRoot},
		"no overlay":                       {alone, true, "qcow2", virt.DiskRoot},
		"another format":                   {alone, false, "raw", virt.DiskRoot},
		"a path":                           {alone, false, "qcow2", "../root"},
	} {
		f, err := os.Open(c.file)
		b.must("open", err)
		defer f.Close()
		info, err := f.Stat()
		b.must("stat", err)
		e := virt.ExportedDisk{ID: c.id, Format: c.format, Overlay: c.overlay, Bytes: info.Size(), File: f,
			Extents: []virt.Extent{{Offset: 0, Length: info.Size()}}}
		if err := b.driver.Import(b.ctx, b.id, 7, e, virt.RootDisk{Base: b.guest.Root.Base, BaseFormat: "raw"}, 0); err == nil {
			t.Errorf("%s: was imported", name)
		}
	}
	if entries, _ := os.ReadDir(b.place().disks(7)); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}
