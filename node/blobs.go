package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"sync"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/virt/image/chunk"
)

// wantedCopies is how many nodes an image is kept on, where there are that many.
const wantedCopies = 3

// blobs are the bytes of images on this node, and the way to those on others. It serves the peers, the image
// service and the reconciler.
type blobs struct {
	self  cluster.NodeID
	store *chunk.Store
	peers *peer.Client
	view  func() *cluster.View
	log   *slog.Logger

	mu    sync.Mutex
	bases map[baseKey]string // base images that stand ready
}

type baseKey struct {
	root   cluster.Hash
	format string
}

func newBlobs(self cluster.NodeID, store *chunk.Store, peers *peer.Client, view func() *cluster.View, log *slog.Logger) *blobs {
	return &blobs{self: self, store: store, peers: peers, view: view, log: log, bases: map[baseKey]string{}}
}

// Chunk implements peer.Blobs.
func (b *blobs) Chunk(ctx context.Context, h cluster.Hash) (io.ReadCloser, error) {
	r, err := b.store.Chunk(ctx, h)
	if errors.Is(err, chunk.ErrMissing) {
		return nil, cluster.Errorf(cluster.NotFound, "chunk %s is not on this node", h)
	}
	return r, err
}

// Pull implements peer.Blobs.
func (b *blobs) Pull(ctx context.Context, root cluster.Hash, from []cluster.NodeID) error {
	return b.fetch(ctx, root, from, nil)
}

// source asks one peer for chunks.
type source struct {
	peers *peer.Client
	node  cluster.NodeID
}

// Chunk implements chunk.Source.
func (s source) Chunk(ctx context.Context, h cluster.Hash) (io.ReadCloser, error) {
	return s.peers.Chunk(ctx, s.node, h)
}

// fetch brings a blob here from the nodes that have it.
func (b *blobs) fetch(ctx context.Context, root cluster.Hash, from []cluster.NodeID, progress func(chunk.Progress)) error {
	if b.store.Complete(root) {
		return nil
	}
	var sources []chunk.Source
	for _, id := range from {
		if id != b.self {
			sources = append(sources, source{b.peers, id})
		}
	}
	if len(sources) == 0 {
		return cluster.Errorf(cluster.Unavailable, "no other node has blob %s", root)
	}
	err := b.store.Fetch(ctx, root, sources, progress)
	switch {
	case errors.Is(err, chunk.ErrFull):
		return cluster.Errorf(cluster.NoRoom, "the disk of node %s is full", b.self)
	case errors.Is(err, chunk.ErrMissing) && ctx.Err() == nil:
		b.log.Warn("fetch a blob", "root", root, "err", err)
		return cluster.Errorf(cluster.Unavailable, "no node that answers has all of blob %s", root)
	}
	return err
}

// forget drops the base images whose files are gone.
func (b *blobs) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.bases, func(_ baseKey, path string) bool {
		_, err := os.Lstat(path)
		return errors.Is(err, os.ErrNotExist)
	})
}

// Base implements reconcile.Images.
func (b *blobs) Base(img cluster.BootImage) (path, format string, ok bool) {
	format = baseFormat(img.Format)
	b.mu.Lock()
	defer b.mu.Unlock()
	path, ok = b.bases[baseKey{img.Root, format}]
	return path, format, ok
}

// Prepare implements reconcile.Images: the chunks come here, and become a file that disks can lie on.
func (b *blobs) Prepare(ctx context.Context, img cluster.BootImage, progress func(note string)) error {
	format := baseFormat(img.Format)
	path, err := b.store.Materialize(ctx, img.Root, format)
	if errors.Is(err, chunk.ErrMissing) {
		if err = b.fetch(ctx, img.Root, b.holders(img), b.teller(img, progress)); err != nil {
			return err
		}
		path, err = b.store.Materialize(ctx, img.Root, format)
	}
	if errors.Is(err, chunk.ErrFull) {
		return cluster.Errorf(cluster.NoRoom, "the disk of this node is full")
	}
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bases[baseKey{img.Root, format}] = path
	return nil
}

// holders are the nodes that have an image: those that its record names, or, when the record is gone, any.
func (b *blobs) holders(img cluster.BootImage) []cluster.NodeID {
	view := b.view()
	if rec, ok := view.Image(img.Image); ok && rec.Data != nil && rec.Data.Root == img.Root {
		return rec.Data.Nodes
	}
	var all []cluster.NodeID
	for n := range view.Nodes() {
		all = append(all, n.ID)
	}
	return all
}

// teller tells of every tenth of a fetch, in the log and to the user.
func (b *blobs) teller(img cluster.BootImage, progress func(note string)) func(chunk.Progress) {
	said := int64(-1)
	return func(p chunk.Progress) {
		tenth := p.Done * 10 / max(1, p.Total)
		if tenth == said {
			return
		}
		said = tenth
		b.log.Info("fetch image", "image", img.Image, "percent", tenth*10, "bytes", p.Total)
		progress(fmt.Sprintf("fetching image %s: %d %%", img.Image, tenth*10))
	}
}

// baseFormat is what qemu is told of an image: the formats of Amazon's three part images are raw.
func baseFormat(disk string) string {
	if disk == "qcow2" {
		return "qcow2"
	}
	return "raw"
}
