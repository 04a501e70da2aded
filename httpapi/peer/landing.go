package peer

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
)

// Landings is the destination's end of live migrations. Every call is refused, with code Stale, unless the state says that this
// very move sends the instance's running guest from the node that asks to this one.
type Landings interface {
	// Land prepares for the guest and describes where it comes to lie, in terms that the hypervisors' drivers know. Code
	// Unavailable, with what is being done as its message, as long as that is not finished: ask again.
	Land(ctx context.Context, m Move) (json.RawMessage, error)

	// Arrival cuts the streams of the move, waits until the hypervisor has made up its mind about the guest, and says what it is
	// here. Code Unavailable when the hypervisor does not answer.
	Arrival(ctx context.Context, m Move) (Arrival, error)

	// Stream connects to one of the hypervisor's sockets.
	Stream(ctx context.Context, m Move, which Stream) (net.Conn, error)
}

// Arrival is what became of a guest at the destination of its migration.
type Arrival struct {
	Defined bool `json:"defined"`       // there is a domain that carries the stamp of the move
	Running bool `json:"running"`       // and it runs
	Off     bool `json:"off,omitempty"` // and it is off: a domain is there for good only when its guest has arrived
}

// Stream is one of the connections that a live migration needs.
type Stream string

// The streams.
const (
	StreamLibvirt Stream = "libvirt" // to the hypervisor's daemon
	StreamMemory  Stream = "memory"
	StreamDisks   Stream = "disks"
)

// moveProtocol is what a connection becomes that carries a stream of a migration: bytes, both ways, each way until its sender
// closes it.
const moveProtocol = "kilonova-move/1"

func (s *server) land(w http.ResponseWriter, r *http.Request) {
	landing, err := s.Landings.Land(r.Context(), moveOf(r))
	if err != nil {
		fail(w, s.Log, err)
		return
	}
	reply(w, landing)
}

func (s *server) arrival(w http.ResponseWriter, r *http.Request) {
	a, err := s.Landings.Arrival(r.Context(), moveOf(r))
	if err != nil {
		fail(w, s.Log, err)
		return
	}
	reply(w, a)
}

// stream101 connects a peer to a socket of this node's hypervisor, and returns when both directions have ended.
func (s *server) stream101(w http.ResponseWriter, r *http.Request) {
	s.takeOver(w, r, moveProtocol, func() (net.Conn, error) {
		return s.Landings.Stream(r.Context(), moveOf(r), Stream(chi.URLParam(r, "which")))
	}, Splice)
}

// closeWrite ends one direction of a connection, or all of it when it cannot do that.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// spliceBuffer is how much is on its way in each direction of a splice, in bytes.
const spliceBuffer = 256 << 10

// Splice passes bytes on between two connections until both directions have ended, each by its sender's closing it, and closes
// both. When one breaks, the other is closed at once: half a migration stream is of no use.
func Splice(a, b net.Conn) {
	defer a.Close()
	defer b.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pour(a, b)
	}()
	pour(b, a)
	<-done
}

func pour(to, from net.Conn) {
	_, err := io.CopyBuffer(onlyWriter{to}, onlyReader{from}, make([]byte, spliceBuffer))
	if err == nil {
		err = closeWrite(to)
	}
	if err != nil {
		to.Close()
		from.Close()
	}
}

// onlyWriter and onlyReader keep io.CopyBuffer to the buffer that it was given.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// Land asks the destination of a move to prepare for its guest. See Landings.
func (c *Client) Land(ctx context.Context, destination cluster.NodeID, m Move) (json.RawMessage, error) {
	var landing json.RawMessage
	err := c.call(ctx, http.MethodPost, destination, movePath(m, "landing"), nil, &landing)
	return landing, err
}

// Arrival asks the destination of a move what became of its guest. See Landings.
func (c *Client) Arrival(ctx context.Context, destination cluster.NodeID, m Move) (Arrival, error) {
	var a Arrival
	err := c.call(ctx, http.MethodPost, destination, movePath(m, "arrival"), nil, &a)
	return a, err
}

// Stream connects to a socket of the hypervisor at the destination of a move. ctx bounds the connecting only.
func (c *Client) Stream(ctx context.Context, destination cluster.NodeID, m Move, which Stream) (net.Conn, error) {
	conn, err := c.dial(ctx, destination)
	if err != nil {
		return nil, fmt.Errorf("ask node %s: %w", destination, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	up, err := upgrade(ctx, conn, destination, movePath(m, "streams/"+url.PathEscape(string(which))))
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return up, nil
}

// upgrade turns a connection to a peer into a stream. net/http would hide that a stream can be ended in one direction.
func upgrade(ctx context.Context, conn net.Conn, node cluster.NodeID, path string) (net.Conn, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+string(node)+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", moveProtocol)
	if err := req.Write(conn); err != nil {
		return nil, fmt.Errorf("ask node %s: %w", node, err)
	}
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, req)
	if err != nil {
		return nil, fmt.Errorf("ask node %s: %w", node, err)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return &early{conn, in}, nil
	}
	defer res.Body.Close()
	return nil, refusalOf(res, node)
}
