package libvirt

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// deviceList gives the guest's devices.
func deviceList(g virt.Guest, h hardware, p platform, at place) (*libvirtxml.DomainDeviceList, error) {
	l := &libvirtxml.DomainDeviceList{Disks: disks(g, h, p, at)}
	for _, n := range g.NICs {
		i, err := card(n, h, p)
		if err != nil {
			return nil, err
		}
		l.Interfaces = append(l.Interfaces, i)
	}
	if p.domainType == mockDomain {
		return l, nil
	}
	l.Controllers = controllers(h)
	l.Serials = []libvirtxml.DomainSerial{{
		Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}},
		Target: &libvirtxml.DomainSerialTarget{Port: new(uint)},
		Log:    &libvirtxml.DomainChardevLog{File: at.console(), Append: "on"},
	}}
	l.RNGs = []libvirtxml.DomainRNG{{
		Model:   "virtio",
		Backend: &libvirtxml.DomainRNGBackend{Random: &libvirtxml.DomainRNGBackendRandom{Device: "/dev/urandom"}},
	}}
	l.MemBalloon = &libvirtxml.DomainMemBalloon{
		Model: "virtio", AutoDeflate: "on", FreePageReporting: "on",
		Stats: &libvirtxml.DomainMemBalloonStats{Period: 10},
	}
	if h.video != "none" {
		l.Videos = []libvirtxml.DomainVideo{{Model: libvirtxml.DomainVideoModel{Type: h.video}}}
		// A socket that libvirt puts beside the guest's monitor: nothing listens on any network.
		l.Graphics = []libvirtxml.DomainGraphic{{VNC: &libvirtxml.DomainGraphicVNC{
			Listeners: []libvirtxml.DomainGraphicListener{{Socket: &libvirtxml.DomainGraphicListenerSocket{}}},
		}}}
	}
	if h.tablet {
		l.Inputs = []libvirtxml.DomainInput{{Type: "tablet", Bus: "usb"}}
	}
	if h.agent {
		l.Channels = []libvirtxml.DomainChannel{{
			Source: &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{Mode: "bind"}},
			Target: &libvirtxml.DomainChannelTarget{VirtIO: &libvirtxml.DomainChannelTargetVirtIO{Name: "org.qemu.guest_agent.0"}},
		}}
	}
	if h.watchdog != "" {
		l.Watchdogs = []libvirtxml.DomainWatchdog{{Model: "i6300esb", Action: h.watchdog}}
	}
	return l, nil
}

// controllers gives those that libvirt must be told about: no USB where nothing needs it, since an idle USB
// controller wakes its guest, and a SCSI controller that knows discard.
func controllers(h hardware) []libvirtxml.DomainController {
	zero := uint(0)
	var l []libvirtxml.DomainController
	if !h.tablet && h.diskBus != "usb" && h.cdromBus != "usb" {
		l = append(l, libvirtxml.DomainController{Type: "usb", Index: &zero, Model: "none"})
	}
	if h.diskBus == "scsi" || h.cdromBus == "scsi" {
		l = append(l, libvirtxml.DomainController{Type: "scsi", Index: &zero, Model: "virtio-scsi"})
	}
	return l
}

// disks gives the root disk and the config drive.
func disks(g virt.Guest, h hardware, p platform, at place) []libvirtxml.DomainDisk {
	root := fileDisk(at.disk(), "qcow2", "disk")
	root.Driver.Cache, root.Driver.Discard = p.diskCache, "unmap"
	if p.diskCache == "none" && p.domainType != mockDomain {
		root.Driver.IO = "native" // needs direct I/O
	}
	root.Target = &libvirtxml.DomainDiskTarget{Dev: devicePrefix(h.diskBus) + "a", Bus: h.diskBus}
	if h.diskBus != "ide" && h.diskBus != "usb" { // longer serials than those take
		root.Serial = strings.ReplaceAll(string(g.Stamp.Instance), "-", "")[:20]
	}
	l := []libvirtxml.DomainDisk{root}
	if g.ConfigDrive == nil {
		return l
	}
	// A guest has a driver for the bus that it boots from; some have no other. (Debian's cloud kernel knows no
	// AHCI, so a SATA drive would be invisible to it.)
	bus := h.cdromBus
	if bus == "" {
		bus = h.diskBus
	}
	drive := fileDisk(at.config(), "raw", "cdrom")
	if bus == "virtio" { // has no CD-ROM drives
		drive.Device = "disk"
	}
	drive.ReadOnly = &libvirtxml.DomainDiskReadOnly{}
	letter := "a"
	if devicePrefix(bus) == devicePrefix(h.diskBus) {
		letter = "b"
	}
	drive.Target = &libvirtxml.DomainDiskTarget{Dev: devicePrefix(bus) + letter, Bus: bus}
	return append(l, drive)
}

func fileDisk(path, format, device string) libvirtxml.DomainDisk {
	return libvirtxml.DomainDisk{
		Device: device,
		Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: format},
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: path}},
	}
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

// card gives a network card.
func card(n virt.NIC, h hardware, p platform) (libvirtxml.DomainInterface, error) {
	device, err := portDevice(n.Port)
	if err != nil {
		return libvirtxml.DomainInterface{}, err
	}
	i := libvirtxml.DomainInterface{
		MAC:    &libvirtxml.DomainInterfaceMAC{Address: n.MAC},
		Source: &libvirtxml.DomainInterfaceSource{Bridge: &libvirtxml.DomainInterfaceSourceBridge{Bridge: n.Bridge}},
		Target: &libvirtxml.DomainInterfaceTarget{Dev: device},
		Model:  &libvirtxml.DomainInterfaceModel{Type: h.vifModel},
	}
	if n.MTU > 0 {
		i.MTU = &libvirtxml.DomainInterfaceMTU{Size: uint(n.MTU)}
	}
	if p.filtered && !n.Spoofing {
		if i.FilterRef, err = filterFor(n); err != nil {
			return i, err
		}
	}
	return i, nil
}

// portDeviceLength is how much of a port's ID a tap device's name holds; Linux allows 15 characters.
const portDeviceLength = 11

// portDevice names the tap device of a port, as Nova does.
func portDevice(port cluster.PortID) (string, error) {
	if _, err := parseID(cluster.InstanceID(port)); err != nil {
		return "", fmt.Errorf("port ID %q is not a UUID in canonical form", port)
	}
	return "tap" + string(port)[:portDeviceLength], nil
}

// linkLocal gives the IPv6 link-local address that a guest derives from its MAC (RFC 4291, appendix A).
func linkLocal(mac string) (netip.Addr, error) {
	m, err := net.ParseMAC(mac)
	if err != nil || len(m) != 6 {
		return netip.Addr{}, fmt.Errorf("MAC %q: want six octets", mac)
	}
	return netip.AddrFrom16([16]byte{
		0: 0xfe, 1: 0x80,
		8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5],
	}), nil
}
