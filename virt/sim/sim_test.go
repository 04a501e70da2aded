package sim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const vm = cluster.InstanceID("0b0f9d4e-8b5e-4a77-9a50-0a5a1f5a0001")

func guest(id cluster.InstanceID) virt.Guest {
	return virt.Guest{
		Stamp: virt.Stamp{Cluster: "c-1", Instance: id, Generation: 1, Epoch: 1},
		Name:  "web-1", VCPUs: 2, MemoryMiB: 512,
		Root:        virt.RootDisk{Base: "/base/x.raw", BaseFormat: "raw", SizeGiB: 3},
		NICs:        []virt.NIC{{MAC: "fa:16:3e:00:00:01", Bridge: "br0", Addresses: []string{"192.0.2.5", "2001:db8::5"}}},
		ConfigDrive: map[string][]byte{"openstack/latest/user_data": []byte("hunter2")},
	}
}

func open(t *testing.T, cfg sim.Config) *sim.Driver {
	t.Helper()
	d, err := sim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func power(t *testing.T, d *sim.Driver, id cluster.InstanceID) virt.Power {
	t.Helper()
	all, err := d.Domains(t.Context())
	must(t, err)
	for _, dom := range all {
		if dom.ID == id {
			return dom.Power
		}
	}
	return -1
}

func console(t *testing.T, d *sim.Driver, id cluster.InstanceID) string {
	t.Helper()
	r, err := d.Console(t.Context(), id)
	must(t, err)
	text, err := io.ReadAll(r)
	must(t, err, r.Close())
	return string(text)
}

// A guest runs at once, and its console tells of the boot as time goes by: in virtual time, without waiting.
func TestStart_ConsoleTellsTheBootAsTimePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sim.Config{Boot: time.Minute})
		must(t, d.Build(t.Context(), guest(vm)), d.Start(t.Context(), vm), d.Start(t.Context(), vm))
		if early := console(t, d, vm); strings.Contains(early, "login:") || !strings.Contains(early, "Linux") {
			t.Fatalf("at power-on the console says %q", early)
		}
		time.Sleep(time.Minute)
		late := console(t, d, vm)
		for _, s := range []string{"web-1 login:", "192.0.2.5", "2001:db8::5", "fa:16:3e:00:00:01"} {
			if !strings.Contains(late, s) {
				t.Errorf("the console lacks %q:\n%s", s, late)
			}
		}
	})
}

// The power button takes the guest its time, and the hint comes when it is off, without anybody asking.
func TestStop_ShutdownTakesTimeAndHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sim.Config{Shutdown: 10 * time.Second})
		must(t, d.Build(t.Context(), guest(vm)), d.Start(t.Context(), vm), d.Stop(t.Context(), vm, virt.Shutdown))
		drain(d)
		must(t, d.Stop(t.Context(), vm, virt.Shutdown)) // pressing again does not begin anew
		if p := power(t, d, vm); p != virt.PowerRunning {
			t.Fatalf("off at once: %v", p)
		}
		began := time.Now()
		if ev := <-d.Events(); ev.ID != vm {
			t.Fatalf("hint %+v", ev)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
		if p := power(t, d, vm); p != virt.PowerOff {
			t.Errorf("power %v", p)
		}
	})
}

func drain(d *sim.Driver) {
	for {
		select {
		case <-d.Events():
		default:
			return
		}
	}
}

// A guest without ACPI ignores the button; only cutting the power helps.
func TestStop_DeafGuestNeedsDestroy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sim.Config{Shutdown: -1})
		must(t, d.Build(t.Context(), guest(vm)), d.Start(t.Context(), vm), d.Stop(t.Context(), vm, virt.Shutdown))
		time.Sleep(time.Hour)
		if p := power(t, d, vm); p != virt.PowerRunning {
			t.Fatalf("power %v", p)
		}
		must(t, d.Stop(t.Context(), vm, virt.Destroy))
		if p := power(t, d, vm); p != virt.PowerOff {
			t.Fatalf("power %v", p)
		}
	})
}

