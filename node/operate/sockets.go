package operate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
)

// Sockets opens the UNIX sockets of this host.
type Sockets interface {
	Listen(path string) (net.Listener, error)
	Dial(ctx context.Context, path string) (net.Conn, error)
}

// maxSocketPath is the room for a path in sockaddr_un, see unix(7).
const maxSocketPath = 107

// UNIXSockets are the machine's own.
type UNIXSockets struct{}

// Listen makes a socket that nobody but root and the owner of its directory, who is the hypervisor's user, can connect to. One
// that an earlier process left is replaced.
func (UNIXSockets) Listen(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("%s is too long for a socket's path", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	var dir unix.Stat_t
	err = unix.Stat(filepath.Dir(path), &dir)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err == nil && os.Geteuid() == 0 {
		err = os.Chown(path, int(dir.Uid), int(dir.Gid))
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Dial connects to a socket.
func (UNIXSockets) Dial(ctx context.Context, path string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", path)
}

// socketPath is where a stream of a migration has its socket in a directory, on both hosts: the hypervisors want it so. The long
// name is one that AppArmor lets guests use. Where there is no room for it, nothing that AppArmor confines runs below.
func socketPath(dir string, m peer.Move, which peer.Stream) string {
	long := filepath.Join(dir, shortName(m, which)+".tunnelmigrate.dest.instance-"+filepath.Base(string(m.Instance)))
	if len(long) <= maxSocketPath {
		return long
	}
	return filepath.Join(dir, shortName(m, which))
}

// shortName names the socket of a stream. Two operations that have one name are not under way at the same time, or one of them fails.
func shortName(m peer.Move, which peer.Stream) string {
	sum := sha256.Sum256([]byte(m.Operation))
	return hex.EncodeToString(sum[:4]) + "-" + string(which[:1])
}

// inName is a move as it is named on the wire by its source.
func inName(in *cluster.Instance) peer.Move {
	return peer.Move{Instance: in.ID, Operation: in.Op.ID}
}
