package peernet

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/pki"
)

// A node is removed while it has connections open, in both directions. They end at once, and no new one is made; those of other nodes go on.
func TestCut_EndsWhatARemovedNodeHasOpen(t *testing.T) {
	a := newAuthority(t)
	var removed atomic.Bool
	trust := func(id cluster.NodeID) bool { return id != "n2" || !removed.Load() }
	creds := credentials4(t, a, pki.RolePeer, "server")
	p, err := Listen("127.0.0.1:0", creds, trust, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := p.Proto(ProtoHTTP).Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func(id cluster.NodeID) (ours, theirs net.Conn) {
		t.Helper()
		theirs, err := credentials4(t, a, pki.RolePeer, id).Dial(t.Context(), p.Addr().String(), ProtoHTTP, "server", anyone)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { theirs.Close() })
		return <-accepted, theirs
	}
	stays, _ := dial("n1")
	goes, theirs := dial("n2")
	defer stays.Close()

	// And one that this node opened to the one that goes.
	other := open(t, a, anyone)
	out, err := creds.Dial(t.Context(), other.Addr().String(), ProtoHTTP, "server", anyone)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()

	if n := creds.Cut(trust); n != 0 {
		t.Fatalf("%d members were cut off", n)
	}
	removed.Store(true)
	if n := creds.Cut(trust); n != 1 {
		t.Errorf("%d connections were cut", n)
	}
	theirs.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := theirs.Read(make([]byte, 1)); err == nil || errors.Is(err, io.ErrNoProgress) {
		t.Errorf("the removed node reads on: %v", err)
	}
	var timeout net.Error
	if _, err := goes.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("and is read from: %v", err)
	}
	if n := creds.Cut(func(cluster.NodeID) bool { return false }); n != 2 {
		t.Errorf("%d connections were left, want one each way", n)
	}
	if n := creds.Cut(func(cluster.NodeID) bool { return false }); n != 0 {
		t.Errorf("%d connections are counted that are closed", n)
	}
}

// One machine that opens connections and says nothing must not keep the others out.
func TestPort_OneSourceTakesNotAllHandshakes(t *testing.T) {
	p := &Port{slots: make(chan struct{}, maxHandshakes), sources: map[netip.Addr]int{}}
	for range maxPerSource {
		if _, ok := p.enter(addressed{from: "192.0.2.66:1000"}); !ok {
			t.Fatal("refused too early")
		}
	}
	if _, ok := p.enter(addressed{from: "192.0.2.66:1001"}); ok {
		t.Error("one address has all it wants")
	}
	source, ok := p.enter(addressed{from: "192.0.2.1:1000"})
	if !ok {
		t.Error("another address was kept out")
	}
	p.slots <- struct{}{}
	p.leave(source)
	if len(p.sources) != 1 {
		t.Errorf("sources remembered: %v", p.sources)
	}
}

// addressed is a connection that only has an address.
type addressed struct {
	net.Conn
	from string
}

func (a addressed) RemoteAddr() net.Addr { return stringAddr(a.from) }

type stringAddr string

func (stringAddr) Network() string  { return "tcp" }
func (s stringAddr) String() string { return string(s) }
