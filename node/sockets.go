package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// SocketPath is the UNIX socket on which a node serves its own machine.
func SocketPath(dataDir string) string { return filepath.Join(dataDir, socketFile) }

// maxSocketPath is the room for a path in sockaddr_un, see unix(7).
const maxSocketPath = 107

// listenLocal opens the socket for root alone. A socket that an earlier process left is replaced: the directory's lock
// says that it does not run any more. It is made in a directory that nobody else can enter, so that at no time anybody else can
// connect, whatever the umask.
func (d *dataDir) listenLocal() (net.Listener, error) {
	path := d.file(socketFile)
	private := d.file(".socket")
	name := filepath.Join(private, "s")
	if len(path) > maxSocketPath || len(name) > maxSocketPath {
		return nil, fmt.Errorf("open the local socket: %s is too long a path: choose a shorter --data-dir", path)
	}
	if err := os.RemoveAll(private); err != nil {
		return nil, fmt.Errorf("open the local socket: %w", err)
	}
	if err := os.Mkdir(private, 0o700); err != nil {
		return nil, fmt.Errorf("open the local socket: %w", err)
	}
	defer os.RemoveAll(private)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("open the local socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // it has another name by then, and the next process replaces it
	if err := errors.Join(os.Chmod(name, 0o600), os.Rename(name, path)); err != nil {
		l.Close()
		return nil, fmt.Errorf("open the local socket: %w", err)
	}
	return &localListener{UnixListener: l, path: path}, nil
}

// localListener removes its socket when it is closed.
type localListener struct {
	*net.UnixListener
	path string
}

// Close ends a waiting Accept. Closing twice is the same as once.
func (l *localListener) Close() error {
	if err := l.UnixListener.Close(); err != nil {
		return err
	}
	if err := os.Remove(l.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the local socket: %w", err)
	}
	return nil
}
