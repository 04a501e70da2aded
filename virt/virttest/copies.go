package virttest

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/image"
)

// marked builds a guest and writes a mark onto its root disk.
func (s *story) marked(epoch uint64) (id cluster.InstanceID, mark string) {
	s.Helper()
	if s.Mark == nil {
		s.Skip("this backend's disks hold nothing that can be looked at")
	}
	id = newID()
	g := s.guest(id)
	g.DiskEpoch = epoch
	s.must("build", s.Driver.Build(s.ctx, g))
	return id, s.Mark(s.T, id)
}

// capture captures the root disk and checks that it became an image that the image service would take.
func (s *story) capture(d virt.Driver, id cluster.InstanceID, path string, quiesce bool) {
	s.Helper()
	last := 0
	s.must("capture", d.Capture(s.ctx, id, virt.DiskRoot, path, quiesce, func(percent int) {
		if percent < last || percent > 100 {
			s.Errorf("progress went from %d to %d per cent", last, percent)
		}
		last = percent
	}))
	f, err := os.Open(path)
	s.must("open the image", err)
	defer f.Close()
	info, err := f.Stat()
	s.must("look at the image", err)
	found, err := image.Inspect(f, info.Size())
	s.must("inspect the image", err)
	s.must("check the image", image.Check(image.QCOW2, found))
}

// A snapshot of a server, off and running, with and without a quiet moment: a whole image of its own with what was on
// the disk. What stood at the path before is replaced, and the guest runs on.
func captured(s *story) {
	id, mark := s.marked(1)
	path := filepath.Join(s.TempDir(), "capture")
	s.must("leave a file behind", os.WriteFile(path, make([]byte, 1<<20), 0o600))
	s.capture(s.Driver, id, path, false)
	if !s.Marked(s.T, path, mark) {
		s.Error("the image of the guest that is off lacks what was written")
	}
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
	memory := s.memory(id)
	for _, quiesce := range []bool{false, true} {
		s.capture(s.Driver, id, path, quiesce)
		if !s.Marked(s.T, path, mark) {
			s.Errorf("the image of the running guest (quiet: %v) lacks what was written", quiesce)
		}
	}
	s.expect(id, virt.PowerRunning)
	s.sameMemory(id, memory)
	s.errorIs("capture of another disk", s.Driver.Capture(s.ctx, id, "no-such-disk", path, false, nil), virt.ErrNotFound)
	s.errorIs("capture of nobody's disk", s.Driver.Capture(s.ctx, newID(), virt.DiskRoot, path, false, nil), virt.ErrNotFound)
}

// The caller of a capture gave up. The guest goes on, and the next capture succeeds.
func captureGivenUp(s *story) {
	id, mark := s.marked(1)
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
	path := filepath.Join(s.TempDir(), "capture")
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if err := s.Driver.Capture(ctx, id, virt.DiskRoot, path, false, nil); err == nil {
		s.Error("it was captured after its deadline")
	}
	s.expect(id, virt.PowerRunning)
	s.capture(s.Driver, id, path, false)
	if !s.Marked(s.T, path, mark) {
		s.Error("the second image lacks what was written")
	}
}

// A server moves to another node while it is off. Its disk is there what it was here, though the first attempt was cut
// off in the middle, and it is as large as the new flavor says.
func exportImport(s *story) {
	if s.Peer == nil {
		s.Skip("this backend has no second host")
	}
	id, mark := s.marked(1)
	peer := s.Peer(s.T)
	g := s.guest(id)
	g.Stamp.Epoch, g.DiskEpoch = 2, 2
	for attempt := range 3 {
		disks, err := s.Driver.Export(s.ctx, id, 1)
		s.must("export", err)
		for _, d := range disks {
			checkExtents(s, d)
			if attempt == 0 {
				whole := d
				whole.File = cutOff{d.File}
				if err := peer.Import(s.ctx, id, 2, whole, g.Root, 0); err == nil {
					s.Error("a disk arrived that could not be read to its end")
				}
			} else {
				s.must("import", peer.Import(s.ctx, id, 2, d, g.Root, 4<<30))
			}
			s.must("close", d.Close())
		}
	}
	s.must("build there", peer.Build(s.ctx, g))
	path := filepath.Join(s.TempDir(), "there")
	s.capture(peer, id, path, false)
	if !s.Marked(s.T, path, mark) {
		s.Error("the disk lost what was written on its way")
	}
	s.must("start there", peer.Start(s.ctx, id))
	s.must("remove there", peer.Remove(s.ctx, id))
	s.must("remove disks there", peer.RemoveDisks(s.ctx, id, virt.AllEpochs, 0))
}

// errCut is what reading a disk ends with when the connection is cut.
var errCut = errors.New("the connection was cut")

// cutOff is a file that can be read in part.
type cutOff struct{ io.ReaderAt }

// ReadAt fails for every read but one of the first bytes.
func (c cutOff) ReadAt(p []byte, off int64) (int, error) {
	if off > 0 || len(p) == 0 {
		return 0, errCut
	}
	n, err := c.ReaderAt.ReadAt(p[:1], 0)
	return n, errors.Join(err, errCut)
}

// checkExtents fails the story when an exported disk is not described as the contract says.
func checkExtents(s *story, d virt.ExportedDisk) {
	s.Helper()
	var end int64
	for _, x := range d.Extents {
		if x.Offset < end || x.Length <= 0 || x.Offset+x.Length > d.Bytes {
			s.Errorf("disk %s of %d bytes: extents %v", d.ID, d.Bytes, d.Extents)
		}
		end = x.Offset + x.Length
	}
	if d.Format != "qcow2" && d.Format != "raw" {
		s.Errorf("disk %s is in format %q", d.ID, d.Format)
	}
}

// The disk of a running guest changes while it is read, so it is not given away.
func exportRefuses(s *story) {
	id, _ := s.marked(1)
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
	if disks, err := s.Driver.Export(s.ctx, id, 1); err == nil {
		s.Errorf("the disks of a running guest were exported: %d", len(disks))
	}
	if disks, err := s.Driver.Export(s.ctx, id, 9); err == nil && len(disks) > 0 {
		s.Errorf("%d disks were exported that were never made", len(disks))
	}
}