// The order of an instance's end: the definition, then the disks. Doing either twice is the same as once.
func TestRemove_DisksStayUntilTheyAreRemoved(t *testing.T) {
	d := open(t, sim.Config{})
	ctx := t.Context()
	must(t, d.Build(ctx, guest(vm)), d.Start(ctx, vm))
	if err := d.RemoveDisks(ctx, vm, virt.AllEpochs, 0); err == nil {
		t.Fatal("disks of a defined domain were removed")
	}
	must(t, d.Remove(ctx, vm), d.Remove(ctx, vm))
	if p := power(t, d, vm); p != -1 {
		t.Fatalf("still listed: %v", p)
	}
	if err := d.Start(ctx, vm); !errors.Is(err, virt.ErrNotFound) {
		t.Fatalf("start of a removed domain: %v", err)
	}
	if !strings.Contains(console(t, d, vm), "power off") {
		t.Error("the console went with the definition")
	}

	// The disk that is left keeps its size when the domain is built again.
	bigger := guest(vm)
	bigger.Root.SizeGiB = 99
	must(t, d.Build(ctx, bigger), d.Start(ctx, vm))
	if strings.Contains(console(t, d, vm), "99 GiB") {
		t.Error("the disk was made anew")
	}
	must(t, d.Remove(ctx, vm), d.RemoveDisks(ctx, vm, virt.AllEpochs, 0), d.RemoveDisks(ctx, vm, virt.AllEpochs, 0))
	if _, err := d.Console(ctx, vm); !errors.Is(err, virt.ErrNotFound) {
		t.Errorf("console of nothing: %v", err)
	}
}

// The daemon is killed: no Close, no warning. The next one on the file finds the same domains, running ones
// running, though the last line was torn.
func TestNew_FindsTheDomainsOfAKilledDaemon(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sim.json")
	d := open(t, sim.Config{File: file})
	ctx := t.Context()
	other := vm[:len(vm)-1] + "2"
	must(t, d.Build(ctx, guest(vm)), d.Start(ctx, vm), d.Build(ctx, guest(other)))
	before, err := d.Domains(ctx)
	must(t, err)

	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(`{"id":"torn","rec`)
	must(t, err, f.Close())

	again := open(t, sim.Config{File: file})
	after, err := again.Domains(ctx)
	must(t, err)
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Fatalf("before the kill %v\nafter it %v", before, after)
	}
	must(t, again.Remove(ctx, vm), again.RemoveDisks(ctx, vm, virt.AllEpochs, 0))
	third := open(t, sim.Config{File: file})
	if p := power(t, third, vm); p != -1 {
		t.Errorf("the removed domain is back: %v", p)
	}
}

// A host that went down lost its running domains; one whose daemon was only restarted did not.
func TestNew_AfterAHostBootTheDomainsAreOff(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sim.json")
	d := open(t, sim.Config{File: file, HostBoot: "b-1"})
	must(t, d.Build(t.Context(), guest(vm)), d.Start(t.Context(), vm))
	if p := power(t, open(t, sim.Config{File: file, HostBoot: "b-1"}), vm); p != virt.PowerRunning {
		t.Fatalf("after a restart of the daemon: %v", p)
	}
	if p := power(t, open(t, sim.Config{File: file, HostBoot: "b-2"}), vm); p != virt.PowerOff {
		t.Fatalf("after a boot of the host: %v", p)
	}
}

// What is not understood is not skipped: the records behind it could be of running guests.
func TestNew_CorruptFileIsRefusedAndKept(t *testing.T) {
	for name, text := range map[string]string{
		"garbage":     "{]\n",
		"no instance": "{\"record\":{}}\n",
		"long line":   strings.Repeat("x", 2<<20) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "sim.json")
			must(t, os.WriteFile(file, []byte(text), 0o600))
			if d, err := sim.New(sim.Config{File: file}); err == nil {
				t.Fatal("opened", d.Close())
			}
			if kept, _ := os.ReadFile(file); string(kept) != text {
				t.Error("the file was changed")
			}
		})
	}
}

