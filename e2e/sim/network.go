package sim

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

// network says which machines reach each other.
type network struct {
	mu    sync.Mutex
	group map[int]int // of each machine; absent: 0
	open  map[*spanned]struct{}
}

// spanned is a connection between two machines. It ends when they are parted.
type spanned struct {
	net.Conn
	network *network
	a, b    *machine
}

// span takes a connection into the network's care.
func (n *network) span(c net.Conn, a, b *machine) net.Conn {
	s := &spanned{Conn: c, network: n, a: a, b: b}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open[s] = struct{}{}
	return s
}

// Close may be called more than once.
func (s *spanned) Close() error {
	s.network.mu.Lock()
	delete(s.network.open, s)
	s.network.mu.Unlock()
	return s.Conn.Close()
}

func (n *network) reaches(a, b *machine) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return a == b || n.group[a.number] == n.group[b.number]
}

// whole tells whether everybody reaches everybody.
func (n *network) whole() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, g := range n.group {
		if g != 0 { // who is absent is in group 0
			return false
		}
	}
	return true
}

// part puts every machine into a group.
func (n *network) part(group map[int]int) {
	n.mu.Lock()
	n.group = group
	var cut []*spanned
	for s := range n.open {
		if group[s.a.number] != group[s.b.number] {
			cut = append(cut, s)
		}
	}
	n.mu.Unlock()
	for _, s := range cut {
		_ = s.Close() // whoever uses it sees that it has ended
	}
}

// How gossip notices.
const (
	gossipEvery = time.Second
	silentAfter = 3 * time.Second
)

// gossip is what the leader's neighbours say of everybody: late, and at times frozen.
type gossip struct {
	w *World

	mu     sync.Mutex
	heard  map[cluster.NodeID]time.Time
	said   map[cluster.NodeID]placement.Hint
	frozen bool
}

func newGossip(w *World) *gossip {
	return &gossip{w: w, heard: map[cluster.NodeID]time.Time{}, said: map[cluster.NodeID]placement.Hint{}}
}

func (g *gossip) freeze(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frozen = on
}

func (g *gossip) run(ctx context.Context) {
	for pause(ctx, gossipEvery) {
		g.w.ledger.mu.Lock()
		leader := g.w.ledger.leader
		g.w.ledger.mu.Unlock()
		if leader != nil {
			g.listen(leader.machine, time.Now())
		}
	}
}

func (g *gossip) listen(at *machine, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.frozen {
		return
	}
	said := make(map[cluster.NodeID]placement.Hint, len(g.w.machines))
	for _, m := range g.w.machines {
		if _, known := g.heard[m.id]; !known || m.running() != nil && g.w.net.reaches(at, m) {
			g.heard[m.id] = now
		}
		if silent := now.Sub(g.heard[m.id]); silent > silentAfter {
			said[m.id] = placement.Hint{Silent: true, SilentFor: silent}
		}
	}
	g.said = said
}

// hints is what gossip says now. Nobody changes it.
func (g *gossip) hints() map[cluster.NodeID]placement.Hint {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.said
}
