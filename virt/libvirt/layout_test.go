package libvirt

import (
	"strings"
	"testing"

	"github.com/kilonova/kilonova/virt"
)

// volumeNamed gives a volume with a wish.
func volumeNamed(id virt.DiskID, device, bus string) virt.Disk {
	return virt.Disk{ID: id, Path: "/v/" + string(id), Format: "raw", Device: device, Bus: bus}
}

// The guest's system is its first disk whatever others wish for, wishes are met where they can be, no two disks have one
// name, and the config drive is the last.
func TestLayDisks_GivesEachItsName(t *testing.T) {
	for _, c := range []struct {
		story  string
		change func(*virt.Guest)
		want   string
	}{
		{"a root and a drive", func(*virt.Guest) {}, "root=vda config=vdz"},
		{"wishes", func(g *virt.Guest) {
			g.Disks = []virt.Disk{volumeNamed("a", "vdc", ""), volumeNamed("b", "", ""), volumeNamed("c", "vdc", "")}
		}, "root=vda a=vdc b=vdb c=vdd config=vdz"},
		{"a wish for the system's name", func(g *virt.Guest) { g.Disks = []virt.Disk{volumeNamed("a", "vda", "")} }, "root=vda a=vdb config=vdz"},
		{"wishes that are none", func(g *virt.Guest) {
			g.Disks = []virt.Disk{volumeNamed("a", "/dev/vdb", ""), volumeNamed("b", "sdb", ""), volumeNamed("c", "vdB", ""), volumeNamed("d", "vd", "")}
		}, "root=vda a=vdb b=vdc c=vdd d=vde config=vdz"},
		{"a volume to boot from", func(g *virt.Guest) {
			g.Disks = []virt.Disk{volumeNamed("a", "vda", ""), volumeNamed("b", "", "")}
			g.Disks[1].Boot = true
		}, "b=vda a=vdb config=vdz"},
		{"a rescue", func(g *virt.Guest) {
			g.Rescue = &virt.RootDisk{Base: "/r", BaseFormat: "raw"}
			g.Disks = []virt.Disk{volumeNamed("a", "vdb", "")}
		}, "rescue=vda root=vdb a=vdc config=vdz"},
		{"a rescue of one that boots from a volume", func(g *virt.Guest) {
			g.Rescue, g.Root = &virt.RootDisk{Base: "/r", BaseFormat: "raw"}, virt.RootDisk{None: true}
			g.Disks = []virt.Disk{volumeNamed("a", "", "")}
			g.Disks[0].Boot = true
		}, "rescue=vda a=vdb config=vdz"},
		{"two buses", func(g *virt.Guest) {
			g.Properties = map[string]string{propDiskBus: "scsi"}
			g.Disks = []virt.Disk{volumeNamed("a", "", "virtio"), volumeNamed("b", "sdc", "")}
		}, "root=sda a=vda b=sdc config=sdb"},
		{"no drive", func(g *virt.Guest) { g.ConfigDrive = nil }, "root=vda"},
	} {
		g := testGuest()
		c.change(&g)
		h, err := readProperties(g)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range layDisks(g, h, testPlace) {
			name := string(l.ID)
			if l.alias == configAlias {
				name = "config"
			}
			got = append(got, name+"="+l.dev)
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %s, want %s", c.story, text, c.want)
		}
	}
}

// After vdz comes vdaa, and nobody has room for more disks than there are names.
func TestFreeDevice_GoesOnAfterZ(t *testing.T) {
	taken := map[string]bool{}
	var last string
	for range maxDevice {
		last = freeDevice("virtio", "", taken)
		if taken[last] || last == "" {
			t.Fatalf("after %d names comes %q", len(taken), last)
		}
		taken[last] = true
	}
	if last != "vdzz" || !taken["vdaa"] || freeDevice("virtio", "", taken) != "" {
		t.Errorf("the last is %q", last)
	}
}

// What a disk is called becomes a part of XML, of a path and of a QEMU command line.
func TestCheckDisks_RefusesWhatWouldNotStayAName(t *testing.T) {
	good := func() virt.Disk { return volumeNamed("a", "", "") }
	if err := checkDisks([]virt.Disk{good()}); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*virt.Disk){
		"an ID that climbs":      func(d *virt.Disk) { d.ID = "../a" },
		"an ID with an option":   func(d *virt.Disk) { d.ID = "a,file=/etc/passwd" },
		"the root's ID":          func(d *virt.Disk) { d.ID = virt.DiskRoot },
		"a NUL in its path":      func(d *virt.Disk) { d.Path = "/a\x00b" },
		"a serial with a quote":  func(d *virt.Disk) { d.Serial = `"/><x` },
		"a bus of its own":       func(d *virt.Disk) { d.Bus = "floppy" },
		"a size without end":     func(d *virt.Disk) { d.ID, d.Path, d.Make = "swap", "", virt.MadeDisk{SizeMiB: 1 << 40, Use: "swap"} },
		"a made disk's odd name": func(d *virt.Disk) { d.Path, d.Make = "", virt.MadeDisk{SizeMiB: 1, Use: "swap"} },
		"an unknown use":         func(d *virt.Disk) { d.ID, d.Path, d.Make = "swap", "", virt.MadeDisk{SizeMiB: 1, Use: "x"} },
	} {
		d := good()
		spoil(&d)
		if err := checkDisks([]virt.Disk{d}); err == nil {
			t.Errorf("%s: was accepted", name)
		}
	}
	two := []virt.Disk{good(), volumeNamed("b", "", "")}
	two[0].Boot, two[1].Boot = true, true
	if err := checkDisks(two); err == nil {
		t.Error("two disks to boot from were accepted")
	}
}
