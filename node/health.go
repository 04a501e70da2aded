package node

import (
	"context"
	"net/http"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// healthTimeout is how long a probe waits for a quorum: longer than an election mostly takes, shorter than probes have patience for.
const healthTimeout = 2 * time.Second

// health tells load balancers and people whether the cluster can be used through this node. All who ask at the same time share one
// barrier, so that strangers who ask often cost no more than a heartbeat each round.
type health struct {
	backend interface {
		Read(ctx context.Context) (*cluster.View, error)
	}
}

// report is the body of the answer.
type report struct {
	Status string `json:"status"` // "ok", or what is the matter
	Quorum bool   `json:"quorum"`
}

// ServeHTTP answers 200 when a quorum does, else 503.
func (h health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	if _, err := h.backend.Read(ctx); err != nil {
		w.Header().Set("Retry-After", "2")
		rest.Reply(w, http.StatusServiceUnavailable, report{Status: "no quorum: this node runs, but too few others answer it to read or change anything"})
		return
	}
	rest.Reply(w, http.StatusOK, report{Status: "ok", Quorum: true})
}
