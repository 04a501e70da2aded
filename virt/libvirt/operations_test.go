package libvirt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	rpc "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/virttest"
)

// bench is a rig with one guest, of which a story is told.
type bench struct {
	*testing.T
	*rig
	ctx    context.Context
	driver *Driver
	guest  virt.Guest
	id     cluster.InstanceID
}

// newBench builds a guest that boots from the suite's boot sector, changed by change.
func newBench(t *testing.T, change func(*virt.Guest)) *bench {
	d := needQEMU(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	b := &bench{T: t, rig: newRig(t, d, DefaultURI), ctx: ctx, id: cluster.InstanceID(uuid.NewString())}
	b.driver = b.rig.Driver.(*Driver)
	b.guest = b.rig.guest(t)
	b.guest.Stamp = virt.Stamp{Cluster: testCluster, Instance: b.id, Generation: 1, Epoch: 4}
	b.guest.DiskEpoch = 4
	if change != nil {
		change(&b.guest)
	}
	b.must("build", b.driver.Build(ctx, b.guest))
	return b
}

func (b *bench) must(act string, err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("%s: %v", act, err)
	}
}

func (b *bench) is(act string, err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Errorf("%s: got %v, want %v", act, err, want)
	}
}

// start starts the guest and waits until it counts.
func (b *bench) start() {
	b.Helper()
	b.must("start", b.driver.Start(b.ctx, b.id))
	b.counted(1)
}

// seen gives what the driver reports of the guest.
func (b *bench) seen() virt.Domain {
	b.Helper()
	all, err := b.driver.Domains(b.ctx)
	b.must("list", err)
	for _, d := range all {
		if d.ID == b.id {
			return d
		}
	}
	b.Fatal("the domain is not there")
	return virt.Domain{}
}

// count gives the last number that the guest printed, or -1, and whether one was ever less than the one before.
func (b *bench) count() (last int64, restarted bool) {
	b.Helper()
	r, err := b.driver.Console(b.ctx, b.id)
	b.must("open console", err)
	defer r.Close()
	return counts(b.T, r)
}

func counts(t *testing.T, r io.Reader) (last int64, restarted bool) {
	last = -1
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if number, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), virttest.BootSectorPrints); ok && len(number) == 4 {
			n, err := strconv.ParseInt(number, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			restarted = restarted || n < last
			last = n
		}
	}
	return last, restarted
}

// console gives all that the guest printed.
func (b *bench) console() string {
	b.Helper()
	r, err := b.driver.Console(b.ctx, b.id)
	b.must("open console", err)
	defer r.Close()
	text, err := io.ReadAll(r)
	b.must("read console", err)
	return string(text)
}

// counted waits until the guest has counted so far.
func (b *bench) counted(to int64) {
	b.Helper()
	b.eventually("the guest counts to "+strconv.FormatInt(to, 10), func() bool { n, _ := b.count(); return n >= to })
}

func (b *bench) eventually(what string, f func() bool) {
	b.Helper()
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if f() {
			return
		}
	}
	b.Fatalf("not within 90 s: %s", what)
}

// dom gives libvirt's handle of the domain.
func (b *bench) dom() rpc.Domain {
	b.Helper()
	dom, err := b.driver.find(b.ctx, b.id)
	b.must("find", err)
	return dom
}

func (b *bench) place() place {
	b.Helper()
	return b.rig.place(b.T, b.id)
}

