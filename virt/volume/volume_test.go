package volume

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kilonova/kilonova/virt/disk"
)

const mib = 1 << 20

func open(t *testing.T) *Store {
	t.Helper()
	for _, tool := range []string{"qemu-img", "prlimit"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	s, err := Open(t.TempDir(), t.TempDir(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write puts text at the beginning of a file, as a guest would.
func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(text)
	must(t, errors.Join(err, f.Close()))
}

func begins(t *testing.T, path, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	if !bytes.HasPrefix(b, []byte(text)) {
		t.Errorf("%s begins with %q", path, b[:min(len(b), 20)])
	}
}

// A volume is made, made again after a crash that nobody heard of, grown, copied, and the copy becomes another volume. No step loses what
// was written, and no file takes the room of its holes.
func TestStore_KeepsWhatWasWritten(t *testing.T) {
	s, ctx := open(t), t.Context()
	for _, shared := range []bool{false, true} {
		v := Volume{ID: "v", Shared: shared}
		must(t, s.Make(ctx, v, Origin{}, 8*mib))
		path, err := s.Path(v)
		must(t, err)
		write(t, path, "precious")
		must(t, s.Make(ctx, v, Origin{}, 8*mib))
		must(t, s.Grow(ctx, v, 16*mib))
		if n, err := s.Size(ctx, v); err != nil || n != 16*mib {
			t.Errorf("%d bytes, %v", n, err)
		}
		begins(t, path, "precious")
		n := Snapshot{ID: "n", Shared: shared, Format: "raw"}
		must(t, s.Snapshot(ctx, v, n))
		write(t, path, "changed!")
		must(t, s.Snapshot(ctx, v, n)) // again: it is as it was at the first time
		from, err := s.SnapshotPath(n)
		must(t, err)
		c := Volume{ID: "c", Shared: shared}
		must(t, s.Make(ctx, c, Origin{Path: from, Format: "raw"}, 24*mib))
		copied, _ := s.Path(c)
		begins(t, copied, "precious")
		info, err := os.Stat(copied)
		must(t, err)
		if taken := info.Sys().(*syscall.Stat_t).Blocks * 512; info.Size() != 24*mib || taken > mib {
			t.Errorf("%d bytes take %d", info.Size(), taken)
		}
		must(t, s.Remove(ctx, "v", shared, Tenure{}))
		must(t, s.Remove(ctx, "v", shared, Tenure{}))
		if _, err := s.Size(ctx, v); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a removed volume: %v", err)
		}
		begins(t, from, "precious")
	}
}

// An image becomes a volume: what it holds, at the size that was asked for.
func TestMake_FromAnImage(t *testing.T) {
	s, ctx := open(t), t.Context()
	raw := filepath.Join(t.TempDir(), "raw")
	must(t, os.WriteFile(raw, append([]byte("boot"), make([]byte, mib-4)...), 0o600))
	image := filepath.Join(t.TempDir(), "image")
	must(t, disk.Convert(ctx, raw, disk.Raw, image, disk.QCOW2))
	v := Volume{ID: "v"}
	must(t, s.Make(ctx, v, Origin{Path: image, Format: "qcow2"}, 4*mib))
	path, _ := s.Path(v)
	begins(t, path, "boot")
	out := filepath.Join(t.TempDir(), "out")
	must(t, s.Export(ctx, v, out, "qcow2"))
	if info, err := disk.Stat(ctx, out, disk.QCOW2); err != nil || info.VirtualSize != 4*mib {
		t.Errorf("got %+v, %v", info, err)
	}
}

// An encrypted volume is a LUKS container: none of what it holds can be read in the file, and it grows.
func TestMake_EncryptsWhatItHolds(t *testing.T) {
	s, ctx := open(t), t.Context()
	raw := filepath.Join(t.TempDir(), "raw")
	must(t, os.WriteFile(raw, bytes.Repeat([]byte("plain text "), mib/11), 0o600))
	must(t, os.Truncate(raw, mib))
	v := Volume{ID: "v", Secret: []byte("MDEyMzQ1Njc4OTAxMjM0NTY3ODk=")}
	must(t, s.Make(ctx, v, Origin{Path: raw, Format: "raw"}, 2*mib))
	path, _ := s.Path(v)
	b, err := os.ReadFile(path)
	must(t, err)
	if bytes.Contains(b, []byte("plain text")) || !bytes.HasPrefix(b, []byte("LUKS")) {
		t.Error("it is not encrypted")
	}
	must(t, s.Grow(ctx, v, 4*mib))
	c := Volume{ID: "c", Secret: v.Secret}
	must(t, s.Make(ctx, c, Origin{Path: path, Format: "raw", Encrypted: true}, 6*mib))
	if n, err := s.Size(ctx, c); err != nil || n != 6*mib {
		t.Errorf("%d bytes, %v", n, err)
	}
	e := Volume{ID: "e", Secret: v.Secret}
	must(t, s.Make(ctx, e, Origin{}, mib))
	if n, err := s.Size(ctx, e); err != nil || n != mib {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// Where a volume is has to be named by what can name a directory.
func TestPath_OfAnIDThatIsNoneIsRefused(t *testing.T) {
	s := open(t)
	for _, id := range []string{"", "..", "a/b"} {
		if _, err := s.Path(Volume{ID: id}); err == nil {
			t.Errorf("%q names a volume", id)
		}
	}
}

// A guest's disk is captured by its hypervisor. One that dies half-way leaves no snapshot.
func TestCapture_IsThereWhenItIsWhole(t *testing.T) {
	s := open(t)
	n := Snapshot{ID: "n", Format: "qcow2"}
	if err := s.Capture(t.Context(), n, func(path string) error {
		_ = os.WriteFile(path, []byte("half"), 0o600)
		return errors.New("died")
	}); err == nil {
		t.Error("a failure is not told")
	}
	path, _ := s.SnapshotPath(n)
	if _, err := os.Stat(path); err == nil {
		t.Error("half a snapshot is there")
	}
	calls := 0
	for range 2 {
		must(t, s.Capture(t.Context(), n, func(path string) error { calls++; return os.WriteFile(path, []byte("whole"), 0o600) }))
	}
	if begins(t, path, "whole"); calls != 1 {
		t.Errorf("captured %d times", calls)
	}
}

// Two nodes have the shared directory. One is given a volume to make, and is still at it when it falls silent; the other is given the same.
// Whoever is done first, the volume is whole, it is the new tender's, and the old one neither puts its own in its place nor grows nor
// removes it.
func TestTenure_OfTheOldTenderIsOver(t *testing.T) {
	s, ctx := open(t), t.Context()
	raw := filepath.Join(t.TempDir(), "raw")
	must(t, os.WriteFile(raw, append([]byte("image"), make([]byte, mib-5)...), 0o600))
	over := errors.New("it was given to another node")
	old := Tenure{Name: "a-1", Still: func(context.Context) error { return over }}
	v := Volume{ID: "v", Shared: true, By: Tenure{Name: "b-2", Still: func(context.Context) error { return nil }}}
	late := v
	late.By = old
	path, err := s.Path(v)
	must(t, err)
	if err := s.Make(ctx, late, Origin{Path: raw, Format: "raw"}, mib); !errors.Is(err, over) {
		t.Errorf("the old tender made it: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what the old tender made has a name: %v", err)
	}
	must(t, prepare(path)) // of an attempt that never ended
	must(t, os.Mkdir(filepath.Join(filepath.Dir(path), workPrefix+"a-1"), workMode))
	must(t, s.Make(ctx, v, Origin{Path: raw, Format: "raw"}, mib))
	write(t, path, "guest")
	for what, do := range map[string]func() error{
		"grow":     func() error { return s.Grow(ctx, late, 2*mib) },
		"remove":   func() error { return s.Remove(ctx, "v", true, old) },
		"snapshot": func() error { return s.Snapshot(ctx, v, Snapshot{ID: "n", Shared: true, By: old}) },
		"capture": func() error {
			return s.Capture(ctx, Snapshot{ID: "m", Shared: true, By: old}, func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) })
		},
	} {
		if err := do(); !errors.Is(err, over) {
			t.Errorf("%s by the old tender: %v", what, err)
		}
	}
	must(t, s.Make(ctx, late, Origin{Path: raw, Format: "raw"}, mib)) // it is there already, and stays
	begins(t, path, "guest")
	for _, dir := range []string{"v", "n", "m"} {
		entries, err := os.ReadDir(filepath.Join(filepath.Dir(filepath.Dir(path)), dir))
		must(t, err)
		for _, e := range entries {
			if e.Name() != diskFile {
				t.Errorf("%s is left in %s", e.Name(), dir)
			}
		}
	}
}

// Both are at it at the same time: the old tender's file is finished after its tenure ended, and the new one's is there already.
func TestTenure_TwoAtTheSameTimeMakeOneFile(t *testing.T) {
	s, ctx := open(t), t.Context()
	n := Snapshot{ID: "n", Shared: true, By: Tenure{Name: "a-1"}}
	err := s.Capture(ctx, n, func(path string) error {
		newer := n
		newer.By.Name = "b-2"
		must(t, s.Capture(ctx, newer, func(path string) error { return os.WriteFile(path, []byte("new"), 0o600) }))
		return os.WriteFile(path, []byte("old"), 0o600)
	})
	if err == nil {
		t.Error("the old tender thinks that it made it")
	}
	n.Format = "qcow2"
	path, err := s.SnapshotPath(n)
	must(t, err)
	begins(t, path, "new")
}
