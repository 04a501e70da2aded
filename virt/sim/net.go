package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// network is how hosts reach each other's sockets.
type network interface {
	Listen(path string) (net.Listener, error)
	Dial(ctx context.Context, path string) (net.Conn, error)
}

// maxSocketPath is the room for a path in sockaddr_un, see unix(7).
const maxSocketPath = 107

// unixSockets are the machine's own.
type unixSockets struct{}

// Listen replaces a socket that an earlier process left.
func (unixSockets) Listen(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("%s is too long for a socket's path: choose a shorter directory", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", path)
}

// Dial connects to a socket.
func (unixSockets) Dial(ctx context.Context, path string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", path)
}

// Net stands in for UNIX sockets in memory, for hosts in a testing/synctest bubble: a goroutine that waits on a real
// socket would keep the bubble's time from going on. It is safe for concurrent use.
type Net struct {
	mu sync.Mutex
	at map[string]*netListener
}

// NewNet gives a network on which nobody listens yet.
func NewNet() *Net { return &Net{at: map[string]*netListener{}} }

// netListener is a name on which somebody listens.
type netListener struct {
	net   *Net
	path  string
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// Listen takes a name until the listener is closed. A name that is taken is an error.
func (n *Net) Listen(path string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.at[path] != nil {
		return nil, fmt.Errorf("listen on %s: it is taken", path)
	}
	l := &netListener{net: n, path: path, conns: make(chan net.Conn), done: make(chan struct{})}
	n.at[path] = l
	return l, nil
}

// Dial connects to whoever listens on the name.
func (n *Net) Dial(ctx context.Context, path string) (net.Conn, error) {
	n.mu.Lock()
	l := n.at[path]
	n.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("dial %s: nobody listens", path)
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.done:
		return nil, fmt.Errorf("dial %s: nobody listens any more", path)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept waits for the next connection.
func (l *netListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close frees the name. Closing twice is the same as once.
func (l *netListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.net.mu.Lock()
		delete(l.net.at, l.path)
		l.net.mu.Unlock()
	})
	return nil
}

// Addr is the name.
func (l *netListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }
