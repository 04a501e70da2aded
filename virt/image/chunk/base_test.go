package chunk_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/kilonova/kilonova/virt/image/chunk"
)

// Many guests of one image start at once. The file is made once, whole, and nobody may write to it.
func TestMaterialize_OnceForMany(t *testing.T) {
	s, dir := open(t)
	data := append(noise(1, chunk.Size+70000), make([]byte, 3*chunk.Size)...)
	data = append(data, 1)
	r := store(t, s, data)
	var all sync.WaitGroup
	var mu sync.Mutex
	paths := map[string]bool{}
	for range 6 {
		all.Go(func() {
			path, err := s.Materialize(t.Context(), r.Root, "raw")
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			paths[path] = true
		})
	}
	all.Wait()
	want := filepath.Join(dir, "base", r.Root.String()+".raw")
	if len(paths) != 1 || !paths[want] {
		t.Fatalf("paths %v", paths)
	}
	got, err := os.ReadFile(want)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file is not the image: %v", err)
	}
	info, err := os.Stat(want)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o444 {
		t.Errorf("mode %v", info.Mode())
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Blocks*512 > 2*chunk.Size {
		t.Errorf("it takes %d bytes on disk: not sparse", st.Blocks*512)
	}
	if left := files(t, filepath.Join(dir, "base")); len(left) != 1 {
		t.Errorf("left over: %v", left)
	}
}

// A power cut left an empty file under the name. It must be made anew, not used.
func TestMaterialize_ReplacesAFileOfTheWrongSize(t *testing.T) {
	s, dir := open(t)
	data := noise(1, 1000)
	r := store(t, s, data)
	path := filepath.Join(dir, "base", r.Root.String()+".qcow2")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Materialize(t.Context(), r.Root, "qcow2"); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
		t.Error("the file is not the image")
	}
}

func TestMaterialize_FailureLeavesNothing(t *testing.T) {
	s, dir := open(t)
	r := store(t, s, noise(1, 2*chunk.Size))
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := s.Materialize(stopped, r.Root, "raw"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, format := range []string{"", "../x", "a/b", "RAW", strings.Repeat("x", 99)} {
		if _, err := s.Materialize(t.Context(), r.Root, format); err == nil {
			t.Errorf("format %q was taken", format)
		}
	}
	flip(t, chunkFile(dir, r.Manifest.Chunks[1]))
	if _, err := s.Materialize(t.Context(), r.Root, "raw"); !errors.Is(err, chunk.ErrMissing) {
		t.Errorf("rotten chunk: %v", err)
	}
	if left := files(t, filepath.Join(dir, "base")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}
