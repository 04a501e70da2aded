package clusterapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// The overview names the cluster, who answers and who leads, and counts what there is.
func TestShow_CountsTheCluster(t *testing.T) {
	a := newAPI(t)
	a.second()
	a.instance("i1", a.Node.ID, nil)
	var o clusterapi.Overview
	a.want(http.StatusOK, "GET", "", "", &o)
	want := clusterapi.Overview{
		ClusterID: a.Local().Authority().ClusterID, Node: a.Node.ID, Leader: a.Node.ID, Nodes: 2, Instances: 1, Index: a.Local().Index(), Version: "v9",
	}
	if o != want {
		t.Errorf("the overview is %+v instead of %+v", o, want)
	}
}

// A host gives its guests' processes more rights than they need. Each of them is named, and nothing where there is none.
func TestNodes_SayWhatTheirGuestsMayDo(t *testing.T) {
	a := newAPI(t)
	for text, traits := range map[string][]string{
		"":                        nil,
		"QEMU is root":            {cluster.TraitGuestsAsRoot},
		"QEMU has no seccomp":     {cluster.TraitNoSeccomp},
		"QEMU is root: QEMU has ": {cluster.TraitGuestsAsRoot, cluster.TraitNoSeccomp},
	} {
		n := a.Node.Clone()
		n.Host.Type, n.Host.Traits = "QEMU", traits
		a.Must(&cluster.UpdateNode{Node: *n})
		var one struct{ Node clusterapi.Node }
		a.want(http.StatusOK, "GET", "/nodes/node-1", "", &one)
		var said string
		for _, e := range one.Node.Exposed {
			if what, _, _ := strings.Cut(e, ":"); strings.HasPrefix(e, "QEMU") {
				said += what + ": "
			}
		}
		if (text == "") != (said == "") || !strings.HasPrefix(said, text) || strings.Count(said, ": ") != len(traits) {
			t.Errorf("with %q it says %q", traits, said)
		}
	}
}

// Nodes are listed by name, found by name and by ID, and shown with what is known of them at the moment.
func TestNodes_AreShownWithWhatIsKnown(t *testing.T) {
	a := newAPI(t)
	other := a.second()
	a.members[other] = clusterapi.Member{InRaft: true, SilentFor: 12340 * time.Millisecond}
	a.instance("i1", a.Node.ID, nil)
	var list struct{ Nodes []clusterapi.Node }
	a.want(http.StatusOK, "GET", "/nodes", "", &list)
	if len(list.Nodes) != 2 || list.Nodes[0].Name != "node-0" || list.Nodes[1].Name != "node-1" {
		t.Fatalf("the nodes are %+v", list.Nodes)
	}
	silent, here := list.Nodes[0], list.Nodes[1]
	if silent.State != "down" || silent.SilentFor != "12s" || silent.Part != "non-voter" || silent.Status != "not ready" || silent.Why != "the hypervisor does not answer" {
		t.Errorf("the silent node is %+v", silent)
	}
	if here.State != "up" || here.Part != "leader" || here.Status != "enabled" || here.Instances != 1 || here.Used.VCPUs != 2 || here.Bridges["lan"] != "br0" ||
		len(here.Open) != 1 || len(here.Exposed) == 0 {
		t.Errorf("the node here is %+v", here)
	}
	for _, by := range []string{"node-1", string(a.Node.ID)} {
		var one struct{ Node clusterapi.Node }
		a.want(http.StatusOK, "GET", "/nodes/"+by, "", &one)
		if one.Node.ID != a.Node.ID {
			t.Errorf("by %s: %+v", by, one)
		}
	}
	a.Must(&cluster.PutAggregate{Aggregate: cluster.Aggregate{ID: "a", Name: "a", Hosts: []cluster.NodeID{a.Node.ID},
		Metadata: map[string]string{cluster.ZoneKey: "east"}}})
	var one struct{ Node clusterapi.Node }
	if a.want(http.StatusOK, "GET", "/nodes/node-1", "", &one); one.Node.Zone != "east" {
		t.Errorf("the zone is %q, not its aggregate's", one.Node.Zone)
	}
	a.refused(http.StatusNotFound, "itemNotFound", "Node nope could not be found.", "GET", "/nodes/nope", "")
	a.refused(http.StatusNotFound, "itemNotFound", "could not be found", "GET", "/nodes/%00", "")
}

// The parts that a node can have in the agreement, each by its word.
func TestNodes_PartsHaveWords(t *testing.T) {
	a := newAPI(t)
	for want, m := range map[string]clusterapi.Member{
		"leader": {Leader: true, Voter: true, InRaft: true}, "voter": {Voter: true, InRaft: true}, "non-voter": {InRaft: true}, "none": {},
	} {
		a.members[a.Node.ID] = m
		var one struct{ Node clusterapi.Node }
		a.want(http.StatusOK, "GET", "/nodes/node-1", "", &one)
		if one.Node.Part != want {
			t.Errorf("%+v is called %s instead of %s", m, one.Node.Part, want)
		}
	}
}

