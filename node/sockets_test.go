package node

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The socket gives every right without a password, and the data directory lets everybody pass. So nobody else may open it, whatever the umask,
// and what an earlier process left does not stand in the way.
func TestListenLocal_IsForRootAlone(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	dir, err := openDataDir(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.close()
	if err := os.WriteFile(dir.file(socketFile), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		l, err := dir.listenLocal()
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(SocketPath(dir.path))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		c, err := net.Dial("unix", SocketPath(dir.path))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(SocketPath(dir.path)); err == nil {
			t.Error("the socket is still there when nobody listens")
		}
	}
}

func TestListenLocal_SaysThatAPathIsTooLong(t *testing.T) {
	dir, err := openDataDir(filepath.Join(t.TempDir(), strings.Repeat("x", 100)))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.close()
	if _, err := dir.listenLocal(); err == nil || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("got %v", err)
	}
}

// The package makes the directory for root alone and systemd sets a strict umask. QEMU has to get through all the same.
func TestOpenDataDir_LetsGuestsThrough(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	for _, name := range []string{"made", "found"} {
		path := filepath.Join(t.TempDir(), name)
		if name == "found" {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		dir, err := openDataDir(path)
		if err != nil {
			t.Fatal(err)
		}
		dir.close()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o711 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}
