package libvirt

import (
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

var update = flag.Bool("update", false, "write the golden files anew")

const testID cluster.InstanceID = "5f1d3a52-6b8a-4c6e-9a3a-2f0c7a1e9b10"

var testPlatforms = map[string]platform{
	"kvm":  {domainType: "kvm", arch: "x86_64", cpuMode: "host-passthrough", diskCache: "none", filtered: true, uefiVars: true},
	"qemu": {domainType: "qemu", arch: "x86_64", cpuMode: "maximum", diskCache: "writeback", filtered: true, uefiVars: true},
	"arm":  {domainType: "kvm", arch: "aarch64", cpuMode: "host-passthrough", diskCache: "none", filtered: true, uefiVars: true},
	"test": {domainType: mockDomain, arch: "i686", diskCache: "none"},
}

func testGuest() virt.Guest {
	return virt.Guest{
		Stamp: virt.Stamp{Cluster: testCluster, Instance: testID, Generation: 3, Epoch: 2},
		Name:  `web <1> & "co"`, VCPUs: 4, MemoryMiB: 2048,
		Root:   virt.RootDisk{Base: "/var/lib/kilonova/base/abc.raw", BaseFormat: "raw", SizeGiB: 20},
		Kernel: virt.Kernel{},
		NICs: []virt.NIC{
			{
				Port: "68f096f7-8155-4cfc-8b87-dedb565cc2eb", MAC: ownMAC, Bridge: "br0", MTU: 1450,
				Addresses: []string{ownIP, ownIP2, ownIP6},
			},
			{Port: "78f096f7-8155-4cfc-8b87-dedb565cc2eb", MAC: otherMAC, Bridge: "br1", Spoofing: true},
		},
		ConfigDrive: map[string][]byte{"a": nil},
		Owner:       virt.Owner{ProjectID: "p1", ProjectName: "acme", UserID: "u1", UserName: "eve", FlavorName: "small"},
	}
}

var testPlace = place{dir: "/var/lib/kilonova/instances/" + string(testID)}

// The definition is what runs on hosts: each change of it must be seen and meant.
func TestDomainXML_MatchesTheGoldenFiles(t *testing.T) {
	for name, p := range testPlatforms {
		got, err := domainXML(testGuest(), p, testPlace)
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name+".xml")
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs:\n%s", golden, got)
		}
	}
}

// everyHardware gives a guest for every value of every property, and one that boots a kernel.
func everyHardware() map[string]virt.Guest {
	guests := map[string]virt.Guest{"plain": testGuest()}
	for property, values := range map[string][]string{
		propDiskBus: diskBuses, propCDROMBus: cdromBuses, propVIFModel: vifModels, propFirmware: firmwares,
		propVideoModel: videoModels, propPointer: pointers, propWatchdog: watchdogs,
		propMachineType: {"pc", "q35"}, propThreads: {"2"},
	} {
		for _, v := range values {
			if v == "" {
				continue
			}
			g := testGuest()
			g.Properties = map[string]string{property: v}
			if v == "ide" { // which a q35 has not
				g.Properties[propMachineType] = "pc"
			}
			guests[property+"="+v] = g
		}
	}
	g := testGuest()
	g.Kernel = virt.Kernel{Path: "/k/vmlinuz", Ramdisk: "/k/initrd", Cmdline: `console=ttyS0 a="<b>" &c`}
	guests["kernel"] = g
	return guests
}

// Whatever text a user gives, the definition parses, and the text is where text belongs.
func FuzzDomainXML(f *testing.F) {
	f.Add("name", "console=ttyS0", "virtio", "project")
	f.Add("</metadata><devices/>", "]]><x/>", "'/><disk", "\x00\xff")
	f.Add("\u202e", "\n", "", "&lt;")
	f.Fuzz(func(t *testing.T, name, cmdline, bus, project string) {
		g := testGuest()
		g.Name, g.Kernel = name, virt.Kernel{Path: "/k", Cmdline: cmdline}
		g.Owner = virt.Owner{ProjectID: project, ProjectName: name, UserID: cmdline, UserName: bus, FlavorName: project}
		g.Properties = map[string]string{propDiskBus: bus, name: cmdline}
		text, err := domainXML(g, testPlatforms["kvm"], testPlace)
		if err != nil {
			return // a bus that there is not
		}
		var d libvirtxml.Domain
		if err := xml.Unmarshal([]byte(text), &d); err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		if d.UUID != string(testID) || d.Name != namePrefix+string(testID) || len(d.Devices.Disks) != 2 || len(d.Devices.Interfaces) != 2 {
			t.Errorf("the definition is another:\n%s", text)
		}
		if got := decodeStamp(d.Metadata.XML, testID); got != g.Stamp {
			t.Errorf("stamp is %+v", got)
		}
	})
}

// A stamp is read from what anybody may have written into a domain's metadata.
func FuzzDecodeStamp(f *testing.F) {
	good, err := encodeMetadata(testGuest())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(strings.ReplaceAll(good, "kilonova:", ""))
	f.Add(`<instance><stamp instance="` + string(testID) + `" generation="-1"/></instance>`)
	f.Add(`<a><b>`)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if s := decodeStamp(text, testID); s != (virt.Stamp{}) && s.Instance != testID {
			t.Errorf("stamp of another instance: %+v", s)
		}
	})
}

