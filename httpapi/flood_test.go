package httpapi

import (
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A client of HTTP/2 asks and takes back, thousands of times (CVE-2023-44487). No more of its requests are worked on than it may have at a time.
func TestServer_RequestsThatAreTakenBackAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second) // it does not notice at once
			now.Add(-1)
		})
		ours, theirs := net.Pipe()
		l := &oneConn{conns: make(chan net.Conn, 1), done: make(chan struct{})}
		l.conns <- theirs
		srv := NewServer(h, nil, slog.New(slog.DiscardHandler))
		srv.Protocols.SetUnencryptedHTTP2(true)
		go func() { _ = srv.Serve(l) }()
		defer srv.Close()
		go func() { _, _ = io.Copy(io.Discard, ours) }()
		var flood []byte
		frame := func(kind, flags byte, stream uint32, payload []byte) {
			flood = binary.BigEndian.AppendUint32(flood, uint32(len(payload))<<8|uint32(kind))
			flood = binary.BigEndian.AppendUint32(append(flood, flags), stream)
			flood = append(flood, payload...)
		}
		flood = append(flood, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"...)
		frame(frameSettings, 0, 0, nil)
		for i := range uint32(5000) {
			frame(frameHeaders, flagEnd|flagEndOfHeaders, 2*i+1, []byte{0x82, 0x86, 0x84, 0x41, 1, 'h'})
			frame(frameReset, 0, 2*i+1, binary.BigEndian.AppendUint32(nil, 8))
		}
		_, _ = ours.Write(flood) // the server may have enough of it and close the connection
		synctest.Wait()
		if n := most.Load(); n == 0 || n > maxStreams {
			t.Errorf("%d requests were worked on at a time, of %d that there may be", n, maxStreams)
		}
		_ = ours.Close()
		time.Sleep(time.Minute)
	})
}

// What two programs could read as different requests is refused, or ends the connection: nothing that was hidden in a body is served.
func TestServer_SmuggledRequestsAreNotServed(t *testing.T) {
	const hidden = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
	for name, head := range map[string]string{
		"two lengths":             "Content-Length: 0\r\nContent-Length: 35\r\n",
		"a length and chunks":     "Content-Length: 35\r\nTransfer-Encoding: chunked\r\n",
		"two encodings":           "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
		"an unknown encoding":     "Transfer-Encoding: xchunked\r\n",
		"a length with a sign":    "Content-Length: +0\r\n",
		"a length that is a list": "Content-Length: 0, 0\r\n",
		"a space before a colon":  "Content-Length : 35\r\n",
		"a NUL":                   "X: a\x00b\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var seen []string
				h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					mu.Lock()
					defer mu.Unlock()
					seen = append(seen, r.URL.Path)
				})
				ours, theirs := net.Pipe()
				l := &oneConn{conns: make(chan net.Conn, 1), done: make(chan struct{})}
				l.conns <- theirs
				srv := NewServer(h, nil, slog.New(slog.DiscardHandler))
				go func() { _ = srv.Serve(l) }()
				defer srv.Close()
				go func() {
					body := hidden
					if strings.Contains(head, "chunked") {
						body = "0\r\n\r\n" + hidden
					}
					_, _ = io.WriteString(ours, "POST /seen HTTP/1.1\r\nHost: h\r\n"+head+"\r\n"+body)
				}()
				_ = ours.SetReadDeadline(time.Now().Add(5 * time.Second))
				_, _ = io.Copy(io.Discard, ours)
				mu.Lock()
				defer mu.Unlock()
				for _, path := range seen {
					if path == "/hidden" {
						t.Errorf("served: %v", seen)
					}
				}
				_ = ours.Close()
			})
		})
	}
}