// What an operator decided otherwise stays when a node is drained, whoever decided it and whenever.
func TestDrain_KeepsWhatElseWasDecided(t *testing.T) {
	a := newAPI(t)
	a.Must(&cluster.SetNodeService{ID: a.Node.ID, Service: cluster.ServiceState{Disabled: true, Reason: "fan"}})
	a.want(http.StatusNoContent, "POST", "/nodes/node-1/drain", "", nil)
	n, _ := a.Local().Node(a.Node.ID)
	if n.Service != (cluster.ServiceState{Disabled: true, Reason: "fan", Draining: true}) {
		t.Errorf("the node's service is %+v", n.Service)
	}
	ops := a.Applied()
	if last, ok := ops[len(ops)-1].(*cluster.SetNodeService); !ok || last.Revision == 0 {
		t.Errorf("the change does not say what it was decided against: %+v", ops[len(ops)-1])
	}
	a.want(http.StatusNoContent, "POST", "/nodes/node-1/undrain", "", nil)
	if n, _ = a.Local().Node(a.Node.ID); n.Service.Draining || !n.Service.Disabled {
		t.Errorf("the node's service is %+v", n.Service)
	}
	a.refused(http.StatusNotFound, "itemNotFound", "Node nope", "POST", "/nodes/nope/drain", "")
	a.refused(http.StatusNotFound, "itemNotFound", "Node nope", "POST", "/nodes/nope/undrain", "")
}

// A node that is up is taken out only where it is, or by force; so is one with instances. The last one stays.
func TestRemoveNode_NeedsItToBeDownOrForce(t *testing.T) {
	a := newAPI(t)
	a.refused(http.StatusConflict, "conflictingRequest", "last one", "DELETE", "/nodes/node-1", "")
	other := a.second()
	a.members[other] = clusterapi.Member{Up: true}
	a.refused(http.StatusConflict, "conflictingRequest", "kilonova node leave", "DELETE", "/nodes/node-0", "")
	a.refused(http.StatusConflict, "conflictingRequest", "kilonova node leave", "DELETE", "/nodes/node-0?force=perhaps", "")
	a.refused(http.StatusNotFound, "itemNotFound", "Node nope", "DELETE", "/nodes/nope", "")
	a.members[other] = clusterapi.Member{}
	a.want(http.StatusNoContent, "DELETE", "/nodes/node-0", "", nil)
	a.refused(http.StatusNotFound, "itemNotFound", "Node node-0", "GET", "/nodes/node-0", "")

	b := newAPI(t)
	other = b.second()
	n, _ := b.Local().Node(other)
	ready := n.Clone()
	ready.Host.Ready = true
	b.Must(&cluster.UpdateNode{Node: *ready})
	b.instance("i1", other, nil)
	b.refused(http.StatusConflict, "conflictingRequest", "has 1 instances", "DELETE", "/nodes/node-0", "")
	b.members[other] = clusterapi.Member{Up: true}
	b.want(http.StatusNoContent, "DELETE", "/nodes/node-0?force=true", "", nil)
}

// Every route, asked by those who may not, and without a quorum. Nobody but an administrator learns anything.
func TestRoutes_AreForAdministratorsWithAQuorum(t *testing.T) {
	a := newAPI(t)
	a.instance("i1", a.Node.ID, nil)
	routes := []string{
		"GET ", "GET /nodes", "GET /nodes/node-1", "POST /nodes/node-1/drain", "POST /nodes/node-1/undrain", "DELETE /nodes/node-1",
		"GET /tokens", "DELETE /tokens/t1", "GET /instances/i1/placement", "GET /instances/i1/replica",
		"GET /nodes/node-1/removal",
	}
	for _, route := range append(routes, "POST /tokens") {
		method, path, _ := strings.Cut(route, " ")
		for token, want := range map[string]int{"": 401, "garbage": 401, "demo": 403, "viewer": 403} {
			if got, _, body := a.ask(method, path, token, ""); got != want || strings.Contains(body, "node-1") {
				t.Errorf("%s with token %q: %d %s", route, token, got, body)
			}
		}
	}
	a.LoseQuorum(true)
	for _, route := range routes {
		method, path, _ := strings.Cut(route, " ")
		if got, header, body := a.ask(method, path, "admin", ""); got != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
			t.Errorf("%s without a quorum: %d %s", route, got, body)
		}
	}
	if got, header, body := a.ask("GET", "/nodes", "admin", "", rest.ConsistencyHeader, "stale"); got != http.StatusOK || header.Get(rest.IndexHeader) == "" {
		t.Errorf("stale, without a quorum: %d %v %s", got, header, body)
	}
}

// What is not there is 404, whoever asks with which method.
func TestRoutes_OthersAreNotThere(t *testing.T) {
	a := newAPI(t)
	for _, route := range []string{"GET /nothing", "POST /nodes", "PUT /nodes/node-1", "GET /nodes/node-1/drain", "PATCH /tokens", "DELETE /instances/i1/placement"} {
		method, path, _ := strings.Cut(route, " ")
		if got, _, body := a.ask(method, path, "admin", ""); got != http.StatusNotFound {
			t.Errorf("%s: %d %s", route, got, body)
		}
	}
}

// Over the socket that only root can open no token is asked for.
func TestLocalRouter_AsksForNoToken(t *testing.T) {
	a := newAPI(t)
	w := httptest.NewRecorder()
	clusterapi.LocalRouter(a.config()).ServeHTTP(w, httptest.NewRequest("GET", "http://node/cluster/v1/nodes", nil))
	var list struct{ Nodes []clusterapi.Node }
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || w.Code != http.StatusOK || len(list.Nodes) != 1 {
		t.Errorf("%d %v %s", w.Code, err, w.Body)
	}
	if !strings.HasPrefix(w.Header().Get(rest.RequestIDHeader), "req-") {
		t.Errorf("the headers are %v", w.Header())
	}
}
