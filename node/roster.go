package node

import (
	"context"
	"log/slog"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/raftfsm"
)

// changeMember is how long one change of Raft's members may take.
const changeMember = 5 * time.Second

// roster brings Raft's members in line with the nodes of the state. It is one of the leader's duties.
type roster struct {
	raft raftMembers
	self cluster.NodeID
	log  *slog.Logger
}

// raftMembers are who takes part in Raft, and may be changed by the leader.
type raftMembers interface {
	Members() []raftfsm.Member
	AddMember(ctx context.Context, id cluster.NodeID, addr string) error
	RemoveMember(ctx context.Context, id cluster.NodeID) error
}

// attend adds to Raft who is in the state and not in Raft, and removes who is no longer in the state. It is a lead.Duty.
func (r *roster) attend(ctx context.Context, view *cluster.View, patiently func(what string, do func() error)) {
	change := func(what string, f func(context.Context) error) {
		patiently("change raft's members: "+what, func() error {
			bounded, cancel := context.WithTimeout(ctx, changeMember)
			defer cancel()
			if err := f(bounded); err != nil {
				return err
			}
			r.log.Info("changed raft's members: " + what)
			return nil
		})
	}
	have := map[cluster.NodeID]raftfsm.Member{}
	for _, m := range r.raft.Members() {
		have[m.ID] = m
	}
	for n := range view.Nodes() {
		addr := hostPort(n.Address, PeerPort)
		if m, ok := have[n.ID]; view.WasRemoved(n.ID) || ok && m.Addr == addr {
			continue
		}
		change("add "+n.Name, func(ctx context.Context) error { return r.raft.AddMember(ctx, n.ID, addr) })
	}
	for id := range have {
		if _, ok := view.Node(id); !ok && id != r.self { // itself: see handOver
			change("remove "+string(id), func(ctx context.Context) error { return r.raft.RemoveMember(ctx, id) })
		}
	}
}
