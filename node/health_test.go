package node

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// quorum answers reads, or never does.
type quorum bool

func (q quorum) Read(ctx context.Context) (*cluster.View, error) {
	if q {
		return cluster.NewState().View(), nil
	}
	<-ctx.Done()
	return nil, cluster.Errorf(cluster.Unavailable, "no quorum answers")
}

// A load balancer asks a node that lost the others. It is told so, and within a time in which it does not give up.
func TestHealth_SaysWhetherThereIsAQuorum(t *testing.T) {
	for there, want := range map[quorum]int{true: http.StatusOK, false: http.StatusServiceUnavailable} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			w := httptest.NewRecorder()
			health{there}.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
			if w.Code != want || time.Since(start) > healthTimeout || strings.Contains(w.Body.String(), "no quorum") == bool(there) {
				t.Errorf("quorum %t: %d %s after %v", there, w.Code, w.Body, time.Since(start))
			}
			if !there && w.Header().Get("Retry-After") == "" {
				t.Error("it is not said when to come again")
			}
		})
	}
}
