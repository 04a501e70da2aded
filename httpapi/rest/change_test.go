package rest_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/resttest"
)

// serve runs one handler as a service would, behind everything that stands around it, as the user of a token.
func serve(b *resttest.Cloud, token string, r *http.Request, h func(http.ResponseWriter, *http.Request)) *httptest.ResponseRecorder {
	if token != "" {
		r.Header.Set(rest.TokenHeader, token)
	}
	w := httptest.NewRecorder()
	s := rest.Service{Name: "compute", Errors: rest.NovaErrors, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	s.Wrap(rest.Authenticate(b, b, rest.NovaErrors)(http.HandlerFunc(h))).ServeHTTP(w, r)
	return w
}

// flavor makes a handler that creates a flavor with a new ID each time, as its name is unique.
func flavor(t *testing.T, b rest.Backend, name string, ids *[]string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.ContentLength > 0 {
			if _, err := rest.Decode[any](r); err != nil {
				t.Error(err)
			}
		}
		res, err := rest.Change(r, b, &cluster.PutFlavor{Flavor: cluster.Flavor{ID: cluster.FlavorID(rest.NewUUID()), Name: name, VCPUs: 1, MemoryMiB: 64}})
		if err != nil {
			rest.NovaErrors.Fail(w, r, err)
			return
		}
		*ids = append(*ids, res.IDs...)
		view, err := rest.View(r, b)
		if err != nil {
			t.Error(err)
			return
		}
		if _, ok := view.Flavor(cluster.FlavorID(res.IDs[0])); !ok {
			t.Error("the request does not see what it changed")
		}
		rest.Reply(w, http.StatusCreated, nil)
	}
}

func post(key, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://node-1:8774/compute/v2.1/flavors", strings.NewReader(body))
	if key != "" {
		r.Header.Set(rest.IdempotencyKeyHeader, key)
	}
	return r
}

