package node

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/lead"
	"github.com/kilonova/kilonova/placement"
	"github.com/kilonova/kilonova/raftfsm"
)

// stuckRaft has a member that is in no state, and refuses every change, which wakes the leader all the same.
type stuckRaft struct {
	changed chan struct{}
	tries   int
}

func (s *stuckRaft) Latest() (*cluster.View, <-chan struct{}) {
	return cluster.NewState().View(), s.changed
}

func (s *stuckRaft) Propose(context.Context, cluster.Command) (cluster.Result, error) {
	return cluster.Result{}, nil
}

func (s *stuckRaft) Members() []raftfsm.Member {
	return []raftfsm.Member{{Peer: raftfsm.Peer{ID: "gone", Addr: "192.0.2.9:7443"}}}
}

func (s *stuckRaft) AddMember(context.Context, cluster.NodeID, string) error { return s.refuse() }

func (s *stuckRaft) RemoveMember(context.Context, cluster.NodeID) error { return s.refuse() }

func (s *stuckRaft) refuse() error {
	s.tries++
	close(s.changed)
	s.changed = make(chan struct{})
	return cluster.Errorf(cluster.Conflict, "too few voters")
}

// Raft refuses a change of its members for as long as too few of them are well. The leader must not try again at once, for ever.
func TestRoster_RefusedChangeIsTriedAgainWithPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stuckRaft{changed: make(chan struct{})}
		log := slog.New(slog.DiscardHandler)
		none := func() map[cluster.NodeID]placement.Hint { return nil }
		view := func() *cluster.View { v, _ := s.Latest(); return v }
		r := &roster{raft: s, self: "here", log: log}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		lead.New(lead.Config{Cluster: s, Chooser: lead.NewChooser(1, view, none, nil), Hints: none, Duties: []lead.Duty{r.attend}, Log: log}).Run(ctx)
		const few = 40 // with pauses that double up to half a minute
		if s.tries == 0 || s.tries > few {
			t.Errorf("%d attempts in ten minutes", s.tries)
		}
	})
}
