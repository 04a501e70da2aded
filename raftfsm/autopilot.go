package raftfsm

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"github.com/kilonova/kilonova/cluster"
)

const (
	// pilotInterval is how often a leader looks at the health of the members and at who should vote.
	pilotInterval = 2 * time.Second

	// stableAfter is how long a new member must be healthy before it may vote.
	stableAfter = 2 * time.Second

	// maxTrailing is how many entries a healthy member may be behind.
	maxTrailing = 512
)

// pilot tells raft-autopilot about the members and carries chooseVoters to it. Autopilot only ever changes who
// votes. It does not remove members: that takes a committed RemoveNode, see dropRemoved.
type pilot struct{ r *Raft }

// startAutopilot runs autopilot until ctx ends and returns what to wait for then.
func (r *Raft) startAutopilot(ctx context.Context) (wait func()) {
	p := pilot{r}
	a := autopilot.New(r.raft, p,
		autopilot.WithPromoter(p),
		autopilot.WithLogger(newLogger(r.cfg.Log)),
		autopilot.WithUpdateInterval(pilotInterval),
		autopilot.WithReconcileInterval(pilotInterval),
	)
	a.Start(ctx)
	return func() { <-a.Stop() }
}

// silence is how long a member may say nothing and still be healthy.
func (r *Raft) silence() time.Duration { return 2 * r.cfg.Timing.Heartbeat }

// AutopilotConfig implements autopilot.ApplicationIntegration.
func (p pilot) AutopilotConfig() *autopilot.Config {
	return &autopilot.Config{
		LastContactThreshold:    p.r.silence(),
		MaxTrailingLogs:         maxTrailing,
		MinQuorum:               keptVoters,
		ServerStabilizationTime: stableAfter,
	}
}

// KnownServers implements autopilot.ApplicationIntegration: the members that are nodes of the cluster.
func (p pilot) KnownServers() map[raft.ServerID]*autopilot.Server {
	view := p.r.View()
	heard := p.r.peers.snapshot()
	known := map[raft.ServerID]*autopilot.Server{}
	for _, s := range p.r.configuration() {
		node, ok := view.Node(cluster.NodeID(s.ID))
		if !ok {
			continue
		}
		self := s.ID == raft.ServerID(p.r.cfg.ID)
		status := autopilot.NodeFailed
		if self || time.Since(heard[s.ID].last) <= p.r.silence() {
			status = autopilot.NodeAlive
		}
		known[s.ID] = &autopilot.Server{
			ID: s.ID, Name: node.Name, Address: s.Address, NodeStatus: status, IsLeader: self,
		}
	}
	return known
}

// FetchServerStats implements autopilot.ApplicationIntegration. Nobody need be asked: a leader hears from every
// member several times a second.
func (p pilot) FetchServerStats(
	_ context.Context, servers map[raft.ServerID]*autopilot.Server,
) map[raft.ServerID]*autopilot.ServerStats {
	heard := p.r.peers.snapshot()
	stats := map[raft.ServerID]*autopilot.ServerStats{}
	for id := range servers {
		if id == raft.ServerID(p.r.cfg.ID) {
			stats[id] = &autopilot.ServerStats{LastIndex: p.r.raft.LastIndex(), LastTerm: p.r.stat("last_log_term")}
			continue
		}
		c := heard[id]
		stats[id] = &autopilot.ServerStats{LastContact: time.Since(c.last), LastIndex: c.index, LastTerm: c.term}
	}
	return stats
}

// NotifyState implements autopilot.ApplicationIntegration.
func (p pilot) NotifyState(*autopilot.State) {}

// RemoveFailedServer implements autopilot.ApplicationIntegration. CleanupDeadServers is off.
func (p pilot) RemoveFailedServer(*autopilot.Server) {}

// CalculatePromotionsAndDemotions implements autopilot.Promoter.
func (p pilot) CalculatePromotionsAndDemotions(c *autopilot.Config, s *autopilot.State) autopilot.RaftChanges {
	d := chooseVoters(p.candidates(c, s, time.Now()))
	changes := autopilot.RaftChanges{Leader: raft.ServerID(d.leader)}
	for _, id := range d.promote {
		changes.Promotions = append(changes.Promotions, raft.ServerID(id))
	}
	for _, id := range d.demote {
		changes.Demotions = append(changes.Demotions, raft.ServerID(id))
	}
	if len(d.promote)+len(d.demote) > 0 || d.leader != "" {
		p.r.cfg.Log.Info("changing the voters", "promote", d.promote, "demote", d.demote, "leader", d.leader)
	}
	return changes
}

// candidates are the members as chooseVoters sees them. Autopilot's word of their health is some seconds old; a vote must
// not go to a node that died since, for a lone voter could not even take it back.
func (p pilot) candidates(c *autopilot.Config, s *autopilot.State, now time.Time) []candidate {
	view, heard := p.r.View(), p.r.peers.snapshot()
	stable := s.ServerStabilizationTime(c)
	all := make([]candidate, 0, len(s.Servers))
	for id, m := range s.Servers {
		one := candidate{
			id:      cluster.NodeID(id),
			pin:     cluster.VoterNever, // what is not a node of the cluster may not vote
			voter:   m.HasVotingRights(),
			leader:  m.State == autopilot.RaftLeader,
			healthy: m.Health.Healthy,
			stable:  m.Health.IsStable(now, stable) && now.Sub(heard[id].last) <= p.r.cfg.Timing.Lease,
			since:   now.Sub(m.Health.StableSince),
		}
		if node, ok := view.Node(one.id); ok {
			one.zone, one.pin = node.Zone, node.Voter
		}
		all = append(all, one)
	}
	return all
}

// GetServerExt implements autopilot.Promoter.
func (p pilot) GetServerExt(*autopilot.Config, *autopilot.ServerState) any { return nil }

// GetStateExt implements autopilot.Promoter.
func (p pilot) GetStateExt(*autopilot.Config, *autopilot.State) any { return nil }

// GetNodeTypes implements autopilot.Promoter.
func (p pilot) GetNodeTypes(_ *autopilot.Config, s *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	types := make(map[raft.ServerID]autopilot.NodeType, len(s.Servers))
	for id := range s.Servers {
		types[id] = autopilot.NodeVoter
	}
	return types
}

// FilterFailedServerRemovals implements autopilot.Promoter: none may go.
func (p pilot) FilterFailedServerRemovals(
	*autopilot.Config, *autopilot.State, *autopilot.FailedServers,
) *autopilot.FailedServers {
	return &autopilot.FailedServers{}
}

// IsPotentialVoter implements autopilot.Promoter.
func (p pilot) IsPotentialVoter(t autopilot.NodeType) bool { return t == autopilot.NodeVoter }
