package node

import (
	"context"
	"slices"
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
// committed and final, so a copy that is behind can only say less. Of an address, the copy that is further on is believed.
type registrar struct{ view func() *cluster.View }

// Standing implements peer.Registrar.
func (r registrar) Standing(id cluster.NodeID) peer.Standing {
	view := r.view()
	s := peer.Standing{Removed: view.WasRemoved(id)}
	if n, ok := view.Node(id); ok && !s.Removed {
		s.Address, s.Revision = n.Address, n.Revision
	}
	return s
}

// standing finds out whether this node was removed while it was away, or goes on elsewhere. Then nobody lets it in or sends it anything, so it cannot
// read it in the state; but whoever is asked answers the question, at the door where machines join. Only a proven node of the cluster is believed.
type standing struct {
	self    cluster.NodeID
	at      func(address string) bool // whether this node is at an address, or was when it last heard of the cluster
	trusted func() (pki.Trusted, error)
	leader  func() bool // somebody is known to lead
	view    func() *cluster.View
	peers   func() []peer.Address
	heard   time.Time // when a leader was known last
	asked   time.Time // when another node was asked last
	next    int       // whom to ask
}

// ask asks one node, if none has been known to lead for a while, and now and then anyway: who was given up in a recovery may have a leader, of
// others that were, too. The error says why this node may not go on; nil: nothing speaks against it.
func (s *standing) ask(ctx context.Context) error {
	now := time.Now()
	led := s.leader()
	if led {
		s.heard = now
	}
	all := s.peers()
	lonely, due := now.Sub(s.heard) >= lonelyAfter, led && now.Sub(s.asked) >= askAnyway
	if !lonely && !due || len(all) == 0 {
		return nil
	}
	s.asked = now
	s.next++
	return s.says(ctx, all[s.next%len(all)].Address, s.next/len(all))
}

// askMany asks many nodes at once. It is for the start: voters that were given up in a recovery and come back together are a quorum of
// what they know, and must not begin anything when a survivor can tell them.
func (s *standing) askMany(ctx context.Context) error {
	all := s.peers()
	answers := make(chan error, len(all))
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	asked := min(len(all), askedAtStart)
	for _, p := range all[:asked] {
		go func() { answers <- s.says(ctx, p.Address, 0) }()
	}
	var reason error
	for range asked {
		if err := <-answers; err != nil && reason == nil {
			reason = err
		}
	}
	return reason
}

// says asks one node. While there are two authorities, turns take them in turn.
func (s *standing) says(ctx context.Context, address string, turn int) error {
	ctx, cancel := context.WithTimeout(ctx, standingTimeout)
	defer cancel()
	trusted, err := s.trusted()
	if err != nil {
		return nil
	}
	// While there are two authorities, a node that knows one of them may answer.
	pin := trusted[turn%len(trusted)].Fingerprint()
	conn, _, err := peernet.DialJoin(ctx, hostPort(address, PeerPort), pin)
	if err != nil {
		return nil // it does not answer; another one may
	}
	defer conn.Close()
	answer, err := peer.StandingOf(ctx, conn, s.self)
	if err != nil {
		return nil
	}
	return s.judge(answer)
}

// judge gives the error that an answer means for this node. An address counts when it is newer than what this node knows itself: then it was not this
// node that moved there.
func (s *standing) judge(answer peer.Standing) error {
	if answer.Removed {
		return errRemoved
	}
	if answer.Address == "" || s.at(answer.Address) {
		return nil
	}
	if own, ok := s.view().Node(s.self); ok && own.Revision >= answer.Revision {
		return nil
	}
	return goesOnAt(answer.Address)
}

// newStanding is made when the state is open.
func (n *node) newStanding() *standing {
	known := append([]string{n.id.Bind}, n.id.Former...)
	return &standing{
		self: n.id.Node, trusted: n.dir.authorities, heard: time.Now(),
		at:     func(address string) bool { return slices.Contains(known, address) },
		leader: func() bool { _, known := n.state.raft.Leader(); return known },
		view:   n.state.Local,
		peers:  n.otherNodes,
	}
}

// mayBegin is asked before anything is done: errRemoved when another node knows that this one was removed, and another error when it knows that this
// one goes on elsewhere.
func (n *node) mayBegin() error { return n.newStanding().askMany(context.Background()) }

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
