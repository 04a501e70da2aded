package rest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// sluggish is a cluster in the middle of an election: reads take a while, and changes get no answer.
type sluggish struct{ view *cluster.View }

func (s sluggish) Read(ctx context.Context) (*cluster.View, error) {
	select {
	case <-time.After(3 * time.Second):
		return s.view, nil
	case <-ctx.Done():
		return nil, cluster.Errorf(cluster.Unavailable, "no quorum")
	}
}

func (s sluggish) Propose(ctx context.Context, _ cluster.Command) (cluster.Result, error) {
	<-ctx.Done()
	return cluster.Result{}, cluster.Errorf(cluster.Unavailable, "no leader")
}

func (s sluggish) Local() *cluster.View { return s.view }

// TestChange_AnswersWithinFiveSecondsInAll: a request that waits for a read, and then for a change, gets its answer in the time of one.
func TestChange_AnswersWithinFiveSecondsInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := sluggish{cluster.NewState().View()}
		var took time.Duration
		h := rest.RequestID("compute")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			if _, err := rest.View(r, b); err != nil {
				t.Error(err)
			}
			_, err := rest.Change(r, b, &cluster.DeleteInstance{ID: "x"})
			if cluster.CodeOf(err) != cluster.Unavailable {
				t.Error(err)
			}
			took = time.Since(start)
		}))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodDelete, "/", nil))
		if took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
