package node

import (
	"context"
	"fmt"
	"net"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/peernet"
	"github.com/kilonova/kilonova/raftfsm"
)

// directory finds peers and says who may be one. It is made before Raft is open, which is when view is set.
type directory struct {
	creds *peernet.Credentials
	known map[cluster.NodeID]string // addresses from the enrolment, for a node that has no state yet
	view  func() *cluster.View
}

// trusts is peernet.Trust: the nodes of the state. A node without a state trusts its cluster's authority.
func (d *directory) trusts(id cluster.NodeID) bool {
	view := d.view()
	if view == nil || view.Authority() == nil {
		return true
	}
	_, ok := view.Node(id)
	return ok
}

// address is where a node's peer port is.
func (d *directory) address(id cluster.NodeID) (string, error) {
	if view := d.view(); view != nil {
		if n, ok := view.Node(id); ok {
			return hostPort(n.Address, PeerPort), nil
		}
	}
	if a, ok := d.known[id]; ok {
		return hostPort(a, PeerPort), nil
	}
	return "", fmt.Errorf("node %s is not a member of this cluster", id)
}

// dialPeer opens a connection for the peers' HTTP; it is a peer.Dial.
func (d *directory) dialPeer(ctx context.Context, id cluster.NodeID) (net.Conn, error) {
	addr, err := d.address(id)
	if err != nil {
		return nil, err
	}
	return d.creds.Dial(ctx, addr, peernet.ProtoHTTP, id, d.trusts)
}

// raftStream carries Raft over the peer port.
type raftStream struct {
	net.Listener
	directory *directory
}

var _ raftfsm.StreamLayer = raftStream{}

// Dial implements raftfsm.StreamLayer.
func (s raftStream) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return s.directory.creds.Dial(ctx, addr, peernet.ProtoRaft, "", s.directory.trusts)
}
