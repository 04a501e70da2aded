package network_test

import (
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
	"github.com/kilonova/kilonova/httpapi/network"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/resttest"
)

// api is a cloud with its network service.
type api struct {
	*resttest.Cloud
	t       testing.TB
	handler http.Handler
	down    bool // the node
}

func newAPI(t testing.TB) *api {
	a := &api{Cloud: resttest.NewCloud(t), t: t}
	log := slog.New(slog.DiscardHandler)
	r := chi.NewRouter()
	r.Mount(network.Path, rest.Service{Name: "network", Errors: rest.NeutronErrors, Log: log}.Wrap(
		network.Router(network.Config{Backend: a.Cloud, Verifier: a.Cloud, Liveness: a})))
	a.handler = r
	return a
}

// Liveness implements network.Liveness.
func (a *api) Liveness(cluster.NodeID) (bool, time.Time) { return !a.down, time.Unix(1e9, 0) }

// call sends a request below /network; headers are pairs of names and values.
func (a *api) call(method, path, token, body string, headers ...string) *http.Response {
	req := httptest.NewRequest(method, "http://node-1:8774/network"+path, strings.NewReader(body))
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
	return w.Result()
}

// want sends a request, checks the status and decodes the body.
func (a *api) want(status int, method, path, token, body string, headers ...string) map[string]any {
	a.t.Helper()
	res := a.call(method, path, token, body, headers...)
	data, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	if res.StatusCode != status {
		a.t.Fatalf("%s %s %s: status %d instead of %d: %s", method, path, body, res.StatusCode, status, data)
	}
	var v map[string]any
	if len(data) > 0 {
		if err := json.Unmarshal(data, &v); err != nil {
			a.t.Fatalf("%s %s: %v: %s", method, path, err, data)
		}
	}
	return v
}

// refused sends a request that has to fail with a status and a type of Neutron's; it gives the message.
func (a *api) refused(status int, kind, method, path, token, body string) string {
	a.t.Helper()
	v := a.want(status, method, path, token, body)
	e, ok := v["NeutronError"].(map[string]any)
	if !ok || len(e) != 3 || e["detail"] != "" {
		a.t.Fatalf("%s %s: not an error of Neutron's shape: %v", method, path, v)
	}
	if e["type"] != kind {
		a.t.Errorf("%s %s %s: type %v instead of %s: %v", method, path, body, e["type"], kind, e["message"])
	}
	return e["message"].(string)
}

// network makes a network from attributes, and gives its ID.
func (a *api) network(token, attributes string) string {
	a.t.Helper()
	return str(a.t, a.want(201, "POST", "/v2.0/networks", token, `{"network":{`+attributes+`}}`), "network/id")
}

