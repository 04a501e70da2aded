package libvirt

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	rpc "github.com/digitalocean/go-libvirt"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/disk"
)

const (
	// migrationDir is where the sockets of migrations lie. AppArmor's profile of a guest, which libvirt writes, lets
	// its QEMU use sockets below /run/libvirt whose names end in ".tunnelmigrate.dest." and the domain's name.
	migrationDir = "/run/libvirt/kilonova"
	// qemuOwned is a directory that belongs to the user whom libvirt runs QEMU as.
	qemuOwned = "/var/lib/libvirt/qemu"
)

// Sockets names the end points of this host. The directory is made when it is missing, open to QEMU's user alone.
func (d *Driver) Sockets() virt.Sockets {
	dir := d.seen(migrationDir)
	if err := openToQEMU(dir, d.seen(qemuOwned)); err != nil {
		d.log.Warn("live migration will not work", "directory", dir, "err", err)
	}
	return virt.Sockets{Libvirt: d.cfg.Socket, Dir: migrationDir}
}

// openToQEMU makes a directory that belongs to the owner of another.
func openToQEMU(dir, like string) error {
	var st unix.Stat_t
	if err := unix.Stat(like, &st); err != nil {
		return fmt.Errorf("find QEMU's user by %s: %w", like, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(os.Chmod(dir, 0o700), os.Chown(dir, int(st.Uid), int(st.Gid)))
}

// Receive makes what a guest needs here before it arrives. Its own disks are made anew, without data: what an earlier
// attempt left in them would show through. So it is refused while a domain of that ID is defined here.
func (d *Driver) Receive(ctx context.Context, g virt.Guest) (virt.Landing, error) {
	l, err := d.receive(ctx, g)
	if err != nil {
		return virt.Landing{}, fmt.Errorf("receive %s: %w", g.Stamp.Instance, err)
	}
	return l, nil
}

func (d *Driver) receive(ctx context.Context, g virt.Guest) (virt.Landing, error) {
	if err := d.checkGuest(g); err != nil {
		return virt.Landing{}, err
	}
	if _, defined, err := d.usedFiles(ctx, g.Stamp.Instance); err != nil || defined {
		return virt.Landing{}, errors.Join(err, errors.New("it has a domain here"))
	}
	h, err := readProperties(g)
	if err != nil {
		return virt.Landing{}, err
	}
	at, err := d.store.at(g.Stamp.Instance)
	if err != nil {
		return virt.Landing{}, err
	}
	p, err := d.platform(ctx)
	if err != nil {
		return virt.Landing{}, err
	}
	l := virt.Landing{Stamp: g.Stamp, Disks: map[virt.DiskID]string{}, Bridges: map[string]string{}, Console: at.console(),
		Kernel: g.Kernel.Path, Ramdisk: g.Kernel.Ramdisk}
	if h.uefi && p.uefiVars {
		l.NVRAM = at.nvram()
	}
	for _, n := range g.NICs {
		l.Bridges[n.MAC] = n.Bridge
	}
	if err := at.make(g.DiskEpoch); err != nil {
		return l, err
	}
	for _, one := range layDisks(g, h, at) {
		if one.alias == configAlias {
			l.Config = one.path
			continue
		}
		l.Disks[one.ID] = one.path
		if err := d.awaitDisk(ctx, g, one); err != nil {
			return l, fmt.Errorf("make disk %s: %w", one.ID, err)
		}
	}
	err = errors.Join(makeConfigDrive(g, at), d.keepSecrets(ctx, g.Disks))
	if err == nil && p.filtered && len(g.NICs) > 0 {
		err = d.defineFilters(ctx)
	}
	return l, err
}

// awaitDisk makes the file that a disk will be copied into. Volumes have theirs.
func (d *Driver) awaitDisk(ctx context.Context, g virt.Guest, l laidDisk) error {
	var from virt.RootDisk
	switch {
	case l.Path != "":
		return nil
	case l.Make.SizeMiB > 0:
		if err := removeFile(l.path); err != nil {
			return err
		}
		return disk.CreateRaw(l.path, l.Make.SizeMiB*mib)
	case l.ID == virt.DiskRescue:
		from = *g.Rescue
	default:
		from = g.Root
	}
	if err := removeFile(l.path); err != nil {
		return err
	}
	return d.makeOverlay(ctx, l.path, from)
}

// landingXML turns the definition that a domain has here into the one that it gets where it goes.
func landingXML(text string, l virt.Landing) (string, error) {
	var dom libvirtxml.Domain
	if err := xml.Unmarshal([]byte(text), &dom); err != nil {
		return "", fmt.Errorf("read definition: %w", err)
	}
	if dom.Metadata == nil || dom.Devices == nil {
		return "", errors.New("read definition: no metadata or devices in it")
	}
	element, err := restampWhole(dom.Metadata.XML, l.Stamp)
	if err != nil {
		return "", err
	}
	dom.Metadata.XML = element
	if dom.OS != nil {
		if dom.OS.Kernel != "" {
			dom.OS.Kernel, dom.OS.Initrd = l.Kernel, l.Ramdisk
		}
		if dom.OS.NVRam != nil && l.NVRAM != "" {
			dom.OS.NVRam.NVRam = l.NVRAM
		}
	}
	if err := landDevices(dom.Devices, l); err != nil {
		return "", err
	}
	out, err := dom.Marshal()
	if err != nil {
		return "", fmt.Errorf("render definition: %w", err)
	}
	return out, nil
}

// landDevices gives devices the files and bridges of the host that the domain goes to.
func landDevices(devices *libvirtxml.DomainDeviceList, l virt.Landing) error {
	for i := range devices.Disks {
		if err := landDisk(&devices.Disks[i], l); err != nil {
			return err
		}
	}
	for i := range devices.Interfaces {
		if err := landCard(&devices.Interfaces[i], l); err != nil {
			return err
		}
	}
	for i := range devices.Serials {
		s := &devices.Serials[i]
		if s.Log != nil {
			s.Log.File = l.Console
		}
		if s.Source != nil && s.Source.UNIX != nil {
			s.Source.UNIX.Path = filepath.Join(filepath.Dir(l.Console), serialFile)
		}
	}
	devices.Consoles = nil // libvirt's second name for the serial port; it adds it again
	for i := range devices.Channels {
		if s := devices.Channels[i].Source; s != nil && s.UNIX != nil {
			s.UNIX.Path = "" // libvirt chooses it
		}
	}
	for i := range devices.Graphics {
		if v := devices.Graphics[i].VNC; v != nil {
			v.Socket, v.Listeners = "", []libvirtxml.DomainGraphicListener{{Socket: &libvirtxml.DomainGraphicListenerSocket{}}}
		}
	}
	return nil
}

func landDisk(d *libvirtxml.DomainDisk, l virt.Landing) error {
	if d.Alias == nil || d.Source == nil || d.Source.File == nil {
		return errors.New("the domain has a disk that is not ours")
	}
	path := l.Config
	if d.Alias.Name != configAlias {
		id := strings.TrimPrefix(strings.TrimPrefix(d.Alias.Name, madePrefix), volumePrefix)
		path = l.Disks[virt.DiskID(id)]
	}
	if path == "" {
		return fmt.Errorf("the destination does not expect disk %q", d.Alias.Name)
	}
	d.Source.File.File = path
	d.Source.Index = 0
	d.BackingStore = nil // that of the other host is found there
	return nil
}

func landCard(c *libvirtxml.DomainInterface, l virt.Landing) error {
	if c.MAC == nil || c.Source == nil || c.Source.Bridge == nil {
		return errors.New("the domain has a card that is not ours")
	}
	for mac, bridge := range l.Bridges {
		if strings.EqualFold(mac, c.MAC.Address) {
			c.Source.Bridge.Bridge = bridge
			return nil
		}
	}
	return fmt.Errorf("the destination does not expect card %s", c.MAC.Address)
}

// restampWhole is restamp for the whole of a domain's metadata, in which nobody gives the names their prefix.
func restampWhole(all string, s virt.Stamp) (string, error) {
	var m struct {
		Ours []struct {
			Inner string `xml:",innerxml"`
		} `xml:"https://github.com/kilonova/kilonova/domain/1 instance"`
	}
	if err := xml.Unmarshal([]byte("<metadata>"+all+"</metadata>"), &m); err != nil {
		return "", fmt.Errorf("read metadata: %w", err)
	}
	if len(m.Ours) != 1 {
		return "", fmt.Errorf("read metadata: %d elements of ours", len(m.Ours))
	}
	element, err := restamp(`<instance xmlns:kilonova="`+metadataNamespace+`">`+m.Ours[0].Inner+`</instance>`, s)
	if err != nil {
		return "", err
	}
	inner, ok := strings.CutPrefix(element, "<instance>")
	if !ok {
		return "", errors.New("read metadata: the element does not begin as it should")
	}
	return `<kilonova:instance xmlns:kilonova="` + metadataNamespace + `">` + strings.TrimSuffix(inner, "</instance>") + `</kilonova:instance>`, nil
}

// landingXMLs gives the definitions that the running domain and its stored one get at the destination.
func (d *Driver) landingXMLs(ctx context.Context, dom rpc.Domain, l virt.Landing) (running, stored string, err error) {
	for flags, into := range map[rpc.DomainXMLFlags]*string{
		rpc.DomainXMLMigratable | rpc.DomainXMLSecure:                         &running,
		rpc.DomainXMLMigratable | rpc.DomainXMLSecure | rpc.DomainXMLInactive: &stored,
	} {
		text, err := ask(ctx, d.rpc, "read definition", func(k *rpc.Libvirt) (string, error) { return k.DomainGetXMLDesc(dom, flags) })
		if err == nil {
			*into, err = landingXML(text, l)
		}
		if err != nil {
			return "", "", err
		}
	}
	return running, stored, nil
}
