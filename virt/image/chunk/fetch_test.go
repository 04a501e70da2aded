package chunk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt/image/chunk"
)

// source is a peer that can be made to misbehave.
type source struct {
	*chunk.Store
	spoil func(h cluster.Hash, data []byte) (io.Reader, error)
	asked atomic.Int64
}

func (s *source) Chunk(ctx context.Context, h cluster.Hash) (io.ReadCloser, error) {
	s.asked.Add(1)
	data, err := s.Get(h)
	if err != nil {
		return nil, err
	}
	if s.spoil == nil {
		return io.NopCloser(bytes.NewReader(data)), nil
	}
	r, err := s.spoil(h, data)
	return io.NopCloser(r), err
}

// A node fetches from three peers: one lies, one is broken, and one is good. It must get the image, and turn to
// the good one before long.
func TestFetch_LiarsAndBrokenPeersAreWorkedAround(t *testing.T) {
	from, _ := open(t)
	data := append(noise(1, 20*chunk.Size+5), make([]byte, chunk.Size)...)
	root := store(t, from, data).Root
	good := &source{Store: from}
	liar := &source{Store: from, spoil: func(_ cluster.Hash, data []byte) (io.Reader, error) {
		data[len(data)-1] ^= 1
		return bytes.NewReader(data), nil
	}}
	broken := &source{Store: from, spoil: func(_ cluster.Hash, data []byte) (io.Reader, error) {
		return io.MultiReader(bytes.NewReader(data[:10]), broken{errors.New("reset")}), nil
	}}
	endless := &source{Store: from, spoil: func(cluster.Hash, []byte) (io.Reader, error) {
		return endlessReader{}, nil
	}}

	to, _ := open(t)
	var mu sync.Mutex
	var last chunk.Progress
	err := to.Fetch(t.Context(), root, []chunk.Source{liar, broken, endless, good}, func(p chunk.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Done < last.Done || p.Total != int64(len(data)) {
			t.Errorf("progress %+v after %+v", p, last)
		}
		last = p
	})
	if err != nil {
		t.Fatal(err)
	}
	if last.Done != last.Total {
		t.Errorf("progress ended at %+v", last)
	}
	if !bytes.Equal(load(t, to, root), data) {
		t.Error("it is another image")
	}
	if n := liar.asked.Load() + broken.asked.Load() + endless.asked.Load(); n > 30 {
		t.Errorf("the bad peers were asked %d times", n)
	}
}

type endlessReader struct{}

func (endlessReader) Read(p []byte) (int, error) { return len(p), nil }

