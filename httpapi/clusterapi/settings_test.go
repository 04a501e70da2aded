package clusterapi_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// The lease is shown with the shortest time that would be safe. A change of its parts moves that with it, unless told; what is not safe, or not
// a time, is refused, and nothing changes.
func TestSettings_AreShownAndChanged(t *testing.T) {
	a := newAPI(t)
	var got struct{ Settings clusterapi.Settings }
	a.want(http.StatusOK, "GET", "/settings", "", &got)
	if s := got.Settings; s.Stop != "12s" || s.Kill != "5s" || s.Dead != s.Least || *s.Restarts != cluster.DefaultRestarts {
		t.Fatalf("without a choice: %+v", s)
	}
	former := got.Settings.Dead
	a.want(http.StatusOK, "PUT", "/settings", `{"settings":{"lease_stop":"4s","lease_kill":"2s"}}`, &got)
	if s := got.Settings; s.Stop != "4s" || s.Dead != "6.7s" || s.Least != s.Dead {
		t.Errorf("chosen: %+v", s)
	}
	a.want(http.StatusOK, "PUT", "/settings", `{"settings":{"lease_dead":"9s","restarts":3}}`, nil)
	a.want(http.StatusOK, "GET", "/settings", "", &got)
	if s := got.Settings; s.Stop != "4s" || s.Dead != "9s" || *s.Restarts != 3 || s.Former != former {
		t.Errorf("chosen again: %+v", s)
	}
	a.want(http.StatusOK, "PUT", "/settings", `{"settings":{"reserve_nodes":2}}`, &got)
	if s := got.Settings; *s.Reserve != 2 || *s.Restarts != 3 {
		t.Errorf("with a reserve: %+v", s)
	}
	var check clusterapi.Check
	if a.want(http.StatusOK, "GET", "/check", "", &check); check.Reserve.Nodes != 2 || check.Reserve.Kept {
		t.Errorf("the check says %+v", check.Reserve)
	}
	before := a.Local().Settings()
	for body, words := range map[string]string{
		`{"settings":{"lease_dead":"5s"}}`:   "must not be taken for dead before",
		`{"settings":{"lease_stop":"1s"}}`:   "an election takes that long",
		`{"settings":{"lease_kill":"soon"}}`: "want a time such as 12s",
		`{"settings":{"lease_stop":"-5s"}}`:  "want a time such as 12s",
		`{"settings":{"restarts":-1}}`:       "restarts",
		`{"settings":{"reserve_nodes":-1}}`:  "room is kept for",
		`{"settings":{"reserve_nodes":101}}`: "room is kept for",
		`{"settings":{"lease_dead":"24h"}}`:  "at most",
		`{"settings":{"lease":"5s"}}`:        "lease",
	} {
		a.refused(http.StatusBadRequest, "badRequest", words, "PUT", "/settings", body)
	}
	if now := a.Local().Settings(); now != before {
		t.Errorf("what was refused changed them: %+v", now)
	}
}

// An operator's word is taken of a node that does not answer, and of no other.
func TestConfirmDead_OnlyOfASilentNode(t *testing.T) {
	a := newAPI(t)
	other := a.second()
	a.refused(http.StatusConflict, "conflictingRequest", "Cut its power first", "POST", "/nodes/node-1/confirm-dead", "")
	a.members[other] = clusterapi.Member{Up: true}
	a.refused(http.StatusConflict, "conflictingRequest", "Cut its power first", "POST", "/nodes/node-0/confirm-dead", "")
	a.refused(http.StatusNotFound, "itemNotFound", "none", "POST", "/nodes/none/confirm-dead", "")
	a.members[other] = clusterapi.Member{SilentFor: time.Second}
	a.want(http.StatusNoContent, "POST", "/nodes/node-0/confirm-dead", "", nil)
	var one struct{ Node clusterapi.Node }
	a.want(http.StatusOK, "GET", "/nodes/node-0", "", &one)
	if n := one.Node; n.Status != "lost" || n.Lost == nil || !n.Lost.Confirmed {
		t.Errorf("the node is %+v", n)
	}
	a.refused(http.StatusConflict, "conflictingRequest", "already", "POST", "/nodes/node-0/confirm-dead", "")
}

// Root on a node needs no token for it.
func TestConfirmDead_OverTheLocalSocket(t *testing.T) {
	a := newAPI(t)
	other := a.second()
	a.members[other] = clusterapi.Member{SilentFor: time.Second}
	w := httptest.NewRecorder()
	clusterapi.LocalRouter(a.config()).ServeHTTP(w, httptest.NewRequest("POST", "http://node/cluster/v1/nodes/node-0/confirm-dead", nil))
	n, _ := a.Local().Node(other)
	if w.Code != http.StatusNoContent || n.Lost == nil || !n.Lost.Confirmed {
		t.Errorf("%d %s: the node is %+v", w.Code, w.Body, n)
	}
}

// Without its only other node a cluster of two cannot agree, and an instance that asks to be started elsewhere is tied to its disk.
func TestCheck_SaysWhatALossWouldMean(t *testing.T) {
	a := newAPI(t)
	other := a.second()
	a.members[a.Node.ID] = clusterapi.Member{Voter: true, Up: true}
	a.members[other] = clusterapi.Member{Voter: true, Up: true}
	a.instance("i1", a.Node.ID, nil)
	a.instance("i2", a.Node.ID, nil)
	wish := map[string]string{cluster.KeyHA: "true"}
	a.Must(&cluster.UpdateInstance{ID: "i2", Metadata: &wish})
	a.instance("i3", a.Node.ID, nil)
	a.fates = map[cluster.InstanceID]cluster.NodeID{}
	var got struct{ Nodes []clusterapi.Forecast }
	a.want(http.StatusOK, "GET", "/check", "", &got)
	if len(got.Nodes) != 2 || got.Nodes[1].Node != "node-1" {
		t.Fatalf("got %+v", got.Nodes)
	}
	f := got.Nodes[1]
	if f.Quorum || f.Waiting != 2 || f.Restarted != 0 || !slices.Equal(f.Tied, []string{"i2: its root disk is on its node alone"}) {
		t.Errorf("without node-1: %+v", f)
	}
	a.fates = map[cluster.InstanceID]cluster.NodeID{"i2": other, "i3": ""}
	a.want(http.StatusOK, "GET", "/check", "", &got)
	if f := got.Nodes[1]; f.Restarted != 1 || !slices.Equal(f.Homeless, []string{"i3"}) || f.Waiting != 1 {
		t.Errorf("with fates: %+v", f)
	}
}
