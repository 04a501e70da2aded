package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// pageBytes is the unit in which a disk's file is searched for data.
const pageBytes = 4 << 10

// maxImport bounds what is read of a disk, in bytes: no simulated disk holds as much.
const maxImport = 16 << 20

// Capture writes the disk to a qcow2 image of its own that every tool can read. A file that is not finished stands at
// path meanwhile, as with QEMU.
func (d *Driver) Capture(ctx context.Context, id cluster.InstanceID, disk virt.DiskID, path string, quiesce bool, progress func(int)) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("capture %s: %q is not an absolute path", id, path)
	}
	f, err := locked(d, OpCapture, func() (file, error) {
		r := d.records[id]
		f := r.Storage.own(disk)
		if f == nil {
			return file{}, fmt.Errorf("capture disk %s of %s: %w", disk, id, virt.ErrNotFound)
		}
		if err := d.endMirror(id, &r); err != nil {
			return file{}, err
		}
		if quiesce && r.Machine.Agent && r.Power == virt.PowerRunning {
			r.say(d.cfg.Now(), "sim: file systems frozen and thawed")
			return *f, d.put(id, r)
		}
		return *f, nil
	})
	if err != nil {
		return err
	}
	lose, err := d.labour(ctx, OpCapture, func(percent int) error {
		if percent == 0 {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
		}
		if progress != nil {
			progress(percent)
		}
		return nil
	})
	if err == nil {
		err = writeWhole(path, encodeQCOW2(f.Notes, f.Bytes, ""))
	}
	return answer(OpCapture, id, lose, err)
}