// Each of two peers has only half of the image.
func TestFetch_FromPeersThatHaveHalfEach(t *testing.T) {
	from, _ := open(t)
	data := noise(1, 6*chunk.Size)
	r := store(t, from, data)
	half := func(odd int) *source {
		return &source{Store: from, spoil: func(h cluster.Hash, data []byte) (io.Reader, error) {
			for i, c := range r.Manifest.Chunks {
				if c == h && i%2 != odd {
					return nil, chunk.ErrMissing
				}
			}
			return bytes.NewReader(data), nil
		}}
	}
	to, _ := open(t)
	if err := to.Fetch(t.Context(), r.Root, []chunk.Source{half(0), half(1)}, nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(load(t, to, r.Root), data) {
		t.Error("it is another image")
	}
}

// The peers go away in the middle. What came stays, is not taken for an image, and is not fetched twice.
func TestFetch_ContinuesWhereItStopped(t *testing.T) {
	from, _ := open(t)
	data := noise(1, 12*chunk.Size)
	root := store(t, from, data).Root
	var served atomic.Int64
	dying := &source{Store: from, spoil: func(_ cluster.Hash, data []byte) (io.Reader, error) {
		if served.Add(1) > 6 {
			return nil, errors.New("gone")
		}
		return bytes.NewReader(data), nil
	}}
	to, _ := open(t)
	err := to.Fetch(t.Context(), root, []chunk.Source{dying}, nil)
	if err == nil || !errors.Is(err, chunk.ErrMissing) {
		t.Fatalf("from a dying peer: %v", err)
	}
	if to.Complete(root) {
		t.Fatal("half an image is complete")
	}
	good := &source{Store: from}
	if err := to.Fetch(t.Context(), root, []chunk.Source{good}, nil); err != nil {
		t.Fatal(err)
	}
	if n := good.asked.Load(); n > 8 {
		t.Errorf("%d chunks were fetched again", n)
	}
	if !bytes.Equal(load(t, to, root), data) {
		t.Error("it is another image")
	}
	if err := to.Fetch(t.Context(), root, nil, nil); err != nil {
		t.Errorf("fetch of what is here, from nobody: %v", err)
	}
}

// After a chunk rotted, a fetch brings just that one.
func TestFetch_MendsWhatRotted(t *testing.T) {
	from, _ := open(t)
	data := noise(1, 3*chunk.Size)
	r := store(t, from, data)
	to, dir := open(t)
	if err := to.Fetch(t.Context(), r.Root, []chunk.Source{from}, nil); err != nil {
		t.Fatal(err)
	}
	flip(t, chunkFile(dir, r.Manifest.Chunks[1]))
	if _, err := to.Materialize(t.Context(), r.Root, "raw"); !errors.Is(err, chunk.ErrMissing) {
		t.Fatalf("materialize: %v", err)
	}
	counting := &source{Store: from}
	if err := to.Fetch(t.Context(), r.Root, []chunk.Source{counting}, nil); err != nil {
		t.Fatal(err)
	}
	if n := counting.asked.Load(); n != 1 {
		t.Errorf("asked for %d chunks", n)
	}
	path, err := to.Materialize(t.Context(), r.Root, "raw")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
		t.Error("the file is not the image")
	}
}

// Ten guests of one image start on a node that does not have it: it comes once.
func TestFetch_ManyAtOnceFetchOnce(t *testing.T) {
	from, _ := open(t)
	root := store(t, from, noise(1, 4*chunk.Size)).Root
	counting := &source{Store: from}
	to, _ := open(t)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := to.Fetch(t.Context(), root, []chunk.Source{counting}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := counting.asked.Load(); n != 5 {
		t.Errorf("asked for %d chunks, want four and the manifest", n)
	}
}

func TestFetch_CancelledReturnsSoon(t *testing.T) {
	from, _ := open(t)
	root := store(t, from, noise(1, 4*chunk.Size)).Root
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	to, _ := open(t)
	began := time.Now()
	err := to.Fetch(ctx, root, []chunk.Source{hanging{from}}, nil)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// One of two peers takes every question and never answers. It costs one wait for all chunks together, not one
// for each, and the image comes from the other.
func TestFetch_HangingPeerCostsOneWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, _ := open(t)
		data := noise(1, 12*chunk.Size)
		root := store(t, from, data).Root
		to, _ := open(t)
		began := time.Now()
		if err := to.Fetch(t.Context(), root, []chunk.Source{hanging{from}, from}, nil); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("took %v", took)
		}
		if !bytes.Equal(load(t, to, root), data) {
			t.Error("it is another image")
		}
	})
}

// hanging gives the manifest and then nothing.
type hanging struct{ *chunk.Store }

func (s hanging) Chunk(ctx context.Context, h cluster.Hash) (io.ReadCloser, error) {
	if data, err := s.Get(h); err == nil && strings.HasPrefix(string(data), "KNMANIF1") {
		return io.NopCloser(bytes.NewReader(data)), nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// What a peer calls the manifest has the right hash and is none, since the root was never that of an image.
func TestFetch_RootThatIsNoImage(t *testing.T) {
	from, _ := open(t)
	chunkOnly := store(t, from, noise(1, 100)).Manifest.Chunks[0]
	to, dir := open(t)
	if err := to.Fetch(t.Context(), chunkOnly, []chunk.Source{from}, nil); err == nil {
		t.Error("fetched")
	}
	if err := to.Fetch(t.Context(), cluster.Hash{9}, []chunk.Source{from}, nil); !errors.Is(err, chunk.ErrMissing) {
		t.Errorf("unknown root: %v", err)
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}
