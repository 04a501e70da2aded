package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kilonova/kilonova/virt/disk"
)

// Origin is what a new volume begins as: a file in a named format. The zero Origin is an empty disk. An encrypted origin is one of the same
// passphrase as the volume's.
type Origin struct {
	Path      string
	Format    string // raw, qcow2, ...
	Encrypted bool
}

// Make makes a volume of so many bytes, unless it is there, and grows it when it is smaller. It never makes one smaller.
func (s *Store) Make(ctx context.Context, v Volume, from Origin, bytes int64) error {
	path, err := s.Path(v)
	if err == nil {
		err = prepare(path)
	}
	if err == nil {
		err = v.By.produce(ctx, path, workMode, func(temp string) error { return fill(ctx, temp, v.Secret, from, bytes) })
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		err = s.Grow(ctx, v, bytes)
	}
	if err == nil {
		err = finish(path)
	}
	if err != nil {
		return fmt.Errorf("make volume %s: %w", v.ID, err)
	}
	return nil
}

// workMode keeps everybody out of what is not finished.
const workMode = 0o700

// fill makes the file.
func fill(ctx context.Context, path string, secret []byte, from Origin, bytes int64) error {
	switch {
	case secret == nil && from.Path == "":
		return empty(path, bytes)
	case secret == nil:
		return disk.Convert(ctx, from.Path, disk.Format(from.Format), path, disk.Raw)
	case from.Path == "":
		return disk.CreateLUKS(ctx, path, bytes, secret)
	case from.Encrypted: // the container itself is copied
		return disk.Convert(ctx, from.Path, disk.Raw, path, disk.Raw)
	}
	return disk.ConvertToLUKS(ctx, from.Path, disk.Format(from.Format), path, bytes, secret)
}

// empty makes a sparse file.
func empty(path string, bytes int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(bytes), f.Sync(), f.Close())
}

// Grow makes a volume that no guest has larger; one that is as large already is left alone.
func (s *Store) Grow(ctx context.Context, v Volume, bytes int64) error {
	now, err := s.Size(ctx, v)
	if err != nil || now >= bytes {
		return err
	}
	path, err := s.Path(v)
	if err == nil {
		err = v.By.holds(ctx)
	}
	if err != nil {
		return err
	}
	if v.Secret != nil {
		return disk.ResizeLUKS(ctx, path, bytes, v.Secret)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(bytes), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("grow volume %s: %w", v.ID, err)
	}
	return nil
}

// Snapshot copies a volume that no guest writes to, in the format raw, unless the copy is there.
func (s *Store) Snapshot(ctx context.Context, v Volume, n Snapshot) error {
	n.Format = string(disk.Raw)
	from, err := s.Path(v)
	if err != nil {
		return err
	}
	path, err := s.SnapshotPath(n)
	if err == nil {
		err = prepare(path)
	}
	if err == nil {
		err = n.By.produce(ctx, path, workMode, func(temp string) error { return disk.Convert(ctx, from, disk.Raw, temp, disk.Raw) })
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		err = finish(path)
	}
	if err != nil {
		return fmt.Errorf("snapshot volume %s: %w", v.ID, err)
	}
	return nil
}

// Capture has a copy of a volume that a guest has made by capture, which writes a qcow2 file to the path that it is given, and keeps it as
// the snapshot, unless it is there.
func (s *Store) Capture(ctx context.Context, n Snapshot, capture func(path string) error) error {
	n.Format = string(disk.QCOW2)
	path, err := s.SnapshotPath(n)
	if err == nil {
		err = prepare(path)
	}
	if err == nil {
		err = os.Chmod(filepath.Dir(path), dirMode) // QEMU itself writes into it
	}
	if err != nil {
		return fmt.Errorf("capture snapshot %s: %w", n.ID, err)
	}
	if err = n.By.produce(ctx, path, dirMode, capture); errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = finish(path)
	}
	if err != nil {
		return fmt.Errorf("capture snapshot %s: %w", n.ID, err)
	}
	return nil
}

// Export writes a volume that no guest writes to as an image file of that format to path, which must not exist.
func (s *Store) Export(ctx context.Context, v Volume, path, format string) error {
	from, err := s.Path(v)
	if err == nil {
		err = disk.Convert(ctx, from, disk.Raw, path, disk.Format(format))
	}
	if err != nil {
		return fmt.Errorf("export volume %s: %w", v.ID, err)
	}
	return nil
}
