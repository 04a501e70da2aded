package libvirt

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/e2e/guest"
	"github.com/kilonova/kilonova/e2e/lab"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/disk"
)

// volume makes a volume with a pattern in it.
func (b *bench) volume(format string) string {
	b.Helper()
	path := filepath.Join(b.config.DataDir, "volume-"+uuid.NewString())
	run(b.T, "qemu-img", "create", "-q", "-f", format, path, "8M")
	run(b.T, "qemu-io", "-f", format, "-c", "write -P 9 0 1M", path)
	return path
}

// Volumes come and go while the guest is off, and come while it runs; its own disk stays the first.
func TestQEMU_DisksAreAttachedOffAndOn(t *testing.T) {
	b := newBench(t, nil)
	first := virt.Disk{ID: "11111111-0000-4000-8000-000000000001", Path: b.volume("raw"), Format: "raw", Device: "vda", Serial: "11111111-0000-4000-8000-000000000001"}
	for range 2 {
		b.must("attach while off", b.driver.AttachDisk(b.ctx, b.id, first))
	}
	if d := b.seen(); d.Disks != string(first.ID) {
		t.Errorf("disks are %q", d.Disks)
	}
	b.start() // from its root, though the volume wished for vda
	second := virt.Disk{ID: "22222222-0000-4000-8000-000000000002", Path: b.volume("qcow2"), Format: "qcow2", Device: "vdf"}
	third := virt.Disk{ID: "33333333-0000-4000-8000-000000000003", Path: b.volume("raw"), Format: "raw", Bus: "scsi", ReadOnly: true}
	for range 2 {
		b.must("attach while on", b.driver.AttachDisk(b.ctx, b.id, second))
		b.must("attach to SCSI", b.driver.AttachDisk(b.ctx, b.id, third))
	}
	if d := b.seen(); d.Disks != string(first.ID+","+second.ID+","+third.ID) {
		t.Errorf("disks are %q", d.Disks)
	}
	b.must("grow", b.driver.ResizeDisk(b.ctx, b.id, second.ID, 16<<20))
	b.must("grow again", b.driver.ResizeDisk(b.ctx, b.id, second.ID, 16<<20))
	if err := b.driver.ResizeDisk(b.ctx, b.id, second.ID, 4<<20); err == nil {
		t.Error("a volume shrank")
	}
	b.is("grow what is not there", b.driver.ResizeDisk(b.ctx, b.id, "none", 4<<20), virt.ErrNotFound)
	b.must("detach what is not there", b.driver.DetachDisk(b.ctx, b.id, "none"))

	// The boot sector does not know how to let go.
	soon, cancel := context.WithTimeout(b.ctx, 7*time.Second)
	defer cancel()
	b.is("detach from a guest that does not let go", b.driver.DetachDisk(soon, b.id, second.ID), virt.ErrUnsupported)
	b.must("stop", b.driver.Stop(b.ctx, b.id, virt.Destroy))
	for range 2 {
		b.must("detach", b.driver.DetachDisk(b.ctx, b.id, first.ID))
	}
	if d := b.seen(); d.Disks != string(third.ID) {
		t.Errorf("disks are %q", d.Disks)
	}
	b.start()
}

// As many disks and cards as promised fit into a running guest.
func TestQEMU_SparePortsAreThere(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	for i := range sparePorts {
		if i%2 == 0 {
			n := virt.NIC{Port: cluster.PortID(uuid.NewString()), MAC: "fa:16:3e:00:01:" + strconv.FormatInt(int64(0x10+i), 16), Bridge: "br0", Spoofing: true}
			b.must("attach card", b.driver.AttachNIC(b.ctx, b.id, n))
			continue
		}
		b.must("attach disk", b.driver.AttachDisk(b.ctx, b.id, virt.Disk{ID: virt.DiskID(uuid.NewString()), Path: b.volume("raw"), Format: "raw"}))
	}
	if d := b.seen(); strings.Count(d.NICs, ",") != sparePorts/2-1 || strings.Count(d.Disks, ",") != sparePorts/2-1 {
		t.Errorf("%+v", d)
	}
}

// A card comes to a running guest, with its filter; it is given another address; while off it is taken away.
func TestQEMU_CardsAreAttachedChangedAndDetached(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	n := virt.NIC{Port: cluster.PortID(uuid.NewString()), MAC: ownMAC, Bridge: "br0", Addresses: []string{ownIP}}
	for _, address := range []string{ownIP, ownIP, ownIP2} {
		n.Addresses = []string{address}
		b.must("attach", b.driver.AttachNIC(b.ctx, b.id, n))
		for _, flag := range []string{"", "--inactive"} {
			argv := []string{"virsh", "-c", "qemu+unix:///system?socket=" + b.config.Socket, "dumpxml", "instance-" + string(b.id)}
			if flag != "" {
				argv = append(argv, flag)
			}
			if text := run(t, argv...); !strings.Contains(text, "value='"+address+"'") || strings.Count(text, ownMAC) != 1 {
				t.Errorf("%s: the filter does not know %s", flag, address)
			}
		}
	}
	if d := b.seen(); d.NICs != ownMAC {
		t.Errorf("cards are %q", d.NICs)
	}
	b.must("stop", b.driver.Stop(b.ctx, b.id, virt.Destroy))
	for range 2 {
		b.must("detach", b.driver.DetachNIC(b.ctx, b.id, strings.ToUpper(ownMAC)))
	}
	if d := b.seen(); d.NICs != "" {
		t.Errorf("cards are %q", d.NICs)
	}
	n.Bridge = "../br0"
	if err := b.driver.AttachNIC(b.ctx, b.id, n); err == nil {
		t.Error("a bridge of that name was taken")
	}
}

