package image_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kilonova/kilonova/virt/image"
)

// What QEMU itself makes, in all the ways that are harmless, must pass, and what reaches for other files must
// not: the images made by hand in the other tests could share our misreading of a specification.
func TestCheck_ImagesMadeByQEMU(t *testing.T) {
	qemuImg, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Skip("qemu-img is not installed (Debian package qemu-utils)")
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "data.raw")
	if err := os.WriteFile(data, noise(3*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	made := func(t *testing.T, args ...string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "out")
		for i, a := range args {
			if a == "OUT" {
				args[i] = path
			}
		}
		if out, err := exec.CommandContext(t.Context(), qemuImg, args...).CombinedOutput(); err != nil {
			t.Fatalf("qemu-img %v: %v: %s", args, err, out)
		}
		return path
	}
	for _, c := range []struct {
		name    string
		claimed image.Format
		passes  bool
		args    []string
	}{
		{"qcow2", image.QCOW2, true, []string{"convert", "-O", "qcow2", data, "OUT"}},
		{"qcow2 compat 0.10", image.QCOW2, true, []string{"convert", "-O", "qcow2", "-o", "compat=0.10", data, "OUT"}},
		{"qcow2 compressed", image.QCOW2, true, []string{"convert", "-c", "-O", "qcow2", data, "OUT"}},
		{"qcow2 zstd", image.QCOW2, true, []string{"convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", data, "OUT"}},
		{"qcow2 small clusters", image.QCOW2, true, []string{"convert", "-O", "qcow2", "-o", "cluster_size=512", data, "OUT"}},
		{"qcow2 large clusters", image.QCOW2, true, []string{"convert", "-O", "qcow2", "-o", "cluster_size=2M", data, "OUT"}},
		{"qcow2 subclusters", image.QCOW2, true, []string{"convert", "-O", "qcow2", "-o", "extended_l2=on", data, "OUT"}},
		{"qcow2 lazy refcounts", image.QCOW2, true, []string{"convert", "-O", "qcow2", "-o", "lazy_refcounts=on", data, "OUT"}},
		{"qcow2 refcount bits", image.QCOW2, true, []string{"convert", "-O", "qcow2", "-o", "refcount_bits=64", data, "OUT"}},
		{"qcow2 empty, large", image.QCOW2, true, []string{"create", "-f", "qcow2", "OUT", "15T"}},
		{"qcow2 preallocated", image.QCOW2, true, []string{"create", "-f", "qcow2", "-o", "preallocation=metadata", "OUT", "100M"}},
		{"qcow2 too large", image.QCOW2, false, []string{"create", "-f", "qcow2", "OUT", "17T"}},
		{"qcow2 backing", image.QCOW2, false, []string{"create", "-f", "qcow2", "-F", "raw", "-b", data, "OUT"}},
		{"qcow2 data file", image.QCOW2, false, []string{"create", "-f", "qcow2", "-o", "data_file=" + data + ".ext,data_file_raw=on", "OUT", "1M"}},
		{"qed as raw", image.Raw, false, []string{"create", "-f", "qed", "OUT", "1M"}},
		{"qcow as qcow2", image.QCOW2, false, []string{"create", "-f", "qcow", "OUT", "1M"}},
		{"vmdk", image.VMDK, true, []string{"convert", "-O", "vmdk", data, "OUT"}},
		{"vmdk stream", image.VMDK, true, []string{"convert", "-O", "vmdk", "-o", "subformat=streamOptimized", data, "OUT"}},
		{"vmdk flat", image.VMDK, false, []string{"convert", "-O", "vmdk", "-o", "subformat=monolithicFlat", data, "OUT"}},
		{"vmdk split", image.VMDK, false, []string{"convert", "-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", data, "OUT"}},
		{"vdi", image.VDI, true, []string{"convert", "-O", "vdi", data, "OUT"}},
		{"vdi fixed", image.VDI, true, []string{"convert", "-O", "vdi", "-o", "static=on", data, "OUT"}},
		{"vhd", image.VHD, true, []string{"convert", "-O", "vpc", data, "OUT"}},
		{"vhd fixed", image.VHD, true, []string{"convert", "-O", "vpc", "-o", "subformat=fixed", data, "OUT"}},
		{"vhdx", image.VHDX, true, []string{"convert", "-O", "vhdx", data, "OUT"}},
		{"vhdx fixed", image.VHDX, true, []string{"convert", "-O", "vhdx", "-o", "subformat=fixed", data, "OUT"}},
		{"raw", image.Raw, true, []string{"convert", "-O", "raw", data, "OUT"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := os.Open(made(t, c.args...))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			st, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			info, err := image.Inspect(f, st.Size())
			if err != nil {
				t.Fatal(err)
			}
			if err := image.Check(c.claimed, info); (err == nil) != c.passes {
				t.Errorf("%+v: %v", info, err)
			}
			if c.args[0] == "convert" && c.passes && (info.VirtualSize < 3*mib || info.VirtualSize > 4*mib) {
				t.Errorf("virtual size %d of a disk of 3 MiB", info.VirtualSize)
			}
		})
	}
}

// An internal snapshot does no harm: it is in the same file.
func TestCheck_SnapshotsByQEMUPass(t *testing.T) {
	qemuImg, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Skip("qemu-img is not installed (Debian package qemu-utils)")
	}
	path := filepath.Join(t.TempDir(), "snap.qcow2")
	for _, args := range [][]string{{"create", "-f", "qcow2", path, "10M"}, {"snapshot", "-c", "one", path}, {"snapshot", "-c", "two", path}} {
		if out, err := exec.CommandContext(t.Context(), qemuImg, args...).CombinedOutput(); err != nil {
			t.Fatalf("qemu-img %v: %v: %s", args, err, out)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info := inspect(t, b)
	if err := image.Check(image.QCOW2, info); err != nil || info.Snapshots != 2 {
		t.Errorf("%+v: %v", info, err)
	}
}

// noise gives bytes that do not compress to nothing and look like no format.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}
