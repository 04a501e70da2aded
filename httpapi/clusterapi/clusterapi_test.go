package clusterapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/resttest"
)

// decided is when every placement of these tests was decided.
var decided = time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC)

// api is a cloud with this service, and everything that the service asks.
type api struct {
	*resttest.Cloud
	t        testing.TB
	handler  http.Handler
	members  map[cluster.NodeID]clusterapi.Member
	fates    map[cluster.InstanceID]cluster.NodeID
	crowded  string // why no node can take a copy
	mintedAs string // "uses life zone" of the last token
}

func newAPI(t testing.TB) *api {
	a := &api{Cloud: resttest.NewCloud(t), t: t}
	a.members = map[cluster.NodeID]clusterapi.Member{a.Node.ID: {Leader: true, Voter: true, InRaft: true, Up: true}}
	r := chi.NewRouter()
	r.Mount("/cluster", rest.Service{Name: "cluster", Errors: rest.NovaErrors, Log: slog.New(slog.DiscardHandler)}.Wrap(clusterapi.Router(a.config())))
	a.handler = r
	return a
}

func (a *api) config() clusterapi.Config {
	return clusterapi.Config{Backend: a.Cloud, Verifier: a.Cloud, Self: a.Node.ID, Version: "v9", Members: a, Minter: a, Placer: a, Keysmith: a}
}

// Members implements clusterapi.Members.
func (a *api) Members() map[cluster.NodeID]clusterapi.Member { return a.members }

// Mint implements clusterapi.Minter.
func (a *api) Mint(ctx context.Context, uses int, life time.Duration, zone string) (string, cluster.JoinToken, error) {
	token := cluster.JoinToken{ID: "t1", Hash: cluster.Hash{1}, Uses: uses, Zone: zone, Created: cluster.At(decided), Expires: cluster.At(decided.Add(life))}
	if _, err := a.Propose(ctx, cluster.Command{Time: cluster.At(decided), Op: &cluster.PutJoinToken{Token: token}}); err != nil {
		return "", token, err
	}
	a.mintedAs = fmt.Sprint(uses, " ", life, " ", zone)
	return "kn1.secret", token, nil
}

// Explain implements clusterapi.Placer.
func (a *api) Explain(*cluster.Instance) cluster.Explanation {
	return cluster.Explanation{At: cluster.At(decided), Considered: 1, Node: a.Node.ID, NodeName: a.Node.Name}
}

// WithoutNode implements clusterapi.Placer.
func (a *api) WithoutNode(cluster.NodeID) map[cluster.InstanceID]cluster.NodeID { return a.fates }

// NoPlaceForCopy implements clusterapi.Placer.
func (a *api) NoPlaceForCopy(*cluster.Instance) string { return a.crowded }

// Reserve implements clusterapi.Placer.
func (a *api) Reserve() (int, bool) { return a.Local().Settings().ReserveNodes, len(a.fates) > 0 }

// ask sends a request below /cluster/v1 and gives the status, the headers and the body.
func (a *api) ask(method, path, token, body string, headers ...string) (int, http.Header, string) {
	a.t.Helper()
	req := httptest.NewRequest(method, "http://node-1:8774/cluster/v1"+path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set(rest.TokenHeader, token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, req)
	data, err := io.ReadAll(w.Result().Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return w.Code, w.Result().Header, string(data)
}

// want sends a request as an administrator, checks the status, and decodes the body into out unless that is nil.
func (a *api) want(status int, method, path, body string, out any) {
	a.t.Helper()
	got, _, text := a.ask(method, path, "admin", body)
	if got != status {
		a.t.Fatalf("%s %s: %d instead of %d: %s", method, path, got, status, text)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal([]byte(text), out); err != nil {
		a.t.Fatalf("%s %s: %v: %s", method, path, err, text)
	}
}

// refused sends a request that has to fail, with an error of Nova's shape that holds some words.
func (a *api) refused(status int, name, words, method, path, body string) {
	a.t.Helper()
	got, _, text := a.ask(method, path, "admin", body)
	var e map[string]struct {
		Code    int
		Message string
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil || got != status || e[name].Code != status || !strings.Contains(e[name].Message, words) {
		a.t.Errorf("%s %s %s: %d %s instead of %d %s with %q", method, path, body, got, text, status, name, words)
	}
}

// second enrols another node.
func (a *api) second() cluster.NodeID {
	a.t.Helper()
	a.Must(&cluster.PutJoinToken{Token: cluster.JoinToken{ID: "join", Hash: cluster.Hash{1}, Uses: 1, Expires: cluster.At(time.Now().Add(time.Hour))}})
	a.Must(&cluster.EnrolNode{Token: "join", Secret: cluster.Hash{1}, Node: cluster.Node{
		ID: "0b5f", Name: "node-0", Address: "192.0.2.12", Zone: "nova", Voter: cluster.VoterAuto, Commands: cluster.CommandVersion, Capacity: a.Node.Capacity,
		Host: cluster.HostFacts{Trouble: "the hypervisor does not answer"},
	}})
	return "0b5f"
}

// instance puts an instance on a node, or on none.
func (a *api) instance(id cluster.InstanceID, on cluster.NodeID, e *cluster.Explanation) {
	a.t.Helper()
	a.Must(&cluster.CreateInstances{
		Request: "req-1", Project: a.Projs["demo"], User: a.Users["demo"],
		Spec:  cluster.Spec{Flavor: cluster.Flavor{ID: "1", Name: "small", VCPUs: 2, MemoryMiB: 512, DiskGiB: 3}},
		Items: []cluster.NewInstance{{ID: id, Name: "web", Hostname: "web", Node: on, Explanation: e}},
	})
}
