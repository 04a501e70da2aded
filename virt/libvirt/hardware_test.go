package libvirt

import (
	"bytes"
	"os"

	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	rpc "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/virttest"
)

// libvirt's own schema must accept what is rendered, for every value of every property.
func TestDomainXML_IsValidByLibvirtsSchema(t *testing.T) {
	r := newRig(t, needQEMU(t), DefaultURI)
	p, err := r.Driver.(*Driver).platform(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Driver.(*Driver).defineFilters(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, g := range everyHardware() {
		if g.Properties[propFirmware] == "uefi" && !haveUEFI() {
			continue
		}
		text, err := domainXML(g, p, testPlace)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		dom, err := ask(t.Context(), r.behind, "define", func(l *rpc.Libvirt) (rpc.Domain, error) {
			return l.DomainDefineXMLFlags(text, rpc.DomainDefineValidate)
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r.wipe(t, dom)
	}
}

// haveUEFI tells whether a UEFI firmware for guests is installed (Debian: package ovmf).
func haveUEFI() bool {
	found, _ := filepath.Glob("/usr/share/qemu/firmware/*.json")
	return len(found) > 0
}

// A guest must come up with every kind of hardware that an image may ask for, not only be defined.
func TestQEMU_BootsOnEveryHardware(t *testing.T) {
	r := newRig(t, needQEMU(t), DefaultURI)
	for _, properties := range []map[string]string{
		{propMachineType: "pc"},
		{propMachineType: "pc", propDiskBus: "ide", propVIFModel: "e1000", propVideoModel: "vga"},
		{propDiskBus: "scsi", propVIFModel: "rtl8139", propVideoModel: "none"},
		{propDiskBus: "sata", propCDROMBus: "scsi", propPointer: "usbtablet", propWatchdog: "reset"},
	} {
		g := r.guest(t)
		g.Stamp = virt.Stamp{Cluster: testCluster, Instance: cluster.InstanceID(uuid.NewString()), Generation: 1, Epoch: 1}
		g.Properties = properties
		g.NICs = []virt.NIC{{Port: cluster.PortID(uuid.NewString()), MAC: ownMAC, Bridge: "br0", MTU: 1400, Addresses: []string{ownIP}}}
		boot(t, r, g)
		if err := r.Driver.Remove(t.Context(), g.Stamp.Instance); err != nil {
			t.Error(err)
		}
	}
}

// boot builds and starts a guest and waits until it prints.
func boot(t *testing.T, r *rig, g virt.Guest) {
	t.Helper()
	if err := r.Driver.Build(t.Context(), g); err != nil {
		t.Fatalf("%v: %v", g.Properties, err)
	}
	if err := r.Driver.Start(t.Context(), g.Stamp.Instance); err != nil {
		t.Fatalf("%v: %v", g.Properties, err)
	}
	awaitConsole(t, r, g.Stamp.Instance, virttest.BootSectorPrints)
}

func awaitConsole(t *testing.T, r *rig, id cluster.InstanceID, want string) {
	t.Helper()
	var text bytes.Buffer
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		log, err := r.Driver.Console(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		text.Reset()
		_, err = text.ReadFrom(log)
		if closeErr := log.Close(); err != nil || closeErr != nil {
			t.Fatal(err, closeErr)
		}
		if strings.Contains(text.String(), want) {
			return
		}
	}
	t.Fatalf("%q is not on the console:\n%s", want, &text)
}

// The card of a running guest is on its bridge, under its name, with its MTU and its filter; and nothing of the
// guest listens on a network, its screen included.
func TestQEMU_CardIsFilteredAndNothingListens(t *testing.T) {
	d := needQEMU(t)
	r := newRig(t, d, DefaultURI)
	g := r.guest(t)
	g.Stamp = virt.Stamp{Cluster: testCluster, Instance: cluster.InstanceID(uuid.NewString()), Generation: 1, Epoch: 1}
	port := cluster.PortID(uuid.NewString())
	g.NICs = []virt.NIC{{Port: port, MAC: ownMAC, Bridge: "br0", MTU: 1400, Addresses: []string{ownIP, ownIP6}}}
	boot(t, r, g)
	device, _ := portDevice(port)
	for what, c := range map[string]struct {
		args []string
		want []string
	}{
		"link":   {[]string{"ip", "link", "show", device}, []string{"mtu 1400", "master br0"}},
		"filter": {[]string{"ebtables", "-t", "nat", "-L"}, []string{"-i " + device, "--ip-src " + ownIP, "--ip6-src " + ownIP6, "-s " + ownMAC}},
	} {
		out, err := d.inside(c.args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", what, err, out)
		}
		for _, want := range c.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: no %q in\n%s", what, want, out)
			}
		}
	}
	for _, file := range []string{"tcp", "tcp6", "udp", "udp6"} {
		out, err := os.ReadFile("/proc/" + filepath.Base(filepath.Dir(filepath.Dir(d.netns))) + "/net/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if lines := strings.Split(strings.TrimSpace(string(out)), "\n"); len(lines) != 1 {
			t.Errorf("something listens on %s:\n%s", file, out)
		}
	}
	if err := r.Driver.Stop(t.Context(), g.Stamp.Instance, virt.Destroy); err != nil {
		t.Fatal(err)
	}
	if out, _ := d.inside("ebtables", "-t", "nat", "-L").CombinedOutput(); strings.Contains(string(out), device) {
		t.Errorf("the filter outlives the guest:\n%s", out)
	}
}

// An image with a kernel of its own boots by it: Debian's, which sees the processor that guests get, and says
// what it was told on its command line.
func TestQEMU_BootsAKernelDirectly(t *testing.T) {
	kernels, _ := filepath.Glob("/boot/vmlinuz-*")
	if len(kernels) == 0 {
		t.Skip("no kernel is installed (Debian: package linux-image-cloud-amd64)")
	}
	r := newRig(t, needQEMU(t), DefaultURI)
	g := r.guest(t)
	g.Stamp = virt.Stamp{Cluster: testCluster, Instance: cluster.InstanceID(uuid.NewString()), Generation: 1, Epoch: 1}
	g.MemoryMiB = 160
	g.Kernel = virt.Kernel{Path: slices.Max(kernels), Cmdline: `console=ttyS0 panic=-1 tell="<&>"`}
	if err := r.Driver.Build(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if err := r.Driver.Start(t.Context(), g.Stamp.Instance); err != nil {
		t.Fatal(err)
	}
	awaitConsole(t, r, g.Stamp.Instance, "Linux version")
	awaitConsole(t, r, g.Stamp.Instance, `tell="<&>"`)
	awaitConsole(t, r, g.Stamp.Instance, "Kilonova OpenStack Compute")
}

// Where there is no such bridge the guest cannot start. It must be said by name, and nothing must be left on.
func TestQEMU_AMissingBridgeIsNamed(t *testing.T) {
	r := newRig(t, needQEMU(t), DefaultURI)
	g := r.guest(t)
	g.Stamp = virt.Stamp{Cluster: testCluster, Instance: cluster.InstanceID(uuid.NewString()), Generation: 1, Epoch: 1}
	g.NICs = []virt.NIC{{Port: cluster.PortID(uuid.NewString()), MAC: ownMAC, Bridge: "br-nowhere"}}
	if err := r.Driver.Build(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if err := r.Driver.Start(t.Context(), g.Stamp.Instance); err == nil || !strings.Contains(err.Error(), "br-nowhere") {
		t.Errorf("start: %v", err)
	}
}
