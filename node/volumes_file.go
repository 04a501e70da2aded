package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/image"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/disk"
	"github.com/kilonova/kilonova/virt/volume"
)

const bytesPerGiB = 1 << 30

// tenure is by what right this node works on a volume. Whatever it does to a file that other nodes reach, it asks the cluster once more
// just before.
func (v *volumes) tenure(vol *cluster.Volume) volume.Tenure {
	return v.tenureWhile(vol.Shared(), vol.Generation, func(now *cluster.View) bool {
		vol, ok := now.Volume(vol.ID)
		return ok && vol.File.Node == v.self
	})
}

// tenureOfSnapshot is tenure for a snapshot.
func (v *volumes) tenureOfSnapshot(n *cluster.VolumeSnapshot) volume.Tenure {
	return v.tenureWhile(n.Shared(), n.Generation, func(now *cluster.View) bool {
		n, ok := now.Snapshot(n.ID)
		return ok && n.File.Node == v.self
	})
}

func (v *volumes) tenureWhile(shared bool, generation uint64, mine func(*cluster.View) bool) volume.Tenure {
	if !shared {
		return volume.Tenure{}
	}
	return volume.Tenure{Name: string(v.self) + "-" + strconv.FormatUint(generation, 10), Still: func(ctx context.Context) error {
		now, err := v.cluster.Read(ctx)
		if err == nil && !mine(now) {
			err = errNotAsked
		}
		return err
	}}
}

// mine is fileOf for what this node does to the volume.
func (v *volumes) mine(vol *cluster.Volume) volume.Volume {
	f := fileOf(vol)
	f.By = v.tenure(vol)
	return f
}

// fileOf names a volume to the store.
func fileOf(v *cluster.Volume) volume.Volume {
	return volume.Volume{ID: string(v.ID), Shared: v.Shared(), Secret: v.Secret}
}

// make makes a volume's file of what the volume begins as.
func (v *volumes) make(ctx context.Context, view *cluster.View, vol *cluster.Volume) error {
	from, done, err := v.origin(ctx, view, vol)
	if err != nil {
		return err
	}
	defer done()
	return v.store.Make(ctx, v.mine(vol), from, vol.SizeGiB*bytesPerGiB)
}

// origin brings the bytes that a volume begins as to a file on this node. done lets go of it.
func (v *volumes) origin(ctx context.Context, view *cluster.View, vol *cluster.Volume) (from volume.Origin, done func(), err error) {
	done = func() {}
	s := vol.Source
	switch {
	case s == nil || s.Empty:
		return from, done, nil
	case !s.Root.IsZero():
		from, err = v.baseImage(ctx, s)
		return from, done, err
	case s.Snapshot != "":
		n, ok := view.Snapshot(s.Snapshot)
		if !ok || n.File.Format == "" {
			return from, done, fmt.Errorf("snapshot %s is gone", s.Snapshot)
		}
		from = volume.Origin{Format: n.File.Format, Encrypted: n.Secret != nil}
		from.Path, err = v.store.SnapshotPath(volume.Snapshot{ID: string(n.ID), Shared: n.Shared(), Format: n.File.Format})
		return from, done, err
	}
	original, ok := view.Volume(s.Volume)
	if !ok || original.File.SizeGiB == 0 {
		return from, done, fmt.Errorf("volume %s is gone", s.Volume)
	}
	return v.copyOf(ctx, original, string(vol.ID))
}

// baseImage brings an image here.
func (v *volumes) baseImage(ctx context.Context, s *cluster.VolumeSource) (volume.Origin, error) {
	img := cluster.BootImage{Part: cluster.BootDisk, Image: s.Image, Root: s.Root, Format: s.Format}
	path, format, ok := v.images.Base(img)
	if !ok {
		if err := v.images.Prepare(ctx, img, func(string) {}); err != nil {
			return volume.Origin{}, fmt.Errorf("fetch image %s: %w", s.Image, err)
		}
		if path, format, ok = v.images.Base(img); !ok {
			return volume.Origin{}, cluster.Errorf(cluster.Unavailable, "image %s is not on this node yet", s.Image)
		}
	}
	return volume.Origin{Path: path, Format: format}, nil
}

// copyOf gives a file with what a volume holds at one moment: its own file, when no guest has it, else a capture, which done removes.
func (v *volumes) copyOf(ctx context.Context, vol *cluster.Volume, purpose string) (from volume.Origin, done func(), err error) {
	path, err := v.store.Path(fileOf(vol))
	if err != nil {
		return from, func() {}, err
	}
	temp := filepath.Join(filepath.Dir(path), "copy-"+purpose+"-"+string(v.self))
	captured, err := v.capture(ctx, vol, temp)
	if captured || err != nil {
		return volume.Origin{Path: temp, Format: string(disk.QCOW2)}, func() { v.discard(temp) }, err
	}
	return volume.Origin{Path: path, Format: string(disk.Raw), Encrypted: vol.Secret != nil}, func() {}, nil
}

