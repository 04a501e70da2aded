package node

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync/atomic"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/peernet"
	"github.com/kilonova/kilonova/raftfsm"
)

// directory finds peers and says who may be one. It is made before the replica is open, because Raft speaks over the
// peer port.
type directory struct {
	creds *peernet.Credentials
	known map[cluster.NodeID]string // addresses from the enrolment, for a node that has no state yet
	raft  atomic.Pointer[raftfsm.Raft]
}

// trusts is peernet.Trust. The authority signs a certificate only for a machine whose enrolment is committed, so who shows one is
// a member unless it was removed. That this node has no record of it does not count: the record may be further on in the log
// than this node is, and a leader that joined while this node was away has to be let in to bring it.
//
// A removed node stays trusted as long as Raft counts it as a member: a leader that leaves hands over before it goes.
func (d *directory) trusts(id cluster.NodeID) bool {
	raft := d.raft.Load()
	if raft == nil {
		return false // who was removed is not known yet; the other side comes again
	}
	return !raft.View().WasRemoved(id) || inRaft(raft, id)
}

func inRaft(raft *raftfsm.Raft, id cluster.NodeID) bool {
	return slices.ContainsFunc(raft.Members(), func(m raftfsm.Member) bool { return m.ID == id })
}

// address is where a node's peer port is.
func (d *directory) address(id cluster.NodeID) (string, error) {
	if raft := d.raft.Load(); raft != nil {
		if n, ok := raft.View().Node(id); ok {
			return hostPort(n.Address, PeerPort), nil
		}
		for _, m := range raft.Members() { // the leader may have joined after what this node has seen
			if m.ID == id {
				return m.Addr, nil
			}
		}
		if leader, ok := raft.Leader(); ok && leader.ID == id {
			return leader.Addr, nil
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
