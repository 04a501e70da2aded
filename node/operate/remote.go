package operate

import (
	"context"
	"errors"
	"io"
	"sort"
	"sync"

	"github.com/kilonova/kilonova/httpapi/peer"
)

// A disk comes in blocks, several of which are on their way at the same time: that hides the time between asking and
// answering, and lets more than one processor check and decrypt what comes.
const (
	blockBytes  = 4 << 20
	blockParts  = 1 << 12 // extents that a block consists of, at most
	blocksAhead = 4
)

// fetchFunc brings parts of a file, one after the other, into a buffer of their length.
type fetchFunc func(ctx context.Context, parts []peer.Extent, into []byte) error

// block is what is asked for at once.
type block struct {
	parts  []peer.Extent
	length int64 // of the parts together
}

func (b *block) first() int64 { return b.parts[0].Offset }

// end is where the block's last part ends in the file.
func (b *block) end() int64 {
	last := b.parts[len(b.parts)-1]
	return last.Offset + last.Length
}

// cut makes blocks of extents.
func cut(extents []peer.Extent, size int64, parts int) []block {
	var out []block
	var b block
	flush := func() {
		if b.length > 0 {
			out = append(out, b)
		}
		b = block{}
	}
	for _, x := range extents {
		for x.Length > 0 {
			n := min(x.Length, size-b.length)
			b.parts = append(b.parts, peer.Extent{Offset: x.Offset, Length: n})
			b.length += n
			x.Offset, x.Length = x.Offset+n, x.Length-n
			if b.length == size || len(b.parts) == parts {
				flush()
			}
		}
	}
	flush()
	return out
}

// remoteFile is a sparse file on another node. It is meant to be read once, from its beginning to its end, and fetches
// ahead of its reader; any other order works as well, slowly. It is safe for concurrent use.
type remoteFile struct {
	ctx    context.Context // of the copy that it is a part of; io.ReaderAt has no other way to it
	size   int64
	blocks []block
	fetch  fetchFunc

	mu     sync.Mutex
	ahead  *pipeline // nil: nothing was read yet
	closed bool
}

func newRemoteFile(ctx context.Context, size int64, extents []peer.Extent, fetch fetchFunc) *remoteFile {
	return &remoteFile{ctx: ctx, size: size, blocks: cut(extents, blockBytes, blockParts), fetch: fetch}
}

// ReadAt implements io.ReaderAt.
func (f *remoteFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if off < 0 || f.closed {
		return 0, errors.New("read a disk before its beginning, or after its end")
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= f.size {
			return n, io.EOF
		}
		rest := p[n:min(int64(len(p)), int64(n)+f.size-at)]
		got, err := f.some(rest, at)
		n += got
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// some reads at least one byte of p, which lies within the file.
func (f *remoteFile) some(p []byte, at int64) (int, error) {
	i := sort.Search(len(f.blocks), func(i int) bool { return f.blocks[i].end() > at })
	if i == len(f.blocks) {
		clear(p)
		return len(p), nil
	}
	b := &f.blocks[i]
	if hole := b.first() - at; hole > 0 {
		n := min(hole, int64(len(p)))
		clear(p[:n])
		return int(n), nil
	}
	data, err := f.load(i)
	if err != nil {
		return 0, err
	}
	for _, x := range b.parts {
		switch {
		case at < x.Offset: // between two parts
			n := min(x.Offset-at, int64(len(p)))
			clear(p[:n])
			return int(n), nil
		case at < x.Offset+x.Length:
			return copy(p, data[at-x.Offset:x.Length]), nil
		}
		data = data[x.Length:]
	}
	return 0, io.ErrUnexpectedEOF // never: at is before the end of the last part
}

// load gives the data of a block, which is good until the next call.
func (f *remoteFile) load(i int) ([]byte, error) {
	if f.ahead == nil || i < f.ahead.at {
		f.stop()
		f.ahead = newPipeline(f.ctx, f.blocks[i:], i, f.fetch)
	}
	return f.ahead.until(i)
}

func (f *remoteFile) stop() {
	if f.ahead != nil {
		f.ahead.close()
		f.ahead = nil
	}
}

// Close ends what is on its way.
func (f *remoteFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stop()
	f.closed = true
	return nil
}

// pipeline fetches blocks ahead and gives them in order. It has one user.
type pipeline struct {
	cancel context.CancelFunc
	slots  chan *slot // in order
	free   chan []byte
	wg     sync.WaitGroup

	at      int // index of the block that current holds, or will hold next
	current *slot
}

// slot is a block on its way.
type slot struct {
	data []byte
	err  error
	done chan struct{}
}

func newPipeline(ctx context.Context, blocks []block, first int, fetch fetchFunc) *pipeline {
	ctx, cancel := context.WithCancel(ctx)
	p := &pipeline{cancel: cancel, slots: make(chan *slot, blocksAhead), free: make(chan []byte, blocksAhead+1), at: first}
	for range blocksAhead + 1 { // one more, which the reader holds
		p.free <- nil
	}
	largest := int64(0)
	for i := range blocks {
		largest = max(largest, blocks[i].length)
	}
	p.wg.Go(func() {
		defer close(p.slots)
		for i := range blocks {
			var buffer []byte
			select {
			case buffer = <-p.free:
			case <-ctx.Done():
				return
			}
			if buffer == nil {
				buffer = make([]byte, largest)
			}
			s := &slot{data: buffer[:blocks[i].length], done: make(chan struct{})}
			p.wg.Go(func() {
				defer close(s.done)
				s.err = fetch(ctx, blocks[i].parts, s.data)
			})
			select {
			case p.slots <- s:
			case <-ctx.Done():
				return
			}
		}
	})
	return p
}

// until gives the data of the block i, which is not before the last one asked for.
func (p *pipeline) until(i int) ([]byte, error) {
	for p.current == nil || p.at < i {
		if p.current != nil {
			p.free <- p.current.data[:cap(p.current.data)] // there is room: it came from there
			p.current = nil
			p.at++
		}
		s, ok := <-p.slots
		if !ok {
			return nil, context.Canceled
		}
		<-s.done
		p.current = s
	}
	return p.current.data, p.current.err
}

// close ends what is on its way and waits for it.
func (p *pipeline) close() {
	p.cancel()
	p.wg.Wait()
}
