package httpapi

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/httpapi/rest"
)

// oneConn is a listener with a single connection in memory, for tests in virtual time.
type oneConn struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error   { close(l.done); return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// A client announces a body and sends some of it, or none, for ever. Whether the handler refuses the request without
// reading, or waits for the body, the client is answered within the time that a body has, and the connection is free.
func TestServer_SilentClientsDoNotHoldConnections(t *testing.T) {
	decode := func(w http.ResponseWriter, r *http.Request) {
		if _, err := rest.Decode[map[string]any](r); err != nil {
			rest.NovaErrors.Fail(w, r, err)
		}
	}
	for name, h := range map[string]http.Handler{
		"refused unread": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }),
		"decoded":        rest.Service{Name: "compute", Errors: rest.NovaErrors, Log: slog.New(slog.DiscardHandler)}.Wrap(http.HandlerFunc(decode)),
	} {
		for _, announced := range []string{"Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n"} {
			t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { silence(t, h, announced) }) })
		}
	}
}

func silence(t *testing.T, h http.Handler, announced string) {
	ours, theirs := net.Pipe()
	l := &oneConn{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	l.conns <- theirs
	srv := NewServer(h, nil, slog.New(slog.DiscardHandler))
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	start := time.Now()
	if _, err := io.WriteString(ours, "POST /x HTTP/1.1\r\nHost: h\r\n"+announced); err != nil {
		t.Fatal(err)
	}
	_ = ours.SetReadDeadline(start.Add(10 * bodyTime))
	from := bufio.NewReader(ours)
	res, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatalf("no answer after %v: %v", time.Since(start), err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 4 || time.Since(start) > 2*bodyTime {
		t.Errorf("answer %d after %v", res.StatusCode, time.Since(start))
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	if _, err := from.ReadByte(); err != io.EOF {
		t.Errorf("the connection stays open: %v", err)
	}
}

// A client asks for something long and reads none of it. It is cut off after a while, and its slot is free. One that
// reads now and then gets all of it, however long that takes.
func TestServer_ClientsThatDoNotReadAreCutOff(t *testing.T) {
	const pieces, piece = 10, 16 << 10
	long := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range pieces {
			if _, err := w.Write(make([]byte, piece)); err != nil {
				return
			}
		}
	})
	for name, reads := range map[string]bool{"never": false, "now and then": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				inner := &oneConn{conns: make(chan net.Conn, 1), done: make(chan struct{})}
				inner.conns <- theirs
				srv := NewServer(long, nil, slog.New(slog.DiscardHandler))
				go func() { _ = srv.Serve(LimitListener(inner, 1)) }()
				defer srv.Close()
				if _, err := io.WriteString(ours, "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				got := 0
				for b := make([]byte, piece); ; {
					if reads {
						time.Sleep(stallTime / 2)
					} else {
						time.Sleep(2 * stallTime)
					}
					n, err := ours.Read(b)
					got += n
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				if all := got > pieces*piece; all != reads {
					t.Errorf("a client that reads %s got %d bytes", name, got)
				}
			})
		})
	}
}
