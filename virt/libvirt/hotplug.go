package libvirt

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"time"

	rpc "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/disk"
)

const (
	detachPoll = 100 * time.Millisecond
	// detachAgain is how long a guest is given before it is asked once more: one that was just booting has not
	// heard the first request.
	detachAgain = 5 * time.Second
)

// fitting is a domain whose devices are about to change: as it runs, and as it is defined.
type fitting struct {
	dom           rpc.Domain
	on            bool
	live, defined domainView // live is that of the definition when the domain is off
}

func (d *Driver) fit(ctx context.Context, id cluster.InstanceID) (f fitting, err error) {
	if f.dom, err = d.find(ctx, id); err != nil {
		return f, err
	}
	if f.on, err = d.active(ctx, f.dom); err != nil {
		return f, err
	}
	if f.live, err = d.look(ctx, f.dom, 0); err != nil {
		return f, err
	}
	f.defined, err = d.look(ctx, f.dom, rpc.DomainXMLInactive)
	return f, err
}

// flags says where a device has to be changed, given where it is as it should be. 0: nowhere.
func (f fitting) flags(liveDone, definedDone bool) rpc.DomainDeviceModifyFlags {
	var flags rpc.DomainDeviceModifyFlags
	if f.on && !liveDone {
		flags |= rpc.DomainDeviceModifyLive
	}
	if !definedDone {
		flags |= rpc.DomainDeviceModifyConfig
	}
	return flags
}

// devices lists the names that disks have in the guest.
func (f fitting) devices() map[string]bool {
	taken := map[string]bool{}
	for _, v := range []domainView{f.live, f.defined} {
		for _, d := range v.Disks {
			taken[d.Target.Dev] = true
		}
	}
	return taken
}

// AttachDisk adds a disk to a domain and its definition.
func (d *Driver) AttachDisk(ctx context.Context, id cluster.InstanceID, disk virt.Disk) error {
	if err := d.attachDisk(ctx, id, disk); err != nil {
		return fmt.Errorf("attach disk %s to %s: %w", disk.ID, id, err)
	}
	return nil
}

func (d *Driver) attachDisk(ctx context.Context, id cluster.InstanceID, disk virt.Disk) error {
	if err := checkDisk(disk); err != nil {
		return err
	}
	if disk.Make.SizeMiB > 0 {
		return errors.New("a disk that Build makes cannot be attached")
	}
	f, err := d.fit(ctx, id)
	if err != nil {
		return err
	}
	if err := d.keepSecrets(ctx, []virt.Disk{disk}); err != nil {
		return err
	}
	p, err := d.platform(ctx)
	if err != nil {
		return err
	}
	bus := disk.Bus
	if bus == "" {
		bus = f.bus()
	}
	if bus == "scsi" {
		if err := d.needSCSI(ctx, f); err != nil {
			return err
		}
	}
	_, live := f.live.disk(disk.ID)
	was, defined := f.defined.disk(disk.ID)
	l := laidDisk{Disk: disk, path: disk.Path, format: disk.Format, bus: bus, alias: diskAlias(disk)}
	if l.dev = was.Target.Dev; !defined { // else it keeps its name
		l.dev = freeDevice(bus, disk.Device, f.devices())
	}
	text, err := xml.Marshal(ptr(renderDisk(l, p)))
	if err != nil {
		return err
	}
	return d.attach(ctx, id, f, string(text), f.flags(live, defined))
}

// bus gives the bus of the disk that the domain boots from.
func (f fitting) bus() string {
	if len(f.defined.Disks) == 0 {
		return diskBuses[0]
	}
	return f.defined.Disks[0].Target.Bus
}

func ptr[T any](v T) *T { return &v }

// attach gives a domain a device.
func (d *Driver) attach(ctx context.Context, id cluster.InstanceID, f fitting, text string, flags rpc.DomainDeviceModifyFlags) error {
	if flags == 0 {
		return nil
	}
	defer d.views.forget(id)
	return tell(ctx, d.rpc, "attach device", func(l *rpc.Libvirt) error {
		return l.DomainAttachDeviceFlags(f.dom, text, uint32(flags))
	})
}

// needSCSI makes sure that the domain has a SCSI controller: the one that libvirt would add by itself is of a kind
// that few guests know.
func (d *Driver) needSCSI(ctx context.Context, f fitting) error {
	has := func(v domainView) bool {
		for _, c := range v.Controllers {
			if c.Type == "scsi" {
				return true
			}
		}
		return false
	}
	text, err := xml.Marshal(&libvirtxml.DomainController{Type: "scsi", Index: new(uint), Model: "virtio-scsi"})
	if err != nil {
		return err
	}
	return d.attach(ctx, instanceID(f.dom.UUID), f, string(text), f.flags(has(f.live), has(f.defined)))
}

// DetachDisk takes a disk away from a domain and its definition.
func (d *Driver) DetachDisk(ctx context.Context, id cluster.InstanceID, disk virt.DiskID) error {
	var found []diskView
	err := d.detach(ctx, id, func(v domainView) (string, bool) {
		dv, there := v.disk(disk)
		if there {
			found = []diskView{dv}
		}
		return dv.Alias.Name, there
	})
	if err == nil {
		err = d.dropSecrets(ctx, found)
	}
	if err != nil {
		return fmt.Errorf("detach disk %s from %s: %w", disk, id, err)
	}
	return nil
}

