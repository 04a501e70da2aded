package chunk

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"golang.org/x/sys/unix"
)

var (
	// ErrMissing says that a chunk is not on this node, or is no longer, because its bytes had rotted. It
	// can be fetched from a peer.
	ErrMissing = errors.New("chunk is not on this node")
	// ErrCorrupt says that bytes did not match their hash.
	ErrCorrupt = errors.New("bytes do not match their hash")
	// ErrFull says that the disk, or the quota on it, is full but for what images leave to others.
	ErrFull = errors.New("disk is full")
)

// shards is how many directories the chunks are spread over.
const shards = 256

const tempSuffix = ".tmp"

// Store keeps chunks in a directory.
type Store struct {
	chunks, temp, quarantine, base string // directories
	lock                           *os.File
	attempt                        time.Duration // to fetch one chunk from one peer
	turns                          turns

	mu     sync.Mutex // guards claims, and is held while a name in chunks appears or goes
	claims map[cluster.Hash]*claim
}

// OpenStore opens the store below a data directory, and makes it if there is none. It removes what an earlier
// process left unfinished. A store that another process has open is an error.
func OpenStore(dataDir string) (*Store, error) {
	images := filepath.Join(dataDir, "images")
	s := &Store{
		chunks:     filepath.Join(images, "chunks"),
		temp:       filepath.Join(images, "tmp"),
		quarantine: filepath.Join(images, "quarantine"),
		base:       filepath.Join(dataDir, "base"),
		attempt:    fetchAttempt,
		claims:     make(map[cluster.Hash]*claim),
	}
	if err := s.open(images); err != nil {
		return nil, fmt.Errorf("open image store %s: %w", images, err)
	}
	return s, nil
}

func (s *Store) open(images string) error {
	for _, dir := range []string{s.chunks, s.temp, s.quarantine, s.base} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// Whatever the umask: QEMU, which is not root, opens what disks lie on; the rest is nobody's business.
	if err := errors.Join(os.Chmod(s.base, 0o711), os.Chmod(images, 0o700)); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(images, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("another process uses it: %w", err), lock.Close())
	}
	s.lock = lock
	if err := s.prepare(); err != nil {
		return errors.Join(err, lock.Close())
	}
	return nil
}