// subnet makes a subnet, and gives its ID.
func (a *api) subnet(token, on, attributes string) string {
	a.t.Helper()
	return str(a.t, a.want(201, "POST", "/v2.0/subnets", token, fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":4,%s}}`, on, attributes)), "subnet/id")
}

// port makes a port, and gives it.
func (a *api) port(token, on, attributes string) map[string]any {
	a.t.Helper()
	if attributes != "" {
		attributes = "," + attributes
	}
	return a.want(201, "POST", "/v2.0/ports", token, fmt.Sprintf(`{"port":{"network_id":%q%s}}`, on, attributes))["port"].(map[string]any)
}

// address is the first fixed IP of a port.
func address(t testing.TB, port map[string]any) string {
	t.Helper()
	ips, _ := port["fixed_ips"].([]any)
	if len(ips) == 0 {
		t.Fatalf("port %v has no address", port["id"])
	}
	return ips[0].(map[string]any)["ip_address"].(string)
}

// str follows a path like "network/id" to a text.
func str(t testing.TB, v any, path string) string {
	t.Helper()
	for _, step := range strings.Split(path, "/") {
		m, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("no %s in %v", path, v)
		}
		v = m[step]
	}
	s, ok := v.(string)
	if !ok {
		t.Fatalf("%s is %v, not a text", path, v)
	}
	return s
}

// ids are those of a list, as one text, in the names that a test gave them.
func ids(t testing.TB, v map[string]any, list string, names map[string]string) string {
	t.Helper()
	items, ok := v[list].([]any)
	if !ok {
		t.Fatalf("no %s in %v", list, v)
	}
	var out []string
	for _, i := range items {
		id := str(t, i, "id")
		if name, ok := names[id]; ok {
			id = name
		}
		out = append(out, id)
	}
	return strings.Join(out, " ")
}

// TestRecorded_ShapesAreNeutrons replays what clients asked a real Neutron, and compares statuses, headers and the shapes
// of bodies with what that one replied. Places are left out where the other cloud had what ours has not: security groups
// and QoS, and the segment of an overlay network.
func TestRecorded_ShapesAreNeutrons(t *testing.T) {
	golden := resttest.LoadGoldens(t, "testdata/shapes.txt")
	a := newAPI(t)
	provider := []string{"/network/provider:", "/networks/*/provider:", "/network/is_default"}
	port := []string{"/port/qos_network_policy_id", "/port/resource_request", "/port/security_groups",
		"/ports/*/qos_network_policy_id", "/ports/*/resource_request", "/ports/*/security_groups"}
	check := func(name, method, path, body string, ignore ...string) map[string]any {
		t.Helper()
		v, _ := golden.Check(t, name, a.call(method, path, "admin", body), ignore...).(map[string]any)
		return v
	}
	golden.Check(t, "010-versions-neutron-root", a.call("GET", "/", "", ""))
	golden.Check(t, "011-versions-neutron-v2.0", a.call("GET", "/v2.0/", "", ""))
	golden.Check(t, "036-error-401-neutron-no-token", a.call("GET", "/v2.0/networks", "", ""))

	id := str(t, check("159-network-create", "POST", "/v2.0/networks", `{"network":{"admin_state_up":true,"name":"labnet"}}`, provider...), "network/id")
	check("189-error-404-network-raw", "GET", "/v2.0/networks/labnet", "")
	check("160-network-show", "GET", "/v2.0/networks?name=labnet", "", append(provider, "/networks/*/subnets/*")...)
	check("161-network-set", "PUT", "/v2.0/networks/"+id, `{"network":{"description":"d"}}`, provider...)

	subnet := str(t, check("162-subnet-create", "POST", "/v2.0/subnets",
		`{"subnet":{"ip_version":4,"cidr":"10.66.0.0/24","network_id":"`+id+`","name":"labsub"}}`), "subnet/id")
	check("163-subnet-list", "GET", "/v2.0/subnets", "")
	check("164-subnet-show", "GET", "/v2.0/subnets?name=labsub", "")
	check("158-network-list", "GET", "/v2.0/networks", "", provider...)

	made := str(t, check("165-port-create", "POST", "/v2.0/ports",
		`{"port":{"admin_state_up":true,"network_id":"`+id+`","name":"labport"}}`, port...), "port/id")
	check("166-port-list", "GET", "/v2.0/ports?fields=id&fields=name&fields=mac_address&fields=fixed_ips&fields=status", "")
	check("167-port-show", "GET", "/v2.0/ports?name=labport", "", port...)
	check("168-port-set", "PUT", "/v2.0/ports/"+made, `{"port":{"name":"labport2"}}`, port...)
	check("187-error-409-network-delete-in-use", "DELETE", "/v2.0/networks/"+id, "")

	check("184-network-extension-list", "GET", "/v2.0/extensions", "")
	check("185-network-agent-list", "GET", "/v2.0/agents", "", "/agents/*/configurations", "/agents/*/availability_zone", "/agents/*/resources_synced")
	check("186-network-quota", "GET", "/v2.0/quotas/"+string(a.Projs["demo"])+"/details.json", "")
	check("190-error-400-neutron-unknown-field", "POST", "/v2.0/networks", `{"network":{"name":"x","zzz":1}}`)
	check("191-error-400-neutron-badjson", "POST", "/v2.0/networks", `{bad`)
	golden.Check(t, "192-error-403-neutron-member-external",
		a.call("POST", "/v2.0/networks", "demo", `{"network":{"name":"x","router:external":true}}`))

	check("196-port-delete", "DELETE", "/v2.0/ports/"+made, "")
	check("197-subnet-delete", "DELETE", "/v2.0/subnets/"+subnet, "")
	check("198-network-delete", "DELETE", "/v2.0/networks/"+id, "")
}

// TestRecorded_MessagesAreNeutrons compares the words of refusals that people and programs search for.
func TestRecorded_MessagesAreNeutrons(t *testing.T) {
	a := newAPI(t)
	id := a.network("demo", `"name":"lan"`)
	a.subnet("demo", id, `"cidr":"10.0.0.0/24"`)
	port := a.port("demo", id, "")["id"].(string)
	for _, x := range []struct {
		status                   int
		kind, method, path, body string
		message                  string
	}{
		{404, "NetworkNotFound", "GET", "/v2.0/networks/nope", "", "Network nope could not be found."},
		{404, "SubnetNotFound", "GET", "/v2.0/subnets/nope", "", "Subnet nope could not be found."},
		{404, "PortNotFound", "GET", "/v2.0/ports/nope", "", "Port nope could not be found."},
		{400, "HTTPBadRequest", "POST", "/v2.0/networks", `{"network":{"name":"x","zzz":1}}`, "Unrecognized attribute(s) 'zzz'"},
		{400, "HTTPBadRequest", "POST", "/v2.0/networks", `{bad`, "Body contains invalid data"},
		{403, "PolicyNotAuthorized", "POST", "/v2.0/networks", `{"network":{"router:external":true}}`,
			"(rule:create_network and rule:create_network:router:external) is disallowed by policy"},
		{409, "NetworkInUse", "DELETE", "/v2.0/networks/" + id, "", "Unable to complete operation on network " + id +
			". There are one or more ports still in use on the network, id for these ports is: " + port + "."},
	} {
		if got := a.refused(x.status, x.kind, x.method, x.path, "demo", x.body); got != x.message {
			t.Errorf("%s %s %s: %q instead of %q", x.method, x.path, x.body, got, x.message)
		}
	}
}
