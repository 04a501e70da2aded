package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/image"
	"github.com/kilonova/kilonova/virt/image/chunk"
)

// How often chunks that no image needs are looked for, and how old they must be. An image's chunks are here before its
// record says so: while they are copied to other nodes.
const (
	sweepEvery = time.Hour
	sweepGrace = 6 * time.Hour
)

const (
	chunkTimeout    = 30 * time.Second // to get one chunk from one peer
	maxManifestSize = chunk.MaxImage/chunk.Size*32 + 64
)

// imageStore is the bytes of images as the image service sees them: in through this node's store, out from there or
// from the peers that have them. It implements image.Store.
type imageStore struct {
	self  cluster.NodeID
	blobs *blobs
	store *chunk.Store
	peer  func(cluster.NodeID) chunk.Source
	log   *slog.Logger
}

func newImageStore(b *blobs) *imageStore {
	return &imageStore{
		self: b.self, blobs: b, store: b.store, log: b.log,
		peer: func(id cluster.NodeID) chunk.Source { return source{b.peers, id} },
	}
}

// Import implements image.Store.
func (s *imageStore) Import(ctx context.Context, r io.Reader, size, limit int64, check func(io.ReaderAt, int64) error) (image.Blob, error) {
	res, err := s.store.ImportChecked(ctx, r, size, limit, check)
	switch {
	case err == nil:
		return image.Blob{Root: res.Root, Size: res.Manifest.Size, MD5: res.MD5, SHA256: res.SHA256, SHA512: res.SHA512}, nil
	case errors.Is(err, chunk.ErrTooLarge):
		return image.Blob{}, cluster.Errorf(cluster.TooLarge, "The provided image is too large: %d bytes are the most.", limit)
	case errors.Is(err, chunk.ErrTruncated):
		return image.Blob{}, cluster.Errorf(cluster.Invalid, "The upload ended before all of the image had come.")
	case errors.Is(err, chunk.ErrFull):
		return image.Blob{}, cluster.Errorf(cluster.NoRoom, "the disk of node %s is full", s.self)
	}
	return image.Blob{}, err
}

// Open implements image.Store. What is not here is not brought here: it passes through.
func (s *imageStore) Open(ctx context.Context, data *cluster.ImageData) (*io.SectionReader, error) {
	c := &content{ctx: ctx, store: s.store, at: -1}
	for _, id := range data.Nodes {
		if id != s.self {
			c.peers = append(c.peers, s.peer(id))
		}
	}
	encoded, err := c.get(data.Root, maxManifestSize)
	if err != nil {
		s.log.Warn("open an image", "root", data.Root, "err", err)
		return nil, cluster.Errorf(cluster.Unavailable, "No node that has the image answers.")
	}
	if c.manifest, err = chunk.ParseManifest(encoded); err != nil {
		return nil, fmt.Errorf("open image %s: %w", data.Root, err)
	}
	if c.manifest.Size != data.Size {
		return nil, fmt.Errorf("open image %s: it has %d bytes, and its record says %d", data.Root, c.manifest.Size, data.Size)
	}
	return io.NewSectionReader(c, 0, c.manifest.Size), nil
}

// content reads an image chunk by chunk; one is in memory. Its ReadAt is safe for concurrent use.
type content struct {
	ctx      context.Context // of the request that reads; a reader has no other way to it
	store    *chunk.Store
	manifest chunk.Manifest

	mu    sync.Mutex
	peers []chunk.Source // those that failed are at the end
	at    int            // which chunk data is; -1: none
	data  []byte
}

// ReadAt implements io.ReaderAt.
func (c *content) ReadAt(p []byte, off int64) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n < len(p) {
		pos := off + int64(n)
		if pos >= c.manifest.Size {
			return n, io.EOF
		}
		i := int(pos / chunk.Size)
		if err := c.load(i); err != nil {
			return n, err
		}
		n += copy(p[n:], c.data[pos-int64(i)*chunk.Size:])
	}
	return n, nil
}

