package gossip

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

const (
	rejoinEvery   = 2 * time.Second  // how often missing peers are looked for
	rejoinFirst   = 2 * time.Second  // pause after the first attempt at a peer that failed; doubled after each further one
	rejoinLongest = 30 * time.Second // longest pause
	rejoinAtOnce  = 3                // peers contacted in one pass: the first that answers tells of all others
)

// attempt is when a peer may be contacted again.
type attempt struct {
	pause time.Duration
	next  time.Time
}

// rejoin contacts peers that should be members and are not, and forgets the dead that should not be.
func (g *Gossip) rejoin(ctx context.Context) {
	attempts := make(map[cluster.NodeID]attempt)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if peers, ok := g.peers(); ok {
			g.table.keep(idsOf(peers))
			for _, p := range missing(peers, g.table.alive, attempts, time.Now()) {
				if ctx.Err() != nil {
					return
				}
				g.contact(p, attempts)
			}
		}
		timer.Reset(rejoinEvery)
	}
}

// contact tries one peer, unless a peer before it brought it back.
func (g *Gossip) contact(p Peer, attempts map[cluster.NodeID]attempt) {
	if g.table.alive(p.ID) {
		return
	}
	err := g.Join(p)
	g.log.Debug("contacted a silent gossip peer", "node", p.ID, "addr", p.Addr, "error", err)
	a := attempts[p.ID]
	a.pause = min(max(2*a.pause, rejoinFirst), rejoinLongest)
	// Two halves of a cluster that was cut would else try in step for ever.
	a.next = time.Now().Add(a.pause/2 + rand.N(a.pause/2))
	attempts[p.ID] = a
}

// missing chooses whom to contact: peers that are not alive and whose pause is over, in random order, and only a few. It
// forgets the attempts of the others that are alive or not expected.
func missing(
	peers []Peer, alive func(cluster.NodeID) bool, attempts map[cluster.NodeID]attempt, now time.Time,
) []Peer {
	expected := idsOf(peers)
	for id := range attempts {
		if !expected[id] || alive(id) {
			delete(attempts, id)
		}
	}
	var due []Peer
	for _, p := range peers {
		if !alive(p.ID) && p.Addr.IsValid() && !now.Before(attempts[p.ID].next) {
			due = append(due, p)
		}
	}
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	return due[:min(len(due), rejoinAtOnce)]
}
