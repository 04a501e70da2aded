package configdrive

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// What went onto the drive is what a reader of Rock Ridge finds on it, under its long lower-case name.
func TestWriteISO_ReadsBackTheSame(t *testing.T) {
	files, err := Files(sample())
	if err != nil {
		t.Fatal(err)
	}
	files["openstack/content/empty"] = []byte{}
	files["openstack/content/big"] = bytes.Repeat([]byte("0123456789"), 100_000)
	path := filepath.Join(t.TempDir(), "disk.config")
	if err := WriteISO(path, files); err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	iso, err := iso9660.Read(&memory{data: image}, int64(len(image)), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimRight(iso.Label(), " \x00"); got != Label {
		t.Errorf("label is %q", got)
	}
	for p, want := range files {
		f, err := iso.OpenFile("/"+p, os.O_RDONLY)
		if err != nil {
			t.Errorf("open %s: %v", p, err)
			continue
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(f, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes differ (%v)", p, len(want), err)
		}
	}
	assertNothingElse(t, filepath.Dir(path), "disk.config")
}

func assertNothingElse(t *testing.T, dir, want string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != want {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

// The Linux kernel is the reader that counts: it must mount the drive and show the same files, through Rock
// Ridge and, when told to ignore that, through Joliet.
func TestWriteISO_MountsOnLinux(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := t.TempDir()
	files, err := Files(sample())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "disk.config")
	if err := WriteISO(path, files); err != nil {
		t.Fatal(err)
	}
	for _, options := range []string{"loop,ro", "loop,ro,norock"} {
		at := filepath.Join(dir, "mnt")
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mount", "-t", "iso9660", "-o", options, path, at).CombinedOutput(); err != nil {
			t.Skipf("this machine cannot loop-mount: %v: %s", err, out)
		}
		seen := 0
		err := filepath.WalkDir(at, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, _ := filepath.Rel(at, p)
			got, err := os.ReadFile(p)
			if want, ok := files[rel]; !ok || !bytes.Equal(got, want) {
				t.Errorf("%s (%s): known %v, %d bytes", rel, options, ok, len(got))
			}
			seen++
			return err
		})
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
		if err != nil || seen != len(files) {
			t.Errorf("%s: saw %d of %d files: %v", options, seen, len(files), err)
		}
	}
}

// A second drive replaces the first, and one that cannot be made leaves the first alone.
func TestWriteISO_AFailureKeepsTheOldDrive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.config")
	if err := WriteISO(path, map[string][]byte{"a": []byte("1")}); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"../escape", "/abs", "", ".", "a//b", "a/../../b"} {
		if err := WriteISO(path, map[string][]byte{bad: nil}); err == nil {
			t.Errorf("path %q was accepted", bad)
		}
	}
	if err := WriteISO(path, map[string][]byte{"a": make([]byte, MaxSize+1)}); err == nil {
		t.Error("a drive over the limit was written")
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the drive changed: %v", err)
	}
	assertNothingElse(t, filepath.Dir(path), "disk.config")
}

// Windows reads the Joliet tree. Walked by hand, with the sizes that the directories say of themselves, it must
// hold the same files under the same names.
func TestWriteISO_JolietHoldsTheSameFiles(t *testing.T) {
	files, err := Files(sample())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 { // a directory that needs more than one sector
		files[fmt.Sprintf("openstack/content/1%03d", i)] = []byte{byte(i)}
	}
	image, err := Image(t.TempDir(), files)
	if err != nil {
		t.Fatal(err)
	}
	descriptor, err := jolietDescriptor(image)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]byte{}
	walkJoliet(t, image, descriptor[156:], "", got)
	if len(got) != len(files) {
		t.Errorf("%d files, want %d", len(got), len(files))
	}
	for p, want := range files {
		if !bytes.Equal(got[p], want) {
			t.Errorf("%s differs", p)
		}
	}
}

func walkJoliet(t *testing.T, image, record []byte, path string, got map[string][]byte) {
	t.Helper()
	start := int(binary.LittleEndian.Uint32(record[recordExtentAt:])) * sectorSize
	size := int(binary.LittleEndian.Uint32(record[recordSizeAt:]))
	if record[recordFlagsAt]&flagDirectory == 0 {
		got[path] = image[start : start+size]
		return
	}
	for at, children := start, 0; at < start+size; {
		length := int(image[at])
		if length == 0 {
			at = (at/sectorSize + 1) * sectorSize
			continue
		}
		child := image[at : at+length]
		at += length
		if children++; children <= 2 { // itself and its parent
			continue
		}
		raw := child[recordNameAt : recordNameAt+int(child[recordNameLengthAt])]
		var name []uint16
		for ; len(raw) > 0; raw = raw[2:] {
			name = append(name, binary.BigEndian.Uint16(raw))
		}
		next := string(utf16.Decode(name))
		if path != "" {
			next = path + "/" + next
		}
		walkJoliet(t, image, child, next, got)
	}
}

// The repair reads an image that another library wrote: nonsense must give an error, never a panic.
func FuzzRepairJoliet(f *testing.F) {
	image, err := Image(f.TempDir(), map[string][]byte{"a/b": []byte("c")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(image)
	f.Add(image[:20*sectorSize])
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, image []byte) { _ = repairJoliet(image) })
}

// A guest reads whole sectors only, and looks for the label in what it reads at once.
func TestImage_EndsWithAWholeSector(t *testing.T) {
	for _, size := range []int{0, 10, 5000, 300_000} {
		image, err := Image(t.TempDir(), map[string][]byte{"openstack/latest/meta_data.json": []byte("{}"), "z": make([]byte, size)})
		if err != nil {
			t.Fatal(err)
		}
		if len(image)%isoSector != 0 || len(image) < isoLeast {
			t.Errorf("with a file of %d bytes the image has %d", size, len(image))
		}
	}
}