func (v *volumes) discard(path string) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		v.log.Warn("remove a copy that is not needed any more", "path", path, "err", err)
	}
}

// capture has the hypervisor copy a volume that a guest has. It is false when no guest here has it: then the file may be read, and QEMU's
// own locks see to it that none gets it meanwhile.
func (v *volumes) capture(ctx context.Context, vol *cluster.Volume, path string) (bool, error) {
	for _, a := range vol.Attachments {
		err := v.driver.Capture(ctx, a.Instance, virt.DiskID(vol.ID), path, true, func(int) {})
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, virt.ErrNotFound), errors.Is(err, virt.ErrNotRunning):
		default:
			return false, fmt.Errorf("capture volume %s of %s: %w", vol.ID, a.Instance, err)
		}
	}
	return false, nil
}

// grow makes a volume larger, and tells its guest.
func (v *volumes) grow(ctx context.Context, view *cluster.View, vol *cluster.Volume) error {
	bytes := vol.SizeGiB * bytesPerGiB
	for _, a := range vol.Attachments {
		if in, ok := view.Instance(a.Instance); !ok || in.Node != v.self {
			continue
		}
		err := v.driver.ResizeDisk(ctx, a.Instance, virt.DiskID(vol.ID), bytes)
		if err != nil && !errors.Is(err, virt.ErrNotFound) && !errors.Is(err, virt.ErrNotRunning) {
			return fmt.Errorf("grow volume %s of %s: %w", vol.ID, a.Instance, err)
		}
	}
	return v.store.Grow(ctx, v.mine(vol), bytes)
}

// snapshot copies a volume, and gives the format of the copy.
func (v *volumes) snapshot(ctx context.Context, view *cluster.View, n *cluster.VolumeSnapshot) (format string, err error) {
	vol, ok := view.Volume(n.Volume)
	if !ok {
		return "", fmt.Errorf("volume %s is gone", n.Volume)
	}
	file := volume.Snapshot{ID: string(n.ID), Shared: n.Shared(), Format: string(disk.QCOW2), By: v.tenureOfSnapshot(n)}
	if path, err := v.store.SnapshotPath(file); err == nil {
		if _, err := os.Stat(path); err == nil {
			return file.Format, nil // made, and the report was lost
		}
	}
	captured := false
	err = v.store.Capture(ctx, file, func(path string) error {
		captured, err = v.capture(ctx, vol, path)
		if err == nil && !captured {
			return errNotCaptured
		}
		return err
	})
	if err == nil || !errors.Is(err, errNotCaptured) {
		return file.Format, err
	}
	return string(disk.Raw), v.store.Snapshot(ctx, fileOf(vol), file)
}

var errNotCaptured = errors.New("no guest has the volume")

// publisher makes an image's record hold what is in a file.
type publisher struct {
	store  image.Store
	copies image.Replicator
}

// upload makes an image of a volume.
func (v *volumes) upload(ctx context.Context, vol *cluster.Volume) error {
	from, done, err := v.copyOf(ctx, vol, string(vol.ID)+"-upload")
	if err != nil {
		return err
	}
	defer done()
	out := filepath.Join(filepath.Dir(from.Path), "export-"+string(vol.Upload.Image)+"-"+string(v.self))
	v.discard(out) // of an earlier attempt
	defer v.discard(out)
	if err := disk.Convert(ctx, from.Path, disk.Format(from.Format), out, disk.Format(vol.Upload.Format)); err != nil {
		return err
	}
	data, err := v.publish.takeIn(ctx, out)
	if err != nil {
		return err
	}
	data.VirtualSize = vol.SizeGiB * bytesPerGiB
	return v.activate(ctx, vol.Upload.Image, data)
}

// takeIn stores a file as a blob, on as many nodes as an image needs.
func (p publisher) takeIn(ctx context.Context, path string) (*cluster.ImageData, error) {
	data, err := importFile(ctx, p.store, path, asItIs)
	if err != nil {
		return nil, err
	}
	data.Nodes, err = p.copies.Replicate(ctx, data.Root)
	return data, err
}

// asItIs takes what we made ourselves without a look.
func asItIs(io.ReaderAt, int64) error { return nil }

// activate gives an image that waits for its bytes what was stored.
func (v *volumes) activate(ctx context.Context, id cluster.ImageID, data *cluster.ImageData) error {
	for {
		view, err := v.cluster.Read(ctx)
		if err != nil {
			return err
		}
		old, ok := view.Image(id)
		if !ok || old.Status != cluster.ImageSaving && old.Status != cluster.ImageQueued {
			return nil // it was deleted, or this is a repetition
		}
		img := old.Clone()
		d := *data
		d.Nodes = slices.DeleteFunc(slices.Clone(data.Nodes), func(n cluster.NodeID) bool { _, ok := view.Node(n); return !ok })
		img.Data, img.Status = &d, cluster.ImageActive
		_, err = v.cluster.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: &cluster.PutImage{Image: *img}})
		if cluster.CodeOf(err) != cluster.Stale {
			return err
		}
	}
}
