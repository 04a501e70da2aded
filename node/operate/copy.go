package operate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/failpoint"
	"github.com/kilonova/kilonova/virt"
)

// importTimeout is for a driver that hangs: how long one disk of any size may take. A source that hangs is noticed much sooner.
const importTimeout = 24 * time.Hour

// maxDisks is how many disks of its own an instance can have.
const maxDisks = 64

// copy makes the disks of an instance here, from those where it comes from. They are made anew however far an earlier attempt came.
func (w *work) copy(ctx context.Context, in *cluster.Instance) error {
	if err := failpoint.Hit(ctx, PointCopyConfirmed); err != nil {
		return err
	}
	base, err := w.base(ctx, in)
	if err != nil {
		return err
	}
	if !ownDisks(in) {
		return failpoint.Hit(ctx, PointCopyDone)
	}
	disks, closeAll, err := w.disksOf(ctx, in)
	if err != nil {
		return err
	}
	defer closeAll()
	if err := failpoint.Hit(ctx, PointCopyListed); err != nil {
		return err
	}
	for _, d := range disks {
		bounded, cancel := context.WithTimeout(ctx, importTimeout)
		err := w.Driver.Import(bounded, in.ID, in.Op.Move.Epoch, d, base, leastBytes(d.ID, &in.Op.Move.Flavor))
		cancel()
		if err != nil {
			return err
		}
		w.progressed()
		w.log.Info("copied a disk", "disk", d.ID, "bytes", dataBytes(d))
		if err := failpoint.Hit(ctx, PointCopyImported); err != nil {
			return err
		}
	}
	return failpoint.Hit(ctx, PointCopyDone)
}

// ownDisks tells whether an instance has disks besides its volumes.
func ownDisks(in *cluster.Instance) bool {
	return !in.Spec.Boot.Volume || in.Spec.Flavor.Ephemeral > 0 || in.Spec.Flavor.SwapMiB > 0
}

// base brings the images here that the instance needs, and gives the one that its root disk lies on.
func (w *work) base(ctx context.Context, in *cluster.Instance) (virt.RootDisk, error) {
	var base virt.RootDisk
	for i, img := range in.Needs() {
		path, format, ok := w.Images.Base(img)
		if !ok {
			err := w.Images.Prepare(ctx, img, func(note string) {
				w.progressed()
				w.note(ctx, note, nil)
			})
			if err != nil {
				return base, fmt.Errorf("fetch image %s: %w", img.Image, err)
			}
			w.progressed()
			path, format, ok = w.Images.Base(img)
		}
		if !ok {
			return base, cluster.Errorf(cluster.Unavailable, "image %s is not on this node yet", img.Image)
		}
		if img.Part == cluster.BootDisk && i < len(in.Images) { // the others are what it is rescued from
			base.Base, base.BaseFormat = path, format
		}
	}
	return base, nil
}

// disksOf opens the disks that are to be copied, here or at the node that the instance comes from.
func (w *work) disksOf(ctx context.Context, in *cluster.Instance) (disks []virt.ExportedDisk, closeAll func(), err error) {
	m := in.Op.Move
	var all []virt.ExportedDisk
	if m.From == w.Node {
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		all, err = w.Driver.Export(bounded, in.ID, m.WasDisk)
	} else {
		all, err = w.remoteDisks(ctx, in)
	}
	closeAll = func() {
		for _, d := range all {
			if err := d.Close(); err != nil {
				w.log.Warn("close a disk that was copied", "disk", d.ID, "err", err)
			}
		}
	}
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	for _, d := range all {
		if d.ID == virt.DiskSwap && m.Was.SwapMiB != m.Flavor.SwapMiB {
			continue // what it holds is of no use to a guest that was off, and its size is another
		}
		disks = append(disks, d)
	}
	return disks, closeAll, nil
}

// remoteDisks lists the disks of the other node. Their data comes when it is read.
func (w *work) remoteDisks(ctx context.Context, in *cluster.Instance) ([]virt.ExportedDisk, error) {
	from := in.Op.Move.From
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	move := peer.Move{Instance: in.ID, Operation: in.Op.ID}
	list, err := w.Sources.Disks(bounded, from, move)
	if err != nil {
		return nil, unreached(err)
	}
	if len(list) > maxDisks {
		return nil, giveUp{fmt.Errorf("node %s says that the instance has %d disks: more than %d are not believed", from, len(list), maxDisks)}
	}
	w.progressed()
	tally := &tally{w: w}
	var out []virt.ExportedDisk
	for _, d := range list {
		e := virt.ExportedDisk{ID: virt.DiskID(d.ID), Format: d.Format, Overlay: d.Overlay, Bytes: d.Bytes}
		for _, x := range d.Extents {
			if x.Length <= 0 || x.Offset < 0 || x.Offset > d.Bytes-x.Length {
				return nil, giveUp{fmt.Errorf("node %s says that disk %s has %d bytes at %d: it has %d altogether", from, d.ID, x.Length, x.Offset, d.Bytes)}
			}
			e.Extents = append(e.Extents, virt.Extent(x))
		}
		fetch := func(ctx context.Context, parts []peer.Extent, into []byte) error {
			err := w.fetchBlock(ctx, from, move, d.ID, parts, into)
			if err == nil {
				tally.add(ctx, int64(len(into)))
			}
			return err
		}
		r := newRemoteFile(ctx, e.Bytes, d.Extents, fetch)
		e.File, e.Close = r, r.Close
		tally.total += dataBytes(e)
		out = append(out, e)
	}
	return out, nil
}

// How long a block of a disk may be on its way.
const blockTimeout = time.Minute

// fetchBlock asks for a block until it comes, or until nothing at all came for too long.
func (w *work) fetchBlock(ctx context.Context, from cluster.NodeID, m peer.Move, disk string, parts []peer.Extent, into []byte) error {
	for pause := retryAfter; ; pause = min(2*pause, retryAtMost) {
		bounded, cancel := context.WithTimeout(ctx, blockTimeout)
		err := unreached(w.Sources.Block(bounded, from, m, disk, parts, into))
		cancel()
		if err == nil || ctx.Err() != nil || !passing(err) || w.stuck() {
			return err
		}
		w.log.Info("ask for a part of a disk again", "disk", disk, "again_in", pause, "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// errUnreached is what went wrong between two nodes, and says nothing about what was asked.
var errUnreached = errors.New("the other node cannot be reached")

// unreached marks an error of a call of a peer that is no answer of the peer's. nil stays nil.
func unreached(err error) error {
	var refusal *cluster.Error
	if err == nil || errors.As(err, &refusal) {
		return err
	}
	return fmt.Errorf("%w: %w", errUnreached, err)
}

// leastBytes is how large a disk has to be for a flavor; 0: as it is.
func leastBytes(id virt.DiskID, f *cluster.Flavor) int64 {
	switch {
	case id == virt.DiskRoot:
		return f.DiskGiB << 30
	case strings.HasPrefix(string(id), string(virt.DiskEphemeral)):
		return f.Ephemeral << 30
	}
	return 0
}

func dataBytes(d virt.ExportedDisk) (n int64) {
	for _, x := range d.Extents {
		n += x.Length
	}
	return n
}
