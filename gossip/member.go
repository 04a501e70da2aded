package gossip

import (
	"cmp"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/kilonova/kilonova/cluster"
)

// maxConflicts bounds the conflicts that are remembered.
const maxConflicts = 100

// State is whether a member answers.
type State int

// The states.
const (
	Alive State = iota
	Dead        // it did not answer for some time, or said that it stops
)

// String gives the state in lower case.
func (s State) String() string {
	if s == Alive {
		return "alive"
	}
	return "dead"
}

// Member is a node as gossip knows it.
type Member struct {
	ID     cluster.NodeID
	Addr   netip.AddrPort // of its gossip port
	State  State
	Since  time.Time // of the state
	Advert Advert    // the newest that could be read
	Heard  bool      // an advert could be read at all
}

// SilentFor is how long a dead member has been counted as dead, and 0 for one that is alive.
func (m *Member) SilentFor(now time.Time) time.Duration {
	if m.State == Alive {
		return 0
	}
	return max(0, now.Sub(m.Since))
}

// Conflict is a node ID that two machines claim.
type Conflict struct {
	ID    cluster.NodeID
	Kept  netip.AddrPort // the one that is believed: it was there first
	Other netip.AddrPort // the last other one
	Times uint64
	Last  time.Time
}

// Counters are numbers since Open.
type Counters struct {
	Announced  uint64 // own adverts sent because of a change
	BadAdverts uint64 // adverts that could not be read
	Strangers  uint64 // messages about members that have no node ID
	Conflicts  uint64 // messages about a known node at another address
}

// table is what memberlist reported. Its notify methods are called with memberlist's locks held, so they only store and
// wake.
type table struct {
	self cluster.NodeID
	log  *slog.Logger

	mu      sync.Mutex
	known   map[cluster.NodeID]Member
	clashes map[cluster.NodeID]Conflict
	count   Counters
	changed chan struct{}
}

func newTable(self cluster.NodeID, log *slog.Logger) *table {
	return &table{
		self: self, log: log, changed: make(chan struct{}),
		known: make(map[cluster.NodeID]Member), clashes: make(map[cluster.NodeID]Conflict),
	}
}

func (t *table) members() []Member {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.known), func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
}

func (t *table) conflicts() []Conflict {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.clashes), func(a, b Conflict) int { return cmp.Compare(a.ID, b.ID) })
}

func (t *table) counters() Counters {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

func (t *table) changes() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// wake tells everybody who waits that something changed. The caller holds mu.
func (t *table) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// alive tells whether a node answers.
func (t *table) alive(id cluster.NodeID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.known[id]
	return ok && m.State == Alive
}

// keep forgets dead members that are not expected.
func (t *table) keep(expected map[cluster.NodeID]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := len(t.known)
	maps.DeleteFunc(t.known, func(id cluster.NodeID, m Member) bool {
		return m.State == Dead && id != t.self && !expected[id]
	})
	if len(t.known) != before {
		t.wake()
	}
}

// NotifyJoin stores that a member is alive.
func (t *table) NotifyJoin(n *memberlist.Node) { t.store(n, Alive) }

// NotifyUpdate stores a member's new advert.
func (t *table) NotifyUpdate(n *memberlist.Node) { t.store(n, Alive) }

// NotifyLeave stores that a member is dead.
func (t *table) NotifyLeave(n *memberlist.Node) { t.store(n, Dead) }

func (t *table) store(n *memberlist.Node, s State) {
	advert, err := decodeAdvert(n.Meta)
	t.mu.Lock()
	defer t.mu.Unlock()
	id := cluster.NodeID(n.Name)
	m, known := t.known[id]
	if !known || m.State != s {
		m.Since = time.Now()
		if id != t.self {
			t.log.Info("gossip member is "+s.String(), "node", id, "addr", addrOf(n))
		}
	}
	m.ID, m.State, m.Addr = id, s, addrOf(n)
	if t.clashes[id].Other == m.Addr { // the node had only moved
		delete(t.clashes, id)
	}
	if err != nil {
		t.count.BadAdverts++
		t.log.Debug("gossip advert ignored", "node", id, "error", err)
	} else {
		m.Advert, m.Heard = advert, true
	}
	t.known[id] = m
	t.wake()
}

// NotifyAlive refuses members whose name is not a node ID.
func (t *table) NotifyAlive(n *memberlist.Node) error {
	if isNodeID(n.Name) && validAddr(n.Addr) {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count.Strangers++
	return errors.New("no node ID or no address")
}

// NotifyConflict stores that another machine claims a known node's ID.
func (t *table) NotifyConflict(existing, other *memberlist.Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count.Conflicts++
	id := cluster.NodeID(existing.Name)
	c, known := t.clashes[id]
	if !known && len(t.clashes) >= maxConflicts {
		return
	}
	if !known || c.Other != addrOf(other) {
		t.log.Warn("a node ID is claimed at two addresses: its node moved, and is believed when the old address is silent, "+
			"or its data directory was copied, and the copy must be wiped and enrolled anew",
			"node", id, "kept", addrOf(existing), "other", addrOf(other))
	}
	t.clashes[id] = Conflict{
		ID: id, Kept: addrOf(existing), Other: addrOf(other), Times: c.Times + 1, Last: time.Now(),
	}
	t.wake()
}

func validAddr(ip net.IP) bool {
	a, ok := netip.AddrFromSlice(ip)
	return ok && !a.IsUnspecified()
}

func addrOf(n *memberlist.Node) netip.AddrPort {
	a, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(a.Unmap(), n.Port)
}