func run(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// A guest is halted, goes on, is saved to disk and goes on from there: it never starts to count anew.
func TestQEMU_PausedAndSavedGuestsGoOn(t *testing.T) {
	b := newBench(t, nil)
	for act, err := range map[string]error{
		"pause": b.driver.Pause(b.ctx, b.id), "unpause": b.driver.Unpause(b.ctx, b.id), "save": b.driver.Save(b.ctx, b.id),
	} {
		b.is(act+" one that is off", err, virt.ErrNotRunning)
	}
	b.start()
	for range 2 {
		b.must("pause", b.driver.Pause(b.ctx, b.id))
		if p := b.seen().Power; p != virt.PowerPaused {
			t.Fatalf("paused: %v", p)
		}
	}
	before, _ := b.count()
	time.Sleep(time.Second)
	if after, _ := b.count(); after > before+1 {
		t.Errorf("a paused guest counts from %d to %d", before, after)
	}
	for range 2 {
		b.must("unpause", b.driver.Unpause(b.ctx, b.id))
	}
	b.counted(before + 2)
	b.must("pause once more", b.driver.Pause(b.ctx, b.id))
	for range 2 {
		b.must("save", b.driver.Save(b.ctx, b.id))
		if d := b.seen(); d.Power != virt.PowerOff || !d.Saved {
			t.Fatalf("saved: %+v", d)
		}
	}
	before, _ = b.count()
	b.must("start", b.driver.Start(b.ctx, b.id))
	b.counted(before + 2)
	if d := b.seen(); d.Power != virt.PowerRunning || d.Saved {
		t.Errorf("restored: %+v", d)
	}
	if _, restarted := b.count(); restarted {
		t.Error("the guest began anew")
	}
	b.must("save", b.driver.Save(b.ctx, b.id))
	b.must("throw away", b.driver.Stop(b.ctx, b.id, virt.Destroy))
	if d := b.seen(); d.Saved || d.Power != virt.PowerOff {
		t.Errorf("thrown away: %+v", d)
	}
}

// A node reboots while a guest is saved. libvirt has no idea any more why it is off, but the memory is on disk.
func TestQEMU_SavedSurvivesALibvirtdThatDies(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.must("save", b.driver.Save(b.ctx, b.id))
	libvirtd(t).restart(t)
	b.eventually("libvirtd is back", func() bool { _, err := b.driver.Domains(b.ctx); return err == nil })
	if d := b.seen(); !d.Saved || d.Power != virt.PowerOff {
		t.Errorf("%+v", d)
	}
	b.must("start", b.driver.Start(b.ctx, b.id))
	b.counted(3)
	if _, restarted := b.count(); restarted {
		t.Error("the guest began anew")
	}
}

// What was decided changes while the guest runs. Its new stamp is in the running domain and in its definition, and
// who owns it is still there.
func TestQEMU_StampReachesTheRunningDomainAndItsDefinition(t *testing.T) {
	b := newBench(t, func(g *virt.Guest) {
		g.Owner = virt.Owner{ProjectID: "p", ProjectName: "a&b", UserID: "u", UserName: "eve"}
	})
	b.start()
	want := b.guest.Stamp
	want.Generation, want.Epoch = 9, 8
	for range 2 {
		b.must("stamp", b.driver.Stamp(b.ctx, want))
		if s := b.seen().Stamp; s != want {
			t.Errorf("running: %+v", s)
		}
	}
	b.must("stop", b.driver.Stop(b.ctx, b.id, virt.Destroy))
	if s := b.seen().Stamp; s != want {
		t.Errorf("off: %+v", s)
	}
	want.Generation++
	b.must("stamp while off", b.driver.Stamp(b.ctx, want))
	if s := b.seen().Stamp; s != want {
		t.Errorf("off: %+v", s)
	}
	text := run(t, "virsh", "-c", "qemu+unix:///system?socket="+b.config.Socket, "dumpxml", "instance-"+string(b.id))
	for _, part := range []string{"a&amp;b", ">eve<", `id="p"`} {
		if !strings.Contains(strings.ReplaceAll(text, "'", `"`), part) {
			t.Errorf("%s was lost:\n%s", part, text[:1500])
		}
	}
	want.Cluster = "other"
	if err := b.driver.Stamp(b.ctx, want); err == nil {
		t.Error("another cluster's stamp was taken")
	}
}

// A guest with swap and a second disk is rescued, comes back, is rebuilt, and what was before is removed.
func TestQEMU_DisksOfEachEpochHaveTheirOwnPlace(t *testing.T) {
	b := newBench(t, func(g *virt.Guest) {
		g.Disks = []virt.Disk{
			{ID: virt.DiskEphemeral, Make: virt.MadeDisk{SizeMiB: 16, Use: "ephemeral"}},
			{ID: virt.DiskSwap, Make: virt.MadeDisk{SizeMiB: 4, Use: "swap"}},
		}
	})
	at := b.place()
	run(t, "e2fsck", "-fn", at.disk(4, "ephemeral"))
	run(t, "swaplabel", at.disk(4, "swap"))
	if d := b.seen(); d.Disks != "" {
		t.Errorf("its own disks are reported as attached: %q", d.Disks)
	}
	old := b.inode(4)
	b.guest.Rescue = &virt.RootDisk{Base: b.guest.Root.Base, BaseFormat: "raw"}
	b.must("rescue", b.driver.Build(b.ctx, b.guest))
	b.start()
	v, err := b.driver.look(b.ctx, b.dom(), 0)
	b.must("look", err)
	var order []string
	for _, d := range v.Disks {
		order = append(order, string(d.id())+"="+d.Target.Dev)
	}
	if got := strings.Join(order, " "); got != "rescue=vda root=vdb ephemeral=vdc swap=vdd =vdz" {
		t.Errorf("disks are %s", got)
	}
	b.must("stop", b.driver.Stop(b.ctx, b.id, virt.Destroy))
	b.guest.Rescue = nil
	b.must("unrescue", b.driver.Build(b.ctx, b.guest))
	if there, _ := exists(at.disk(4, virt.DiskRescue)); there || b.inode(4) != old {
		t.Error("the rescue disk is still there, or the root is another")
	}
	if err := b.driver.RemoveDisks(b.ctx, b.id, 4, 0); err == nil {
		t.Error("disks in use were removed")
	}
	b.guest.DiskEpoch, b.guest.Stamp.Epoch = 5, 5
	b.must("rebuild", b.driver.Build(b.ctx, b.guest))
	if b.inode(5) == old || b.inode(4) != old {
		t.Error("the rebuilt guest has the old disk, or the old disk is gone")
	}
	b.must("keep what is kept", b.driver.RemoveDisks(b.ctx, b.id, 4, 4))
	b.inode(4)
	b.must("remove what was", b.driver.RemoveDisks(b.ctx, b.id, 4, 0))
	if there, _ := exists(at.disks(4)); there {
		t.Error("the old disks are still there")
	}
	b.start()
	if err := b.driver.RemoveDisks(b.ctx, b.id, virt.AllEpochs, 0); err == nil {
		t.Error("the disks of a running guest were removed")
	}
	b.must("remove", b.driver.Remove(b.ctx, b.id))
	b.must("remove disks", b.driver.RemoveDisks(b.ctx, b.id, 5, 0))
	if there, _ := exists(at.dir); there {
		t.Error("with the last disks, the rest was not removed")
	}
}

func (b *bench) inode(epoch uint64) string {
	b.Helper()
	return strings.Fields(run(b.T, "stat", "-c", "%i", b.place().disk(epoch, virt.DiskRoot)))[0]
}

// A node is updated from a version that kept the root disk elsewhere. The guest keeps its disk, through a rebuild of
// its domain, and a new disk epoch does not get it.
func TestQEMU_RootOfAnEarlierVersionIsTakenOver(t *testing.T) {
	b := newBench(t, nil)
	at := b.place()
	old := b.inode(4)
	b.must("make it old", os.Rename(at.disk(4, virt.DiskRoot), at.legacy()))
	b.must("make it old", os.Remove(at.disks(4)))
	b.must("remove", b.driver.Remove(b.ctx, b.id)) // as when its epoch changes
	b.guest.Stamp.Epoch, b.guest.DiskEpoch = 5, 5
	b.must("rebuild", b.driver.Build(b.ctx, b.guest))
	if b.inode(4) != old || b.inode(5) == old {
		t.Error("the old disk is not where it belongs")
	}
	b.must("remove the old", b.driver.RemoveDisks(b.ctx, b.id, 4, 0))
	if there, _ := exists(at.legacy()); there {
		t.Error("its old name is still there")
	}
	b.start()
}

// One connects to the serial port and the screen of a guest; the log goes on meanwhile.
func TestQEMU_ConsolesCanBeDialled(t *testing.T) {
	b := newBench(t, nil)
	_, err := b.driver.Dial(b.ctx, b.id, virt.ConsoleSerial)
	b.is("dial one that is off", err, virt.ErrNotRunning)
	b.start()
	for range 2 { // one after the other
		serial, err := b.driver.Dial(b.ctx, b.id, virt.ConsoleSerial)
		b.must("dial serial", err)
		b.must("set deadline", serial.SetDeadline(time.Now().Add(20*time.Second)))
		line, err := bufio.NewReader(serial).ReadString('\n')
		if err != nil || !strings.Contains(line, "count") && !strings.HasSuffix(line, "\r\n") {
			t.Errorf("serial says %q, %v", line, err)
		}
		n, _ := b.count()
		b.counted(n + 1)
		serial.Close()
	}
	screen, err := b.driver.Dial(b.ctx, b.id, virt.ConsoleVNC)
	b.must("dial VNC", err)
	defer screen.Close()
	hello := make([]byte, 12)
	if _, err := io.ReadFull(screen, hello); err != nil || !bytes.HasPrefix(hello, []byte("RFB 003.")) {
		t.Errorf("VNC says %q, %v", hello, err)
	}
	_, err = b.driver.Dial(b.ctx, b.id, "spice")
	b.is("dial what there is not", err, virt.ErrUnsupported)
}

// Somebody asks what a guest uses, and for its agent, which it has not.
func TestQEMU_DiagnosticsTellWhatItUses(t *testing.T) {
	b := newBench(t, func(g *virt.Guest) {
		g.NICs = []virt.NIC{{Port: cluster.PortID(uuid.NewString()), MAC: ownMAC, Bridge: "br0"}}
	})
	_, err := b.driver.Diagnostics(b.ctx, b.id)
	b.is("of one that is off", err, virt.ErrNotRunning)
	b.start()
	d, err := b.driver.Diagnostics(b.ctx, b.id)
	b.must("diagnose", err)
	if d.State != "running" || len(d.CPUs) != 1 || d.CPUs[0] <= 0 || d.MemoryMaxMiB != 32 || d.Uptime <= 0 || d.Uptime > time.Minute {
		t.Errorf("%+v", d)
	}
	if len(d.Disks) != 2 || d.Disks[0].ID != string(virt.DiskRoot) || d.Disks[0].ReadBytes == 0 || len(d.NICs) != 1 || d.NICs[0].MAC != ownMAC {
		t.Errorf("%+v %+v", d.Disks, d.NICs)
	}
	b.is("set password", b.driver.SetPassword(b.ctx, b.id, "root", "secret"), virt.ErrUnsupported)
	b.must("interrupt", b.driver.Crash(b.ctx, b.id))
	b.must("stop", b.driver.Stop(b.ctx, b.id, virt.Destroy))
	b.is("interrupt one that is off", b.driver.Crash(b.ctx, b.id), virt.ErrNotRunning)
}
