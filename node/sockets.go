package node

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// SocketPath is the UNIX socket on which a node serves its own machine.
func SocketPath(dataDir string) string { return filepath.Join(dataDir, socketFile) }

// listenLocal opens the socket for root alone. A socket that an earlier process left is replaced: the directory's lock
// says that it does not run any more.
func (d *dataDir) listenLocal() (net.Listener, error) {
	path := d.file(socketFile)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("replace the local socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the local socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("open the local socket: %w", err)
	}
	return l, nil
}
