package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// AttachDisk adds a volume.
func (d *Driver) AttachDisk(ctx context.Context, id cluster.InstanceID, disk virt.Disk) error {
	return d.change(ctx, OpAttachDisk, id, func(r *record, now time.Time) (bool, error) {
		if err := checkVolume(disk); err != nil {
			return false, err
		}
		if r.Storage.volume(disk.ID) >= 0 {
			return false, nil
		}
		r.Storage.Volumes = append(slices.Clone(r.Storage.Volumes), volumeOf(disk))
		r.say(now, "sim: disk %s attached", disk.ID)
		return true, nil
	})
}

// DetachDisk takes a volume away. A guest that was told to hold it (Fault.Hold) keeps it.
func (d *Driver) DetachDisk(ctx context.Context, id cluster.InstanceID, disk virt.DiskID) error {
	return d.letGo(ctx, OpDetachDisk, id, func(r *record, now time.Time) (bool, error) {
		if made(disk) {
			return false, fmt.Errorf("disk %s is the guest's own", disk)
		}
		i := r.Storage.volume(disk)
		if i < 0 {
			return false, nil
		}
		r.Storage.Volumes = slices.Delete(slices.Clone(r.Storage.Volumes), i, i+1)
		r.say(now, "sim: disk %s detached", disk)
		return true, nil
	})
}

// AttachNIC adds a card.
func (d *Driver) AttachNIC(ctx context.Context, id cluster.InstanceID, n virt.NIC) error {
	return d.change(ctx, OpAttachNIC, id, func(r *record, now time.Time) (bool, error) {
		if n.MAC == "" {
			return false, errors.New("the card has no MAC address")
		}
		if slices.ContainsFunc(r.NICs, func(o nic) bool { return o.MAC == n.MAC }) {
			return false, nil
		}
		if b := d.missingBridge([]nic{card(n)}); b != "" {
			return false, fmt.Errorf("this host has no bridge %q", b)
		}
		r.NICs = append(slices.Clone(r.NICs), card(n))
		r.say(now, "sim: card %s attached", n.MAC)
		return true, nil
	})
}

// DetachNIC takes the card with that MAC away.
func (d *Driver) DetachNIC(ctx context.Context, id cluster.InstanceID, mac string) error {
	return d.letGo(ctx, OpDetachNIC, id, func(r *record, now time.Time) (bool, error) {
		i := slices.IndexFunc(r.NICs, func(n nic) bool { return n.MAC == mac })
		if i < 0 {
			return false, nil
		}
		r.NICs = slices.Delete(slices.Clone(r.NICs), i, i+1)
		r.say(now, "sim: card %s detached", mac)
		return true, nil
	})
}

// letGo is change for what a running guest has to agree to.
func (d *Driver) letGo(ctx context.Context, op Op, id cluster.InstanceID, f func(*record, time.Time) (bool, error)) error {
	held := false
	err := d.change(ctx, op, id, func(r *record, now time.Time) (bool, error) {
		changed, err := f(r, now)
		if fault := d.faults[op]; err == nil && changed && fault != nil && fault.Hold && r.up() {
			held = true
			return false, nil
		}
		return changed, err
	})
	if err != nil || !held {
		return err
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%s %s: the guest does not let go: %w", op, id, virt.ErrUnsupported)
	case <-d.done:
		return fmt.Errorf("%s %s: the driver is closed: %w", op, id, virt.ErrUnavailable)
	}
}

// ResizeDisk grows a disk. The file of a raw volume grows with it, if it is there.
func (d *Driver) ResizeDisk(ctx context.Context, id cluster.InstanceID, disk virt.DiskID, bytes int64) error {
	return d.change(ctx, OpResizeDisk, id, func(r *record, now time.Time) (bool, error) {
		if i := r.Storage.volume(disk); i >= 0 {
			if err := growVolume(r.Storage.Volumes[i], bytes); err != nil {
				return false, fmt.Errorf("disk %s: %w", disk, err)
			}
			r.say(now, "sim: disk %s has %d bytes", disk, bytes)
			return r.up(), nil
		}
		f := r.Storage.own(disk)
		switch {
		case f == nil:
			return false, fmt.Errorf("disk %s: %w", disk, virt.ErrNotFound)
		case bytes < f.Bytes:
			return false, fmt.Errorf("disk %s: %d bytes are less than its %d, and shrinking loses data", disk, bytes, f.Bytes)
		case bytes == f.Bytes:
			return false, nil
		}
		f.Bytes = bytes
		r.say(now, "sim: disk %s has %d bytes", disk, bytes)
		return true, nil
	})
}

func growVolume(v volume, bytes int64) error {
	info, err := os.Stat(v.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || v.Format != formatRaw:
		return nil
	case err != nil:
		return err
	case bytes < info.Size():
		return fmt.Errorf("%d bytes are less than its %d, and shrinking loses data", bytes, info.Size())
	}
	return os.Truncate(v.Path, bytes)
}
