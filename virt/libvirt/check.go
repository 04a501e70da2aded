package libvirt

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/kilonova/kilonova/virt"
)

// Limits of a guest that QEMU and Linux set.
const (
	maxVCPUs     = 4096
	maxMemoryMiB = 64 << 20 // 64 TiB
	maxDiskGiB   = 1 << 20  // 1 PiB
	maxNICs      = 28       // PCI slots of a machine without more bridges
	minMTU       = 68       // RFC 791
	maxMTU       = 65535
)

// bridgePattern is what the kernel takes as a device's name, without the characters that need care.
var bridgePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$`)

// checkGuest refuses a guest that cannot be built, before anything is made of it.
func (d *Driver) checkGuest(g virt.Guest) error {
	if _, err := parseID(g.Stamp.Instance); err != nil {
		return err
	}
	if g.Stamp.Cluster != d.cfg.ClusterID {
		return fmt.Errorf("instance %s is stamped for cluster %q, not %q", g.Stamp.Instance, g.Stamp.Cluster, d.cfg.ClusterID)
	}
	switch {
	case g.VCPUs < 1 || g.VCPUs > maxVCPUs:
		return fmt.Errorf("%d VCPUs: want 1 to %d", g.VCPUs, maxVCPUs)
	case g.MemoryMiB < 1 || g.MemoryMiB > maxMemoryMiB:
		return fmt.Errorf("%d MiB of memory: want 1 to %d", g.MemoryMiB, maxMemoryMiB)
	case g.Root.SizeGiB < 0 || g.Root.SizeGiB > maxDiskGiB:
		return fmt.Errorf("a root disk of %d GiB: want 0 to %d", g.Root.SizeGiB, maxDiskGiB)
	case g.Root.Base == "" && g.Root.SizeGiB == 0:
		return fmt.Errorf("a root disk without a base image needs a size")
	case len(g.NICs) > maxNICs:
		return fmt.Errorf("%d network cards: want %d at most", len(g.NICs), maxNICs)
	}
	for what, path := range map[string]string{"base image": g.Root.Base, "kernel": g.Kernel.Path, "ramdisk": g.Kernel.Ramdisk} {
		if path != "" && (!filepath.IsAbs(path) || strings.ContainsRune(path, 0)) {
			return fmt.Errorf("%s %q: want an absolute path", what, path)
		}
	}
	if f := g.Root.BaseFormat; g.Root.Base != "" && f != "raw" && f != "qcow2" {
		return fmt.Errorf("base image of format %q: want raw or qcow2", f)
	}
	for _, n := range g.NICs {
		if err := checkNIC(n); err != nil {
			return fmt.Errorf("port %q: %w", n.Port, err)
		}
	}
	return nil
}

func checkNIC(n virt.NIC) error {
	if _, err := portDevice(n.Port); err != nil {
		return err
	}
	mac, err := net.ParseMAC(n.MAC)
	if err != nil || len(mac) != 6 {
		return fmt.Errorf("MAC %q: want six octets", n.MAC)
	}
	if mac[0]&1 != 0 {
		return fmt.Errorf("MAC %s is a group address", n.MAC)
	}
	if !bridgePattern.MatchString(n.Bridge) {
		return fmt.Errorf("bridge %q is no name of a device", n.Bridge)
	}
	if n.MTU != 0 && (n.MTU < minMTU || n.MTU > maxMTU) {
		return fmt.Errorf("MTU %d: want %d to %d", n.MTU, minMTU, maxMTU)
	}
	for _, a := range n.Addresses {
		if ip, err := netip.ParseAddr(a); err != nil || ip.Zone() != "" || ip.Is4In6() {
			return fmt.Errorf("address %q: want a plain IPv4 or IPv6 address", a)
		}
	}
	return nil
}
