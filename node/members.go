package node

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/gossip"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
	"github.com/kilonova/kilonova/placement"
)

// members says which nodes are there: hints from gossip, and parts from Raft.
type members struct {
	agreement *agreement
	gossip    *gossip.Gossip
	self      cluster.NodeID
	started   time.Time
}

// gossipGrace is how long after its own start this node takes no notice that another has not been heard of: after a cut of
// the power, all of them come back at about the same time.
const gossipGrace = 10 * time.Second

// Members implements clusterapi.Members.
func (m *members) Members() map[cluster.NodeID]clusterapi.Member {
	out := map[cluster.NodeID]clusterapi.Member{}
	now := time.Now()
	for n := range m.agreement.Local().Nodes() {
		out[n.ID] = clusterapi.Member{SilentFor: now.Sub(m.started)}
	}
	for _, g := range m.gossip.Members() {
		member := out[g.ID]
		if member.Up = g.State == gossip.Alive; !member.Up {
			member.SilentFor = now.Sub(g.Since)
		}
		out[g.ID] = member
	}
	leader, _ := m.agreement.raft.Leader()
	for _, r := range m.agreement.raft.Members() {
		member := out[r.ID]
		member.InRaft, member.Voter, member.Leader = true, r.Voter, r.ID == leader.ID
		out[r.ID] = member
	}
	self := out[m.self]
	self.Up = true
	out[m.self] = self
	for id, member := range out {
		if member.Up {
			member.SilentFor = 0
			out[id] = member
		}
	}
	return out
}

// Liveness implements compute.Liveness. A node that gossip has not heard of is down since this node started: it knows no
// better.
func (m *members) Liveness(id cluster.NodeID) (up bool, since time.Time) {
	if n, ok := m.agreement.Local().Node(id); ok && n.Lost != nil {
		return false, n.Lost.At.Std()
	}
	if id == m.self {
		return true, m.started
	}
	for _, g := range m.gossip.Members() {
		if g.ID == id {
			return g.State == gossip.Alive, g.Since
		}
	}
	return false, m.started
}

// Unheard implements compute.Liveness.
func (m *members) Unheard(id cluster.NodeID) bool {
	if id == m.self || time.Since(m.started) > gossipGrace {
		return false
	}
	if n, ok := m.agreement.Local().Node(id); ok && n.Lost != nil {
		return false
	}
	return !slices.ContainsFunc(m.gossip.Members(), func(g gossip.Member) bool { return g.ID == id })
}

// hints are what placement should know of the nodes that the state cannot say.
func (m *members) hints() map[cluster.NodeID]placement.Hint {
	now := time.Now()
	out := map[cluster.NodeID]placement.Hint{}
	for n := range m.agreement.Local().Nodes() {
		if n.ID != m.self {
			silent := now.Sub(m.started)
			out[n.ID] = placement.Hint{Silent: silent > gossipGrace, SilentFor: silent}
		}
	}
	for _, g := range m.gossip.Members() {
		if _, ok := out[g.ID]; !ok && g.ID != m.self {
			continue
		}
		h := placement.Hint{
			Silent: g.State != gossip.Alive, SilentFor: g.SilentFor(now),
			DiskFull: g.Advert.Load.DiskFull, IOPressure: g.Advert.Load.IOPressure, MemoryPressure: g.Advert.Load.MemoryPressure,
		}
		if g.ID == m.self {
			h.Silent, h.SilentFor = false, 0
		}
		out[g.ID] = h
	}
	return out
}

// peers are the nodes that gossip should know: those of the state, and before there is one, those that the enrolment
// named.
func (m *members) peers(id enrolment) func() []gossip.Peer {
	return func() []gossip.Peer {
		var out []gossip.Peer
		add := func(node cluster.NodeID, address string) {
			if a, err := netip.ParseAddr(address); err == nil && node != m.self {
				out = append(out, gossip.Peer{ID: node, Addr: netip.AddrPortFrom(a, GossipPort)})
			}
		}
		for n := range m.agreement.Local().Nodes() {
			add(n.ID, n.Address)
		}
		if len(out) == 0 {
			for _, p := range id.Peers {
				add(p.Node, p.Address)
			}
		}
		return out
	}
}
