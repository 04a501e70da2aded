package operate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/failpoint"
	"github.com/kilonova/kilonova/virt"
)

// captureTimeout is for a driver that hangs: how long saving one disk may take.
const captureTimeout = 24 * time.Hour

// maxImageTries is how often a record is changed anew that others change, too.
const maxImageTries = 10

// errImageGone says that there is nothing to save the disk to any more.
var errImageGone = giveUp{cluster.Errorf(cluster.NotFound, "The image was deleted before it was complete.")}

// capture saves an instance's root disk to the image that its operation names. What an earlier attempt did is used only when the
// image is complete already.
func (w *work) capture(ctx context.Context, view *cluster.View, in *cluster.Instance) error {
	if err := failpoint.Hit(ctx, PointCaptureBegun); err != nil {
		return err
	}
	switch img, ok := view.Image(in.Op.Capture.Image); {
	case !ok:
		return errImageGone
	case img.Status != cluster.ImageSaving:
		return nil // it is complete: only that was not told
	}
	if w.stored == nil {
		data, err := w.store(ctx, in)
		if err != nil {
			return err
		}
		w.stored = data
	}
	nodes, err := w.Store.Replicate(ctx, w.stored.Root)
	if err != nil {
		return fmt.Errorf("copy the image to other nodes: %w", err)
	}
	w.progressed()
	w.stored.Nodes = nodes
	if err := failpoint.Hit(ctx, PointCaptureStored); err != nil {
		return err
	}
	if err := w.complete(ctx, w.stored); err != nil {
		return err
	}
	return failpoint.Hit(ctx, PointCaptureActive)
}

// store puts the disk into the image store of this node.
func (w *work) store(ctx context.Context, in *cluster.Instance) (*cluster.ImageData, error) {
	path := filepath.Join(w.Scratch, string(w.key.operation)+".qcow2")
	defer os.Remove(path)
	if err := w.save(ctx, in, path); err != nil {
		return nil, err
	}
	if err := failpoint.Hit(ctx, PointCaptureCopied); err != nil {
		return nil, err
	}
	w.progressed()
	w.note(ctx, "storing the image", nil)
	data, err := w.Store.Import(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("store the image: %w", err)
	}
	w.progressed()
	return data, nil
}

// save writes the disk to a file. It ends when the image is deleted meanwhile.
func (w *work) save(ctx context.Context, in *cluster.Instance, path string) error {
	if err := os.MkdirAll(w.Scratch, 0o700); err != nil {
		return fmt.Errorf("make room for the disk of %s: %w", in.ID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, captureTimeout)
	defer cancel()
	gone := false
	err := w.Driver.Capture(ctx, in.ID, virt.DiskRoot, path, true, func(percent int) {
		w.progressed()
		w.note(ctx, fmt.Sprintf("saving the disk: %d %%", percent), nil)
		view, _ := w.Cluster.Latest()
		if _, ok := view.Image(in.Op.Capture.Image); !ok && !gone {
			gone = true
			cancel()
		}
	})
	if gone {
		return errImageGone
	}
	return err
}

// complete makes the image's record say where its bytes are.
func (w *work) complete(ctx context.Context, data *cluster.ImageData) error {
	for try := 1; ; try++ {
		view, in, err := w.confirm(ctx)
		if err != nil {
			return err
		}
		old, ok := view.Image(in.Op.Capture.Image)
		if !ok {
			return errImageGone
		}
		if old.Status != cluster.ImageSaving {
			return nil // by an attempt whose outcome was not known
		}
		err = propose(ctx, w.Cluster, &cluster.PutImage{Image: *captured(view, in, old, data)})
		if err == nil || cluster.CodeOf(err) != cluster.Stale || try == maxImageTries {
			return err
		}
	}
}

// captured is the record of an image that a disk was saved to.
func captured(view *cluster.View, in *cluster.Instance, old *cluster.Image, data *cluster.ImageData) *cluster.Image {
	img := old.Clone()
	d := *data
	d.Nodes = slices.DeleteFunc(slices.Clone(data.Nodes), func(id cluster.NodeID) bool { _, ok := view.Node(id); return !ok })
	img.Data = &d
	img.Status = cluster.ImageActive
	img.Format.Disk, img.Format.Container = "qcow2", "bare"
	const gib = 1 << 30
	img.Format.MinDiskGiB = max(img.Format.MinDiskGiB, in.Spec.Flavor.DiskGiB, (d.VirtualSize+gib-1)/gib)
	return img
}
