package httpapi

import (
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// The kinds of frames that the tests need (RFC 9113, section 6), and how much a stream may be sent to begin with.
const (
	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	frameWindowUpdate = 8
	flagEnd           = 0x1
	flagEndOfHeaders  = 0x4
	windowSetting     = 4
)

// http2Client speaks as much of HTTP/2 over a connection as it takes to ask for something and not to take it.
type http2Client struct {
	t    *testing.T
	conn net.Conn
}

func (c *http2Client) send(kind, flags byte, stream uint32, payload []byte) {
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	frame = append(frame, flags)
	frame = binary.BigEndian.AppendUint32(frame, stream)
	if _, err := c.conn.Write(append(frame, payload...)); err != nil {
		c.t.Errorf("send a frame: %v", err)
	}
}

// ask greets the server, grants its replies no room at all, and asks for "/".
func (c *http2Client) ask() {
	if _, err := io.WriteString(c.conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		c.t.Errorf("greet the server: %v", err)
	}
	c.send(frameSettings, 0, 0, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, windowSetting), 0))
	// GET, http and / are in HPACK's static table; the authority is a literal.
	c.send(frameHeaders, flagEnd|flagEndOfHeaders, 1, []byte{0x82, 0x86, 0x84, 0x41, 1, 'h'})
}

// grant allows n bytes more, of the stream and of the connection.
func (c *http2Client) grant(n uint32) {
	for _, stream := range []uint32{0, 1} {
		c.send(frameWindowUpdate, 0, stream, binary.BigEndian.AppendUint32(nil, n))
	}
}

// take reads frames until the reply ends; it gives how long its body was, and whether all of it came.
func (c *http2Client) take() (n int, whole bool) {
	header := make([]byte, 9)
	for {
		if _, err := io.ReadFull(c.conn, header); err != nil {
			return n, false
		}
		size := int(binary.BigEndian.Uint32(append([]byte{0}, header[:3]...)))
		if _, err := io.CopyN(io.Discard, c.conn, int64(size)); err != nil {
			return n, false
		}
		switch kind, end := header[3], header[4]&flagEnd != 0; {
		case kind == frameReset:
			return n, false
		case kind == frameData:
			if n += size; end {
				return n, true
			}
		}
	}
}

// granting allows step bytes now and then, until it is stopped.
func (c *http2Client) granting(step uint32) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-time.After(stallTime / 2):
				c.grant(step)
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// A client of HTTP/2 asks for something long, reads the connection, and grants the reply no room. The handler does not wait for it
// for ever. One that grants some now and then gets everything, and so does one whose handler takes its time.
func TestServer_ClientsThatGrantNoRoomAreCutOff(t *testing.T) {
	for name, x := range map[string]struct {
		grants bool
		thinks time.Duration
	}{
		"never": {}, "now and then": {grants: true}, "the handler thinks": {grants: true, thinks: 3 * stallTime},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { stingy(t, x.grants, x.thinks) }) })
	}
}

func stingy(t *testing.T, grants bool, thinks time.Duration) {
	const half, step = 150 << 10, 40 << 10 // bytes
	start := time.Now()
	var held time.Duration
	var failed error
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, failed = w.Write(make([]byte, half)); failed == nil {
			time.Sleep(thinks)
			_, failed = w.Write(make([]byte, half))
		}
		held = time.Since(start)
	})
	ours, theirs := net.Pipe()
	l := &oneConn{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	l.conns <- theirs
	srv := NewServer(h, nil, slog.New(slog.DiscardHandler))
	srv.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = srv.Serve(LimitListener(l, 1)) }()
	defer srv.Close()
	c := &http2Client{t, ours}
	go c.ask()
	stop := func() {}
	if grants {
		stop = c.granting(step)
	}
	n, whole := c.take()
	stop()
	synctest.Wait()
	if whole != grants || (failed == nil) != grants || held == 0 {
		t.Errorf("got %d bytes, whole: %t; the handler was held for %v, and ended with %v", n, whole, held, failed)
	}
	if !grants && held > 2*stallTime {
		t.Errorf("the handler was held for %v", held)
	}
	_ = ours.Close()
}
