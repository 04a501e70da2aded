package gossip

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/gossip/gossiptest"
)

// town is a few nodes on a network in memory.
type town struct {
	t     *testing.T
	net   *gossiptest.Network
	nodes map[int]*Gossip
	key   []byte

	mu    sync.Mutex
	peers []Peer // what the replicated state says
}

// expect replaces the peers that the state names.
func (w *town) expect(peers ...Peer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peers = peers
}

func (w *town) expected() []Peer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.peers
}

func newTown(t *testing.T) *town {
	return &town{t: t, net: gossiptest.New(), nodes: make(map[int]*Gossip), key: keyOf('k')}
}

func keyOf(c byte) []byte { return bytes.Repeat([]byte{c}, KeySize) }

func idOf(i int) cluster.NodeID {
	return cluster.NodeID(fmt.Sprintf("%08x-0000-4000-8000-000000000000", i))
}

func addrOfNode(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), DefaultPort)
}

func advertOf(i int) Advert {
	return Advert{
		Commands: 1, Version: "v1.2.3", API: netip.AddrPortFrom(addrOfNode(i).Addr(), 8774), Role: RoleHypervisor | RoleReady,
		Total: cluster.Resources{VCPUs: 8, MemoryMiB: 16384, DiskGiB: 200}, Load: Load{MemoryFree: 50, DiskFree: 50},
	}
}

// open starts node i; change may alter its configuration. It is stopped at the end of the test.
func (w *town) open(i int, change ...func(*Config)) *Gossip {
	w.t.Helper()
	c := Config{
		Cluster: "c1", ID: idOf(i), Addr: addrOfNode(i).Addr(), Port: DefaultPort, Keys: [][]byte{w.key}, Advert: advertOf(i),
		Transport: w.net.Transport(addrOfNode(i)), Log: slog.New(slog.DiscardHandler),
		Peers: w.expected,
	}
	for _, f := range change {
		f(&c)
	}
	g, err := Open(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.nodes[i] = g
	return g
}

// openAll starts nodes 1 to n, which the state names as peers.
func (w *town) openAll(n int) {
	w.t.Helper()
	var peers []Peer
	for i := 1; i <= n; i++ {
		peers = append(peers, Peer{idOf(i), addrOfNode(i)})
	}
	w.expect(peers...)
	for i := 1; i <= n; i++ {
		w.open(i)
	}
}

// closeAll stops every node, and waits until the probes that memberlist had under way are over, as a bubble must not end
// before its goroutines.
func (w *town) closeAll() {
	for _, g := range w.nodes {
		if err := g.Close(); err != nil {
			w.t.Error(err)
		}
	}
	time.Sleep(time.Minute)
}

// seen tells what node i knows: the numbers of the others that are alive, and of those that are dead.
func (w *town) seen(i int) string {
	var alive, dead []string
	for _, m := range w.nodes[i].Members() {
		n := strings.TrimLeft(string(m.ID[:8]), "0")
		switch {
		case m.ID == idOf(i):
		case m.State == Alive:
			alive = append(alive, n)
		default:
			dead = append(dead, n)
		}
	}
	return strings.Join(alive, " ") + "/" + strings.Join(dead, " ")
}

// within waits until node i has seen what is wanted.
func (w *town) within(d time.Duration, i int, want string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	for {
		changed := w.nodes[i].Changed()
		if w.seen(i) == want {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			w.t.Fatalf("node %d saw %q after %v, want %q", i, w.seen(i), d, want)
		}
	}
}

func inBubble(t *testing.T, f func(*town)) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		defer w.closeAll()
		f(w)
	})
}
