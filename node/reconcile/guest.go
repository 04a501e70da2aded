package reconcile

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/configdrive"
)

// Guest makes the description of an instance's domain from the state. The images have to stand on this node.
func Guest(in *cluster.Instance, view *cluster.View, self cluster.NodeID, images Images) (virt.Guest, error) {
	g := virt.Guest{
		Stamp:      stamp(in, view),
		Name:       in.Spec.Name,
		VCPUs:      int(in.Spec.Flavor.VCPUs),
		MemoryMiB:  in.Spec.Flavor.MemoryMiB,
		DiskEpoch:  in.DiskEpoch(),
		Disks:      ownDisks(&in.Spec.Flavor),
		Properties: in.Spec.Boot.Properties,
		Owner:      owner(in, view),
	}
	if err := bootFrom(&g, in, images); err != nil {
		return g, err
	}
	node, ok := view.Node(self)
	if !ok {
		return g, cluster.Errorf(cluster.NotFound, "node %s is not in the state", self)
	}
	var cards []configdrive.NIC
	for _, id := range in.Ports {
		nic, card, err := networkCard(id, view, node)
		if err != nil {
			return g, err
		}
		g.NICs = append(g.NICs, nic)
		cards = append(cards, card)
	}
	var err error
	g.ConfigDrive, err = configdrive.Files(metadata(in, view.ZoneOf(node), cards))
	if err != nil {
		return g, fmt.Errorf("write the config drive of %s: %w", in.ID, err)
	}
	return g, nil
}

func owner(in *cluster.Instance, view *cluster.View) virt.Owner {
	o := virt.Owner{ProjectID: string(in.Project), UserID: string(in.User), FlavorName: in.Spec.Flavor.Name}
	if p, ok := view.Project(in.Project); ok {
		o.ProjectName = p.Name
	}
	if u, ok := view.User(in.User); ok {
		o.UserName = u.Name
	}
	return o
}

// bootFrom gives the guest its images: the disk that its own lies on, and what it boots with if the disk does not boot by
// itself. One that is rescued boots from another disk, beside its own.
func bootFrom(g *virt.Guest, in *cluster.Instance, images Images) error {
	var err error
	g.Root, g.Kernel, err = boot(in.Images, in.Spec.Boot.Properties[cmdlineProperty], images)
	g.Root.SizeGiB = in.Spec.Flavor.DiskGiB
	if err != nil || in.Mode.Rescue == nil {
		return err
	}
	g.Rescue = &virt.RootDisk{}
	*g.Rescue, g.Kernel, err = boot(in.Mode.Rescue.Images, in.Mode.Rescue.Cmdline, images)
	return err
}

// cmdlineProperty is the image property with the kernel's command line.
const cmdlineProperty = "os_command_line"

// boot tells a disk and a kernel from the images that make them.
func boot(from []cluster.BootImage, cmdline string, images Images) (disk virt.RootDisk, kernel virt.Kernel, err error) {
	for _, img := range from {
		path, format, ok := images.Base(img)
		if !ok {
			return disk, kernel, cluster.Errorf(cluster.Unavailable, "image %s is not on this node yet", img.Image)
		}
		switch img.Part {
		case cluster.BootDisk:
			disk.Base, disk.BaseFormat = path, format
		case cluster.BootKernel:
			kernel.Path, kernel.Cmdline = path, cmdline
		case cluster.BootRamdisk:
			kernel.Ramdisk = path
		}
	}
	return disk, kernel, nil
}

// ownDisks are the disks that a flavor gives besides the root.
func ownDisks(f *cluster.Flavor) []virt.Disk {
	var disks []virt.Disk
	if f.Ephemeral > 0 {
		disks = append(disks, virt.Disk{ID: virt.DiskEphemeral, Make: virt.MadeDisk{SizeMiB: f.Ephemeral << 10, Use: "ephemeral"}})
	}
	if f.SwapMiB > 0 {
		disks = append(disks, virt.Disk{ID: virt.DiskSwap, Make: virt.MadeDisk{SizeMiB: f.SwapMiB, Use: "swap"}})
	}
	return disks
}

// networkCard describes a port twice: to the hypervisor and to the guest.
func networkCard(id cluster.PortID, view *cluster.View, node *cluster.Node) (virt.NIC, configdrive.NIC, error) {
	port, ok := view.Port(id)
	if !ok {
		return virt.NIC{}, configdrive.NIC{}, cluster.Errorf(cluster.NotFound, "port %s is gone", id)
	}
	network, ok := view.Network(port.Network)
	if !ok {
		return virt.NIC{}, configdrive.NIC{}, cluster.Errorf(cluster.NotFound, "network %s of port %s is gone", port.Network, id)
	}
	bridge, ok := node.Bridges[network.Physical]
	if !ok {
		return virt.NIC{}, configdrive.NIC{}, cluster.Errorf(cluster.NoRoom,
			"node %s has no bridge for the physical network %q: start it with --bridge %s=BRIDGE", node.Name, network.Physical, network.Physical)
	}
	nic := virt.NIC{Port: id, MAC: port.MAC, Bridge: bridge, MTU: network.MTU, Spoofing: !port.PortSecurity}
	card := configdrive.NIC{PortID: string(id), NetworkID: string(network.ID), MAC: port.MAC, MTU: network.MTU}
	for _, ip := range port.FixedIPs {
		nic.Addresses = append(nic.Addresses, ip.Address)
		if a, ok := address(ip, view); ok {
			card.Addresses = append(card.Addresses, a)
		}
	}
	return nic, card, nil
}

func address(ip cluster.FixedIP, view *cluster.View) (configdrive.Address, bool) {
	subnet, ok := view.Subnet(ip.Subnet)
	if !ok {
		return configdrive.Address{}, false
	}
	prefix, err := netip.ParsePrefix(subnet.CIDR)
	if err != nil {
		return configdrive.Address{}, false
	}
	a := configdrive.Address{Prefix: fmt.Sprintf("%s/%d", ip.Address, prefix.Bits()), Gateway: subnet.Gateway, DNS: subnet.DNS}
	for _, r := range subnet.Routes {
		a.Routes = append(a.Routes, configdrive.Route{Destination: r.Destination, NextHop: r.NextHop})
	}
	return a, true
}

func metadata(in *cluster.Instance, zone string, cards []configdrive.NIC) configdrive.Meta {
	m := configdrive.Meta{
		UUID:             string(in.ID),
		Name:             in.Spec.Name,
		Hostname:         in.Spec.Hostname,
		AvailabilityZone: zone,
		ProjectID:        string(in.Project),
		FlavorName:       in.Spec.Flavor.Name,
		Metadata:         in.Spec.Metadata,
		AdminPass:        in.Spec.AdminPass,
		UserData:         in.Spec.UserData,
		NICs:             cards,
	}
	if in.Mode.Rescue != nil {
		m.AdminPass = in.Mode.Rescue.AdminPass
	}
	if in.Spec.PublicKey != "" {
		m.Keys = []configdrive.Key{{Name: in.Spec.KeyName, Type: keyType(in.Spec.PublicKey), Data: in.Spec.PublicKey}}
	}
	return m
}

// keyType tells a key for SSH from a certificate, which always begins with these words (RFC 7468, section 5).
func keyType(public string) string {
	if strings.HasPrefix(strings.TrimSpace(public), "-----BEGIN CERTIFICATE-----") {
		return "x509"
	}
	return "ssh"
}
