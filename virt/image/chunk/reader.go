package chunk

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/kilonova/kilonova/cluster"
)

// Open gives the bytes of the image with this root, each chunk verified as it is read. A chunk that is not
// here, or no longer, is an error that wraps ErrMissing. The reader needs no closing and holds one chunk in
// memory; its ReadAt is safe for concurrent use.
func (s *Store) Open(root cluster.Hash) (*io.SectionReader, error) {
	m, err := s.Manifest(root)
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(&content{s: s, root: root, m: m, at: -1}, 0, m.Size), nil
}

// content reads an image by its manifest.
type content struct {
	s    *Store
	root cluster.Hash
	m    Manifest

	mu   sync.Mutex
	at   int // which chunk data is; -1: none
	data []byte
}

func (c *content) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		pos := off + int64(n)
		if pos >= c.m.Size {
			return n, io.EOF
		}
		i := int(pos / Size)
		data, err := c.chunk(i)
		if err != nil {
			return n, fmt.Errorf("read image %s at %d: %w", c.root, pos, err)
		}
		n += copy(p[n:], data[pos-int64(i)*Size:])
	}
	return n, nil
}

// chunk gives the bytes of chunk i, which nobody may write to.
func (c *content) chunk(i int) ([]byte, error) {
	length := c.m.Length(i)
	if c.m.Chunks[i].IsZero() {
		return zeros[:length], nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == i {
		return c.data, nil
	}
	data, err := c.s.Get(c.m.Chunks[i])
	if err != nil {
		return nil, err
	}
	if len(data) != length {
		return nil, fmt.Errorf("chunk %d has %d bytes, its manifest says %d: %w", i, len(data), length, ErrCorrupt)
	}
	c.at, c.data = i, data
	return data, nil
}

// Chunk makes the store a Source for its peers.
func (s *Store) Chunk(_ context.Context, h cluster.Hash) (io.ReadCloser, error) {
	data, err := s.Get(h)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}
