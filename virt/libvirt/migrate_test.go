package libvirt

import (
	"context"
	"encoding/xml"
	"strings"
	"testing"
	"time"

	rpc "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// journey is a guest on one host and a driver on another.
type journey struct {
	*bench
	there   *bench // the same guest, seen from the other host
	landing virt.Landing
}

// newJourney starts a guest and prepares another host for it. Between the sockets of the two hosts is a proxy, as the
// nodes of a cluster are.
func newJourney(t *testing.T, change func(*virt.Guest)) *journey {
	j := packedJourney(t, change)
	j.start()
	return j
}

// packedJourney is like newJourney before the start.
func packedJourney(t *testing.T, change func(*virt.Guest)) *journey {
	here := newBench(t, change)
	there := &bench{T: t, rig: newRig(t, second.get(t), DefaultURI), ctx: here.ctx, id: here.id}
	there.driver = there.rig.Driver.(*Driver)
	j := &journey{bench: here, there: there}
	run(t, "cp", "--sparse=always", here.guest.Root.Base, j.there.config.DataDir)
	run(t, "qemu-io", "-f", "qcow2", "-c", "write -P 9 900k 4k", here.place().disk(4, virt.DiskRoot))
	j.receive()
	return j
}

// receive prepares the other host.
func (j *journey) receive() {
	j.Helper()
	j.there.guest = j.guest
	j.there.guest.Stamp.Epoch, j.there.guest.DiskEpoch = 7, 7
	j.there.guest.Root.Base = strings.Replace(j.guest.Root.Base, j.config.DataDir, j.there.config.DataDir, 1)
	l, err := j.there.driver.Receive(j.ctx, j.there.guest)
	j.must("receive", err)
	connect(j.T, j.driver, j.there.driver, &l)
	j.landing = l
}

// arrived waits until the guest counts there, and checks that it never began anew and is not here.
func (j *journey) arrived() {
	j.Helper()
	left, _ := j.count()
	j.there.eventually("the guest counts there", func() bool { n, _ := j.there.count(); return n > left })
	last, restarted := j.there.count()
	if restarted || last < left {
		j.Errorf("the guest began anew: %d here, %d there", left, last)
	}
	if d := j.there.seen(); d.Power != virt.PowerRunning || d.Stamp != j.there.guest.Stamp || d.NICs != j.seenNICs() {
		j.Errorf("there it is %+v", d)
	}
	all, err := j.driver.Domains(j.ctx)
	j.must("list here", err)
	for _, d := range all {
		if d.ID == j.id {
			j.Errorf("here it still is %+v", d)
		}
	}
}

func (j *journey) seenNICs() string {
	var macs []string
	for _, n := range j.guest.NICs {
		macs = append(macs, n.MAC)
	}
	return strings.Join(macs, ",")
}

// A guest with a root disk, a second disk, a card and a config drive moves to another host while it counts. There it
// is complete, can be connected to, powered off and on again from the disks that it brought.
func TestQEMU_GuestMigratesWithItsDisks(t *testing.T) {
	j := newJourney(t, func(g *virt.Guest) {
		g.Disks = []virt.Disk{{ID: virt.DiskEphemeral, Make: virt.MadeDisk{SizeMiB: 16, Use: "ephemeral"}}}
		g.NICs = []virt.NIC{{Port: cluster.PortID(uuid.NewString()), MAC: ownMAC, Bridge: "br0", Addresses: []string{ownIP}}}
	})
	var told []cluster.MoveProgress
	began := time.Now()
	o := virt.MigrateOptions{CopyDisks: []virt.DiskID{virt.DiskRoot, virt.DiskEphemeral}, AutoConverge: true, MaxDowntime: 300 * time.Millisecond, MiBPerSecond: 100}
	j.must("migrate", j.driver.Migrate(j.ctx, j.id, j.landing, o, func(p cluster.MoveProgress) { told = append(told, p) }))
	t.Logf("the migration took %v", time.Since(began))
	j.arrived()
	if len(told) == 0 {
		t.Error("no progress was told")
	}
	serial, err := j.there.driver.Dial(j.ctx, j.id, virt.ConsoleSerial)
	j.must("dial there", err)
	serial.Close()
	j.must("remove the disks here", j.driver.RemoveDisks(j.ctx, j.id, 4, 0))
	j.must("stop there", j.there.driver.Stop(j.ctx, j.id, virt.Destroy))
	if s := j.there.seen().Stamp; s != j.there.guest.Stamp {
		t.Errorf("its definition there is stamped %+v", s)
	}
	run(t, "qemu-io", "-f", "qcow2", "-c", "read -P 9 900k 4k", j.there.place().disk(7, virt.DiskRoot))
	run(t, "e2fsck", "-fn", j.there.place().disk(7, "ephemeral"))
	j.must("build there", j.there.driver.Build(j.ctx, j.there.guest))
	j.must("start there", j.there.driver.Start(j.ctx, j.id))
	if d := j.there.seen(); d.Power != virt.PowerRunning {
		t.Errorf("started there, it is %+v", d)
	}
}

// The way to the other host is cut. The guest goes on here as if nothing had been, and a second attempt succeeds.
func TestQEMU_MigrationThatFailsLeavesTheGuestRunning(t *testing.T) {
	j := newJourney(t, nil)
	o := virt.MigrateOptions{CopyDisks: []virt.DiskID{virt.DiskRoot}}
	good := j.landing
	j.landing.Memory = "/nonexistent/memory"
	if err := j.driver.Migrate(j.ctx, j.id, j.landing, o, nil); err == nil {
		t.Fatal("it migrated over nothing")
	}
	n, _ := j.count()
	j.counted(n + 1)
	if d := j.seen(); d.Power != virt.PowerRunning || d.Stamp != j.guest.Stamp {
		t.Errorf("afterwards it is %+v", d)
	}
	good.Disks = map[virt.DiskID]string{}
	if err := j.driver.Migrate(j.ctx, j.id, good, o, nil); err == nil {
		t.Fatal("it migrated to a host that does not expect its disk")
	}
	j.receive()
	j.must("migrate", j.driver.Migrate(j.ctx, j.id, j.landing, o, nil))
	j.arrived()
}

// A migration is slow. Its daemon is restarted, waits for it again, and sees it aborted; the guest stays. Then it is
// started anew and forced to complete.
func TestQEMU_SlowMigrationIsWaitedForAbortedAndForced(t *testing.T) {
	j := packedJourney(t, func(g *virt.Guest) { fill(t, g, "1M") })
	run(t, "qemu-io", "-f", "qcow2", "-c", "write -q -P 9 100M 8M", j.place().disk(4, virt.DiskRoot)) // what takes so long
	j.start()
	j.must("abort none", j.driver.AbortMigrate(j.ctx, j.id))
	slow := virt.MigrateOptions{CopyDisks: []virt.DiskID{virt.DiskRoot}, MiBPerSecond: 1, PostCopy: true}
	gone, cancel := context.WithCancel(j.ctx)
	first := make(chan error, 1)
	go func() { first <- j.driver.Migrate(gone, j.id, j.landing, slow, nil) }()
	j.eventually("it migrates", func() bool { under, err := j.driver.migrating(j.ctx, j.dom()); return err == nil && under })
	cancel()
	if err := <-first; err == nil {
		t.Error("it was given up and says that it succeeded")
	}
	second := make(chan error, 1)
	var told int
	go func() {
		second <- j.driver.Migrate(j.ctx, j.id, j.landing, slow, func(cluster.MoveProgress) { told++ })
	}()
	time.Sleep(time.Second)
	j.must("abort", j.driver.AbortMigrate(j.ctx, j.id))
	if err := <-second; err == nil {
		t.Error("it was aborted and says that it succeeded")
	}
	if told == 0 {
		t.Error("the second did not follow it")
	}
	n, _ := j.count()
	j.counted(n + 1)
	j.must("abort again", j.driver.AbortMigrate(j.ctx, j.id))
	j.must("force none", j.driver.ForceMigrate(j.ctx, j.id))

	j.eventually("the other host is rid of it", func() bool { _, defined, err := j.there.driver.usedFiles(j.ctx, j.id); return err == nil && !defined })
	j.receive()
	third := make(chan error, 1)
	go func() { third <- j.driver.Migrate(j.ctx, j.id, j.landing, slow, nil) }()
	j.eventually("memory is sent", func() bool {
		job, err := j.driver.jobOf(j.ctx, j.dom(), false)
		return err == nil && job.numbers[rpc.DomainJobMemoryProcessed] > 0
	})
	j.must("force", j.driver.ForceMigrate(j.ctx, j.id))
	j.must("migrate", <-third)
	j.arrived()
}

// The definition that a guest gets elsewhere has that host's files and bridges, and nothing of this one's.
func TestLandingXML_NothingOfThisHostIsLeft(t *testing.T) {
	g := testGuest()
	g.Kernel = virt.Kernel{Path: "/here/k", Ramdisk: "/here/r"}
	g.Disks = []virt.Disk{{ID: "v1", Path: "/here/volume", Format: "raw"}}
	g.Properties = map[string]string{propFirmware: "uefi"}
	text, err := domainXML(g, testPlatforms["kvm"], place{"/here/instance"})
	if err != nil {
		t.Fatal(err)
	}
	stamp := g.Stamp
	stamp.Epoch = 99
	l := virt.Landing{
		Stamp: stamp, Disks: map[virt.DiskID]string{virt.DiskRoot: "/there/root", "v1": "/there/volume"},
		Bridges: map[string]string{strings.ToUpper(ownMAC): "br7", otherMAC: "br8"},
		Console: "/there/console.log", Config: "/there/config", NVRAM: "/there/nvram", Kernel: "/there/k", Ramdisk: "/there/r",
	}
	got, err := landingXML(text, l)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got, "/here/") || strings.Contains(got, `"br0"`) || strings.Contains(got, `"br1"`) {
		t.Errorf("something of this host is left:\n%s", got)
	}
	var dom libvirtxml.Domain
	if err := xml.Unmarshal([]byte(got), &dom); err != nil {
		t.Fatal(err)
	}
	if s := decodeStamp(dom.Metadata.XML, testID); s != stamp {
		t.Errorf("stamp is %+v", s)
	}
	for name, spoil := range map[string]func(*virt.Landing){
		"a disk":  func(l *virt.Landing) { l.Disks = map[virt.DiskID]string{virt.DiskRoot: "/there/root"} },
		"a card":  func(l *virt.Landing) { l.Bridges = nil },
		"a drive": func(l *virt.Landing) { l.Config = "" },
	} {
		short := l
		spoil(&short)
		if _, err := landingXML(text, short); err == nil {
			t.Errorf("%s is missing there, and nobody says so", name)
		}
	}
}

