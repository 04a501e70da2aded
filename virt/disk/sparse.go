package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Extent is a range of a file that holds data, in bytes.
type Extent struct{ Offset, Length int64 }

// maxExtents bounds the list of Extents: of a file that is torn into more, neighbours are taken together, and the
// holes between them count as data.
const maxExtents = 1 << 16

// Extents lists the parts of an open file that may hold data, ascending; the rest reads as zeros. The position in
// the file moves.
func Extents(f *os.File) ([]Extent, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	list := []Extent{}
	for at := int64(0); at < info.Size(); {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("find data in %s: %w", f.Name(), err)
		}
		to, err := unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
		if err != nil {
			return nil, fmt.Errorf("find holes in %s: %w", f.Name(), err)
		}
		list = append(list, Extent{from, to - from})
		if len(list) == maxExtents {
			list = pairs(list)
		}
		at = to
	}
	return list, nil
}

// pairs joins every two neighbours.
func pairs(l []Extent) []Extent {
	out := l[:0]
	for i := 0; i+1 < len(l); i += 2 {
		out = append(out, Extent{l[i].Offset, l[i+1].Offset + l[i+1].Length - l[i].Offset})
	}
	return out
}

// copyBlock is how much is copied between two looks at the context, in bytes.
const copyBlock = 1 << 20

// WriteSparse makes a file at path of so many bytes, with the extents of from in it, and holes elsewhere. In one
// step: path is complete or absent. If it exists, the error wraps fs.ErrExist and the file is left alone. then, if
// not nil, changes the file before it gets its name.
func WriteSparse(ctx context.Context, path string, bytes int64, from io.ReaderAt, extents []Extent, then func(temp string) error) error {
	err := errors.Join(checkPaths(path), checkExtents(bytes, extents))
	if err == nil {
		err = whole(path, func(temp string) error {
			if err := fillSparse(ctx, temp, bytes, from, extents); err != nil || then == nil {
				return err
			}
			return then(temp)
		})
	}
	if err != nil {
		return fmt.Errorf("copy disk to %s: %w", path, err)
	}
	return nil
}

// checkExtents refuses what is no ascending list within the file: it may come from another node.
func checkExtents(bytes int64, extents []Extent) error {
	if bytes <= 0 || bytes > MaxSize {
		return fmt.Errorf("a file of %d bytes: want 1 to %d", bytes, int64(MaxSize))
	}
	at := int64(0)
	for _, e := range extents {
		if e.Offset < at || e.Length <= 0 || e.Length > bytes || e.Offset > bytes-e.Length {
			return fmt.Errorf("extent of %d bytes at %d of %d is out of order or range", e.Length, e.Offset, bytes)
		}
		at = e.Offset + e.Length
	}
	return nil
}

func fillSparse(ctx context.Context, temp string, bytes int64, from io.ReaderAt, extents []Extent) error {
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, diskMode)
	if err != nil {
		return err
	}
	defer f.Close()
	if clone(f, from, bytes) {
		return f.Close()
	}
	if err := f.Truncate(bytes); err != nil {
		return err
	}
	w := newFlusher(f)
	err = w.fill(ctx, from, extents)
	return errors.Join(err, w.end(), f.Close())
}

// flusher fills a file, and has it written to disk meanwhile. Otherwise the sync at the end would find all of it unwritten, and so would
// whoever else syncs a file on that disk, a guest for one, and wait for it.
type flusher struct {
	file  *os.File
	steps chan struct{}
	ended chan error
}

// newFlusher begins. Its end has to be awaited.
func newFlusher(f *os.File) *flusher {
	w := &flusher{file: f, steps: make(chan struct{}, 1), ended: make(chan error, 1)}
	go func() {
		var err error
		for range w.steps {
			if err == nil {
				err = unix.Fdatasync(int(f.Fd()))
			}
		}
		w.ended <- err
	}()
	return w
}

// end waits for what is being written, and says whether all of that was.
func (w *flusher) end() error {
	close(w.steps)
	return <-w.ended
}

// fill copies the extents. It is at most three steps ahead of the disk.
func (w *flusher) fill(ctx context.Context, from io.ReaderAt, extents []Extent) error {
	block := make([]byte, copyBlock)
	written := int64(0) // since the last step
	for _, e := range extents {
		for done := int64(0); done < e.Length; done += copyBlock {
			if err := ctx.Err(); err != nil {
				return err
			}
			part := block[:min(copyBlock, e.Length-done)]
			if n, err := from.ReadAt(part, e.Offset+done); n < len(part) {
				return errors.Join(err, io.ErrUnexpectedEOF)
			}
			if _, err := w.file.WriteAt(part, e.Offset+done); err != nil {
				return err
			}
			if written += int64(len(part)); written < flushEvery {
				continue
			}
			written = 0
			select {
			case w.steps <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// flushEvery is after how many bytes a step of writing them to disk is due.
const flushEvery = 8 << 20

// clone lets a new file share the blocks of another of so many bytes, where the file system can (ioctl_ficlone(2)).
func clone(to *os.File, from io.ReaderAt, bytes int64) bool {
	f, ok := from.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Size() == bytes && unix.IoctlFileClone(int(to.Fd()), int(f.Fd())) == nil
}

// Rebase writes into a qcow2 file which base image lies under it. The new one must hold the same bytes as the old
// one did: nothing of the guest's data is looked at. The file must not be in use.
func Rebase(ctx context.Context, path, base string, baseFormat Format) error {
	err := checkPaths(path, base)
	if err == nil && !writable(baseFormat) {
		err = fmt.Errorf("a base image in format %q is not supported", baseFormat)
	}
	if err == nil {
		_, err = run(ctx, quick, "rebase", "-q", "-u", "-f", string(QCOW2), "-F", string(baseFormat), "-b", base, "--", path)
	}
	if err != nil {
		return fmt.Errorf("rebase %s: %w", path, err)
	}
	return nil
}