// A file that only grew would fill the disk of a long-lived host. And it must not hold users' secrets.
func TestFile_IsBoundedAndHoldsNoSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sim.json")
	d := open(t, sim.Config{File: file})
	ctx := t.Context()
	must(t, d.Build(ctx, guest(vm)))
	for range 2000 {
		must(t, d.Start(ctx, vm), d.Stop(ctx, vm, virt.Destroy))
	}
	text, err := os.ReadFile(file)
	must(t, err)
	if len(text) > 2<<20 {
		t.Errorf("the file of one domain has %d bytes", len(text))
	}
	if strings.Contains(string(text), "hunter2") {
		t.Error("the file holds user data")
	}
	if p := power(t, open(t, sim.Config{File: file}), vm); p != virt.PowerOff {
		t.Errorf("after shortening: %v", p)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*.tmp"))
	if must(t, err); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// An administrator's own domain is listed as it is, and building over it is refused.
func TestPlant_ForeignDomainIsListedAndNotOverwritten(t *testing.T) {
	d := open(t, sim.Config{})
	must(t, d.Plant(virt.Domain{ID: vm, Name: "pet", Power: virt.PowerRunning}))
	if p := power(t, d, vm); p != virt.PowerRunning {
		t.Fatalf("power %v", p)
	}
	if err := d.Build(t.Context(), guest(vm)); err == nil {
		t.Error("a foreign domain was overwritten")
	}
}

// Building a running domain again must not change it: its stamp says what really runs.
func TestBuild_RunningDomainKeepsItsDefinition(t *testing.T) {
	d := open(t, sim.Config{})
	ctx := t.Context()
	must(t, d.Build(ctx, guest(vm)), d.Start(ctx, vm))
	newer := guest(vm)
	newer.Stamp.Generation = 2
	must(t, d.Build(ctx, newer))
	all, err := d.Domains(ctx)
	if must(t, err); all[0].Stamp.Generation != 1 {
		t.Fatalf("stamp of a running domain became %+v", all[0].Stamp)
	}
	must(t, d.Stop(ctx, vm, virt.Destroy), d.Build(ctx, newer))
	if all, err = d.Domains(ctx); err != nil || all[0].Stamp.Generation != 2 {
		t.Fatalf("stamp of a refreshed domain is %+v, %v", all[0].Stamp, err)
	}
}

func TestBuild_ImpossibleGuestIsRefused(t *testing.T) {
	d := open(t, sim.Config{})
	for name, spoil := range map[string]func(*virt.Guest){
		"no ID":           func(g *virt.Guest) { g.Stamp.Instance = "" },
		"no processor":    func(g *virt.Guest) { g.VCPUs = 0 },
		"negative memory": func(g *virt.Guest) { g.MemoryMiB = -1 },
		"negative disk":   func(g *virt.Guest) { g.Root.SizeGiB = -1 },
		"format unnamed":  func(g *virt.Guest) { g.Root.BaseFormat = "" },
	} {
		g := guest(vm)
		spoil(&g)
		if err := d.Build(t.Context(), g); err == nil {
			t.Errorf("%s: built", name)
		}
	}
}

// A name is free text. It must not be able to write lines into the console as if the guest had said them.
func TestConsole_NameCannotForgeLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sim.Config{})
		g := guest(vm)
		g.Name = "x\nroot logged in\x00"
		must(t, d.Build(t.Context(), g), d.Start(t.Context(), vm))
		time.Sleep(time.Minute)
		if text := console(t, d, vm); strings.Contains(text, "\nroot") || strings.Contains(text, "\x00") {
			t.Errorf("forged: %q", text)
		}
	})
}

func TestStart_MissingBridgeIsNamed(t *testing.T) {
	d := open(t, sim.Config{Host: virt.Host{Bridges: map[string]bool{"br1": true}}})
	must(t, d.Build(t.Context(), guest(vm)))
	if err := d.Start(t.Context(), vm); err == nil || !strings.Contains(err.Error(), `"br0"`) {
		t.Errorf("start without its bridge: %v", err)
	}
}

func TestHost_DefaultsAreUsable(t *testing.T) {
	h, err := open(t, sim.Config{}).Host(t.Context())
	if must(t, err); h.Type != "fake" || h.CPU.Count == 0 || h.MemoryMiB == 0 || h.DiskFreeGiB == 0 {
		t.Errorf("%+v", h)
	}
}

// A simulated cluster of a thousand nodes with ten guests each must be cheap to make and to end.
func TestDriver_AThousandHostsAreCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hosts []*sim.Driver
		for range 1000 {
			d, err := sim.New(sim.Config{})
			must(t, err)
			hosts = append(hosts, d)
			for i := range 10 {
				id := cluster.InstanceID(fmt.Sprint("i-", i))
				must(t, d.Build(t.Context(), guest(id)), d.Start(t.Context(), id), d.Stop(t.Context(), id, virt.Shutdown))
			}
		}
		time.Sleep(time.Minute)
		for _, d := range hosts {
			if p := power(t, d, "i-9"); p != virt.PowerOff {
				t.Fatalf("power %v", p)
			}
			must(t, d.Close())
		}
	})
}

// After Close a late caller gets an answer, not a panic or a hang.
func TestClose_LateCallsAreUnavailable(t *testing.T) {
	d, err := sim.New(sim.Config{})
	must(t, err, d.Build(context.Background(), guest(vm)), d.Close(), d.Close())
	if _, err := d.Domains(t.Context()); !errors.Is(err, virt.ErrUnavailable) {
		t.Errorf("domains: %v", err)
	}
	for range d.Events() { // ends, because the channel is closed
	}
	d.SetDown(true)
}
