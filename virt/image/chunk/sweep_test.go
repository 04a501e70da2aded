package chunk_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt/image/chunk"
)

// age makes every file below dir two hours old.
func age(t *testing.T, dir string) {
	t.Helper()
	old := time.Now().Add(-2 * time.Hour)
	for _, path := range files(t, dir) {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
}

func sweep(t *testing.T, s *chunk.Store, roots ...cluster.Hash) chunk.Swept {
	t.Helper()
	swept, err := s.Sweep(t.Context(), roots, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return swept
}

// An image was deleted. Its own chunks go, those that it shares stay, and so does what is younger than the
// grace time or is no chunk at all.
func TestSweep_RemovesOnlyTheOldAndUnreachable(t *testing.T) {
	s, dir := open(t)
	shared := noise(1, chunk.Size)
	kept := store(t, s, shared)
	gone := store(t, s, append(append([]byte{}, shared...), noise(2, 100)...))
	stranger := filepath.Join(dir, "images", "chunks", "00", "notes.txt")
	if err := os.WriteFile(stranger, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if swept := sweep(t, s, kept.Root); swept.Files != 0 {
		t.Errorf("removed %d young files", swept.Files)
	}
	age(t, dir)
	young := store(t, s, noise(3, 10))
	if swept := sweep(t, s, kept.Root, cluster.Hash{7}); swept.Files != 2 || swept.Bytes < 100 {
		t.Errorf("removed %+v, want one chunk and one manifest", swept)
	}
	if !s.Complete(kept.Root) || !s.Complete(young.Root) || s.Complete(gone.Root) {
		t.Error("the wrong image went")
	}
	if _, err := os.Stat(stranger); err != nil {
		t.Error(err)
	}
}

// An upload takes longer than the grace time, and relies on chunks that were there before and belong to no
// image any more. None of them may go, neither before its end nor right after.
func TestSweep_SparesWhatIsBeingWritten(t *testing.T) {
	s, dir := open(t)
	data := noise(1, 2*chunk.Size)
	store(t, s, data[:chunk.Size])
	age(t, dir)
	w := s.NewWriter(0)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	age(t, dir)
	sweep(t, s)
	r, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	sweep(t, s)
	if !bytes.Equal(load(t, s, r.Root), data) {
		t.Error("the image lost its chunks")
	}
}

// The manifest of a wanted image rotted. Which chunks it has cannot be told, so none may go, neither at once
// nor at the next sweep, until it is mended.
func TestSweep_RottenManifestStopsIt(t *testing.T) {
	s, dir := open(t)
	data := noise(1, 100)
	r := store(t, s, data)
	flip(t, chunkFile(dir, r.Root))
	age(t, dir)
	for range 2 {
		if swept, err := s.Sweep(t.Context(), []cluster.Hash{r.Root}, time.Hour); err == nil || swept.Files > 0 {
			t.Fatalf("swept %+v, %v", swept, err)
		}
	}
	if err := s.Put(r.Root, r.Manifest.Encode()); err != nil {
		t.Fatal(err)
	}
	if swept := sweep(t, s, r.Root); swept.Files != 0 {
		t.Errorf("swept %+v", swept)
	}
	if !bytes.Equal(load(t, s, r.Root), data) {
		t.Error("the image is not whole")
	}
}

// A base file is the ground of guests' disks: only an old one of no kept image goes.
func TestSweepBases_KeepsWhatDisksLieOn(t *testing.T) {
	s, dir := open(t)
	var paths []string
	var roots []cluster.Hash
	for seed := range byte(2) {
		r := store(t, s, noise(seed, 100))
		path, err := s.Materialize(t.Context(), r.Root, "raw")
		if err != nil {
			t.Fatal(err)
		}
		paths, roots = append(paths, path), append(roots, r.Root)
	}
	base := filepath.Join(dir, "base")
	if err := os.WriteFile(filepath.Join(base, "mine.raw"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if swept, err := s.SweepBases(t.Context(), nil, time.Hour); err != nil || swept.Files != 0 {
		t.Fatalf("removed young files: %+v, %v", swept, err)
	}
	age(t, base)
	if swept, err := s.SweepBases(t.Context(), roots[:1], time.Hour); err != nil || swept.Files != 1 {
		t.Fatalf("swept %+v, %v", swept, err)
	}
	if _, err := os.Stat(paths[0]); err != nil {
		t.Error(err)
	}
	if got := len(files(t, base)); got != 2 {
		t.Errorf("%d files left, want the kept one and the stranger", got)
	}
}
