package libvirt

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
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
	case len(g.NICs) > maxNICs:
		return fmt.Errorf("%d network cards: want %d at most", len(g.NICs), maxNICs)
	}
	for what, path := range map[string]string{"kernel": g.Kernel.Path, "ramdisk": g.Kernel.Ramdisk} {
		if path != "" && !plainPath(path) {
			return fmt.Errorf("%s %q: want an absolute path", what, path)
		}
	}
	if hasRoot(g) {
		if err := checkRoot(g.Root); err != nil {
			return fmt.Errorf("root disk: %w", err)
		}
	}
	if g.Rescue != nil {
		if err := checkRoot(*g.Rescue); err != nil {
			return fmt.Errorf("rescue disk: %w", err)
		}
	}
	if err := checkDisks(g.Disks); err != nil {
		return err
	}
	for _, n := range g.NICs {
		if err := checkNIC(n); err != nil {
			return fmt.Errorf("port %q: %w", n.Port, err)
		}
	}
	return nil
}

// plainPath tells whether a path is absolute and one that libvirt takes.
func plainPath(path string) bool { return filepath.IsAbs(path) && !strings.ContainsRune(path, 0) }

func checkRoot(r virt.RootDisk) error {
	switch {
	case r.SizeGiB < 0 || r.SizeGiB > maxDiskGiB:
		return fmt.Errorf("%d GiB: want 0 to %d", r.SizeGiB, maxDiskGiB)
	case r.Base == "" && r.SizeGiB == 0:
		return errors.New("one without a base image needs a size")
	case r.Base != "" && !plainPath(r.Base):
		return fmt.Errorf("base image %q: want an absolute path", r.Base)
	case r.Base != "" && r.BaseFormat != "raw" && r.BaseFormat != "qcow2":
		return fmt.Errorf("base image of format %q: want raw or qcow2", r.BaseFormat)
	}
	return nil
}

// The IDs of disks become parts of device aliases, and those of made disks the names of files.
var (
	diskPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	madePattern = regexp.MustCompile(`^(root|rescue|swap|ephemeral[0-9]{0,2})$`)
	// serialPattern is what libvirt takes as a disk's serial.
	serialPattern = regexp.MustCompile(`^[A-Za-z0-9_.+ -]{0,64}$`)
)

func checkDisk(d virt.Disk) error {
	made := d.Make.SizeMiB != 0
	switch {
	case !diskPattern.MatchString(string(d.ID)):
		return errors.New("its ID is empty, too long or of other characters than letters, digits, _ and -")
	case made == (d.Path != ""):
		return errors.New("want either a path or a size to make")
	case made && !madePattern.MatchString(string(d.ID)):
		return errors.New("this is no ID of a disk that is made")
	case made && (d.Make.SizeMiB < 0 || d.Make.SizeMiB > maxDiskGiB<<10):
		return fmt.Errorf("%d MiB: want 1 to %d", d.Make.SizeMiB, maxDiskGiB<<10)
	case made && d.Make.Use != useSwap && d.Make.Use != useEphemeral:
		return fmt.Errorf("use %q: want %s or %s", d.Make.Use, useSwap, useEphemeral)
	case !made && !plainPath(d.Path):
		return fmt.Errorf("%q: want an absolute path", d.Path)
	case !made && d.Format != "raw" && d.Format != "qcow2":
		return fmt.Errorf("format %q: want raw or qcow2", d.Format)
	case d.Bus != "" && !slices.Contains(diskBuses, d.Bus):
		return fmt.Errorf("bus %q: want one of %s", d.Bus, strings.Join(diskBuses, ", "))
	case !serialPattern.MatchString(d.Serial):
		return errors.New("its serial is too long or of characters that libvirt does not take")
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
