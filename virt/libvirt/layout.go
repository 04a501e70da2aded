package libvirt

import (
	"fmt"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/kilonova/kilonova/virt"
)

// laidDisk is a disk with its place in the guest.
type laidDisk struct {
	virt.Disk
	path, format string
	dev, bus     string
	cdrom        bool
	alias        string
}

// layDisks gives the guest's disks in the order that it sees them: first the one that it boots from, at last the
// config drive.
func layDisks(g virt.Guest, h hardware, at place) []laidDisk {
	var l []laidDisk
	own := func(id virt.DiskID) laidDisk {
		return laidDisk{Disk: virt.Disk{ID: id}, path: at.disk(g.DiskEpoch, id), format: "qcow2", bus: h.diskBus, alias: madePrefix + string(id)}
	}
	if g.Rescue != nil {
		l = append(l, own(virt.DiskRescue))
	}
	if hasRoot(g) {
		root := own(virt.DiskRoot)
		root.Serial = strings.ReplaceAll(string(g.Stamp.Instance), "-", "")[:20]
		l = append(l, root)
	}
	boots := slices.IndexFunc(g.Disks, func(d virt.Disk) bool { return d.Boot })
	if boots >= 0 {
		l = append(l, lay(g.Disks[boots], h, g, at))
	}
	first := len(l)
	for i, d := range g.Disks {
		if i != boots {
			l = append(l, lay(d, h, g, at))
		}
	}
	taken := map[string]bool{}
	for i := range l[:first] { // the system's disks come first, whatever others wish for
		l[i].dev = freeDevice(l[i].bus, "", taken)
		taken[l[i].dev] = true
	}
	for i := range l[first:] {
		if d := &l[first+i]; wishHolds(d.Device, d.bus) && !taken[d.Device] {
			d.dev = d.Device
			taken[d.dev] = true
		}
	}
	for i := range l {
		if l[i].dev == "" {
			l[i].dev = freeDevice(l[i].bus, "", taken)
			taken[l[i].dev] = true
		}
	}
	if g.ConfigDrive == nil {
		return l
	}
	return append(l, configDrive(h, at, taken))
}

// lay gives a disk of the guest's list its path and bus.
func lay(d virt.Disk, h hardware, g virt.Guest, at place) laidDisk {
	out := laidDisk{Disk: d, path: d.Path, format: d.Format, bus: d.Bus, alias: diskAlias(d)}
	if out.bus == "" {
		out.bus = h.diskBus
	}
	if d.Make.SizeMiB > 0 {
		out.path, out.format = at.disk(g.DiskEpoch, d.ID), "raw"
	}
	return out
}

// configDrive gives the drive a place behind all others.
func configDrive(h hardware, at place, taken map[string]bool) laidDisk {
	// A guest has a driver for the bus that it boots from; some have no other. (Debian's cloud kernel knows no
	// AHCI, so a SATA drive would be invisible to it.)
	drive := laidDisk{path: at.config(), format: "raw", bus: h.cdromBus, alias: configAlias}
	drive.ReadOnly = true
	if drive.bus == "" {
		drive.bus = h.diskBus
	}
	drive.cdrom = drive.bus != "virtio" // which has no CD-ROM drives
	wish := ""
	if drive.bus == "virtio" {
		wish = "vdz" // so that disks that come later do not move it
	}
	drive.dev = freeDevice(drive.bus, wish, taken)
	return drive
}

// maxDevice bounds the letters of a device's name: sda to sdzz.
const maxDevice = 26 + 26*26

// freeDevice gives the wish, if it is one for this bus and not taken, or the first name that is free.
func freeDevice(bus, wish string, taken map[string]bool) string {
	if wishHolds(wish, bus) && !taken[wish] {
		return wish
	}
	for i := range maxDevice {
		letters := string(rune('a' + i%26))
		if i >= 26 {
			letters = string(rune('a'+i/26-1)) + letters
		}
		if dev := devicePrefix(bus) + letters; !taken[dev] {
			return dev
		}
	}
	return "" // libvirt refuses it
}

// wishHolds tells whether a name that somebody wished for is one of this bus.
func wishHolds(wish, bus string) bool {
	letters, ok := strings.CutPrefix(wish, devicePrefix(bus))
	if !ok || letters == "" || len(letters) > 2 {
		return false
	}
	return strings.Trim(letters, "abcdefghijklmnopqrstuvwxyz") == ""
}

func devicePrefix(bus string) string {
	switch bus {
	case "virtio":
		return "vd"
	case "ide":
		return "hd"
	}
	return "sd"
}

// disks renders the guest's disks.
func disks(g virt.Guest, h hardware, p platform, at place) []libvirtxml.DomainDisk {
	var list []libvirtxml.DomainDisk
	for i, l := range layDisks(g, h, at) {
		d := renderDisk(l, p)
		if i == 0 && g.Kernel.Path == "" && l.alias != configAlias {
			d.Boot = &libvirtxml.DomainDeviceBoot{Order: 1}
		}
		list = append(list, d)
	}
	return list
}

func renderDisk(l laidDisk, p platform) libvirtxml.DomainDisk {
	d := libvirtxml.DomainDisk{
		Device: "disk",
		Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: l.format},
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: l.path}},
		Target: &libvirtxml.DomainDiskTarget{Dev: l.dev, Bus: l.bus},
		Alias:  &libvirtxml.DomainAlias{Name: l.alias},
	}
	if l.cdrom {
		d.Device = "cdrom"
	}
	if l.ReadOnly {
		d.ReadOnly = &libvirtxml.DomainDiskReadOnly{}
	}
	if l.alias == configAlias {
		return d
	}
	d.Driver.Cache, d.Driver.Discard = p.diskCache, "unmap"
	if p.diskCache == "none" && p.domainType != mockDomain {
		d.Driver.IO = "native" // needs direct I/O
	}
	if l.Shared {
		d.Shareable = &libvirtxml.DomainDiskShareable{}
	}
	if l.bus != "ide" && l.bus != "usb" { // longer serials than those take
		d.Serial = l.Serial
	}
	if l.Secret != nil {
		d.Source.Encryption = &libvirtxml.DomainDiskEncryption{Format: "luks",
			Secrets: []libvirtxml.DomainDiskSecret{{Type: "passphrase", UUID: secretID(l.ID)}}}
	}
	return d
}

// checkDisks refuses lists of disks that make no sense.
func checkDisks(list []virt.Disk) error {
	seen, boots := map[virt.DiskID]bool{virt.DiskRoot: true, virt.DiskRescue: true}, 0
	for _, d := range list {
		if err := checkDisk(d); err != nil {
			return fmt.Errorf("disk %q: %w", d.ID, err)
		}
		if seen[d.ID] {
			return fmt.Errorf("disk %q comes twice", d.ID)
		}
		seen[d.ID] = true
		if d.Boot {
			boots++
		}
	}
	if boots > 1 {
		return fmt.Errorf("%d disks to boot from: want one at most", boots)
	}
	return nil
}
