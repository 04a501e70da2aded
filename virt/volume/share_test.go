package volume

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// openAs opens the store of a node of a cluster.
func openAs(t *testing.T, dataDir, shared, clusterID string) *Store {
	t.Helper()
	s, err := Open(dataDir, shared, clusterID)
	must(t, err)
	return s
}

func hasShare(t *testing.T, s *Store, want bool, why string) {
	t.Helper()
	err := s.ShareTrouble()
	if s.Shares() != want || (err == nil) != want || err != nil && !strings.Contains(err.Error(), why) {
		t.Errorf("it shares: %t, %v; want %t, %s", s.Shares(), err, want, why)
	}
	_, err = s.Path(Volume{ID: "v", Shared: true})
	if errors.Is(err, ErrNoShare) == want {
		t.Errorf("the path of a shared volume: %v", err)
	}
}

// All nodes of a cluster have its shared directory. One of another cluster is not used, nor touched.
func TestOpen_ASharedDirectoryIsOneClusters(t *testing.T) {
	dir := t.TempDir()
	hasShare(t, openAs(t, t.TempDir(), dir, "c1"), true, "")
	hasShare(t, openAs(t, t.TempDir(), dir, "c1"), true, "")
	stranger := t.TempDir()
	for range 2 {
		hasShare(t, openAs(t, stranger, dir, "c2"), false, `belongs to cluster "c1"`)
	}
	if s := openAs(t, t.TempDir(), "", "c1"); s.Shares() || s.ShareTrouble() != nil {
		t.Error("a node without such a directory shares, or is in trouble")
	}
	for _, path := range []string{"relative", dir + "/../x"} {
		if _, err := Open(t.TempDir(), path, "c1"); err == nil {
			t.Errorf("%s is taken", path)
		}
	}
	if _, err := Open(t.TempDir(), filepath.Join(dir, "none"), "c1"); err == nil {
		t.Error("a directory that is not there is taken")
	}
}

// A file system that is not mounted leaves an empty directory. A node that had it before does not take that for a new shared directory: not while
// it runs, nor when it starts again.
func TestOpen_AnUnmountedDirectoryIsNotANewOne(t *testing.T) {
	dir, data := t.TempDir(), t.TempDir()
	s := openAs(t, data, dir, "c1")
	must(t, os.Rename(filepath.Join(dir, marker), filepath.Join(dir, "away")))
	hasShare(t, s, false, "mounted")
	s = openAs(t, data, dir, "c1")
	hasShare(t, s, false, "mounted")
	must(t, os.Rename(filepath.Join(dir, "away"), filepath.Join(dir, marker)))
	hasShare(t, s, true, "")
	hasShare(t, openAs(t, data, t.TempDir(), "c1"), true, "") // another directory is a new one

	must(t, os.Remove(filepath.Join(dir, marker))) // its operator says that it is new, as the message tells
	must(t, os.WriteFile(filepath.Join(dir, marker), []byte("c1\n"), 0o644))
	hasShare(t, s, true, "")
}

// A cluster that was restored from another one takes its directory over, with what is in it, and the former's nodes notice. One that was restored from
// the same cluster a second time comes too late; so does whoever names a cluster that never had it.
func TestTakeOver_OneSuccessorGetsTheDirectory(t *testing.T) {
	dir := t.TempDir()
	former := openAs(t, t.TempDir(), dir, "c1")
	path, err := former.Path(Volume{ID: "v", Shared: true})
	must(t, err)
	must(t, os.Mkdir(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, []byte("bytes"), 0o600))

	a, b, late := openAs(t, t.TempDir(), dir, "c2"), openAs(t, t.TempDir(), dir, "c2"), openAs(t, t.TempDir(), dir, "c3")
	must(t, a.TakeOver("c0"))
	must(t, a.TakeOver("../c1"))
	hasShare(t, former, true, "")
	var all sync.WaitGroup
	for _, s := range []*Store{a, b, a, b} {
		all.Go(func() {
			if err := s.TakeOver("c1"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	hasShare(t, a, true, "")
	hasShare(t, b, true, "")
	hasShare(t, former, false, `belongs to cluster "c2"`)
	if got, err := a.Path(Volume{ID: "v", Shared: true}); err != nil || got != path {
		t.Errorf("the volume is at %s, %v", got, err)
	}
	begins(t, path, "bytes")
	must(t, late.TakeOver("c1"))
	hasShare(t, late, false, `belongs to cluster "c2"`)

	must(t, replace(filepath.Join(dir, marker), "c1\n")) // it looked just before the other was done
	if err := late.TakeOver("c1"); err == nil || !strings.Contains(err.Error(), `another one, "c2"`) {
		t.Errorf("two successors: %v", err)
	}
}

// A former cluster that died while it made its directory leaves only the mark. What took it over has a place for volumes all the same.
func TestTakeOver_OfADirectoryThatWasJustMarked(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, marker), []byte("c1\n"), 0o644))
	s := openAs(t, t.TempDir(), dir, "c2")
	must(t, s.TakeOver("c1"))
	must(t, s.Make(t.Context(), Volume{ID: "v", Shared: true}, Origin{}, mib))
}
