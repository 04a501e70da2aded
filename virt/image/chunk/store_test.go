package chunk_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt/image/chunk"
)

// openAt opens the store below dir for the time of the test.
func openAt(t *testing.T, dir string) *chunk.Store {
	t.Helper()
	s, err := chunk.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // some tests close it themselves
	return s
}

func open(t *testing.T) (s *chunk.Store, dir string) {
	t.Helper()
	dir = t.TempDir()
	return openAt(t, dir), dir
}

// noise gives bytes that are the same for the same seed.
func noise(seed byte, n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data) // never fails
	return data
}

func store(t *testing.T, s *chunk.Store, data []byte) chunk.Result {
	t.Helper()
	r, err := s.Import(t.Context(), bytes.NewReader(data), int64(len(data)), 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func load(t *testing.T, s *chunk.Store, root cluster.Hash) []byte {
	t.Helper()
	r, err := s.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// files lists the regular files below dir, but for the lock.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "lock" {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// chunkFile gives the file of a chunk.
func chunkFile(dir string, h cluster.Hash) string {
	return filepath.Join(dir, "images", "chunks", h.String()[:2], h.String())
}

// flip changes one bit of a file, as an ageing disk does.
func flip(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 0x10
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What goes in comes out, at every length around the edges of a chunk, with the sums that Glance shows.
func TestImport_ComesOutAsItWentIn(t *testing.T) {
	s, _ := open(t)
	for _, n := range []int{0, 1, chunk.Size - 1, chunk.Size, chunk.Size + 1, 3*chunk.Size + 7} {
		data := noise(1, n)
		r := store(t, s, data)
		if got := load(t, s, r.Root); !bytes.Equal(got, data) {
			t.Errorf("%d bytes came out as %d others", n, len(got))
		}
		m, sum, sum512 := md5.Sum(data), sha256.Sum256(data), sha512.Sum512(data)
		if r.MD5 != hex.EncodeToString(m[:]) || r.SHA256 != hex.EncodeToString(sum[:]) || r.SHA512 != hex.EncodeToString(sum512[:]) {
			t.Errorf("%d bytes: wrong sums %+v", n, r)
		}
		if !s.Complete(r.Root) || r.Manifest.Size != int64(n) {
			t.Errorf("%d bytes: not complete or of another size: %+v", n, r.Manifest)
		}
	}
}

// Two images with a common part share it, and zeros take no room.
func TestImport_StoresTheSameOnceAndZerosNever(t *testing.T) {
	s, dir := open(t)
	common := noise(1, chunk.Size)
	zeros := make([]byte, 2*chunk.Size+5)
	a := store(t, s, append(append([]byte{}, common...), zeros...))
	b := store(t, s, append(append([]byte{}, common...), noise(2, 10)...))
	if got := len(files(t, filepath.Join(dir, "images", "chunks"))); got != 4 {
		t.Errorf("%d files, want two chunks and two manifests", got)
	}
	if !bytes.Equal(load(t, s, a.Root)[chunk.Size:], zeros) {
		t.Error("zeros did not come out as zeros")
	}
	if a.Manifest.Chunks[0] != b.Manifest.Chunks[0] || !a.Manifest.Chunks[3].IsZero() {
		t.Errorf("chunks %v and %v", a.Manifest.Chunks, b.Manifest.Chunks)
	}
}

// A client goes away in the middle of an upload, sends less than it said, or more than it may. Nothing of it
// is left, and what was there before stays.
func TestImport_BrokenUploadLeavesNothing(t *testing.T) {
	s, dir := open(t)
	data := noise(1, 2*chunk.Size+100)
	kept := store(t, s, data[:chunk.Size])
	before := fmt.Sprint(files(t, dir))
	gone := errors.New("connection reset")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, c := range []struct {
		name      string
		ctx       context.Context
		body      io.Reader
		size, max int64
		want      error
	}{
		{"cut off", t.Context(), io.MultiReader(bytes.NewReader(data), broken{gone}), -1, 0, gone},
		{"truncated", t.Context(), bytes.NewReader(data), int64(len(data)) + 1, 0, chunk.ErrTruncated},
		{"longer than said", t.Context(), bytes.NewReader(data), int64(len(data)) - 1, 0, chunk.ErrTooLarge},
		{"too large", t.Context(), bytes.NewReader(data), -1, 2 * chunk.Size, chunk.ErrTooLarge},
		{"said to be empty", t.Context(), bytes.NewReader(data), 0, 0, chunk.ErrTooLarge},
		{"cancelled", stopped, bytes.NewReader(data), -1, 0, context.Canceled},
	} {
		if _, err := s.Import(c.ctx, c.body, c.size, c.max); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if after := fmt.Sprint(files(t, dir)); after != before {
			t.Errorf("%s: left %v", c.name, after)
		}
	}
	if !bytes.Equal(load(t, s, kept.Root), data[:chunk.Size]) {
		t.Error("the image that was there was harmed")
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// Two uploads of the same image at once; one succeeds, the other is aborted after it made some of the chunks
// that they share. The one that succeeded must be whole.
func TestWriter_AbortSparesWhatAnotherReliesOn(t *testing.T) {
	s, dir := open(t)
	data := noise(1, 2*chunk.Size)
	loser := s.NewWriter(0)
	if _, err := loser.Write(data); err != nil { // it makes both chunks
		t.Fatal(err)
	}
	winner := store(t, s, data) // and finds them there
	if err := errors.Join(loser.Abort(), loser.Abort()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(load(t, s, winner.Root), data) {
		t.Error("the image lost its chunks")
	}
	if _, err := loser.Write(data); err == nil {
		t.Error("wrote after Abort")
	}
	if _, err := loser.Commit(); err == nil {
		t.Error("committed after Abort")
	}
	if got := len(files(t, dir)); got != 3 {
		t.Errorf("%d files", got)
	}
}

func TestImport_ManyOfTheSameAtOnce(t *testing.T) {
	s, dir := open(t)
	data := noise(1, chunk.Size+1)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			size := int64(len(data))
			if i%2 == 1 {
				size++ // this one is truncated, and takes back what it made
			}
			if _, err := s.Import(t.Context(), bytes.NewReader(data), size, 0); (err == nil) != (i%2 == 0) {
				t.Errorf("import %d: %v", i, err)
			}
		})
	}
	all.Wait()
	r := store(t, s, data)
	if !bytes.Equal(load(t, s, r.Root), data) {
		t.Error("the image is not whole")
	}
	if got := len(files(t, dir)); got != 3 {
		t.Errorf("%d files: %v", got, files(t, dir))
	}
}

// A bit flips on the disk. The chunk must not be read as if it were right; it is set aside, reported as
// missing, and mended when it is stored again.
func TestGet_FlippedBitIsFoundAndMended(t *testing.T) {
	s, dir := open(t)
	data := noise(1, 2*chunk.Size)
	r := store(t, s, data)
	bad := r.Manifest.Chunks[1]
	flip(t, chunkFile(dir, bad))

	image, err := s.Open(r.Root)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, image); !errors.Is(err, chunk.ErrMissing) || !errors.Is(err, chunk.ErrCorrupt) || n > chunk.Size {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	if missing := s.Missing(r.Manifest); len(missing) != 1 || missing[0] != bad {
		t.Fatalf("missing %v", missing)
	}
	if set, _ := os.ReadDir(filepath.Join(dir, "images", "quarantine")); len(set) != 1 {
		t.Errorf("%d files in quarantine", len(set))
	}
	if err := s.Put(bad, data[chunk.Size:]); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(load(t, s, r.Root), data) {
		t.Error("not mended")
	}
	if set, _ := os.ReadDir(filepath.Join(dir, "images", "quarantine")); len(set) != 0 {
		t.Errorf("%d files still in quarantine", len(set))
	}
}

// The same image is uploaded again after a chunk rotted unseen. The upload must not rely on the rotten one.
func TestImport_MendsWhatRotted(t *testing.T) {
	s, dir := open(t)
	data := noise(1, chunk.Size)
	r := store(t, s, data)
	flip(t, chunkFile(dir, r.Manifest.Chunks[0]))
	flip(t, chunkFile(dir, r.Root))
	if again := store(t, s, data); again.Root != r.Root || !bytes.Equal(load(t, s, r.Root), data) {
		t.Error("not mended")
	}
}

func TestPut_WrongBytesAreRefused(t *testing.T) {
	s, dir := open(t)
	h := cluster.Hash(sha256.Sum256([]byte("right")))
	if err := s.Put(h, []byte("wrong")); !errors.Is(err, chunk.ErrCorrupt) {
		t.Errorf("%v", err)
	}
	if s.Has(h) || len(files(t, dir)) != 0 {
		t.Error("something was stored")
	}
	if err := errors.Join(s.Put(h, []byte("right")), s.Put(h, []byte("right"))); err != nil {
		t.Error(err)
	}
	if _, err := s.Get(cluster.Hash{1}); !errors.Is(err, chunk.ErrMissing) {
		t.Errorf("get of nothing: %v", err)
	}
}

// A user uploads bytes that happen to be a manifest which lists something shorter or longer than it says.
func TestOpen_ManifestThatLiesAboutALengthIsAnError(t *testing.T) {
	s, _ := open(t)
	short := []byte("short")
	h := cluster.Hash(sha256.Sum256(short))
	m := chunk.Manifest{Size: chunk.Size, Chunks: []cluster.Hash{h}}
	if err := errors.Join(s.Put(h, short), s.Put(m.Root(), m.Encode())); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(m.Root())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, chunk.ErrCorrupt) {
		t.Errorf("%v", err)
	}
	if _, err := s.Open(h); err == nil {
		t.Error("a chunk was opened as an image")
	}
}

// Two processes on one store would sweep each other's chunks.
func TestOpenStore_OnlyOneAtATime(t *testing.T) {
	s, dir := open(t)
	if other, err := chunk.OpenStore(dir); err == nil {
		t.Fatal("opened twice", other.Close())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := chunk.OpenStore(dir); err != nil {
		t.Fatal(err)
	}
}

func TestReader_ReadsAnywhereFromManyAtOnce(t *testing.T) {
	s, _ := open(t)
	data := noise(1, 3*chunk.Size+9)
	r, err := s.Open(store(t, s, data).Root)
	if err != nil {
		t.Fatal(err)
	}
	if r.Size() != int64(len(data)) {
		t.Errorf("size %d", r.Size())
	}
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(i), 0))
			for range 50 {
				off := dice.IntN(len(data))
				p := make([]byte, dice.IntN(chunk.Size+1000))
				n, err := r.ReadAt(p, int64(off))
				if !bytes.Equal(p[:n], data[off:off+n]) || n < len(p) && err != io.EOF {
					t.Errorf("%d bytes at %d: %d, %v", len(p), off, n, err)
				}
			}
		})
	}
	all.Wait()
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte{})
	f.Add(chunk.Manifest{}.Encode())
	f.Add(chunk.Manifest{Size: 5, Chunks: make([]cluster.Hash, 1)}.Encode())
	f.Add(chunk.Manifest{Size: chunk.Size + 1, Chunks: []cluster.Hash{{1}, {2}}}.Encode())
	f.Add([]byte("KNMANIF1" + strings.Repeat("\xff", 8)))
	f.Add(append(chunk.Manifest{Size: 5, Chunks: make([]cluster.Hash, 1)}.Encode(), 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := chunk.ParseManifest(b)
		if err == nil && !bytes.Equal(m.Encode(), b) {
			t.Error("two encodings of one manifest")
		}
		for i := range m.Chunks {
			if n := m.Length(i); n <= 0 || n > chunk.Size {
				t.Errorf("chunk %d of %d bytes", i, n)
			}
		}
	})
}

// The root of an image is in the replicated state: the encoding must never change.
func TestManifest_RootIsFixed(t *testing.T) {
	m := chunk.Manifest{Size: chunk.Size + 1, Chunks: []cluster.Hash{{1}, {2}}}
	const want = "e35a2481351f6e89e338f9a240ccf25466f6f40fe9aa578f5e36f1d6a4211b64"
	if got := m.Root().String(); got != want {
		t.Errorf("root %s, want %s", got, want)
	}
}