// Somebody copied one of our domains, metadata and all. The copy has a UUID of its own, and is not ours.
func TestDecodeStamp_ACopyHasNone(t *testing.T) {
	text, err := encodeMetadata(testGuest())
	if err != nil {
		t.Fatal(err)
	}
	if s := decodeStamp(text, testID); s != testGuest().Stamp {
		t.Errorf("stamp is %+v", s)
	}
	if s := decodeStamp(text, "6f1d3a52-6b8a-4c6e-9a3a-2f0c7a1e9b10"); s != (virt.Stamp{}) {
		t.Errorf("the copy's stamp is %+v", s)
	}
}

// A property with a value that means nothing must not become hardware by chance.
func TestReadProperties_NonsenseIsRefused(t *testing.T) {
	for property, value := range map[string]string{
		propDiskBus: "floppy", propCDROMBus: "x", propVIFModel: "'/><x", propFirmware: "EFI", propVideoModel: "virtio\n",
		propPointer: "mouse", propWatchdog: "explode", propMachineType: "q35,accel=tcg", propSockets: "3",
		propCores: "0", propThreads: "many",
	} {
		g := testGuest()
		g.Properties = map[string]string{property: value}
		if _, err := readProperties(g); err == nil || !strings.Contains(err.Error(), "image propert") {
			t.Errorf("%s=%q: %v", property, value, err)
		}
	}
}

// What the image leaves open is filled in so that the product is the number of VCPUs.
func TestReadProperties_FillsInTheTopology(t *testing.T) {
	for _, c := range []struct {
		properties              map[string]string
		sockets, cores, threads int
	}{
		{nil, 0, 0, 0},
		{map[string]string{propCores: "4"}, 1, 4, 1},
		{map[string]string{propSockets: "2"}, 2, 2, 1},
		{map[string]string{propThreads: "2"}, 2, 1, 2},
		{map[string]string{propSockets: "1", propCores: "2", propThreads: "2"}, 1, 2, 2},
	} {
		g := testGuest()
		g.Properties = c.properties
		h, err := readProperties(g)
		if err != nil || h.sockets != c.sockets || h.cores != c.cores || h.threads != c.threads {
			t.Errorf("%v: %d x %d x %d (%v)", c.properties, h.sockets, h.cores, h.threads, err)
		}
	}
}

// A guest that cannot be, or that would reach out of its place, is refused with the reason.
func TestCheckGuest_BadInputIsRefused(t *testing.T) {
	d := &Driver{cfg: Config{ClusterID: testCluster}}
	if err := d.checkGuest(testGuest()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*virt.Guest){
		"ID":              func(g *virt.Guest) { g.Stamp.Instance = "../" + testID },
		"cluster":         func(g *virt.Guest) { g.Stamp.Cluster = "" },
		"VCPUs":           func(g *virt.Guest) { g.VCPUs = maxVCPUs + 1 },
		"memory":          func(g *virt.Guest) { g.MemoryMiB = maxMemoryMiB + 1 },
		"disk":            func(g *virt.Guest) { g.Root.SizeGiB = maxDiskGiB + 1 },
		"empty disk":      func(g *virt.Guest) { g.Root = virt.RootDisk{} },
		"relative base":   func(g *virt.Guest) { g.Root.Base = "base.raw" },
		"format":          func(g *virt.Guest) { g.Root.BaseFormat = "vmdk" },
		"no format":       func(g *virt.Guest) { g.Root.BaseFormat = "" },
		"relative kernel": func(g *virt.Guest) { g.Kernel.Path = "vmlinuz" },
		"NUL in ramdisk":  func(g *virt.Guest) { g.Kernel.Ramdisk = "/a\x00b" },
		"port":            func(g *virt.Guest) { g.NICs[0].Port = "../../x" },
		"MAC":             func(g *virt.Guest) { g.NICs[0].MAC = "fa:16:3e" },
		"group MAC":       func(g *virt.Guest) { g.NICs[0].MAC = "01:00:5e:00:00:01" },
		"bridge":          func(g *virt.Guest) { g.NICs[0].Bridge = "../br0" },
		"long bridge":     func(g *virt.Guest) { g.NICs[0].Bridge = "a-name-of-16-char" },
		"MTU":             func(g *virt.Guest) { g.NICs[0].MTU = 10 },
		"address":         func(g *virt.Guest) { g.NICs[0].Addresses = []string{"192.0.2.0/24"} },
		"address in zone": func(g *virt.Guest) { g.NICs[0].Addresses = []string{"fe80::1%eth0"} },
		"many cards":      func(g *virt.Guest) { g.NICs = make([]virt.NIC, maxNICs+1) },
	} {
		g := testGuest()
		spoil(&g)
		if err := d.checkGuest(g); err == nil {
			t.Errorf("%s: was accepted", name)
		}
	}
}