// DetachNIC takes a card away from a domain and its definition.
func (d *Driver) DetachNIC(ctx context.Context, id cluster.InstanceID, mac string) error {
	err := d.detach(ctx, id, func(v domainView) (string, bool) {
		n, there := v.nic(mac)
		return n.Alias.Name, there
	})
	if err != nil {
		return fmt.Errorf("detach card %s from %s: %w", mac, id, err)
	}
	return nil
}

// detach takes away the device that find names in a view, first from the definition, and then, with its consent, from
// the guest.
func (d *Driver) detach(ctx context.Context, id cluster.InstanceID, find func(domainView) (alias string, there bool)) error {
	f, err := d.fit(ctx, id)
	if err != nil {
		return err
	}
	defer d.views.forget(id)
	take := func(alias string, where rpc.DomainDeviceModifyFlags) error {
		err := tell(ctx, d.rpc, "detach device", func(l *rpc.Libvirt) error {
			return l.DomainDetachDeviceAlias(f.dom, alias, uint32(where))
		})
		if hasCode(err, rpc.ErrDeviceMissing) {
			return nil
		}
		return err
	}
	if alias, there := find(f.defined); there && alias != "" { // versions before 0.2 gave none
		if err := take(alias, rpc.DomainDeviceModifyConfig); err != nil {
			return err
		}
	}
	alias, there := find(f.live)
	if !f.on || !there {
		return nil
	}
	tick := time.NewTicker(detachPoll)
	defer tick.Stop()
	for asked := (time.Time{}); ; {
		if time.Since(asked) > detachAgain {
			// While the guest has the last request before it, QEMU refuses another; that is no reason to give up.
			if err := take(alias, rpc.DomainDeviceModifyLive); err != nil && !hasCode(err, rpc.ErrOperationFailed) && !hasCode(err, rpc.ErrInternalError) {
				return err
			}
			asked = time.Now()
		}
		on, err := d.active(ctx, f.dom)
		if err == nil && on {
			if f.live, err = d.look(ctx, f.dom, 0); err == nil {
				_, there = find(f.live)
			}
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w: the guest does not let go of it: %w", virt.ErrUnsupported, ctx.Err())
		case err != nil:
			return err
		case !on || !there:
			return nil
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// ResizeDisk grows a disk's file and tells a running guest.
func (d *Driver) ResizeDisk(ctx context.Context, id cluster.InstanceID, disk virt.DiskID, bytes int64) error {
	if err := d.resizeDisk(ctx, id, disk, bytes); err != nil {
		return fmt.Errorf("resize disk %s of %s: %w", disk, id, err)
	}
	return nil
}

func (d *Driver) resizeDisk(ctx context.Context, id cluster.InstanceID, which virt.DiskID, bytes int64) error {
	f, err := d.fit(ctx, id)
	if err != nil {
		return err
	}
	dv, there := f.live.disk(which)
	if !there {
		return virt.ErrNotFound
	}
	if !f.on {
		return disk.Resize(ctx, dv.Source.File, disk.Format(dv.Driver.Type), bytes)
	}
	now, err := ask(ctx, d.rpc, "ask for the disk's size", func(l *rpc.Libvirt) (uint64, error) {
		_, capacity, _, err := l.DomainGetBlockInfo(f.dom, dv.Target.Dev, 0)
		return capacity, err
	})
	switch {
	case err != nil || bytes > 0 && uint64(bytes) == now:
		return err
	case bytes <= 0 || uint64(bytes) < now:
		return fmt.Errorf("%d bytes are less than the present %d, and shrinking loses data", bytes, now)
	}
	return tell(ctx, d.rpc, "resize disk", func(l *rpc.Libvirt) error {
		return l.DomainBlockResize(f.dom, dv.Target.Dev, uint64(bytes), rpc.DomainBlockResizeBytes)
	})
}

// AttachNIC adds a card to a domain and its definition, or changes the one with that MAC.
func (d *Driver) AttachNIC(ctx context.Context, id cluster.InstanceID, n virt.NIC) error {
	if err := d.attachNIC(ctx, id, n); err != nil {
		return fmt.Errorf("attach card %s to %s: %w", n.MAC, id, err)
	}
	return nil
}

func (d *Driver) attachNIC(ctx context.Context, id cluster.InstanceID, n virt.NIC) error {
	if err := checkNIC(n); err != nil {
		return err
	}
	f, err := d.fit(ctx, id)
	if err != nil {
		return err
	}
	p, err := d.platform(ctx)
	if err != nil {
		return err
	}
	if p.filtered {
		if err := d.defineFilters(ctx); err != nil {
			return err
		}
	}
	c, err := card(n, hardware{vifModel: f.model()}, p)
	if err != nil {
		return err
	}
	_, live := f.live.nic(n.MAC)
	_, defined := f.defined.nic(n.MAC)
	text, err := xml.Marshal(&c)
	if err != nil {
		return err
	}
	if err := d.attach(ctx, id, f, string(text), f.flags(live, defined)); err != nil {
		return err
	}
	there := f.flags(!live, !defined) // where it was before
	if there == 0 {
		return nil
	}
	return tell(ctx, d.rpc, "change card", func(l *rpc.Libvirt) error {
		return l.DomainUpdateDeviceFlags(f.dom, string(text), there)
	})
}

// model gives the model of the guest's first card.
func (f fitting) model() string {
	for _, n := range f.defined.NICs {
		if n.Model.Type != "" {
			return n.Model.Type
		}
	}
	return vifModels[0]
}
