package chunk

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// ImportChecked is Import for bytes that have to pass a check before they become an image. check reads what came, size bytes;
// when it refuses, its error is returned, wrapped, and nothing is left.
func (s *Store) ImportChecked(ctx context.Context, r io.Reader, size, max int64, check func(r io.ReaderAt, size int64) error) (Result, error) {
	w := s.NewWriter(max)
	if size >= 0 && size < w.max {
		w.max = size
	}
	result, err := w.importChecked(&untilDone{ctx, r}, size, check)
	if err != nil {
		return Result{}, fmt.Errorf("import image: %w", errors.Join(err, w.Abort()))
	}
	return result, nil
}

func (w *Writer) importChecked(r io.Reader, size int64, check func(io.ReaderAt, int64) error) (Result, error) {
	n, err := io.Copy(w, r)
	switch {
	case err != nil:
		return Result{}, err
	case size >= 0 && n < size:
		return Result{}, fmt.Errorf("%w: %d bytes of %d", ErrTruncated, n, size)
	}
	if len(w.buffer) > 0 {
		if w.err = w.flush(); w.err != nil {
			return Result{}, w.err
		}
	}
	// The chunks are here and held; only the manifest, which makes an image of them, is not yet.
	if err := check(&content{s: w.s, root: w.m.Root(), m: w.m, at: -1}, w.m.Size); err != nil {
		return Result{}, err
	}
	return w.Commit()
}