// TestChange_OneKeyMakesOneThing: the same request arrives three times under one key, and others arrive that only look alike.
func TestChange_OneKeyMakesOneThing(t *testing.T) {
	c := resttest.NewCloud(t)
	var ids []string
	for range 3 {
		if w := serve(c, "admin", post("k", `{"a":1}`), flavor(t, c, "one", &ids)); w.Code != http.StatusCreated {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if ids[0] != ids[1] || ids[1] != ids[2] {
		t.Errorf("made %v", ids)
	}
	for name, r := range map[string]*http.Request{"another body": post("k", `{"a":2}`), "no key": post("", `{"a":1}`), "another key": post("k2", `{"a":1}`)} {
		if w := serve(c, "admin", r, flavor(t, c, "one", &ids)); w.Code != http.StatusConflict {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if w := serve(c, "demo", post("k", `{"a":1}`), flavor(t, c, "two", &ids)); w.Code != http.StatusCreated || ids[len(ids)-1] == ids[0] {
		t.Errorf("another user's key found the first one's: %d", w.Code)
	}
	if w := serve(c, "admin", post(strings.Repeat("k", 300), `{}`), flavor(t, c, "three", &ids)); w.Code != http.StatusBadRequest {
		t.Errorf("a long key gave %d", w.Code)
	}
}

// TestChange_TwoChangesOfOneRequestAreTwo: a request under a key changes two things, and its repetition changes none.
func TestChange_TwoChangesOfOneRequestAreTwo(t *testing.T) {
	c := resttest.NewCloud(t)
	var ids []string
	both := func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"small", "large"} {
			res, err := rest.Change(r, c, &cluster.PutFlavor{Flavor: cluster.Flavor{ID: cluster.FlavorID(rest.NewUUID()), Name: name, VCPUs: 1, MemoryMiB: 64}})
			if err != nil {
				t.Error(err)
			}
			ids = append(ids, res.IDs...)
		}
	}
	serve(c, "admin", post("k", ""), both)
	serve(c, "admin", post("k", ""), both)
	if len(ids) != 4 || ids[0] == ids[1] || ids[0] != ids[2] || ids[1] != ids[3] {
		t.Errorf("made %v", ids)
	}
}

// interloper changes the record of a project each time that it is read, so many times.
type interloper struct {
	*resttest.Cloud
	times int
}

func (i *interloper) Propose(ctx context.Context, c cluster.Command) (cluster.Result, error) {
	if put, ok := c.Op.(*cluster.PutProject); ok && i.times > 0 {
		i.times--
		now, _ := i.Local().Project(put.Project.ID)
		other := *now
		other.Tags = append([]string{rest.NewHexID()}, now.Tags...)
		i.Must(&cluster.PutProject{Project: other})
	}
	return i.Cloud.Propose(ctx, c)
}

// TestUpdate_IsDecidedAgainOnANewerRecord, but not for ever.
func TestUpdate_IsDecidedAgainOnANewerRecord(t *testing.T) {
	for times, want := range map[int]int{0: 200, 3: 200, 100: 409} {
		i := &interloper{Cloud: resttest.NewCloud(t), times: times}
		w := serve(i.Cloud, "admin", post("k", ""), func(w http.ResponseWriter, r *http.Request) {
			_, err := rest.Update(r, i, func(v *cluster.View) (cluster.Op, error) {
				p, _ := v.Project(i.Projs["demo"])
				changed := *p
				changed.Description = "changed"
				return &cluster.PutProject{Project: changed}, nil
			})
			if err != nil {
				rest.NovaErrors.Fail(w, r, err)
				return
			}
			rest.Reply(w, http.StatusOK, nil)
		})
		p, _ := i.Local().Project(i.Projs["demo"])
		if w.Code != want || want == 200 && (p.Description != "changed" || len(p.Tags) != times) {
			t.Errorf("%d interruptions: %d, %+v", times, w.Code, p)
		}
	}
}

// TestUpdate_RepeatedUnderItsKeyChangesNothingMore: an update had to be decided twice, its reply was lost, and somebody else
// changed the record since. The client's repetition must not undo that.
func TestUpdate_RepeatedUnderItsKeyChangesNothingMore(t *testing.T) {
	i := &interloper{Cloud: resttest.NewCloud(t), times: 1}
	describe := func(key, text string) {
		w := serve(i.Cloud, "admin", post(key, ""), func(w http.ResponseWriter, r *http.Request) {
			_, err := rest.Update(r, i, func(v *cluster.View) (cluster.Op, error) {
				p, _ := v.Project(i.Projs["demo"])
				changed := *p
				changed.Description = text
				return &cluster.PutProject{Project: changed}, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		if w.Code != http.StatusOK {
			t.Error(w.Code)
		}
	}
	describe("k", "first")
	describe("", "later")
	describe("k", "first")
	if p, _ := i.Local().Project(i.Projs["demo"]); p.Description != "later" {
		t.Errorf("the description is %q", p.Description)
	}
}

// TestView_IsOneForTheWholeRequest: what others change while a request is served does not make it see two states.
func TestView_IsOneForTheWholeRequest(t *testing.T) {
	c := resttest.NewCloud(t)
	serve(c, "demo", post("", ""), func(_ http.ResponseWriter, r *http.Request) {
		before, err := rest.View(r, c)
		if err != nil {
			t.Fatal(err)
		}
		c.Must(&cluster.PutRole{Role: cluster.Role{ID: "0123456789abcdef0123456789abcdef", Name: "x"}})
		if after, err := rest.View(r, c); err != nil || after != before {
			t.Error("the view changed within a request")
		}
	})
}

// lagging is a backend that knows how old its view may be.
type lagging struct {
	*resttest.Cloud
	by time.Duration
}

func (l lagging) Lag() time.Duration { return l.by }

// TestView_StaleReadsSayHowManySecondsTheyMayMiss asks a node that heard of the leader a while ago, and one that has not since it
// started: a figure that nobody knows is not given.
func TestView_StaleReadsSayHowManySecondsTheyMayMiss(t *testing.T) {
	c := resttest.NewCloud(t)
	for lag, want := range map[time.Duration]string{1500 * time.Millisecond: "1.500", 0: "0.000", -1: ""} {
		r := httptest.NewRequest(http.MethodGet, "http://node-1/x", nil)
		r.Header.Set(rest.ConsistencyHeader, "stale")
		w := httptest.NewRecorder()
		s := rest.Service{Name: "compute", Errors: rest.NovaErrors, Log: slog.New(slog.DiscardHandler)}
		s.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := rest.View(r, lagging{c, lag}); err != nil {
				t.Error(err)
			}
			rest.Reply(w, http.StatusOK, nil)
		})).ServeHTTP(w, r)
		if got := w.Header().Get(rest.LagHeader); got != want {
			t.Errorf("%v behind: %s says %q instead of %q", lag, rest.LagHeader, got, want)
		}
	}
}

// TestView_StaleReadsSayHowOld and need no quorum; all others are told that there is none.
func TestView_StaleReadsSayHowOld(t *testing.T) {
	c := resttest.NewCloud(t)
	c.Lag(true)
	c.Must(&cluster.PutRole{Role: cluster.Role{ID: "0123456789abcdef0123456789abcdef", Name: "fresh"}})
	c.LoseQuorum(true)
	look := func(consistency string) (w *httptest.ResponseRecorder, fresh bool) {
		r := httptest.NewRequest(http.MethodGet, "http://node-1/x", nil)
		r.Header.Set(rest.ConsistencyHeader, consistency)
		w = serve(c, "demo", r, func(w http.ResponseWriter, r *http.Request) {
			view, err := rest.View(r, c)
			if err != nil {
				rest.NovaErrors.Fail(w, r, err)
				return
			}
			_, fresh = view.RoleNamed("fresh")
			rest.Reply(w, http.StatusOK, nil)
		})
		return w, fresh
	}
	if w, fresh := look("stale"); w.Code != 200 || fresh || w.Header().Get(rest.IndexHeader) == "" {
		t.Errorf("%d %v %v", w.Code, fresh, w.Header())
	}
	if w, _ := look(""); w.Code != 503 {
		t.Errorf("without a quorum: %d", w.Code)
	}
	r := post("", "")
	r.Header.Set(rest.ConsistencyHeader, "stale")
	if w := serve(c, "demo", r, func(http.ResponseWriter, *http.Request) { t.Error("a change was let in on a stale view") }); w.Code != 503 {
		t.Errorf("a change that asks for stale: %d", w.Code)
	}
	c.LoseQuorum(false)
	if w, fresh := look(""); w.Code != 200 || !fresh || w.Header().Get(rest.IndexHeader) != "" {
		t.Errorf("%d %v %v", w.Code, fresh, w.Header())
	}
}

// hanging is a cluster whose proposals never come back.
type hanging struct{ *resttest.Cloud }

func (hanging) Propose(ctx context.Context, _ cluster.Command) (cluster.Result, error) {
	<-ctx.Done()
	return cluster.Result{}, ctx.Err()
}

// TestChange_IsGivenUpInTime: the answer must come within 5 seconds, and say that the outcome is unknown.
func TestChange_IsGivenUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := resttest.NewCloud(t)
		start := time.Now()
		w := serve(c, "demo", post("", ""), func(w http.ResponseWriter, r *http.Request) {
			_, err := rest.Change(r, hanging{c}, &cluster.DeleteFlavor{ID: "x"})
			rest.NovaErrors.Fail(w, r, err)
		})
		if took := time.Since(start); w.Code != 503 || took > 5*time.Second {
			t.Errorf("%d after %v", w.Code, took)
		}
	})
}

