package disk

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A fast processor derives the keys of two disks of three before its clock moves, and QEMU refuses those.
func TestCreateLUKS_ProcessorTooFastForItsClock(t *testing.T) {
	needQemuImg(t)
	real, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tries := filepath.Join(dir, "tries")
	fake(t, "qemu-img", "echo >>"+tries+`; [ $(wc -l <`+tries+`) -gt 2 ] || { echo "Unable to get accurate CPU usage" >&2; exit 1; }; exec `+real+` "$@"`)
	path := filepath.Join(dir, "disk")
	if err := CreateLUKS(t.Context(), path, mib, []byte("words")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	fake(t, "qemu-img", "echo x >>"+tries+`; echo "no such cipher" >&2; exit 1`)
	if err := CreateLUKS(t.Context(), filepath.Join(dir, "other"), mib, []byte("words")); err == nil {
		t.Error("it was made by a program that only fails")
	}
	if log, _ := os.ReadFile(tries); strings.Count(string(log), "x") != 1 {
		t.Errorf("what time does not cure was tried again:\n%s", log)
	}
}