func (s *Store) prepare() error {
	for i := range shards {
		if err := os.Mkdir(filepath.Join(s.chunks, hex.EncodeToString([]byte{byte(i)})), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, dir := range []string{s.temp, s.base} {
		left, err := filepath.Glob(filepath.Join(dir, "*"+tempSuffix))
		if err != nil {
			return err
		}
		for _, path := range left {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return syncDir(s.chunks)
}

// Close lets another process open the store.
func (s *Store) Close() error { return s.lock.Close() }

// Has tells whether the chunk is here. It does not read it.
func (s *Store) Has(h cluster.Hash) bool {
	if h.IsZero() {
		return true
	}
	_, err := os.Stat(s.path(h))
	return err == nil
}

// Missing lists the chunks of the image that are not here, each once.
func (s *Store) Missing(m Manifest) []cluster.Hash {
	seen := make(map[cluster.Hash]bool, len(m.Chunks))
	var missing []cluster.Hash
	for _, h := range m.Chunks {
		if !seen[h] && !s.Has(h) {
			missing = append(missing, h)
		}
		seen[h] = true
	}
	return missing
}

// Complete tells whether the image with this root is wholly here. It does not read its chunks.
func (s *Store) Complete(root cluster.Hash) bool {
	m, err := s.Manifest(root)
	return err == nil && len(s.Missing(m)) == 0
}

// Put stores a chunk, or a manifest, that has the given hash. Storing what is here already is not an error,
// and mends it if it had rotted.
func (s *Store) Put(h cluster.Hash, data []byte) error {
	if err := s.put(nil, h, data); err != nil {
		return err
	}
	return syncDir(filepath.Dir(s.path(h)))
}

// put does what Put does, but for the sync of the directory, under a hold, which may be nil.
func (s *Store) put(by *hold, h cluster.Hash, data []byte) error {
	if sha256.Sum256(data) != h {
		return fmt.Errorf("store chunk %s: %w", h, ErrCorrupt)
	}
	if s.claim(by, h) {
		if _, err := s.Get(h); err == nil {
			return nil
		}
	}
	if err := s.room(len(data)); err != nil {
		return fmt.Errorf("store chunk %s: %w", h, err)
	}
	temp, err := s.writeTemp(data)
	if err != nil {
		return fmt.Errorf("store chunk %s: %w", h, fullOr(err))
	}
	if err := s.install(by, h, temp); err != nil {
		return fmt.Errorf("store chunk %s: %w", h, errors.Join(fullOr(err), os.Remove(temp)))
	}
	return nil
}

// writeTemp writes a synced file under no lasting name.
func (s *Store) writeTemp(data []byte) (path string, err error) {
	f, err := os.CreateTemp(s.temp, "*"+tempSuffix)
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// install gives a chunk its name.
func (s *Store) install(by *hold, h cluster.Hash, temp string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := s.path(h)
	_, err := os.Stat(path)
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	s.note(by, h, err != nil)
	if err := os.Remove(filepath.Join(s.quarantine, h.String())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Get reads a chunk or a manifest. If its bytes do not match its hash, it is set aside, and the error wraps
// ErrMissing and ErrCorrupt.
func (s *Store) Get(h cluster.Hash) ([]byte, error) {
	f, err := os.Open(s.path(h))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read chunk %s: %w", h, ErrMissing)
	} else if err != nil {
		return nil, fmt.Errorf("read chunk %s: %w", h, err)
	}
	defer f.Close()
	data, err := readAll(f)
	switch {
	case errors.Is(err, syscall.EIO) || err == nil && sha256.Sum256(data) != h:
		return nil, fmt.Errorf("read chunk %s: %w: %w", h, ErrMissing, errors.Join(ErrCorrupt, err, s.setAside(h, f)))
	case err != nil:
		return nil, fmt.Errorf("read chunk %s: %w", h, err)
	}
	return data, nil
}

// readAll reads the file into memory, but never more than the largest thing that is stored.
func readAll(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > int64(maxManifest) {
		return nil, nil // which matches no hash that is asked for
	}
	data := make([]byte, info.Size())
	_, err = io.ReadFull(f, data)
	return data, err
}

// setAside moves the file that was found corrupt out of the way, unless a good one took its place meanwhile.
func (s *Store) setAside(h cluster.Hash, f *os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	bad, err := f.Stat()
	if err != nil {
		return err
	}
	now, err := os.Stat(s.path(h))
	if err != nil || !os.SameFile(bad, now) {
		return nil
	}
	if err := os.Rename(s.path(h), filepath.Join(s.quarantine, h.String())); err != nil {
		return err
	}
	return syncDir(s.quarantine)
}

// Manifest reads the manifest of the image with this root.
func (s *Store) Manifest(root cluster.Hash) (Manifest, error) {
	b, err := s.Get(root)
	if err != nil {
		return Manifest{}, err
	}
	m, err := ParseManifest(b)
	if err != nil {
		return Manifest{}, fmt.Errorf("read image %s: %w", root, err)
	}
	return m, nil
}

func (s *Store) path(h cluster.Hash) string {
	name := h.String()
	return filepath.Join(s.chunks, name[:2], name)
}

// parseHash reads the name of a chunk's file.
func parseHash(name string) (h cluster.Hash, ok bool) {
	if len(name) != 2*hashLen || strings.ToLower(name) != name {
		return h, false
	}
	_, err := hex.Decode(h[:], []byte(name))
	return h, err == nil
}

// fullOr adds ErrFull to an error that means it.
func fullOr(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// syncDir makes the names in a directory outlive a power cut.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