// load makes data the chunk i.
func (c *content) load(i int) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if c.at == i {
		return nil
	}
	length, h := c.manifest.Length(i), c.manifest.Chunks[i]
	if h.IsZero() {
		c.at, c.data = i, make([]byte, length)
		return nil
	}
	data, err := c.get(h, length)
	if err != nil {
		return err
	}
	if len(data) != length {
		return fmt.Errorf("chunk %s has %d bytes, its manifest says %d", h, len(data), length)
	}
	c.at, c.data = i, data
	return nil
}

// get gives the bytes that have a hash, from here or from the first peer that gives them.
func (c *content) get(h cluster.Hash, limit int) ([]byte, error) {
	data, err := c.store.Get(h)
	if err == nil || !errors.Is(err, chunk.ErrMissing) {
		return data, err
	}
	for _, p := range slices.Clone(c.peers) {
		data, failed := ask(c.ctx, p, h, limit)
		if failed == nil {
			return data, nil
		}
		if c.ctx.Err() != nil {
			return nil, c.ctx.Err()
		}
		err = errors.Join(err, failed)
		c.peers = append(c.peers[1:], p)
	}
	return nil, err
}

func ask(ctx context.Context, p chunk.Source, h cluster.Hash, limit int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, chunkTimeout)
	defer cancel()
	r, err := p.Chunk(ctx, h)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(data) > limit || sha256.Sum256(data) != h {
		return nil, chunk.ErrCorrupt
	}
	return data, nil
}

// sweep removes what no image needs any more, until ctx ends. read gives a view that holds everything acknowledged: by an
// older one, chunks of a new image could look unneeded.
func (s *imageStore) sweep(ctx context.Context, read func(context.Context) (*cluster.View, error)) {
	for pause(ctx, sweepEvery) {
		view, err := read(ctx)
		if err != nil {
			continue // without a quorum nothing is removed
		}
		swept, err := s.sweepOnce(ctx, view, sweepGrace)
		if err != nil {
			s.log.Warn("remove chunks that no image needs", "err", err)
		}
		if swept.Files > 0 {
			s.log.Info("removed chunks that no image needs", "chunks", swept.Files, "bytes", swept.Bytes)
		}
	}
}

// sweepOnce keeps what any image or any instance consists of: an instance outlives its image, and its node needs the image's bytes
// to start it after a reboot, and others to build it again elsewhere. What an instance of this node lies on may also be wanted by a
// deletion that is not finished or by a domain that nobody explains, so base files go only when there is neither.
func (s *imageStore) sweepOnce(ctx context.Context, view *cluster.View, grace time.Duration) (chunk.Swept, error) {
	if self, ok := view.Node(s.self); ok && self.Witness {
		return s.store.Sweep(ctx, nil, grace) // what it took in for others, they have by now
	}
	var roots []cluster.Hash
	for i := range view.Images() {
		if i.Data != nil {
			roots = append(roots, i.Data.Root)
		}
	}
	for in := range view.Instances() {
		for _, img := range in.Needs() {
			roots = append(roots, img.Root)
		}
	}
	for v := range view.Volumes() {
		roots = append(roots, rootsOf(v.Source)...)
	}
	for n := range view.SnapshotsIn("") {
		roots = append(roots, rootsOf(n.Source)...)
	}
	swept, err := s.store.Sweep(ctx, roots, grace)
	if err != nil || !settled(view, s.self) {
		return swept, err
	}
	bases, err := s.store.SweepBases(ctx, roots, grace)
	s.blobs.forget()
	return chunk.Swept{Files: swept.Files + bases.Files, Bytes: swept.Bytes + bases.Bytes}, err
}

// rootsOf is the blob that a volume begins as, if any: it may have no file of its own yet.
func rootsOf(s *cluster.VolumeSource) []cluster.Hash {
	if s == nil || s.Root.IsZero() {
		return nil
	}
	return []cluster.Hash{s.Root}
}

// settled tells whether the state explains every disk on a node.
func settled(view *cluster.View, id cluster.NodeID) bool {
	n, ok := view.Node(id)
	if !ok || !n.Host.Ready || len(n.Host.Quarantine) > 0 {
		return false
	}
	for range view.TombstonesOn(id) {
		return false
	}
	return true
}
