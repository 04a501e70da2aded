package peer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/kilonova/kilonova/cluster"
)

// door is a node that admits machines.
type door struct {
	got JoinRequest
	res JoinResponse
	err error
}

func (d *door) Enrol(_ context.Context, r JoinRequest) (JoinResponse, error) {
	d.got = r
	return d.res, d.err
}

func (d *door) Standing(id cluster.NodeID) Standing {
	switch id {
	case "removed":
		return Standing{Removed: true}
	case "n1":
		return Standing{Address: "192.0.2.1", Revision: 7}
	}
	return Standing{}
}

// knock opens a connection to a door's join port.
func knock(t *testing.T, d *door) net.Conn {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: JoinRouter(d, d, slog.New(slog.DiscardHandler))}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	conn, err := l.dial(t.Context(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// A machine says who it is, and is given what it needs to be a member; every field crosses.
func TestJoin_EverythingCrosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ask := JoinRequest{
			Token: "t1", Secret: []byte{1, 2}, Node: cluster.Node{ID: "n2", Name: "two", Address: "192.0.2.2", Bridges: map[string]string{"lan": "br0"}, Open: []string{"lan"}},
			PeerCSR: []byte{3}, APICSR: []byte{4}, Commands: 5,
		}
		d := &door{res: JoinResponse{
			ClusterID: "c", CACert: []byte{1}, PeerCert: []byte{2}, APICert: []byte{3}, GossipKeys: [][]byte{{4}},
			Peers: []Address{{"n1", "192.0.2.1"}}, Node: cluster.Node{ID: "n2", Number: 2, Zone: "b"},
		}}
		res, err := Join(t.Context(), knock(t, d), ask)
		if err != nil || !reflect.DeepEqual(res, d.res) {
			t.Errorf("%+v, %v", res, err)
		}
		if !reflect.DeepEqual(d.got, ask) {
			t.Errorf("%+v arrived as %+v", ask, d.got)
		}
	})
}

// A refusal says why by its code; one without a code is a fault of the node that was asked.
func TestJoin_RefusalsCrossAsCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, code := range []cluster.Code{cluster.Unauthorized, cluster.Forbidden, cluster.Conflict, cluster.Unavailable} {
			_, err := Join(t.Context(), knock(t, &door{err: cluster.Errorf(code, "no: %s", code)}), JoinRequest{})
			if cluster.CodeOf(err) != code || !strings.Contains(err.Error(), "no: "+string(code)) {
				t.Errorf("%s arrived as %v", code, err)
			}
		}
		if _, err := Join(t.Context(), knock(t, &door{err: errors.New("disk on fire")}), JoinRequest{}); cluster.CodeOf(err) != cluster.Internal {
			t.Errorf("a fault arrived as %v", err)
		}
		if _, err := Join(t.Context(), knock(t, &door{err: ErrNotLeader}), JoinRequest{}); err == nil {
			t.Error("a node that does not lead has admitted somebody")
		}
	})
}

// A removed node that is let in nowhere may ask why; a present one is told where it is known to be, and one with an odd name nothing.
func TestStandingOf_TellsWhoWasRemovedAndWhereTheOthersAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for id, want := range map[cluster.NodeID]Standing{"removed": {Removed: true}, "n1": {Address: "192.0.2.1", Revision: 7}, "../x": {}, "a b%": {}} {
			if got, err := StandingOf(t.Context(), knock(t, &door{}), id); got != want || err != nil {
				t.Errorf("%q: %+v, %v", id, got, err)
			}
		}
	})
}

// Strangers reach nothing but the door.
func TestJoinRouter_ServesStrangersNothingElse(t *testing.T) {
	d := &door{}
	h := JoinRouter(d, d, slog.New(slog.DiscardHandler))
	for route, want := range map[string]int{
		"POST /v1/propose": 404, "POST /v1/barrier": 404, "GET /v1/chunks/00": 404, "GET /v1/join": 405, "POST /v1/nodes/x/standing": 405, "GET /": 404,
	} {
		method, path, _ := strings.Cut(route, " ")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d", route, w.Code)
		}
	}
	for _, body := range []string{"", "[]", `{"token":3}`, "\xff", strings.Repeat("[", 10_000), `{"secret":"` + strings.Repeat("A", 2<<20) + `"}`} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/join", strings.NewReader(body)))
		if err := refusalOf(w.Result(), "n1"); cluster.CodeOf(err) != cluster.Invalid || d.got.Token != "" {
			t.Errorf("%.20q: %d %v", body, w.Code, err)
		}
	}
}

// FuzzJoin sends anything to the door, as a stranger may.
func FuzzJoin(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"token":"t","secret":"AA==","node":{"id":"n","bridges":{"a":"b"}},"commands":1}`, `{"node":[]}`, "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		d := &door{}
		w := httptest.NewRecorder()
		JoinRouter(d, d, slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/join", strings.NewReader(body)))
		if w.Code != http.StatusOK && cluster.CodeOf(refusalOf(w.Result(), "n1")) != cluster.Invalid {
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}