// writeWhole puts a file at path that is there after a power cut.
func writeWhole(path string, content []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// Export opens the disks of an instance that is off. A rescue disk is not among them: Build makes it anew.
func (d *Driver) Export(ctx context.Context, id cluster.InstanceID, epoch uint64) ([]virt.ExportedDisk, error) {
	return act(ctx, d, OpExport, func() ([]virt.ExportedDisk, error) {
		r := d.records[id]
		if r.Defined && r.up() && r.Storage.Epoch == epoch {
			return nil, fmt.Errorf("export %s: it is %s, not off", id, powerName(r.Power))
		}
		var out []virt.ExportedDisk
		for _, f := range r.Storage.Files {
			if f.Epoch == epoch && f.ID != virt.DiskRescue {
				out = append(out, f.export())
			}
		}
		if len(out) == 0 {
			return nil, fmt.Errorf("export %s: no disk was made for epoch %d: %w", id, epoch, virt.ErrNotFound)
		}
		return out, nil
	})
}

func (f *file) export() virt.ExportedDisk {
	e := virt.ExportedDisk{ID: f.ID, Format: f.Format, Overlay: f.Overlay, Close: func() error { return nil }}
	content := f.Notes.bytes()
	e.Bytes = max(f.Bytes, int64(len(content)))
	if f.Format == formatQCOW2 {
		content = encodeQCOW2(f.Notes, f.Bytes, f.Base[:min(len(f.Base), maxBackingName)])
		e.Bytes = int64(len(content))
	}
	zeros := make([]byte, pageBytes)
	for off := 0; off < len(content); off += pageBytes {
		page := content[off:min(off+pageBytes, len(content))]
		if bytes.Equal(page, zeros[:len(page)]) {
			continue
		}
		if last := len(e.Extents) - 1; last >= 0 && e.Extents[last].Offset+e.Extents[last].Length == int64(off) {
			e.Extents[last].Length += int64(len(page))
		} else {
			e.Extents = append(e.Extents, virt.Extent{Offset: int64(off), Length: int64(len(page))})
		}
	}
	e.File = sparse{from: bytes.NewReader(content), extents: e.Extents, size: e.Bytes}
	return e
}

// Import makes a disk from what Export gave.
func (d *Driver) Import(ctx context.Context, id cluster.InstanceID, epoch uint64, e virt.ExportedDisk, base virt.RootDisk, minBytes int64) error {
	f, err := d.imported(ctx, epoch, e, base)
	if err != nil {
		return fmt.Errorf("import disk %s of %s: %w", e.ID, id, err)
	}
	f.Bytes = max(f.Bytes, minBytes)
	lose, err := d.labour(ctx, OpImport, func(int) error { return nil })
	if err == nil {
		err = d.keepImported(id, f)
	}
	return answer(OpImport, id, lose, err)
}

func (d *Driver) keepImported(id cluster.InstanceID, f file) error {
	_, err := locked(d, OpImport, func() (struct{}, error) {
		r := d.records[id]
		if r.Defined && r.Storage.Epoch == f.Epoch {
			return struct{}{}, fmt.Errorf("its domain uses the disks of epoch %d", f.Epoch)
		}
		r.Format = recordFormat
		r.Storage.put(f)
		return struct{}{}, d.put(id, r)
	})
	return err
}

// imported reads a disk that comes from elsewhere.
func (d *Driver) imported(ctx context.Context, epoch uint64, e virt.ExportedDisk, base virt.RootDisk) (file, error) {
	f := file{Epoch: epoch, ID: e.ID, Format: e.Format, Overlay: e.Overlay}
	switch {
	case !made(e.ID):
		return f, errors.New("it is none of those that Build makes")
	case e.Format != formatRaw && e.Format != formatQCOW2:
		return f, fmt.Errorf("its format %q is not known", e.Format)
	case e.Overlay && base.Base == "":
		return f, errors.New("it lies on a base image, and none was named")
	}
	if e.Overlay {
		f.Base = base.Base
	}
	content, err := fetch(ctx, e)
	if err != nil {
		return f, err
	}
	if f.Notes, f.Bytes, err = decodeDisk(content, e.Format, e.Bytes); err != nil {
		return f, err
	}
	if e.Overlay && f.Notes == (notes{}) { // nothing was written to it, so it shows its base
		f.Notes, _, err = readBase(base.Base, base.BaseFormat)
	}
	return f, err
}

// fetch reads the extents of a disk once, as one that copies it would, and nothing else of it.
func fetch(ctx context.Context, e virt.ExportedDisk) (sparse, error) {
	var got bytes.Buffer
	var end int64
	kept := sparse{size: e.Bytes}
	for _, x := range e.Extents {
		switch {
		case x.Offset < end || x.Length < 0 || x.Offset > e.Bytes-x.Length:
			return sparse{}, fmt.Errorf("%d bytes at %d are no part of it, or not the next one", x.Length, x.Offset)
		case int64(got.Len())+x.Length > maxImport:
			return sparse{}, fmt.Errorf("it holds more than the %d bytes of any simulated disk", maxImport)
		case ctx.Err() != nil:
			return sparse{}, fmt.Errorf("%w: %w", virt.ErrUnavailable, ctx.Err())
		}
		end = x.Offset + x.Length
		if n, err := io.Copy(&got, io.NewSectionReader(e.File, x.Offset, x.Length)); err != nil || n < x.Length {
			return sparse{}, fmt.Errorf("read %d bytes at %d, got %d: %w", x.Length, x.Offset, n, errors.Join(err, io.ErrUnexpectedEOF))
		}
		kept.extents = append(kept.extents, x)
	}
	kept.from, kept.packed = bytes.NewReader(got.Bytes()), true
	return kept, nil
}

// sparse is a file of which only the extents hold data.
type sparse struct {
	from    io.ReaderAt
	packed  bool // from holds the extents one after the other; else each at its own place
	extents []virt.Extent
	size    int64
}

// ReadAt reads zeros where there is no extent.
func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read at a negative offset")
	}
	if off >= s.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > s.size-off
	if short {
		p = p[:s.size-off]
	}
	clear(p)
	var before int64
	for _, x := range s.extents {
		from, to := max(x.Offset, off), min(x.Offset+x.Length, off+int64(len(p)))
		if from < to {
			at := from
			if s.packed {
				at = before + from - x.Offset
			}
			if _, err := s.from.ReadAt(p[from-off:to-off], at); err != nil && !errors.Is(err, io.EOF) {
				return 0, err
			}
		}
		before += x.Length
	}
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}