// What libvirt says of a domain may have been written by anybody.
func FuzzLandingXML(f *testing.F) {
	text, err := domainXML(testGuest(), testPlatforms["kvm"], testPlace)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(`<domain type="kvm"><metadata/><devices><disk/><interface/></devices></domain>`)
	f.Add(`<domain>`)
	l := virt.Landing{Disks: map[virt.DiskID]string{virt.DiskRoot: "/r"}, Config: "/c", Bridges: map[string]string{ownMAC: "b", otherMAC: "b"}}
	f.Fuzz(func(t *testing.T, text string) {
		if out, err := landingXML(text, l); err == nil {
			if _, err := parseView(out); err != nil {
				t.Errorf("it gives what cannot be read: %v", err)
			}
		}
	})
}

// What is to slow a guest down breaks the memory of one that is emulated, so only guests that KVM runs are slowed down.
func TestWishes_EmulatedGuestsAreNotSlowedDown(t *testing.T) {
	all := virt.MigrateOptions{AutoConverge: true, PostCopy: true}
	for _, c := range []struct {
		domain string
		o      virt.MigrateOptions
		want   rpc.DomainMigrateFlags
	}{
		{"kvm", all, rpc.MigrateAutoConverge | rpc.MigratePostcopy},
		{"qemu", all, rpc.MigratePostcopy},
		{"kvm", virt.MigrateOptions{}, 0},
	} {
		if got := wishes(c.domain, c.o); got != c.want {
			t.Errorf("%s, %+v: %b, want %b", c.domain, c.o, got, c.want)
		}
	}
}
