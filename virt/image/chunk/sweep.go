package chunk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// Swept is what a sweep removed.
type Swept struct {
	Files int
	Bytes int64
}

// Sweep removes the chunks that are reachable from none of the roots and older than grace. A root that is not
// on this node is no error. A root whose manifest rotted is: its chunks cannot be told, so nothing is removed
// until it was fetched again. What is no chunk is left alone. grace has to cover the time from the Commit of an
// image until its root is among the roots.
func (s *Store) Sweep(ctx context.Context, roots []cluster.Hash, grace time.Duration) (Swept, error) {
	live, err := s.reachable(roots)
	if err != nil {
		return Swept{}, fmt.Errorf("sweep images: %w", err)
	}
	var swept Swept
	young := time.Now().Add(-grace)
	for i := range shards + 1 {
		dir := s.quarantine
		if i < shards {
			dir = filepath.Join(s.chunks, fmt.Sprintf("%02x", i))
		}
		err := errors.Join(ctx.Err(), s.sweepDir(dir, live, young, &swept))
		if err != nil {
			return swept, fmt.Errorf("sweep images: %w", err)
		}
	}
	return swept, nil
}

func (s *Store) reachable(roots []cluster.Hash) (map[cluster.Hash]bool, error) {
	live := make(map[cluster.Hash]bool)
	for _, root := range roots {
		live[root] = true
		m, err := s.Manifest(root)
		if errors.Is(err, ErrMissing) && !errors.Is(err, ErrCorrupt) && !s.setAsideBefore(root) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the chunks of image %s cannot be told: %w", root, err)
		}
		for _, h := range m.Chunks {
			live[h] = true
		}
	}
	return live, nil
}

func (s *Store) setAsideBefore(h cluster.Hash) bool {
	_, err := os.Stat(filepath.Join(s.quarantine, h.String()))
	return err == nil
}

func (s *Store) sweepDir(dir string, live map[cluster.Hash]bool, young time.Time, swept *Swept) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		h, ok := parseHash(e.Name())
		if !ok || live[h] {
			continue
		}
		bytes, err := s.removeOld(filepath.Join(dir, e.Name()), h, young)
		if err != nil {
			return err
		}
		if bytes >= 0 {
			swept.Files++
			swept.Bytes += bytes
		}
	}
	return nil
}

// removeOld removes a chunk that nobody holds and that is old enough, and gives its length, or -1.
func (s *Store) removeOld(path string, h cluster.Hash, young time.Time) (bytes int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := os.Lstat(path)
	if err != nil || s.claims[h] != nil || info.ModTime().After(young) {
		return -1, nil
	}
	return info.Size(), os.Remove(path)
}

// SweepBases removes the files that Materialize made, other than those of the given roots, that are older than
// grace. A guest's disk that lies on a removed file is lost: keep must name the root of every image that a
// disk on this node was made from.
func (s *Store) SweepBases(ctx context.Context, keep []cluster.Hash, grace time.Duration) (Swept, error) {
	kept := make(map[cluster.Hash]bool, len(keep))
	for _, root := range keep {
		kept[root] = true
	}
	entries, err := os.ReadDir(s.base)
	if err != nil {
		return Swept{}, fmt.Errorf("sweep base images: %w", err)
	}
	var swept Swept
	young := time.Now().Add(-grace)
	for _, e := range entries {
		name, format, _ := strings.Cut(e.Name(), ".")
		root, ok := parseHash(name)
		if !ok || kept[root] || !baseFormat.MatchString(format) {
			continue
		}
		bytes, err := s.removeBase(ctx, e.Name(), young)
		if err != nil {
			return swept, fmt.Errorf("sweep base images: %w", err)
		}
		if bytes >= 0 {
			swept.Files++
			swept.Bytes += bytes
		}
	}
	return swept, nil
}

func (s *Store) removeBase(ctx context.Context, name string, young time.Time) (bytes int64, err error) {
	done, err := s.turns.take(ctx, name)
	if err != nil {
		return -1, err
	}
	defer done()
	path := filepath.Join(s.base, name)
	info, err := os.Lstat(path)
	if err != nil || info.ModTime().After(young) {
		return -1, nil
	}
	return info.Size(), os.Remove(path)
}
