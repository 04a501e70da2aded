package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Format is a disk format in qemu-img's words.
type Format string

// The formats that are read. Only Raw and QCOW2 are written, and only they may be under an overlay.
const (
	Raw   Format = "raw"
	QCOW2 Format = "qcow2"
	VMDK  Format = "vmdk"
	VDI   Format = "vdi"
	VHD   Format = "vpc"
	VHDX  Format = "vhdx"
)

// MaxSize is the largest virtual size of a disk, in bytes: 16 TiB.
const MaxSize = 16 << 40

// tempSuffix marks a file that is not finished. There is at most one per path, and the next attempt replaces it.
const tempSuffix = ".tmp"

// CreateOverlay makes a qcow2 file at path that reads from the base image where it was not written. A size of
// 0 is that of the base; a smaller one than the base's is an error. If path exists, the error wraps
// fs.ErrExist and the file is left alone.
func CreateOverlay(ctx context.Context, path, base string, baseFormat Format, sizeBytes int64) error {
	if err := createOverlay(ctx, path, base, baseFormat, sizeBytes); err != nil {
		return fmt.Errorf("create overlay %s: %w", path, err)
	}
	return nil
}

func createOverlay(ctx context.Context, path, base string, baseFormat Format, sizeBytes int64) error {
	if err := checkPaths(path, base); err != nil {
		return err
	}
	if !writable(baseFormat) {
		return fmt.Errorf("a base image in format %q is not supported", baseFormat)
	}
	under, err := baseSize(base, baseFormat)
	if err != nil {
		return err
	}
	if sizeBytes == 0 {
		sizeBytes = under
	}
	if sizeBytes < under {
		return fmt.Errorf("%d bytes are less than the base image's %d", sizeBytes, under)
	}
	return create(ctx, path, sizeBytes, base, baseFormat)
}

// CreateEmpty makes a qcow2 file at path that reads as zeros. If path exists, the error wraps fs.ErrExist and
// the file is left alone.
func CreateEmpty(ctx context.Context, path string, sizeBytes int64) error {
	err := checkPaths(path)
	if err == nil {
		err = create(ctx, path, sizeBytes, "", "")
	}
	if err != nil {
		return fmt.Errorf("create disk %s: %w", path, err)
	}
	return nil
}

// sector is the unit in which guests see disks, in bytes.
const sector = 512

// create writes a qcow2 image that holds nothing. Like qemu-img, it rounds the size up to whole sectors.
func create(ctx context.Context, path string, sizeBytes int64, base string, baseFormat Format) error {
	if err := errors.Join(ctx.Err(), checkSize(sizeBytes)); err != nil {
		return err
	}
	image, err := qcow2Image((sizeBytes+sector-1)/sector*sector, base, baseFormat)
	if err != nil {
		return err
	}
	return whole(path, func(temp string) error {
		f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, diskMode)
		if err != nil {
			return err
		}
		_, err = f.Write(image)
		return errors.Join(err, f.Close())
	})
}

// Convert writes the image at from, which is in format as, to path in format to. The result stands alone. If
// path exists, the error wraps fs.ErrExist and the file is left alone.
func Convert(ctx context.Context, from string, as Format, path string, to Format) error {
	err := checkPaths(from, path)
	switch {
	case err != nil:
	case !readable(as) || !writable(to):
		err = fmt.Errorf("from %q to %q is not supported", as, to)
	default:
		err = whole(path, func(temp string) error {
			_, err := run(ctx, long, "convert", "-q", "-f", string(as), "-O", string(to), "--", from, temp)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("convert %s to %s: %w", from, path, err)
	}
	return nil
}

// Resize grows the disk of a guest that is off. Shrinking is refused, since it would cut off data; the size
// that it has already is not an error.
func Resize(ctx context.Context, path string, format Format, sizeBytes int64) error {
	if err := resize(ctx, path, format, sizeBytes); err != nil {
		return fmt.Errorf("resize %s: %w", path, err)
	}
	return nil
}

func resize(ctx context.Context, path string, format Format, sizeBytes int64) error {
	if err := errors.Join(checkPaths(path), checkSize(sizeBytes)); err != nil {
		return err
	}
	if !writable(format) {
		return fmt.Errorf("format %q is not supported", format)
	}
	now, err := Stat(ctx, path, format)
	switch {
	case err != nil:
		return err
	case sizeBytes < now.VirtualSize:
		return fmt.Errorf("%d bytes are less than the present %d, and shrinking loses data", sizeBytes, now.VirtualSize)
	case sizeBytes == now.VirtualSize:
		return nil
	}
	if _, err := run(ctx, quick, "resize", "-q", "-f", string(format), "--", path, strconv.FormatInt(sizeBytes, 10)); err != nil {
		return err
	}
	return syncFile(path)
}

// whole lets fill make a temporary file, syncs it, and gives it its name, unless the name is taken.
func whole(path string, fill func(temp string) error) error {
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temp := path + tempSuffix
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := fill(temp)
	if err == nil {
		err = syncFile(temp)
	}
	if err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		if gone := os.Remove(temp); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		return err
	}
	return syncFile(filepath.Dir(path))
}

// syncFile makes a file, or the names in a directory, outlive a power cut.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// checkPaths refuses what qemu-img would take for something else than a file: a relative path may begin with
// a protocol ("nbd:...", "json:...") or an option.
func checkPaths(paths ...string) error {
	for _, p := range paths {
		if !filepath.IsAbs(p) || filepath.Clean(p) != p {
			return fmt.Errorf("%q is not a clean absolute path", p)
		}
		for _, c := range []byte(p) {
			if c < ' ' {
				return fmt.Errorf("%q holds control characters", p)
			}
		}
	}
	return nil
}

func checkSize(bytes int64) error {
	if bytes <= 0 || bytes > MaxSize {
		return fmt.Errorf("%d bytes are not between 1 and %d", bytes, int64(MaxSize))
	}
	return nil
}

func writable(f Format) bool { return f == Raw || f == QCOW2 }

func readable(f Format) bool {
	switch f {
	case Raw, QCOW2, VMDK, VDI, VHD, VHDX:
		return true
	}
	return false
}
