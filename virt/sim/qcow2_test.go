package sim

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/virt/image"
)

// The image service inspects what it is given, and other tools open it: an image must be a real one.
func TestQCOW2_IsAnImageAndHoldsTheNotes(t *testing.T) {
	for _, bytes_ := range []int64{0, 1 << 30, 600 << 30, 5 << 40} {
		n := notes{Boots: 3, Text: "hello\n"}
		img := encodeQCOW2(n, bytes_, "")
		info, err := image.Inspect(bytes.NewReader(img), int64(len(img)))
		if err != nil {
			t.Fatal(err)
		}
		if err := image.Check(image.QCOW2, info); err != nil {
			t.Errorf("%d bytes: %v", bytes_, err)
		}
		got, virtual, err := decodeQCOW2(bytes.NewReader(img))
		if err != nil || got != n || virtual != max(bytes_, minVirtualBytes) {
			t.Errorf("%d bytes: %+v, %d, %v", bytes_, got, virtual, err)
		}
	}
}

// QEMU's own tool finds nothing wrong, with and without notes, and reads them at the beginning of the disk.
func TestQCOW2_QEMUAgrees(t *testing.T) {
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Skip("qemu-img is not installed")
	}
	for _, n := range []notes{{}, {Boots: 7, Text: "written by a guest\n"}} {
		path := filepath.Join(t.TempDir(), "x.qcow2")
		raw := path + ".raw"
		if err := writeWhole(path, encodeQCOW2(n, 3<<20, "")); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"check", "-f", "qcow2", path}, {"convert", "-f", "qcow2", "-O", "raw", path, raw}} {
			if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
				t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
			}
		}
		got, size, err := readBase(raw, formatRaw)
		if err != nil || got != n || size != 3<<20 {
			t.Errorf("converted: %+v, %d bytes, %v", got, size, err)
		}
		if out, err := exec.Command(tool, "convert", "-c", "-f", "raw", "-O", "qcow2", raw, path).CombinedOutput(); err != nil {
			t.Fatalf("qemu-img: %v\n%s", err, out)
		}
		if _, size, err = readBase(path, formatQCOW2); err != nil || size != 3<<20 {
			t.Errorf("compressed: %d bytes, %v", size, err)
		}
	}
}

func TestNotes_BackingFileIsNamed(t *testing.T) {
	img := encodeQCOW2(notes{}, 1<<20, "/base/x.raw")
	info, err := image.Inspect(bytes.NewReader(img), int64(len(img)))
	if err != nil || !strings.Contains(strings.Join(info.Problems, " "), "backing file") {
		t.Errorf("%+v, %v", info, err)
	}
}

// A disk from another host may be anything. Reading it ends with notes or an error, and what was read can be written.
func FuzzDecodeQCOW2(f *testing.F) {
	f.Add(encodeQCOW2(notes{Boots: 1, Text: "x"}, 1<<20, ""))
	f.Add(encodeQCOW2(notes{}, 1<<30, "/base"))
	f.Add([]byte("QFI\xfb"))
	f.Add([]byte(notesMagic + "boots 1\ntext 99999999\nx"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, format := range []string{formatQCOW2, formatRaw} {
			n, virtual, err := decodeDisk(bytes.NewReader(data), format, int64(len(data)))
			if err != nil {
				continue
			}
			if virtual < 0 || virtual > maxVirtualBytes {
				t.Fatalf("virtual size %d", virtual)
			}
			if again := parseNotes(n.bytes()); again != n {
				t.Fatalf("%+v became %+v", n, again)
			}
		}
	})
}

func TestReadBase_WhatIsNoImageShowsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, path + ".missing", filepath.Dir(path)} {
		for _, format := range []string{formatQCOW2, formatRaw} {
			if n, _, err := readBase(p, format); err != nil || n != (notes{}) {
				t.Errorf("%s as %s: %+v, %v", p, format, n, err)
			}
		}
	}
}
