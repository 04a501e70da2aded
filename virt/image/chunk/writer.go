package chunk

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"sync"

	"github.com/kilonova/kilonova/cluster"
)

var (
	// ErrTooLarge says that an image has more bytes than it may have.
	ErrTooLarge = errors.New("image is too large")
	// ErrTruncated says that an image has fewer bytes than were announced.
	ErrTruncated = errors.New("image is truncated")
)

// errClosed says that a Writer was used after Commit or Abort.
var errClosed = errors.New("the writer is closed")

// Result is an image that was stored.
type Result struct {
	Root     cluster.Hash
	Manifest Manifest
	MD5      string // of the whole image, in hexadecimal, as are the others
	SHA256   string
	SHA512   string
}

// Writer stores an image from its bytes in order. One of Commit and Abort must end it.
type Writer struct {
	s      *Store
	hold   *hold
	max    int64
	buffer []byte // the beginning of the next chunk
	m      Manifest
	sums   [3]hash.Hash    // MD5, SHA-256, SHA-512 of the whole
	dirs   map[string]bool // directories that got a new name and are not synced
	err    error           // the first that happened; every later call returns it
}

// NewWriter begins an image of at most max bytes; 0: MaxImage.
func (s *Store) NewWriter(max int64) *Writer {
	if max <= 0 || max > MaxImage {
		max = MaxImage
	}
	return &Writer{
		s: s, hold: newHold(), max: max,
		sums: [3]hash.Hash{md5.New(), sha256.New(), sha512.New()},
		dirs: make(map[string]bool),
	}
}

// Write adds bytes to the image. More than its maximum is ErrTooLarge. After an error only Abort is of use.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.m.Size+int64(len(w.buffer)+len(p)) > w.max {
		w.err = fmt.Errorf("%w: more than %d bytes", ErrTooLarge, w.max)
		return 0, w.err
	}
	if w.buffer == nil {
		w.buffer = make([]byte, 0, Size)
	}
	written := 0
	for len(p) > 0 {
		n := min(len(p), Size-len(w.buffer))
		w.buffer = append(w.buffer, p[:n]...)
		p, written = p[n:], written+n
		if len(w.buffer) == Size {
			if w.err = w.flush(); w.err != nil {
				return written, w.err
			}
		}
	}
	return written, nil
}

// flush stores what is buffered as a chunk. The sums of the whole are taken meanwhile.
func (w *Writer) flush() error {
	var sums sync.WaitGroup
	for _, sum := range w.sums {
		sums.Go(func() { sum.Write(w.buffer) })
	}
	err := w.store()
	sums.Wait()
	w.m.Size += int64(len(w.buffer))
	w.buffer = w.buffer[:0]
	return err
}

func (w *Writer) store() error {
	if isZero(w.buffer) {
		w.m.Chunks = append(w.m.Chunks, cluster.Hash{})
		return nil
	}
	h := cluster.Hash(sha256.Sum256(w.buffer))
	w.m.Chunks = append(w.m.Chunks, h)
	w.dirs[filepath.Dir(w.s.path(h))] = true
	return w.s.put(w.hold, h, w.buffer)
}

// Commit ends the image. When it returns without an error, the image is on disk. After an error, Abort.
func (w *Writer) Commit() (Result, error) {
	if w.err == nil && len(w.buffer) > 0 {
		w.err = w.flush()
	}
	if w.err == nil {
		w.err = w.syncDirs()
	}
	if w.err != nil {
		return Result{}, w.err
	}
	root := w.m.Root()
	if w.err = w.s.put(w.hold, root, w.m.Encode()); w.err == nil {
		w.err = syncDir(filepath.Dir(w.s.path(root)))
	}
	if w.err != nil {
		return Result{}, w.err
	}
	w.err = errClosed
	sum := func(i int) string { return hex.EncodeToString(w.sums[i].Sum(nil)) }
	r := Result{Root: root, Manifest: w.m, MD5: sum(0), SHA256: sum(1), SHA512: sum(2)}
	return r, w.s.release(w.hold, true)
}

func (w *Writer) syncDirs() error {
	for dir := range w.dirs {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// Abort ends the image and gives back the room that it took. After Commit succeeded it does nothing, so it
// may be deferred.
func (w *Writer) Abort() error {
	if w.err == nil {
		w.err = errClosed
	}
	return w.s.release(w.hold, false)
}

// Import stores all that r gives as an image. A size other than -1 says how many bytes have to come: fewer
// are ErrTruncated, more ErrTooLarge, as is more than max (0: MaxImage). After an error nothing is left.
func (s *Store) Import(ctx context.Context, r io.Reader, size, max int64) (Result, error) {
	return s.ImportChecked(ctx, r, size, max, func(io.ReaderAt, int64) error { return nil })
}

// untilDone reads until its context ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
