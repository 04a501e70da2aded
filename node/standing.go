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
	next    int       // whom to ask
}

// removed asks one node, if none has been known to lead for a while, and tells whether this node was removed.
func (s *standing) removed(ctx context.Context) bool {
	if s.leader() {
		s.heard = time.Now()
		return false
	}
	all := s.peers()
	if time.Since(s.heard) < lonelyAfter || len(all) == 0 {
		return false
	}
	s.next++
	ctx, cancel := context.WithTimeout(ctx, standingTimeout)
	defer cancel()
	trusted, err := s.trusted()
	if err != nil {
		return false
	}
	// While there are two authorities, a node that knows one of them may answer.
	pin := trusted[s.next/len(all)%len(trusted)].Fingerprint()
	conn, _, err := peernet.DialJoin(ctx, hostPort(all[s.next%len(all)].Address, PeerPort), pin)
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
