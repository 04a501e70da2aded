package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const mib = 1 << 20

func needQemuImg(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed (Debian package qemu-utils)")
	}
}

// base makes a raw image of 2 MiB with something at its beginning.
func base(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "base.raw")
	if err := os.WriteFile(path, append([]byte("hello"), make([]byte, 2*mib-5)...), 0o444); err != nil {
		t.Fatal(err)
	}
	return path
}

func nothingLeft(t *testing.T, dir string, allowed ...string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if !strings.Contains(strings.Join(allowed, "/")+"/", e.Name()+"/") {
			t.Errorf("left over: %s", e.Name())
		}
	}
}

// A guest's root: an overlay that is larger than its base and shows the base's bytes.
func TestCreateOverlay_ReadsItsBase(t *testing.T) {
	needQemuImg(t)
	b, dir := base(t), t.TempDir()
	path := filepath.Join(dir, "root, with=odd:name.qcow2")
	if err := CreateOverlay(t.Context(), path, b, Raw, 10*mib); err != nil {
		t.Fatal(err)
	}
	info, err := Stat(t.Context(), path, QCOW2)
	if err != nil {
		t.Fatal(err)
	}
	if info.VirtualSize != 10*mib || info.Backing != b || info.BackingFormat != Raw {
		t.Errorf("%+v", info)
	}
	flat := filepath.Join(dir, "flat.raw")
	if err := Convert(t.Context(), path, QCOW2, flat, Raw); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(flat)
	if err != nil || len(content) != 10*mib || string(content[:5]) != "hello" {
		t.Errorf("%d bytes beginning with %q, %v", len(content), content[:5], err)
	}
	nothingLeft(t, dir, filepath.Base(path), "flat.raw")
}

func TestCreateOverlay_SizeZeroIsThatOfTheBase(t *testing.T) {
	needQemuImg(t)
	path := filepath.Join(t.TempDir(), "root.qcow2")
	if err := CreateOverlay(t.Context(), path, base(t), Raw, 0); err != nil {
		t.Fatal(err)
	}
	if info, err := Stat(t.Context(), path, QCOW2); err != nil || info.VirtualSize != 2*mib {
		t.Errorf("%+v, %v", info, err)
	}
}

// A node that was killed repeats what it did. The guest's disk must survive that with all that it holds.
func TestCreateOverlay_NeverOverwrites(t *testing.T) {
	needQemuImg(t)
	path := filepath.Join(t.TempDir(), "root.qcow2")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		CreateOverlay(t.Context(), path, base(t), Raw, 0),
		CreateEmpty(t.Context(), path, mib),
		Convert(t.Context(), base(t), Raw, path, QCOW2),
	} {
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("on an existing file: %v", err)
		}
	}
	if content, _ := os.ReadFile(path); string(content) != "precious" {
		t.Errorf("it was overwritten: %q", content)
	}
	nothingLeft(t, filepath.Dir(path), "root.qcow2")
}

// The node was killed while qemu-img wrote. What is left must not stop the next attempt.
func TestCreateOverlay_AfterAKillStartsAnew(t *testing.T) {
	needQemuImg(t)
	path := filepath.Join(t.TempDir(), "root.qcow2")
	if err := os.WriteFile(path+tempSuffix, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CreateOverlay(t.Context(), path, base(t), Raw, 0); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, filepath.Dir(path), "root.qcow2")
}

