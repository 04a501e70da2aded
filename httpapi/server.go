package httpapi

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// What clients may take of a node.
const (
	readHeaderTimeout = 10 * time.Second
	bodyTime          = 30 * time.Second // for a body, unless whoever reads it says otherwise
	stallTime         = time.Minute      // until a client takes the next piece of a reply
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
	maxStreams        = 250 // HTTP/2 requests at once on one connection

	// MaxConnections is how many clients may be connected at a time. More wait in the kernel's queue.
	MaxConnections = 4096
)

// NewServer makes the server of the API; h is from New. tlsConfig is nil for plain HTTP on loopback. Serve it on a listener from
// LimitListener; end it with Shutdown.
func NewServer(h http.Handler, tlsConfig *tls.Config, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.Default()
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Server{
		Handler:           boundBodies(boundWrites(h)),
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		Protocols:         protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // mostly handshakes that clients gave up
	}
}

// boundBodies gives each body a time to come in. Before a reply goes out, net/http reads what is left of a body that the
// handler did not want, so without a bound anybody could hold a connection for ever by announcing a body and never
// sending it. Handlers that read long bodies, as of images, set their own bound while they read.
//
// A body in chunks is the last thing of its connection: when a length was announced, too, net/http drops that, as RFC 9112 (6.3) has it, and
// a proxy in front that believed the length instead would take what follows for part of the body.
func boundBodies(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)) // a test's recorder has none
		}
		if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// LimitListener lets n connections be open at a time. Accept waits for one to close before it takes another.
func LimitListener(l net.Listener, n int) net.Listener {
	return &limitListener{Listener: l, slots: make(chan struct{}, n), done: make(chan struct{})}
}

type limitListener struct {
	net.Listener
	slots chan struct{}
	done  chan struct{}
	once  sync.Once
}

// Accept waits for a slot, then for a connection.
func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, release: func() { <-l.slots }}, nil
}

// Close ends a waiting Accept, too.
func (l *limitListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// limitedConn gives its slot back when it is closed, and gives up on a client that does not read what it is sent: a
// reply may take as long as a slow link needs, but each piece of it has to go out in stallTime.
type limitedConn struct {
	net.Conn
	once    sync.Once
	release func()
	bounded atomic.Bool // whoever uses the connection has set a deadline of their own
}

// Write may be called by several goroutines, as a connection's may.
func (c *limitedConn) Write(p []byte) (int, error) {
	if !c.bounded.Load() {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(stallTime)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// SetWriteDeadline replaces the bound on each piece, as TLS does for its farewell; the zero time brings it back.
func (c *limitedConn) SetWriteDeadline(t time.Time) error {
	c.bounded.Store(!t.IsZero())
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline does the same for both directions.
func (c *limitedConn) SetDeadline(t time.Time) error {
	c.bounded.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}

// Close may be called more than once.
func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.release)
	return err
}
