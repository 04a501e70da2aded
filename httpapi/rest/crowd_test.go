package rest_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/admission"
	"github.com/kilonova/kilonova/httpapi/rest/resttest"
)

// crowded wraps a handler of a service into a Crowd in which each class has so many seats, and twice as many may wait.
func crowded(name string, errs rest.Errors, seats int, h http.HandlerFunc) (http.Handler, *rest.Crowd) {
	limits := admission.Defaults()
	for i := range limits {
		limits[i] = admission.Limits{Least: seats, Most: seats, Waiting: 2 * seats}
	}
	crowd := rest.NewCrowdWith(admission.New(limits))
	s := rest.Service{Name: name, Errors: errs, Log: slog.New(slog.DiscardHandler), Crowd: crowd}
	return s.Wrap(h), crowd
}

// ask sends a request to a handler as a client at that address would.
func ask(h http.Handler, from string, r *http.Request) *httptest.ResponseRecorder {
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Twenty requests come while two seats are taken. All are answered: who cannot be served is told in the service's own words when to come
// again, and the handler never sees it.
func TestCrowd_EverybodyIsAnswered(t *testing.T) {
	for name, errs := range map[string]rest.Errors{
		"compute": rest.NovaErrors, "identity": rest.KeystoneErrors, "image": rest.GlanceErrors, "network": rest.NeutronErrors,
	} {
		synctest.Test(t, func(t *testing.T) {
			var served atomic.Int64
			h, crowd := crowded(name, errs, 2, func(w http.ResponseWriter, _ *http.Request) {
				served.Add(1)
				time.Sleep(time.Hour)
				rest.Reply(w, http.StatusAccepted, map[string]string{})
			})
			counts := map[int]int{}
			var mu sync.Mutex
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					w := ask(h, "192.0.2."+string(rune('1'+i%3))+":1000", httptest.NewRequest(http.MethodPost, "/x", strings.NewReader("{}")))
					mu.Lock()
					defer mu.Unlock()
					counts[w.Code]++
					if after := w.Header().Get("Retry-After"); w.Code != http.StatusAccepted && (after != "2" && after != "3" || w.Body.Len() == 0) {
						t.Errorf("%s: %d with Retry-After %q: %s", name, w.Code, after, w.Body)
					}
				})
			}
			wg.Wait()
			if counts[202] != 2 || int(served.Load()) != counts[202] || counts[202]+counts[429]+counts[503] != 20 || counts[429] == 0 || counts[503] == 0 {
				t.Errorf("%s: %v, of which the handler saw %d", name, counts, served.Load())
			}
			for _, s := range crowd.Stats() {
				if s.Taken+s.Waiting != 0 {
					t.Errorf("%s: left over: %+v", name, s)
				}
			}
		})
	}
}

// The kinds of requests have seats of their own.
func TestCrowd_KnowsTheClasses(t *testing.T) {
	for _, c := range []struct {
		service, method, path, stale string
		want                         admission.Class
	}{
		{"compute", "GET", "/compute/v2.1/servers", "", admission.Read},
		{"compute", "GET", "/compute/v2.1/servers", "stale", admission.Local},
		{"compute", "POST", "/compute/v2.1/servers", "stale", admission.Write},
		{"compute", "DELETE", "/compute/v2.1/servers/x", "", admission.Write},
		{"identity", "POST", "/identity/v3/auth/tokens", "", admission.Login},
		{"identity", "POST", "/identity/v3/users/x/password", "", admission.Login},
		{"identity", "POST", "/identity/v3/users", "", admission.Write},
		{"image", "PUT", "/image/v2/images/x/file", "", admission.Bytes},
		{"image", "GET", "/image/v2/images/x/file", "", admission.Bytes},
		{"image", "PUT", "/image/v2/images/x/tags/y", "", admission.Write},
	} {
		h, crowd := crowded(c.service, rest.NovaErrors, 1, func(http.ResponseWriter, *http.Request) {})
		r := httptest.NewRequest(c.method, c.path, nil)
		r.Header.Set(rest.ConsistencyHeader, c.stale)
		ask(h, "192.0.2.1:1", r)
		for _, s := range crowd.Stats() {
			if (s.Admitted == 1) != (s.Class == c.want) {
				t.Errorf("%+v: %d as %v", c, s.Admitted, s.Class)
			}
		}
	}
	limits := admission.Defaults()
	crowd := rest.NewCrowdWith(admission.New(limits))
	ask(rest.Probes(crowd, http.NotFoundHandler()), "192.0.2.1:1", httptest.NewRequest(http.MethodGet, "/healthz", nil))
	if s := crowd.Stats()[admission.Probe]; s.Admitted != 1 {
		t.Errorf("a probe: %+v", s)
	}
}

