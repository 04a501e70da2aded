package peer

import (
	"context"
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
)

// Survivor answers for a node when the cluster has lost its quorum. Neither call needs a leader.
type Survivor interface {
	// Survey says how much of the cluster's history this node has.
	Survey() Survey

	// Yield promises another node that this one begins no recovery of its own for a while. Conflict when the promise was given to a
	// third, or when somebody leads.
	Yield(to cluster.NodeID) error
}

// Survey is what a node knows of the agreement.
type Survey struct {
	cluster.LogEnd
	Leader cluster.NodeID `json:"leader"` // "": it knows of none
}

func (s *server) recoveryRoutes(r chi.Router) {
	r.Get("/v1/survey", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Survivor.Survey()) })
	r.Post("/v1/yield", func(w http.ResponseWriter, r *http.Request) {
		if err := s.Survivor.Yield(asker(r)); err != nil {
			fail(w, s.Log, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// Survey asks a node how much of the cluster's history it has.
func (c *Client) Survey(ctx context.Context, node cluster.NodeID) (Survey, error) {
	var s Survey
	if err := c.call(ctx, http.MethodGet, node, "/v1/survey", nil, &s); err != nil {
		return s, fmt.Errorf("ask what it has of the log: %w", err)
	}
	return s, nil
}

// Yield asks a node to begin no recovery of its own while this one does.
func (c *Client) Yield(ctx context.Context, node cluster.NodeID) error {
	return c.call(ctx, http.MethodPost, node, "/v1/yield", nil, nil)
}
