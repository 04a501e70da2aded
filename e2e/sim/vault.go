package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// imageCopies is how many nodes an image is kept on, as in package node.
const imageCopies = 3

// blobs are the images that were made of disks: a file for each, which all machines see once they have it.
type blobs struct {
	dir string

	mu     sync.Mutex
	copied map[string]string       // path of a capture -> what its guest had written by then
	wrote  map[cluster.Hash]string // the same of an image that was stored
}

func newBlobs(dir string) *blobs {
	return &blobs{dir: dir, copied: map[string]string{}, wrote: map[cluster.Hash]string{}}
}

func (b *blobs) path(root cluster.Hash) string { return filepath.Join(b.dir, root.String()+".qcow2") }

// captured notes what stands in a file.
func (b *blobs) captured(path, wrote string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.copied[path] = wrote
}

// text is what an image's guests had written; an image that nobody captured is empty.
func (b *blobs) text(root cluster.Hash) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wrote[root]
}

// vault is the image store of one daemon. It implements operate.ImageStore.
type vault struct {
	w *World
	d *daemon
}

// Import implements operate.ImageStore.
func (v *vault) Import(ctx context.Context, path string) (*cluster.ImageData, error) {
	m := v.d.machine
	if !pause(ctx, v.w.dice.between(10*time.Millisecond, time.Second, "import", uint64(m.number), v.w.now())) {
		return nil, ctx.Err()
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	root := cluster.Hash(sha256.Sum256(content))
	b := v.w.blobs
	if err := os.WriteFile(b.path(root), content, 0o600); err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.wrote[root] = b.copied[path]
	b.mu.Unlock()
	m.shelf.put(root)
	return &cluster.ImageData{Root: root, Size: int64(len(content)), VirtualSize: 1 << 30,
		MD5: strings.Repeat("0", 32), SHA512: strings.Repeat(hex.EncodeToString(root[:]), 2)}, nil
}

// Replicate implements operate.ImageStore.
func (v *vault) Replicate(ctx context.Context, root cluster.Hash) ([]cluster.NodeID, error) {
	m := v.d.machine
	have := []cluster.NodeID{m.id}
	for i := range v.w.machines {
		to := v.w.machines[(m.number+i)%len(v.w.machines)]
		if to == m || to.running() == nil || !v.w.net.reaches(m, to) || len(have) == imageCopies {
			continue
		}
		if !pause(ctx, v.w.dice.between(10*time.Millisecond, time.Second, "replicate", uint64(to.number), v.w.now())) {
			return nil, ctx.Err()
		}
		to.shelf.put(root)
		have = append(have, to.id)
	}
	if len(have) < imageCopies-1 {
		return nil, cluster.Errorf(cluster.Unavailable, "the image could be copied to %d nodes only", len(have))
	}
	slices.Sort(have)
	return have, nil
}

// shelf is the images that a machine has. They come from peers, and stay over restarts.
type shelf struct {
	w      *World
	number int

	mu   sync.Mutex
	have map[cluster.Hash]bool
}

func (s *shelf) put(root cluster.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.have[root] = true
}

// Base implements reconcile.Images.
func (s *shelf) Base(img cluster.BootImage) (path, format string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.blobs.path(img.Root), img.Format, s.have[img.Root]
}

// Prepare implements reconcile.Images. Now and then a peer goes away in the middle.
func (s *shelf) Prepare(ctx context.Context, img cluster.BootImage, progress func(note string)) error {
	progress("fetching image: 0 %")
	now := s.w.now()
	if !pause(ctx, s.w.dice.between(100*time.Millisecond, 3*time.Second, "fetch", uint64(s.number), now)) {
		return ctx.Err()
	}
	if !s.w.calm() && s.w.dice.chance(10, "fetch fails", uint64(s.number), now) {
		return cluster.Errorf(cluster.Unavailable, "the peer went away")
	}
	s.put(img.Root)
	return nil
}
