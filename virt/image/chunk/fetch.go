package chunk

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"golang.org/x/sync/errgroup"
)

// Source is a peer that may have chunks. A Store is one, too.
type Source interface {
	// Chunk gives the bytes of a chunk or a manifest. They are not trusted. An error means that another
	// source is asked. The call, and reading what it gave, end when ctx does.
	Chunk(ctx context.Context, h cluster.Hash) (io.ReadCloser, error)
}

// How a fetch goes about it.
const (
	fetchWorkers = 8                // chunks under way at once
	fetchRounds  = 2                // times that each source is asked for a chunk
	fetchAttempt = 30 * time.Second // for one chunk from one source
)

// Progress is how far a fetch is, in bytes of the image.
type Progress struct {
	Done, Total int64
}

// Fetch brings the image with this root here: first its manifest, then the chunks that are missing, from
// several sources at once. A source that errs, hangs or gives wrong bytes is asked last from then on. When it
// returns without an error, the image is on disk. After an error, what came stays for a while, so that the
// next attempt continues; only a full disk is cleared at once.
//
// progress may be nil; its calls do not overlap. Fetches of the same root take turns.
func (s *Store) Fetch(ctx context.Context, root cluster.Hash, sources []Source, progress func(Progress)) error {
	done, err := s.turns.take(ctx, "fetch "+root.String())
	if err != nil {
		return fmt.Errorf("fetch image %s: %w", root, err)
	}
	defer done()
	f := &fetch{s: s, hold: newHold(), peers: make([]peer, len(sources)), report: progress, dirs: make(map[string]bool)}
	for i, source := range sources {
		f.peers[i].source = source
	}
	err = f.run(ctx, root)
	if err := errors.Join(err, s.release(f.hold, !errors.Is(err, ErrFull))); err != nil {
		return fmt.Errorf("fetch image %s: %w", root, err)
	}
	return nil
}

// fetch is one call of Fetch.
type fetch struct {
	s      *Store
	hold   *hold
	peers  []peer
	report func(Progress)

	mu       sync.Mutex
	progress Progress
	dirs     map[string]bool // directories that got a new name and are not synced
}

type peer struct {
	source Source
	faults atomic.Int64
}

func (f *fetch) run(ctx context.Context, root cluster.Hash) error {
	encoded, err := f.manifest(ctx, root)
	if err != nil {
		return err
	}
	m, err := ParseManifest(encoded)
	if err != nil {
		return err
	}
	f.progress.Total = m.Size
	if err := f.chunks(ctx, m); err != nil {
		return err
	}
	for dir := range f.dirs {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	// The manifest comes last: where it is, its chunks are.
	if err := f.s.put(f.hold, root, encoded); err != nil {
		return err
	}
	return syncDir(filepath.Dir(f.s.path(root)))
}

func (f *fetch) manifest(ctx context.Context, root cluster.Hash) ([]byte, error) {
	if f.s.claim(f.hold, root) {
		if b, err := f.s.Get(root); err == nil {
			return b, nil
		}
	}
	return f.get(ctx, root, maxManifest, 0)
}

// chunks brings the chunks that are not here.
func (f *fetch) chunks(ctx context.Context, m Manifest) error {
	group, each := errgroup.WithContext(ctx)
	group.SetLimit(fetchWorkers)
	share := make(map[cluster.Hash]int64) // bytes of the image, by chunk
	for i, h := range m.Chunks {
		share[h] += int64(m.Length(i))
	}
	asked := make(map[cluster.Hash]bool)
	for i, h := range m.Chunks {
		if asked[h] {
			continue
		}
		asked[h] = true
		if h.IsZero() || f.s.claim(f.hold, h) {
			f.came(h, share[h])
			continue
		}
		if each.Err() != nil {
			break
		}
		group.Go(func() error {
			data, err := f.get(each, h, m.Length(i), i)
			if err == nil {
				err = f.s.put(f.hold, h, data)
			}
			if err == nil {
				f.came(h, share[h])
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// came counts a chunk that is here.
func (f *fetch) came(h cluster.Hash, bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !h.IsZero() {
		f.dirs[filepath.Dir(f.s.path(h))] = true
	}
	f.progress.Done += bytes
	if f.report != nil {
		f.report(f.progress)
	}
}

// get asks one source after the other for bytes that have the given hash, at most max of them.
func (f *fetch) get(ctx context.Context, h cluster.Hash, max, turn int) ([]byte, error) {
	var errs []error
	for range fetchRounds {
		errs = errs[:0]
		for _, p := range f.order(turn) {
			data, err := f.ask(ctx, p.source, h, max)
			if err == nil {
				return data, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			p.faults.Add(1)
			errs = append(errs, err)
		}
	}
	return nil, fmt.Errorf("chunk %s came from none of %d peers: %w", h, len(f.peers), errors.Join(append(errs, ErrMissing)...))
}

// order gives the sources, the ones with fewest faults first, and among equals another one first each turn.
func (f *fetch) order(turn int) []*peer {
	type ranked struct {
		p      *peer
		faults int64
	}
	all := make([]ranked, len(f.peers))
	for i := range all {
		p := &f.peers[(i+turn)%len(f.peers)]
		all[i] = ranked{p, p.faults.Load()}
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(a.faults, b.faults) })
	order := make([]*peer, len(all))
	for i := range all {
		order[i] = all[i].p
	}
	return order
}

func (f *fetch) ask(ctx context.Context, source Source, h cluster.Hash, max int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, f.s.attempt)
	defer cancel()
	r, err := source.Chunk(ctx, h)
	if err != nil {
		return nil, err
	}
	data := bytes.NewBuffer(make([]byte, 0, max+bytes.MinRead))
	_, err = data.ReadFrom(io.LimitReader(r, int64(max)+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if data.Len() > max || sha256.Sum256(data.Bytes()) != h {
		return nil, ErrCorrupt
	}
	return data.Bytes(), nil
}
