package chunk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// baseFormat is what may stand behind the dot of a base image's name.
var baseFormat = regexp.MustCompile(`^[a-z0-9]{1,8}$`)

// baseMode keeps everybody, guests included, from writing to what many disks lie on.
const baseMode = 0o444

// sparseBlock is the unit in which zeros become holes, in bytes.
const sparseBlock = 64 << 10

// Materialize gives the path of a file that holds the whole image, for disks to lie on, and makes it if there
// is none. The file is read-only, sparse where the image is zero, and made once however many callers ask. Its
// chunks must be here: one that is not is an error that wraps ErrMissing, and nothing is left. The format is
// only part of the file's name.
func (s *Store) Materialize(ctx context.Context, root cluster.Hash, format string) (path string, err error) {
	if !baseFormat.MatchString(format) {
		return "", fmt.Errorf("materialize image %s: format %q is not a name", root, format)
	}
	name := root.String() + "." + format
	done, err := s.turns.take(ctx, name)
	if err != nil {
		return "", fmt.Errorf("materialize image %s: %w", root, err)
	}
	defer done()
	path = filepath.Join(s.base, name)
	if err := s.materialize(ctx, root, path); err != nil {
		return "", fmt.Errorf("materialize image %s: %w", root, fullOr(err))
	}
	return path, nil
}

func (s *Store) materialize(ctx context.Context, root cluster.Hash, path string) error {
	m, err := s.Manifest(root)
	if err != nil {
		return err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() == m.Size {
		now := time.Now()
		return os.Chtimes(path, now, now) // so that it is not swept before a disk lies on it
	}
	temp := path + tempSuffix
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = s.assemble(ctx, m, temp)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		if gone := os.Remove(temp); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		return err
	}
	return syncDir(s.base)
}

// assemble writes the image to a new file and syncs it.
func (s *Store) assemble(ctx context.Context, m Manifest, path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(m.Size); err != nil {
		return err
	}
	image := &content{s: s, root: m.Root(), m: m, at: -1}
	for i, h := range m.Chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if h.IsZero() {
			continue
		}
		data, err := image.chunk(i)
		if err != nil {
			return err
		}
		if err := s.room(len(data)); err != nil {
			return err
		}
		if err := writeSparse(f, data, int64(i)*Size); err != nil {
			return err
		}
	}
	if err := f.Chmod(baseMode); err != nil {
		return err
	}
	return f.Sync()
}

// writeSparse writes what is not zero.
func writeSparse(f *os.File, data []byte, off int64) error {
	for start := 0; start < len(data); {
		end := start
		for end < len(data) && !isZero(data[end:min(end+sparseBlock, len(data))]) {
			end = min(end+sparseBlock, len(data))
		}
		if _, err := f.WriteAt(data[start:end], off+int64(start)); err != nil {
			return err
		}
		start = end + sparseBlock // the block at end, if there is one, is zero
	}
	return nil
}
