package libvirt

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	rpc "github.com/digitalocean/go-libvirt"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/disk"
)

// realDisks makes disks that QEMU reads.
type realDisks struct{}

// CreateOverlay passes on to the disk package.
func (realDisks) CreateOverlay(ctx context.Context, path, base, baseFormat string, sizeBytes int64) error {
	return disk.CreateOverlay(ctx, path, base, disk.Format(baseFormat), sizeBytes)
}

// CreateEmpty passes on to the disk package.
func (realDisks) CreateEmpty(ctx context.Context, path string, sizeBytes int64) error {
	return disk.CreateEmpty(ctx, path, sizeBytes)
}

// CreateFormatted passes on to the disk package.
func (realDisks) CreateFormatted(ctx context.Context, path, use string, sizeBytes int64) error {
	if use == useSwap {
		return disk.CreateSwap(path, sizeBytes)
	}
	return disk.CreateExt4(ctx, path, sizeBytes, filepath.Base(path))
}

// What a disk that Build makes is formatted for.
const (
	useSwap      = "swap"
	useEphemeral = "ephemeral"
)

// makeDisks makes what is missing of the disks that go with the guest. The rescue disk is made afresh each time, and
// goes when the guest is built without one.
func (d *Driver) makeDisks(ctx context.Context, g virt.Guest, at place) error {
	if hasRoot(g) {
		if err := d.makeOverlay(ctx, at.disk(g.DiskEpoch, virt.DiskRoot), g.Root); err != nil {
			return fmt.Errorf("make root disk: %w", err)
		}
	}
	for _, m := range g.Disks {
		if m.Make.SizeMiB == 0 {
			continue
		}
		path := at.disk(g.DiskEpoch, m.ID)
		there, err := exists(path)
		if err == nil && !there {
			err = d.cfg.Disks.CreateFormatted(ctx, path, m.Make.Use, m.Make.SizeMiB*mib)
		}
		if err != nil {
			return fmt.Errorf("make %s disk: %w", m.ID, err)
		}
	}
	rescue := at.disk(g.DiskEpoch, virt.DiskRescue)
	if err := removeFile(rescue); err != nil || g.Rescue == nil {
		return err
	}
	if err := d.makeOverlay(ctx, rescue, *g.Rescue); err != nil {
		return fmt.Errorf("make rescue disk: %w", err)
	}
	return nil
}

func (d *Driver) makeOverlay(ctx context.Context, path string, r virt.RootDisk) error {
	there, err := exists(path)
	if err != nil || there {
		return err
	}
	if r.Base == "" {
		return d.cfg.Disks.CreateEmpty(ctx, path, r.SizeGiB*gib)
	}
	return d.cfg.Disks.CreateOverlay(ctx, path, r.Base, r.BaseFormat, r.SizeGiB*gib)
}

// hasRoot tells whether the guest has a root disk of its own.
func hasRoot(g virt.Guest) bool {
	for _, d := range g.Disks {
		if d.Boot {
			return false
		}
	}
	return !g.Root.None
}

// RemoveDisks deletes the disks that were made for the epochs up to through, but not those of keep, and with the last
// of them everything that the instance has below the data directory.
func (d *Driver) RemoveDisks(ctx context.Context, id cluster.InstanceID, through, keep uint64) error {
	if err := d.removeDisks(ctx, id, through, keep); err != nil {
		return fmt.Errorf("remove disks of %s: %w", id, err)
	}
	return nil
}

func (d *Driver) removeDisks(ctx context.Context, id cluster.InstanceID, through, keep uint64) error {
	at, err := d.store.at(id)
	if err != nil {
		return err
	}
	used, defined, err := d.usedFiles(ctx, id)
	if err != nil {
		return err
	}
	if _, stamp, err := d.findStamped(ctx, id); err == nil {
		if err := at.adopt(stamp.Epoch); err != nil {
			return err
		}
	}
	epochs, err := at.epochs()
	if err != nil {
		return err
	}
	left := 0
	var gone []string
	for _, e := range epochs {
		if e > through || keep != 0 && e == keep {
			left++
			continue
		}
		gone = append(gone, at.disks(e))
	}
	if left == 0 && (len(gone) > 0 || keep == 0) {
		if defined {
			return errors.New("its domain is still defined")
		}
		return d.store.remove(at.dir)
	}
	for _, dir := range gone {
		for path := range used {
			if filepath.Dir(path) == dir || path == at.legacy() {
				return fmt.Errorf("its domain still uses %s", path)
			}
		}
	}
	for _, dir := range gone {
		if err := errors.Join(removeFile(at.legacy()), d.store.remove(dir)); err != nil {
			return err
		}
	}
	return nil
}

// usedFiles lists the files of the disks that the instance's domain has, running or as it is defined.
func (d *Driver) usedFiles(ctx context.Context, id cluster.InstanceID) (files map[string]bool, defined bool, err error) {
	u, err := parseID(id)
	if err != nil {
		return nil, false, err
	}
	dom, err := ask(ctx, d.rpc, "look up domain", func(l *rpc.Libvirt) (rpc.Domain, error) {
		return l.DomainLookupByUUID(rpc.UUID(u))
	})
	if errors.Is(err, virt.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	files = map[string]bool{}
	for _, flags := range []rpc.DomainXMLFlags{0, rpc.DomainXMLInactive} {
		v, err := d.look(ctx, dom, flags)
		if err != nil {
			return nil, false, err
		}
		for _, disk := range v.Disks {
			files[disk.Source.File] = true
		}
	}
	return files, true, nil
}
