package chunk_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kilonova/kilonova/virt/image/chunk"
)

// Images come until the disk takes no more. What shares the disk with them, the node's own log, can still be written.
func TestImport_AFullDiskHasRoomForTheLog(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small tmpfs")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=40m"); err != nil {
		t.Skip("cannot mount a tmpfs here: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s := openAt(t, dir)
	const enough = 20 // chunks, of which not all fit
	for i := range enough {
		_, err := s.Import(t.Context(), bytes.NewReader(noise(byte(i), chunk.Size)), -1, 0)
		if errors.Is(err, chunk.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if i == enough-1 {
			t.Fatal("everything fits, so this test shows nothing")
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "log"), bytes.Repeat([]byte("entry"), 400<<10), 0o600); err != nil {
		t.Errorf("2 MB of log: %v", err)
	}
}
