package httpapi

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// One machine opens as many connections as it can and says nothing in them. It gets its share and no more; a machine at another address is served all
// the while, and the first one is served again when it lets go.
func TestShare_AFloodFromOneSourceKeepsNobodyElseOut(t *testing.T) {
	const share = 5
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	limited := LimitListener(ShareListener(l, Share{Open: share, Burst: 1000, Rate: 1000}), 2*share)
	go func() { done <- srv.Serve(limited) }()
	defer func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-done
	}()

	flood := make([]net.Conn, 4*share)
	for i := range flood {
		if flood[i], err = dialFrom("127.0.0.66", l.Addr()); err != nil {
			t.Fatal(err)
		}
		defer flood[i].Close()
	}
	if err := ask("127.0.0.1", l.Addr()); err != nil {
		t.Errorf("another address during the flood: %v", err)
	}
	if n := cutOff(flood); n != len(flood)-share {
		t.Errorf("%d of %d connections were turned away, want all but %d", n, len(flood), share)
	}
	if err := ask("127.0.0.66", l.Addr()); err == nil {
		t.Error("whoever has its share got more")
	}
	for _, c := range flood {
		_ = c.Close()
	}
	for until := time.Now().Add(time.Minute); ask("127.0.0.66", l.Addr()) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("what the source gave back is lost")
		}
	}
}

// cutOff counts the connections that the other side has closed.
func cutOff(conns []net.Conn) (n int) {
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, nil) && !isTimeout(err) {
			n++
		}
	}
	return n
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

func dialFrom(from string, to net.Addr) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	return d.Dial("tcp", to.String())
}

// ask sends a request from an address.
func ask(from string, to net.Addr) error {
	c, err := dialFrom(from, to)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 12))
	return err
}

// A machine begins one handshake after the other and ends each at once. It gets what is cheap to give, second by second; others are not counted
// with it, an IPv6 network's addresses are one source, and who is quiet is forgotten.
func TestShare_AStormOfHandshakesIsBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	l := &shareListener{share: Share{Open: 10, Burst: 20, Rate: 5}, now: func() time.Time { return now }, sources: map[netip.Addr]*source{}}
	storm := func(from string) (taken int) {
		ip, ok := sourceOf(stringAddr(from))
		if !ok {
			t.Fatalf("%s is no source", from)
		}
		for range 100 {
			if l.enter(ip) {
				taken++
				l.leave(ip)
			}
		}
		return taken
	}
	for i, step := range []struct {
		from string
		wait time.Duration
		want int
	}{
		{"192.0.2.1:1", 0, 20},
		{"192.0.2.1:2", time.Second, 5},
		{"[::ffff:192.0.2.1]:3", 0, 0},
		{"192.0.2.2:1", 0, 20},
		{"[2001:db8::1]:1", 0, 20},
		{"[2001:db8::2]:1", 0, 0},
		{"[2001:db8:0:1::2]:1", 0, 20},
		{"192.0.2.1:4", time.Hour, 20},
	} {
		now = now.Add(step.wait)
		if got := storm(step.from); got != step.want {
			t.Errorf("step %d: %s got %d, want %d", i, step.from, got, step.want)
		}
	}
	if len(l.sources) != 1 {
		t.Errorf("%d sources are remembered, want the last one", len(l.sources))
	}
}

type stringAddr string

func (stringAddr) Network() string  { return "tcp" }
func (s stringAddr) String() string { return string(s) }
