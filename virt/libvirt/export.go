package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/disk"
)

// Export opens the disks of an instance that is off, for copying.
func (d *Driver) Export(ctx context.Context, id cluster.InstanceID, epoch uint64) ([]virt.ExportedDisk, error) {
	list, err := d.export(ctx, id, epoch)
	if err != nil {
		for _, e := range list {
			err = errors.Join(err, e.Close())
		}
		return nil, fmt.Errorf("export disks of %s: %w", id, err)
	}
	return list, nil
}

// export gives the disks that it opened even with an error.
func (d *Driver) export(ctx context.Context, id cluster.InstanceID, epoch uint64) ([]virt.ExportedDisk, error) {
	at, err := d.store.at(id)
	if err != nil {
		return nil, err
	}
	switch dom, stamp, err := d.findStamped(ctx, id); {
	case err == nil:
		on, err := d.active(ctx, dom)
		if err == nil && on {
			err = errors.New("it is running")
		}
		if err == nil {
			err = at.adopt(stamp.Epoch)
		}
		if err != nil {
			return nil, err
		}
	case !errors.Is(err, virt.ErrNotFound):
		return nil, err
	}
	entries, err := os.ReadDir(at.disks(epoch))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("epoch %d: %w", epoch, virt.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	var list []virt.ExportedDisk
	for _, e := range entries {
		// The rescue disk is made anew wherever it is needed; other names are not ours (a half-made file).
		if name := virt.DiskID(e.Name()); madePattern.MatchString(e.Name()) && name != virt.DiskRescue {
			one, err := exportDisk(ctx, at.disk(epoch, name), name)
			if err != nil {
				return list, err
			}
			list = append(list, one)
		}
	}
	return list, nil
}

func exportDisk(ctx context.Context, path string, id virt.DiskID) (virt.ExportedDisk, error) {
	out := virt.ExportedDisk{ID: id, Format: formatOf(id)}
	if out.Format == "qcow2" {
		info, err := disk.Stat(ctx, path, disk.QCOW2)
		if err != nil {
			return out, err
		}
		out.Overlay = info.Backing != ""
	}
	f, err := os.Open(path)
	if err != nil {
		return out, err
	}
	found, err := disk.Extents(f)
	if err == nil {
		out.Bytes, err = f.Seek(0, io.SeekEnd)
	}
	if err != nil {
		return out, errors.Join(err, f.Close())
	}
	for _, e := range found {
		out.Extents = append(out.Extents, virt.Extent(e))
	}
	out.File, out.Close = f, f.Close
	return out, nil
}

// formatOf gives the format in which Build makes a disk.
func formatOf(id virt.DiskID) string {
	if id == virt.DiskRoot || id == virt.DiskRescue {
		return "qcow2"
	}
	return "raw"
}

// Import makes a disk of an instance from what Export gave on another node. A disk that is there under that name and
// epoch and in use by a domain is not touched.
func (d *Driver) Import(ctx context.Context, id cluster.InstanceID, epoch uint64, e virt.ExportedDisk, base virt.RootDisk, minBytes int64) error {
	if err := d.importDisk(ctx, id, epoch, e, importOnto{base, minBytes}); err != nil {
		return fmt.Errorf("import disk %s of %s: %w", e.ID, id, err)
	}
	return nil
}

// importOnto is what an imported disk gets here.
type importOnto struct {
	base     virt.RootDisk
	minBytes int64
}

func (d *Driver) importDisk(ctx context.Context, id cluster.InstanceID, epoch uint64, e virt.ExportedDisk, onto importOnto) error {
	at, err := d.store.at(id)
	if err != nil {
		return err
	}
	switch {
	case !madePattern.MatchString(string(e.ID)):
		return errors.New("this is no ID of a disk that is made")
	case e.Format != formatOf(e.ID):
		return fmt.Errorf("it is in format %q: want %q", e.Format, formatOf(e.ID))
	case e.Overlay && (!plainPath(onto.base.Base) || e.Format != "qcow2"):
		return errors.New("an overlay needs a base image, and to be qcow2")
	}
	path := at.disk(epoch, e.ID)
	used, _, err := d.usedFiles(ctx, id)
	if err != nil {
		return err
	}
	if used[path] {
		return errors.New("a domain uses it")
	}
	if err := errors.Join(at.make(epoch), removeFile(path)); err != nil {
		return err
	}
	extents := make([]disk.Extent, len(e.Extents))
	for i, x := range e.Extents {
		extents[i] = disk.Extent(x)
	}
	return disk.WriteSparse(ctx, path, e.Bytes, e.File, extents, func(temp string) error {
		return settle(ctx, temp, e, onto)
	})
}

// settle makes a disk that came from elsewhere one of this node: on its base image, and large enough. What it says of
// itself is not believed: an image that names a file of the node's own would read it.
func settle(ctx context.Context, path string, e virt.ExportedDisk, onto importOnto) error {
	format := disk.Format(e.Format)
	if format == disk.QCOW2 {
		if err := disk.CheckFeatures(path); err != nil {
			return err
		}
		info, err := disk.Stat(ctx, path, format)
		if err != nil {
			return err
		}
		if (info.Backing != "") != e.Overlay || info.Corrupt || info.Encrypted {
			return errors.New("it is not what it was said to be")
		}
	}
	if e.Overlay {
		if err := disk.Rebase(ctx, path, onto.base.Base, disk.Format(onto.base.BaseFormat)); err != nil {
			return err
		}
	}
	info, err := disk.Stat(ctx, path, format)
	if err != nil || info.VirtualSize >= onto.minBytes {
		return err
	}
	return disk.Resize(ctx, path, format, onto.minBytes)
}
