package peer

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/kilonova/kilonova/cluster"
)

// takeOver turns a request into a stream: it opens the near end, answers that the connection is of the protocol now, and lets
// carry pass bytes on between the two until it returns.
func (s *server) takeOver(w http.ResponseWriter, r *http.Request, protocol string, open func() (net.Conn, error), carry func(near, far net.Conn)) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), protocol) {
		fail(w, s.Log, cluster.Errorf(cluster.Invalid, "this is a stream: ask for an upgrade to %s", protocol))
		return
	}
	near, err := open()
	if err != nil {
		fail(w, s.Log, err)
		return
	}
	defer near.Close()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		fail(w, s.Log, fmt.Errorf("take the connection over: %w", err))
		return
	}
	defer conn.Close()
	fmt.Fprintf(buffered, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
	if buffered.Flush() != nil { // the peer has gone
		return
	}
	carry(near, &early{conn, buffered.Reader})
}

// early is a connection of which something was read already.
type early struct {
	net.Conn
	in *bufio.Reader
}

// Read gives what was read already first.
func (e *early) Read(p []byte) (int, error) {
	if e.in.Buffered() > 0 {
		return e.in.Read(p)
	}
	return e.Conn.Read(p)
}

// CloseWrite ends this direction.
func (e *early) CloseWrite() error { return closeWrite(e.Conn) }