// TestAuthenticate_LetsOnlyTokensIn, and tells the handler whose.
func TestAuthenticate_LetsOnlyTokensIn(t *testing.T) {
	c := resttest.NewCloud(t)
	for token, want := range map[string]int{"": 401, "garbage": 401, "demo@other": 401, "demo": 200, "admin@system": 200} {
		w := serve(c, token, post("", ""), func(w http.ResponseWriter, r *http.Request) {
			caller := rest.CallerFrom(r.Context())
			if name, _, _ := strings.Cut(token, "@"); caller.User.Name != name || !strings.HasPrefix(caller.RequestID, "req-") {
				t.Errorf("the caller of %q is %+v", token, caller)
			}
			rest.Reply(w, http.StatusOK, nil)
		})
		if w.Code != want || w.Code == 401 && w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%q: %d %v", token, w.Code, w.Header())
		}
	}
}

// TestCaller_RolesDecideWhatItMay.
func TestCaller_RolesDecideWhatItMay(t *testing.T) {
	c := resttest.NewCloud(t)
	for token, may := range map[string][3]bool{"admin": {true, true, true}, "demo": {true, true, false}, "viewer": {true, false, false}} {
		caller, err := c.Verify(c.Local(), token, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		got := [3]bool{caller.RequireReader() == nil, caller.RequireMember() == nil, caller.RequireAdmin() == nil}
		if got != may {
			t.Errorf("%s may %v", token, got)
		}
		if caller.Sees(c.Projs["other"]) != (token == "admin") || !caller.Sees(caller.ProjectID()) {
			t.Errorf("%s sees the wrong projects", token)
		}
	}
}

// observed keeps what an Observer was told.
type observed []string

func (o *observed) Observe(service, method string, status int, _ time.Duration) {
	*o = append(*o, service+" "+method+" "+http.StatusText(status))
}

// TestService_LogsAndObservesWithoutSecrets: a token, a password in the query and a body never reach the log.
func TestService_LogsAndObservesWithoutSecrets(t *testing.T) {
	var log strings.Builder
	var seen observed
	s := rest.Service{
		Name: "image", Errors: rest.GlanceErrors, Observer: &seen,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, h := range []http.HandlerFunc{
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) },
		func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) },
		func(http.ResponseWriter, *http.Request) { panic(errors.New("on purpose")) },
	} {
		r := httptest.NewRequest(http.MethodPut, "http://h/images?token=hush1", strings.NewReader("hush2"))
		r.Header.Set(rest.TokenHeader, "hush3")
		r.Header.Set(rest.RequestIDHeader, "req-01234567-0123-0123-0123-0123456789ab")
		s.Wrap(h).ServeHTTP(httptest.NewRecorder(), r)
	}
	if text := log.String(); strings.Contains(text, "hush") || strings.Count(text, "global_request_id=req-01234567") != 3 || !strings.Contains(text, "on purpose") {
		t.Errorf("the log says %s", text)
	}
	if want := "image PUT I'm a teapot,image PUT OK,image PUT Internal Server Error"; strings.Join(seen, ",") != want {
		t.Errorf("observed %v", seen)
	}
}

// TestRecover_ABrokenReplyIsCutOff: the handler breaks after half of its reply. The client must not take it for a whole one.
func TestRecover_ABrokenReplyIsCutOff(t *testing.T) {
	s := rest.Service{Name: "image", Errors: rest.GlanceErrors, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	srv := httptest.NewServer(s.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic("on purpose")
	})))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelDebug)
	defer srv.Close()
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the reply looks whole")
	}
}