// An encrypted volume opens with its passphrase, which nobody can read back, and which is forgotten with the volume.
func TestQEMU_EncryptedVolumeOpensAndItsPassphraseIsForgotten(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	secret := []byte("correct horse battery staple")
	path := filepath.Join(b.config.DataDir, "luks")
	b.must("create an encrypted disk", disk.CreateLUKS(b.ctx, path, 4<<20, secret))
	d := virt.Disk{ID: "44444444-0000-4000-8000-000000000004", Path: path, Format: "raw", Secret: []byte("kangaroo")}
	err := b.driver.AttachDisk(b.ctx, b.id, d)
	if err == nil || strings.Contains(err.Error(), "kangaroo") {
		t.Errorf("with a wrong passphrase: %v", err)
	}
	d.Secret = secret
	b.must("attach", b.driver.AttachDisk(b.ctx, b.id, d))
	virsh := []string{"virsh", "-c", "qemu+unix:///system?socket=" + b.config.Socket}
	if out := run(t, append(virsh, "secret-list")...); !strings.Contains(out, secretID(d.ID)) {
		t.Errorf("libvirt does not know the secret: %s", out)
	}
	if out, err := exec.Command(virsh[0], append(virsh[1:], "secret-get-value", secretID(d.ID))...).CombinedOutput(); err == nil {
		t.Errorf("it gives the passphrase away: %s", out)
	}
	// libvirtd is restarted, and knows no passphrases. A guest that is off has to be built anew, and its stamp says so.
	b.must("stop", b.driver.Stop(b.ctx, b.id, virt.Destroy))
	if g := b.seen().Stamp.Generation; g != 1 {
		t.Errorf("generation %d before", g)
	}
	libvirtd(t).restart(t)
	b.eventually("libvirtd is back", func() bool { _, err := b.driver.Domains(b.ctx); return err == nil })
	if g := b.seen().Stamp.Generation; g != 0 {
		t.Errorf("generation %d without a passphrase", g)
	}
	b.guest.Disks = []virt.Disk{d}
	b.must("build", b.driver.Build(b.ctx, b.guest))
	if g := b.seen().Stamp.Generation; g != 1 {
		t.Errorf("generation %d after", g)
	}
	b.start()
	b.must("remove", b.driver.Remove(b.ctx, b.id))
	if out := run(t, append(virsh, "secret-list")...); strings.Contains(out, secretID(d.ID)) {
		t.Errorf("libvirt still knows the secret: %s", out)
	}
}

// A guest with an operating system that knows hot-plugging lets go of what it is told to, and the definition forgets it.
func TestQEMU_LinuxLetsGoOfDisksAndCards(t *testing.T) {
	needQEMU(t)
	small, err := guest.BuildSmall(t.Context(), lab.CacheDir(), nil)
	if err != nil {
		t.Skipf("the small guest cannot be built here: %v", err)
	}
	b := newBench(t, func(g *virt.Guest) {
		g.MemoryMiB, g.ConfigDrive = 128, nil
		g.Root = virt.RootDisk{Base: small.RootDisk, BaseFormat: "raw"}
		g.Kernel = virt.Kernel{Path: small.Kernel, Ramdisk: small.Ramdisk, Cmdline: guest.CommandLine}
	})
	b.must("start", b.driver.Start(b.ctx, b.id))
	// Sent while the guest's kernel is still starting: the request has to be repeated, or it is lost.
	volume := virt.Disk{ID: virt.DiskID(uuid.NewString()), Path: b.volume("raw"), Format: "raw"}
	scsi := virt.Disk{ID: virt.DiskID(uuid.NewString()), Path: b.volume("qcow2"), Format: "qcow2", Bus: "scsi"}
	card := virt.NIC{Port: cluster.PortID(uuid.NewString()), MAC: ownMAC, Bridge: "br0", Addresses: []string{ownIP}}
	for range 2 {
		b.must("attach", b.driver.AttachDisk(b.ctx, b.id, volume))
		b.must("attach", b.driver.AttachDisk(b.ctx, b.id, scsi))
		b.must("attach", b.driver.AttachNIC(b.ctx, b.id, card))
		if d := b.seen(); d.NICs != ownMAC || !strings.Contains(d.Disks, string(volume.ID)) || !strings.Contains(d.Disks, string(scsi.ID)) {
			t.Errorf("attached: %+v", d)
		}
		began := time.Now()
		b.must("detach", b.driver.DetachDisk(b.ctx, b.id, volume.ID))
		b.must("detach", b.driver.DetachDisk(b.ctx, b.id, scsi.ID))
		b.must("detach", b.driver.DetachNIC(b.ctx, b.id, card.MAC))
		t.Logf("the guest let go of three devices in %v", time.Since(began))
		if d := b.seen(); d.NICs != "" || d.Disks != "" || d.Power != virt.PowerRunning {
			t.Errorf("detached: %+v", d)
		}
	}
	b.must("stop", b.driver.Stop(b.ctx, b.id, virt.Destroy))
	if d := b.seen(); d.NICs != "" || d.Disks != "" {
		t.Errorf("the definition still has %+v", d)
	}
}
