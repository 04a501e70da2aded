package clusterapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

const secretKey = "a new key that nobody may see"

// NewKeys implements clusterapi.Keysmith.
func (a *api) NewKeys(which cluster.Keyset, clusterID string) (*cluster.BeginRotation, error) {
	switch which {
	case cluster.KeysGossip:
		return &cluster.BeginRotation{Keys: which, GossipKey: []byte(secretKey)}, nil
	case cluster.KeysAuthority:
		return &cluster.BeginRotation{Keys: which, Authority: &cluster.AuthorityPair{Cert: []byte(clusterID), Key: []byte(secretKey)}}, nil
	}
	return nil, cluster.Errorf(cluster.NotFound, "There are no keys called %q", which)
}

// An operator begins a rotation while a node is down, sees whom it waits for, and goes on without it. The key itself is never shown.
func TestRotateKeys_SaysWhomItWaitsForAndGoesOnWithout(t *testing.T) {
	a := newAPI(t)
	a.second()
	var list struct{ Keys []clusterapi.Rotation }
	a.want(http.StatusOK, "GET", "/keys", "", &list)
	if len(list.Keys) != 2 || list.Keys[0].Keys != cluster.KeysGossip || list.Keys[0].Step != "" || list.Keys[0].Nodes != 2 {
		t.Fatalf("before: %+v", list.Keys)
	}
	a.refused(http.StatusConflict, "conflictingRequest", "No rotation", "POST", "/keys/gossip/rotate", `{"force":true}`)
	var r clusterapi.Rotation
	a.want(http.StatusOK, "POST", "/keys/gossip/rotate", `{}`, &r)
	if r.Step != cluster.KeysAdded || len(r.Waiting) != 2 || r.Begun == nil {
		t.Fatalf("begun: %+v", r)
	}
	a.refused(http.StatusConflict, "conflictingRequest", "under way", "POST", "/keys/gossip/rotate", `{}`)
	now, _ := a.Local().Rotation(cluster.KeysGossip)
	a.Must(&cluster.ConfirmKeys{Keys: cluster.KeysGossip, Since: now.Since, Node: a.Node.ID})
	_, _, text := a.ask("GET", "/keys", "admin", "")
	if !strings.Contains(text, `"node":"node-0","state":"down"`) || strings.Contains(text, secretKey) {
		t.Errorf("it says %s", text)
	}
	a.want(http.StatusOK, "POST", "/keys/gossip/rotate", `{"force":true}`, &r)
	if r.Step != cluster.KeysUsed || r.Without != 1 || len(r.Waiting) != 1 || r.Waiting[0] != (clusterapi.Awaited{Node: "node-1", State: "up"}) {
		t.Errorf("forced: %+v", r)
	}
	now, _ = a.Local().Rotation(cluster.KeysGossip)
	a.Must(&cluster.ConfirmKeys{Keys: cluster.KeysGossip, Since: now.Since, Node: a.Node.ID})
	a.want(http.StatusOK, "GET", "/keys", "", &list)
	if list.Keys[0].Step != cluster.KeysDone || list.Keys[0].Ended == nil {
		t.Errorf("in the end: %+v", list.Keys[0])
	}
}

// What an authority's rotation cannot do is said, and so is a time that is none.
func TestRotateKeys_OfTheAuthority(t *testing.T) {
	a := newAPI(t)
	a.refused(http.StatusBadRequest, "badRequest", "want a time such as 24h", "POST", "/keys/authority/rotate", `{"keep":"a day"}`)
	a.refused(http.StatusBadRequest, "badRequest", "at most", "POST", "/keys/authority/rotate", `{"keep":"-1h"}`)
	a.refused(http.StatusNotFound, "itemNotFound", "no keys called", "POST", "/keys/house/rotate", `{}`)
	var r clusterapi.Rotation
	a.want(http.StatusOK, "POST", "/keys/authority/rotate", `{"keep":"24h"}`, &r)
	if r.KeepUntil == nil || r.Begun == nil || r.KeepUntil.Sub(*r.Begun).Hours() != 24 {
		t.Errorf("begun: %+v", r)
	}
	a.refused(http.StatusConflict, "conflictingRequest", "never be let in", "POST", "/keys/authority/rotate", `{"force":true}`)
}

// Keys are replaced by administrators, and not while a node would not understand it.
func TestRotateKeys_OnlyWhenEveryNodeKnowsHow(t *testing.T) {
	a := newAPI(t)
	if status, _, text := a.ask("POST", "/keys/gossip/rotate", "demo", "{}"); status != http.StatusForbidden {
		t.Errorf("a member: %d %s", status, text)
	}
	old := a.Node.Clone()
	old.Commands = cluster.KeyCommands - 1
	a.Must(&cluster.UpdateNode{Node: *old})
	a.refused(http.StatusConflict, "conflictingRequest", "upgrade it first", "POST", "/keys/gossip/rotate", `{}`)
}
