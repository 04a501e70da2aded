package raftfsm

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kilonova/kilonova/cluster"
)

// Member is a node that has the log.
type Member struct {
	Peer
	Voter  bool
	Leader bool

	// Contact is when the leader last heard of it. Only the leader knows, and each member about its leader; zero
	// elsewhere.
	Contact time.Time

	// Healthy is whether that was recently. Of itself a member always thinks so.
	Healthy bool

	// Behind is by how many entries it lags the leader, as the leader knows.
	Behind uint64
}

// Leader names the leader; false when none is known. What it says may be out of date.
func (r *Raft) Leader() (Peer, bool) {
	leader, _, known := r.LeaderUntil()
	return leader, known
}

// IsLeader tells whether this node leads and has applied all that earlier leaders acknowledged. It may already have
// been deposed.
func (r *Raft) IsLeader() bool { return r.terms.now.Load() != nil }

// Members lists the members, in no order.
func (r *Raft) Members() []Member {
	leader, _ := r.Leader()
	heard := r.peers.snapshot()
	leading, last := r.IsLeader(), r.raft.LastIndex()
	servers := r.configuration()
	members := make([]Member, 0, len(servers))
	for _, s := range servers {
		m := Member{
			Peer:   Peer{ID: cluster.NodeID(s.ID), Addr: string(s.Address)},
			Voter:  s.Suffrage == raft.Voter,
			Leader: cluster.NodeID(s.ID) == leader.ID,
		}
		self := m.ID == r.cfg.ID
		switch {
		case leading && !self:
			c := heard[s.ID]
			m.Contact, m.Behind = c.last, last-min(last, c.index)
		case m.Leader && !self:
			m.Contact = r.raft.LastContact()
		}
		m.Healthy = self || time.Since(m.Contact) <= r.silence()
		members = append(members, m)
	}
	return members
}

// AddMember gives a node the log, without a vote: autopilot decides on that. A member that has another address gets
// the new one. Adding a member twice is the same as once. Only the leader can; errors are as Propose's, and
// cluster.Conflict for a node that was removed from the cluster.
func (r *Raft) AddMember(ctx context.Context, id cluster.NodeID, addr string) error {
	if r.View().WasRemoved(id) {
		return cluster.Errorf(cluster.Conflict, "node %s was removed and may not come back", id)
	}
	for _, s := range r.configuration() {
		if s.ID != raft.ServerID(id) {
			continue
		}
		if string(s.Address) == addr {
			return r.mayServe()
		}
		defer r.trans.pipes.bar(ctx, s.ID)()
	}
	return r.change(ctx, func() raft.Future {
		return r.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), 0, enqueueTimeout)
	})
}

// RemoveMember takes the log and the vote from a node. Removing one that is no member is not an error. A leader does
// not remove itself: it hands over and answers ErrNotApplied. It is cluster.Conflict when too few healthy voters
// would be left.
func (r *Raft) RemoveMember(ctx context.Context, id cluster.NodeID) error {
	if err := r.mayServe(); err != nil {
		return err
	}
	var all []candidate
	member := false
	for _, m := range r.Members() {
		all = append(all, candidate{id: m.ID, voter: m.Voter, healthy: m.Healthy})
		member = member || m.ID == id
	}
	switch {
	case !member:
		return nil
	case id == r.cfg.ID:
		if err := r.Transfer(ctx); err != nil {
			return err
		}
		return r.notLeader()
	case !safeWithout(all, id):
		return cluster.Errorf(cluster.Conflict, "without node %s too few voters would be healthy", id)
	}
	return r.change(ctx, func() raft.Future { return r.raft.RemoveServer(raft.ServerID(id), 0, enqueueTimeout) })
}

// Transfer hands the leadership to the voter whose log is longest, and returns when this node has given it up. It
// may fail, and then this node leads on.
func (r *Raft) Transfer(ctx context.Context) error {
	return r.change(ctx, r.raft.LeadershipTransfer)
}

// change has raft do something that only a leader can, and waits for it.
func (r *Raft) change(ctx context.Context, do func() raft.Future) error {
	ctx, cancel := context.WithTimeout(ctx, ProposeTimeout)
	defer cancel()
	if err := r.mayServe(); err != nil {
		return err
	}
	if !r.enter() {
		return notApplied(errStopped)
	}
	done := make(chan error, 1)
	go func() {
		defer r.users.Done()
		done <- do().Error()
	}()
	select {
	case err := <-done:
		return r.translate(err)
	case <-ctx.Done():
		return unknown(ctx.Err())
	}
}

// configuration is the newest set of members, committed or not.
func (r *Raft) configuration() []raft.Server {
	return r.raft.GetConfiguration().Configuration().Servers
}