// Clients announce bodies and send nothing, on every seat there is. Somebody who sends a whole request is served meanwhile.
func TestCrowd_SlowBodiesHoldNoSeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := crowded("compute", rest.NovaErrors, 2, func(w http.ResponseWriter, r *http.Request) {
			if _, err := rest.Decode[map[string]any](r); err != nil {
				rest.NovaErrors.Fail(w, r, err)
				return
			}
			rest.Reply(w, http.StatusAccepted, nil)
		})
		var wg sync.WaitGroup
		var ends []*io.PipeWriter
		for range 4 {
			body, end := io.Pipe()
			ends = append(ends, end)
			wg.Go(func() {
				if w := ask(h, "192.0.2.66:1", httptest.NewRequest(http.MethodPost, "/x", body)); w.Code != http.StatusAccepted {
					t.Errorf("a slow one: %d %s", w.Code, w.Body)
				}
			})
		}
		time.Sleep(time.Second)
		start := time.Now()
		if w := ask(h, "192.0.2.1:1", httptest.NewRequest(http.MethodPost, "/x", strings.NewReader("{}"))); w.Code != http.StatusAccepted || time.Since(start) > 0 {
			t.Errorf("a prompt one: %d after %v", w.Code, time.Since(start))
		}
		for _, end := range ends {
			_, _ = io.WriteString(end, "{}")
			_ = end.Close()
		}
		wg.Wait()
	})
}

// stuck is a client that takes nothing of its reply.
type stuck struct {
	http.ResponseWriter
	until chan struct{}
}

func (s stuck) Write(b []byte) (int, error) { <-s.until; return len(b), nil }

// Clients ask and do not take their replies. Others are served meanwhile.
func TestCrowd_SlowTakersHoldNoSeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := crowded("compute", rest.NovaErrors, 1, func(w http.ResponseWriter, _ *http.Request) {
			rest.Reply(w, http.StatusOK, map[string]string{"a": "b"})
		})
		until := make(chan struct{})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				h.ServeHTTP(stuck{httptest.NewRecorder(), until}, httptest.NewRequest(http.MethodGet, "/x", nil))
			})
		}
		synctest.Wait()
		if w := ask(h, "192.0.2.1:1", httptest.NewRequest(http.MethodGet, "/x", nil)); w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		close(until)
		wg.Wait()
	})
}

// A tenant's program floods the API, from the address from which another tenant works, too. Once their tokens are known, the other one is served.
// A token that is not good never counts for the tenant that it claims to be of.
func TestCrowd_TenantsAreToldApartByTheirTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := resttest.NewCloud(t)
		h, crowd := crowded("compute", rest.NovaErrors, 4, func(w http.ResponseWriter, r *http.Request) {
			rest.Authenticate(cloud, cloud, rest.NovaErrors)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(100 * time.Millisecond)
				rest.Reply(w, http.StatusOK, nil)
			})).ServeHTTP(w, r)
		})
		as := func(token string) int {
			r := httptest.NewRequest(http.MethodGet, "/x", nil)
			r.Header.Set(rest.TokenHeader, token)
			return ask(h, "192.0.2.1:1", r).Code
		}
		for _, token := range []string{"demo", "other"} {
			if code := as(token); code != http.StatusOK {
				t.Fatal(token, code)
			}
		}
		var wg sync.WaitGroup
		var refused atomic.Int64
		stop := time.Now().Add(10 * time.Second)
		for range 40 {
			wg.Go(func() {
				for time.Now().Before(stop) {
					if as("demo") == http.StatusTooManyRequests {
						refused.Add(1)
						time.Sleep(10 * time.Millisecond)
					}
				}
			})
		}
		time.Sleep(5 * time.Second)
		for range 10 {
			start := time.Now()
			if code := as("other"); code != http.StatusOK || time.Since(start) > 300*time.Millisecond {
				t.Errorf("the other tenant got %d after %v", code, time.Since(start))
			}
		}
		wg.Wait()
		if refused.Load() == 0 {
			t.Error("there was no flood")
		}
		before := crowd.Stats()[admission.Read].Admitted
		if code := as("nobody's"); code != http.StatusUnauthorized || crowd.Stats()[admission.Read].Admitted != before+1 {
			t.Errorf("a bad token gave %d", code)
		}
	})
}

// While a request waits for its seat, the time passes within which it is promised an answer.
func TestCrowd_WaitingForASeatCountsAsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := resttest.NewCloud(t)
		blocked := hung{cloud}
		var before atomic.Bool
		h, _ := crowded("compute", rest.NovaErrors, 1, func(w http.ResponseWriter, r *http.Request) {
			if before.CompareAndSwap(false, true) {
				time.Sleep(1500 * time.Millisecond)
				return
			}
			if _, err := rest.View(r, blocked); err != nil {
				rest.NovaErrors.Fail(w, r, err)
			}
		})
		var wg sync.WaitGroup
		wg.Go(func() { ask(h, "192.0.2.1:1", httptest.NewRequest(http.MethodGet, "/x", nil)) })
		synctest.Wait()
		start := time.Now()
		w := ask(h, "192.0.2.1:1", httptest.NewRequest(http.MethodGet, "/x", nil))
		if took := time.Since(start); w.Code != http.StatusServiceUnavailable || took > 5*time.Second || took < 4*time.Second {
			t.Errorf("%d after %v", w.Code, took)
		}
		wg.Wait()
	})
}

// hung is a Backend that lost its quorum: it answers when nobody waits any more.
type hung struct{ *resttest.Cloud }

func (hung) Read(ctx context.Context) (*cluster.View, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
