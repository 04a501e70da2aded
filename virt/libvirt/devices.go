package libvirt

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
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
	l.Controllers = controllers(g, h, p)
	l.Serials = []libvirtxml.DomainSerial{serialPort(at)}
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
	// Every guest gets the agent's channel: whether an agent listens there is seen when it is needed.
	l.Channels = []libvirtxml.DomainChannel{{
		Source: &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{Mode: "bind"}},
		Target: &libvirtxml.DomainChannelTarget{VirtIO: &libvirtxml.DomainChannelTargetVirtIO{Name: agentChannel}},
	}}
	if h.watchdog != "" {
		l.Watchdogs = []libvirtxml.DomainWatchdog{{Model: "i6300esb", Action: h.watchdog}}
	}
	return l, nil
}

// sparePorts is how many disks and cards a guest can be given while it runs. On machines with PCI Express each needs
// a port of its own that was there when the guest was started. Sixteen of them take a start under emulation (QEMU 7.2,
// SeaBIOS) from 0.55 s to 0.7 s, and 3 MiB of the host's memory.
const sparePorts = 16

// controllers gives those that libvirt must be told about: no USB where nothing needs it, since an idle USB
// controller wakes its guest; a SCSI controller that knows discard; and ports for devices yet to come.
func controllers(g virt.Guest, h hardware, p platform) []libvirtxml.DomainController {
	zero := uint(0)
	var l []libvirtxml.DomainController
	uses := func(bus string) bool {
		return h.diskBus == bus || h.cdromBus == bus || slices.ContainsFunc(g.Disks, func(d virt.Disk) bool { return d.Bus == bus })
	}
	if !h.tablet && !uses("usb") {
		l = append(l, libvirtxml.DomainController{Type: "usb", Index: &zero, Model: "none"})
	}
	if uses("scsi") {
		l = append(l, libvirtxml.DomainController{Type: "scsi", Index: &zero, Model: "virtio-scsi"})
	}
	if express(machine(h, p)) {
		l = append(l, libvirtxml.DomainController{Type: "pci", Index: &zero, Model: "pcie-root"})
		const others = 6 // video, balloon, random numbers, serial channel, SCSI, watchdog
		for range len(g.Disks) + len(g.NICs) + others + sparePorts {
			l = append(l, libvirtxml.DomainController{Type: "pci", Model: "pcie-root-port"})
		}
	}
	return l
}

// express tells whether a machine has PCI Express.
func express(machine string) bool {
	return machine == "q35" || strings.HasPrefix(machine, "pc-q35") || machine == "virt" || strings.HasPrefix(machine, "virt-")
}

// serialPort gives the guest's first serial port: what it writes goes to the console log, and to whoever is connected
// to a socket beside it. Where the socket's path would be too long for one, there is only the log.
func serialPort(at place) libvirtxml.DomainSerial {
	s := libvirtxml.DomainSerial{
		Source: &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{Mode: "bind", Path: at.serial()}},
		Target: &libvirtxml.DomainSerialTarget{Port: new(uint)},
		Log:    &libvirtxml.DomainChardevLog{File: at.console(), Append: "on"},
	}
	if len(at.serial()) > maxSocketPath {
		s.Source = &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}}
	}
	return s
}

// maxSocketPath is the longest path of a UNIX socket (unix(7)), in bytes, without the zero that ends it.
const maxSocketPath = 107

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
		Alias:  &libvirtxml.DomainAlias{Name: nicPrefix + string(n.Port)},
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

// agentChannel is the name of the channel on which QEMU's guest agent listens.
const agentChannel = "org.qemu.guest_agent.0"

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