func TestCreateOverlay_BadInputLeavesNothing(t *testing.T) {
	needQemuImg(t)
	dir := t.TempDir()
	path, b := filepath.Join(dir, "root.qcow2"), base(t)
	broken := filepath.Join(t.TempDir(), "broken.qcow2")
	if err := os.WriteFile(broken, []byte("QFI\xfbgarbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"base missing":       CreateOverlay(t.Context(), path, b+"x", Raw, 0),
		"base broken":        CreateOverlay(t.Context(), path, broken, QCOW2, 0),
		"base format":        CreateOverlay(t.Context(), path, b, VMDK, 0),
		"base format empty":  CreateOverlay(t.Context(), path, b, "", 0),
		"smaller than base":  CreateOverlay(t.Context(), path, b, Raw, mib),
		"negative size":      CreateOverlay(t.Context(), path, b, Raw, -1),
		"absurd size":        CreateOverlay(t.Context(), path, b, Raw, MaxSize+1),
		"base is a protocol": CreateOverlay(t.Context(), path, "nbd:localhost:1", Raw, mib),
		"path is an option":  CreateOverlay(t.Context(), "--help", b, Raw, mib),
		"path climbs":        CreateOverlay(t.Context(), dir+"/../root", b, Raw, mib),
		"path with NUL":      CreateOverlay(t.Context(), dir+"/a\x00b", b, Raw, mib),
		"no directory":       CreateOverlay(t.Context(), dir+"/none/root", b, Raw, mib),
		"empty disk of 0":    CreateEmpty(t.Context(), path, 0),
		"from unknown":       Convert(t.Context(), b, "qed", path, Raw),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	nothingLeft(t, dir)
}

func TestResize_GrowsAndRefusesToShrink(t *testing.T) {
	needQemuImg(t)
	path := filepath.Join(t.TempDir(), "d.qcow2")
	if err := CreateEmpty(t.Context(), path, 2*mib); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{4 * mib, 4 * mib} {
		if err := Resize(t.Context(), path, QCOW2, size); err != nil {
			t.Fatal(err)
		}
	}
	if err := Resize(t.Context(), path, QCOW2, 3*mib); err == nil {
		t.Error("it shrank")
	}
	if info, err := Stat(t.Context(), path, QCOW2); err != nil || info.VirtualSize != 4*mib {
		t.Errorf("%+v, %v", info, err)
	}
}

// A format that is named wrongly is an error, not a guess.
func TestStat_WrongFormatIsAnError(t *testing.T) {
	needQemuImg(t)
	if info, err := Stat(t.Context(), base(t), QCOW2); err == nil {
		t.Errorf("a raw file is %+v", info)
	}
}

// On a full file system the error says so, and the room that was taken is given back.
func TestConvert_FullDiskLeavesNothing(t *testing.T) {
	needQemuImg(t)
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small tmpfs")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("cannot mount a tmpfs here: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	full := filepath.Join(t.TempDir(), "full.raw")
	if err := os.WriteFile(full, []byte(strings.Repeat("x", 4*mib)), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Convert(t.Context(), full, Raw, filepath.Join(dir, "out.qcow2"), QCOW2)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	nothingLeft(t, dir)
}

// fake puts a program in front of the real ones.
func fake(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// qemu-img really is under the limits: a crafted image must not take the node's memory.
func TestRun_LimitsReachTheProgram(t *testing.T) {
	fake(t, "qemu-img", "ulimit -v; ulimit -t; ulimit -c")
	out, err := run(t.Context(), quick, "info")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(out)); strings.Join(got, " ") != "1048576 30 0" {
		t.Errorf("limits %v, want 1048576 KiB, 30 s, no core", got)
	}
}

func TestRun_HangingProgramIsKilledAtTheDeadline(t *testing.T) {
	fake(t, "qemu-img", "exec sleep 600")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := run(ctx, quick, "info"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestRun_EndlessOutputIsBounded(t *testing.T) {
	fake(t, "qemu-img", "head -c 3000000 /dev/zero")
	if out, err := run(t.Context(), quick, "info"); err == nil {
		t.Errorf("took %d bytes", len(out))
	}
	fake(t, "qemu-img", "head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 1")
	if _, err := run(t.Context(), quick, "info"); err == nil || len(err.Error()) > 2*maxComplain {
		t.Errorf("the complaint was not bounded")
	}
}

func TestRun_MissingProgramNamesItsPackage(t *testing.T) {
	prlimit, err := exec.LookPath("prlimit")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if _, err := run(t.Context(), quick, "info"); !errors.Is(err, ErrNoTool) || !strings.Contains(err.Error(), "util-linux") {
		t.Errorf("%v", err)
	}
	if err := os.Symlink(prlimit, filepath.Join(dir, "prlimit")); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t.Context(), quick, "info"); !errors.Is(err, ErrNoTool) || !strings.Contains(err.Error(), "qemu-utils") {
		t.Errorf("%v", err)
	}
}

func FuzzParseInfo(f *testing.F) {
	f.Add([]byte(`{"virtual-size": 10485760, "filename": "/d", "cluster-size": 65536, "format": "qcow2", "actual-size": 200704,
		"format-specific": {"type": "qcow2", "data": {"compat": "1.1", "corrupt": true}}, "full-backing-filename": "/b",
		"backing-filename": "/b", "backing-filename-format": "raw", "dirty-flag": false}`))
	f.Add([]byte(`{"format": "raw", "virtual-size": -1}`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`{"format": 1}`))
	f.Fuzz(func(t *testing.T, out []byte) {
		if info, err := parseInfo(out); err == nil && (info.Format == "" || info.VirtualSize < 0) {
			t.Errorf("accepted %+v", info)
		}
	})
}

// A conversion begins many threads at once. It must not run out of address space for them, whatever the host.
func TestRun_ManyThreadsFitIntoTheAddressSpace(t *testing.T) {
	needQemuImg(t) // qemu-io comes with it
	dir := t.TempDir()
	from, over := filepath.Join(dir, "base"), filepath.Join(dir, "over")
	for _, args := range [][]string{
		{"qemu-img", "create", "-q", "-f", "raw", from, "256M"},
		{"qemu-io", "-f", "raw", "-c", "write -q -P 5 1M 128M", from},
		{"qemu-img", "create", "-q", "-f", "qcow2", "-b", from, "-F", "raw", over},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
	}
	tight := long
	tight.space = 640 << 20 // 64 stacks of 8 MiB, and what else there is
	for i := range 12 {
		if _, err := run(t.Context(), tight, "convert", "-q", "-f", "qcow2", "-O", "qcow2", "--", over, filepath.Join(dir, "out"+strconv.Itoa(i))); err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
	}
}
