package rest

import (
	"context"

	"github.com/kilonova/kilonova/cluster"
)

// Backend is the replicated state, as a service sees it.
type Backend interface {
	// Propose applies one command and waits until it is committed and applied here, so that what this node
	// reads next holds it. A refusal is returned as a *cluster.Error. Code Unavailable means that the
	// outcome is unknown.
	Propose(ctx context.Context, c cluster.Command) (cluster.Result, error)

	// Read returns a view that holds everything acknowledged before the call, by any node. Code Unavailable
	// when there is no quorum.
	Read(ctx context.Context) (*cluster.View, error)

	// Local returns this node's latest view at once; it may be behind.
	Local() *cluster.View
}
