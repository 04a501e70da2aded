package node

import (
	"context"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/peernet"
	"github.com/kilonova/kilonova/node/pki"
)

const (
	// lonelyAfter is how long a node knows of no leader before it asks around whether it was removed. An election is shorter.
	lonelyAfter = 5 * time.Second

	// askAnyway is how often a node asks although it knows of a leader.
	askAnyway = 30 * time.Second

	// startTimeout bounds the questions of a node that starts, and askedAtStart how many nodes it asks.
	startTimeout = time.Second
	askedAtStart = 16

	// standingTimeout bounds the question to one node.
	standingTimeout = 2 * time.Second
)

// registrar implements peer.Registrar from this node's own copy of the state, so that it answers without a quorum, too. A removal is
// committed and final, so a copy that is behind can only say less.
type registrar struct{ view func() *cluster.View }

// Removed implements peer.Registrar.
func (r registrar) Removed(id cluster.NodeID) bool { return r.view().WasRemoved(id) }

// standing finds out whether this node was removed while it was away. Then nobody lets it in, so it cannot read it in the state; but
// whoever refuses it answers the question, at the door where machines join. Only a proven node of the cluster is believed.
type standing struct {
	self    cluster.NodeID
	trusted func() (pki.Trusted, error)
	leader  func() bool // somebody is known to lead
	peers   func() []peer.Address
	heard   time.Time // when a leader was known last
	asked   time.Time // when another node was asked last
	next    int       // whom to ask
}

// removed asks one node, if none has been known to lead for a while, and now and then anyway: who was given up in a recovery may have a leader, of
// others that were, too. It tells whether this node was removed.
func (s *standing) removed(ctx context.Context) bool {
	now := time.Now()
	led := s.leader()
	if led {
		s.heard = now
	}
	all := s.peers()
	lonely, due := now.Sub(s.heard) >= lonelyAfter, led && now.Sub(s.asked) >= askAnyway
	if !lonely && !due || len(all) == 0 {
		return false
	}
	s.asked = now
	s.next++
	return s.removedSays(ctx, all[s.next%len(all)].Address, s.next/len(all))
}

// removedSaysAny asks many nodes at once. It is for the start: voters that were given up in a recovery and come back together are a quorum of
// what they know, and must not begin anything when a survivor can tell them.
func (s *standing) removedSaysAny(ctx context.Context) bool {
	all := s.peers()
	answers := make(chan bool, len(all))
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	asked := min(len(all), askedAtStart)
	for _, p := range all[:asked] {
		go func() { answers <- s.removedSays(ctx, p.Address, 0) }()
	}
	removed := false
	for range asked {
		removed = <-answers || removed
	}
	return removed
}

// removedSays asks one node. While there are two authorities, turns take them in turn.
func (s *standing) removedSays(ctx context.Context, address string, turn int) bool {
	ctx, cancel := context.WithTimeout(ctx, standingTimeout)
	defer cancel()
	trusted, err := s.trusted()
	if err != nil {
		return false
	}
	// While there are two authorities, a node that knows one of them may answer.
	pin := trusted[turn%len(trusted)].Fingerprint()
	conn, _, err := peernet.DialJoin(ctx, hostPort(address, PeerPort), pin)
	if err != nil {
		return false // it does not answer; another one may
	}
	defer conn.Close()
	removed, err := peer.Removed(ctx, conn, s.self)
	return err == nil && removed
}

// standing is made when the state is open.
func (n *node) newStanding() *standing {
	return &standing{
		self: n.id.Node, trusted: n.dir.authorities, heard: time.Now(),
		leader: func() bool { _, known := n.state.raft.Leader(); return known },
		peers:  n.otherNodes,
	}
}

// stillMember is asked before anything is done: errRemoved when another node knows that this one was removed.
func (n *node) stillMember() error {
	if n.newStanding().removedSaysAny(context.Background()) {
		return errRemoved
	}
	return nil
}

// otherNodes are the nodes of the state as this node has it, or those that the enrolment named.
func (n *node) otherNodes() []peer.Address {
	var all []peer.Address
	for other := range n.state.Local().Nodes() {
		if other.ID != n.id.Node {
			all = append(all, peer.Address{Node: other.ID, Address: other.Address})
		}
	}
	if len(all) == 0 {
		all = n.id.Peers
	}
	return all
}
