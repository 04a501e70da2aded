package disk

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// QEMU's own checker finds nothing wrong with the images that are written here, from a sector to the largest size,
// and reads what was meant.
func TestQCOW2Image_IsSoundInQEMUsEyes(t *testing.T) {
	needQemuImg(t)
	for _, size := range []int64{1, 512, 512*mib - 512, 512 * mib, 512*mib + 512, 20 << 30, MaxSize} {
		path := filepath.Join(t.TempDir(), "d.qcow2")
		if err := CreateEmpty(t.Context(), path, size); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		out, err := exec.Command("qemu-img", "check", "-f", "qcow2", path).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "No errors") {
			t.Errorf("%d bytes: %v: %s", size, err, out)
		}
		info, err := Stat(t.Context(), path, QCOW2)
		if want := (size + 511) / 512 * 512; err != nil || info.VirtualSize != want || info.Backing != "" || info.Dirty {
			t.Errorf("%d bytes: %+v, %v", size, info, err)
		}
	}
}

// Data that QEMU wrote into an image made here is there afterwards, and the image is still sound.
func TestQCOW2Image_TakesWrites(t *testing.T) {
	if _, err := exec.LookPath("qemu-io"); err != nil {
		t.Skip("qemu-io is not installed (Debian package qemu-utils)")
	}
	path := filepath.Join(t.TempDir(), "d.qcow2")
	if err := CreateOverlay(t.Context(), path, base(t), Raw, 3<<30); err != nil {
		t.Fatal(err)
	}
	script := []string{"-c", "write -P 7 2684354560 1M", "-c", "read -P 7 2684354560 1M", "-c", "read -P 0 1M 1M"}
	if out, err := exec.Command("qemu-io", append(script, "-f", "qcow2", path)...).CombinedOutput(); err != nil ||
		strings.Contains(string(out), "failed") {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("qemu-img", "check", "-f", "qcow2", path).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestCreateSwap_IsSwapSpace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "swap")
	if err := CreateSwap(path, 64*mib); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 64*mib {
		t.Errorf("%+v, %v", info, err)
	}
	if out, err := exec.Command("/sbin/swaplabel", path).CombinedOutput(); err != nil || !strings.Contains(string(out), "UUID") {
		t.Errorf("swaplabel: %v: %s", err, out)
	}
	if err := CreateSwap(path, mib); !errors.Is(err, fs.ErrExist) {
		t.Errorf("on an existing file: %v", err)
	}
	if err := CreateSwap(path+"2", 4096); err == nil {
		t.Error("one page was taken for enough")
	}
	nothingLeft(t, filepath.Dir(path), "swap")
}

func TestCreateExt4_IsAFileSystem(t *testing.T) {
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skip("mkfs.ext4 is not installed (Debian package e2fsprogs)")
	}
	path := filepath.Join(t.TempDir(), "eph")
	if err := CreateExt4(t.Context(), path, 32*mib, "ephemeral0"); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("e2fsck", "-fn", path).CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v: %s", err, out)
	}
	if out, _ := exec.Command("e2label", path).Output(); strings.TrimSpace(string(out)) != "ephemeral0" {
		t.Errorf("its label is %q", out)
	}
}

// A disk goes to another node: what it holds arrives, and its holes stay holes.
func TestWriteSparse_CopiesDataAndKeepsHoles(t *testing.T) {
	from, err := os.Create(filepath.Join(t.TempDir(), "from"))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	for at, text := range map[int64]string{0: "first", 8 * mib: "second", 40*mib - 5: "third"} {
		if _, err := from.WriteAt([]byte(text), at); err != nil {
			t.Fatal(err)
		}
	}
	list, err := Extents(from)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "to")
	if err := WriteSparse(t.Context(), to, 40*mib, from, list, nil); err != nil {
		t.Fatal(err)
	}
	want, _ := os.ReadFile(from.Name())
	got, _ := os.ReadFile(to)
	if !bytes.Equal(got, want) {
		t.Error("the copy differs")
	}
	if out, err := exec.Command("du", "-k", to).Output(); err != nil || strings.HasPrefix(string(out), "40") {
		t.Errorf("the copy takes %s", out)
	}
	if err := WriteSparse(t.Context(), to, mib, from, nil, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("on an existing file: %v", err)
	}
}

// The other node lies or is cut off: nothing is left of such a copy.
func TestWriteSparse_BadExtentsLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	from := strings.NewReader("0123456789")
	for name, list := range map[string][]Extent{
		"beyond the end": {{0, 11}}, "negative": {{-1, 2}}, "empty": {{0, 0}}, "overlapping": {{0, 5}, {4, 2}},
		"descending": {{5, 1}, {0, 1}}, "overflow": {{1, 1<<63 - 1}},
	} {
		if err := WriteSparse(t.Context(), filepath.Join(dir, "to"), 10, from, list, nil); err == nil {
			t.Errorf("%s: was accepted", name)
		}
	}
	if err := WriteSparse(t.Context(), filepath.Join(dir, "to"), 20, from, []Extent{{0, 20}}, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("data that ends early: %v", err)
	}
	nothingLeft(t, dir)
}

// A file that is torn into very many parts gives a list of bounded length that still covers all of them.
func TestPairs_CoverWhatTheyJoin(t *testing.T) {
	got := pairs([]Extent{{0, 1}, {10, 2}, {20, 1}, {30, 5}})
	if len(got) != 2 || got[0] != (Extent{0, 12}) || got[1] != (Extent{20, 15}) {
		t.Errorf("%v", got)
	}
}

func TestRebase_NamesTheNewBase(t *testing.T) {
	needQemuImg(t)
	path, other := filepath.Join(t.TempDir(), "d.qcow2"), base(t)
	if err := CreateOverlay(t.Context(), path, base(t), Raw, 4*mib); err != nil {
		t.Fatal(err)
	}
	if err := Rebase(t.Context(), path, other, Raw); err != nil {
		t.Fatal(err)
	}
	if info, err := Stat(t.Context(), path, QCOW2); err != nil || info.Backing != other || info.VirtualSize != 4*mib {
		t.Errorf("%+v, %v", info, err)
	}
}

func FuzzReadQCOW2(f *testing.F) {
	good, err := qcow2Image(mib, "/base", Raw)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[:qcow2HeadV3])
	f.Add(good[:qcow2HeadV2])
	f.Add([]byte("QFI\xfb"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := readQCOW2(bytes.NewReader(b)); err == nil && (int64(h.size) < 0 || h.version < 2 || h.version > 3) {
			t.Errorf("accepted %+v", h)
		}
	})
}
