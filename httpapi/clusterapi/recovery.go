package clusterapi

import (
	"context"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
)

// Recoverer makes a cluster go on whose quorum is gone for good. Only the socket serves it.
type Recoverer interface {
	// PlanRecovery says what a recovery on this node would do. Conflict, with the reason, when it must not be done, or not here.
	PlanRecovery(ctx context.Context) (RecoveryPlan, error)

	// Recover plans once more and carries it out. The node starts again, as the only voter; it is not waited for.
	Recover(ctx context.Context) (RecoveryPlan, error)
}

// RecoveryPlan is what a recovery does.
type RecoveryPlan struct {
	Node   string          `json:"node"` // whose log the cluster goes on with
	Log    cluster.LogEnd  `json:"log"`
	Others []RecoveryOther `json:"others"`
}

// RecoveryOther is what becomes of another node.
type RecoveryOther struct {
	ID      cluster.NodeID `json:"id"`
	Name    string         `json:"name"`
	Address string         `json:"address"`
	Voter   bool           `json:"voter"`
	Answers bool           `json:"answers"`
	Lost    bool           `json:"lost"` // given up: its ID never comes back
	Log     cluster.LogEnd `json:"log,omitzero"`
}

func (s *server) planRecovery(r *http.Request) (any, error) {
	return s.Recoverer.PlanRecovery(r.Context())
}

func (s *server) recover(r *http.Request) (any, error) { return s.Recoverer.Recover(r.Context()) }
