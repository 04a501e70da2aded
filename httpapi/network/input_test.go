package network_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// TestNetwork_BadInput sends what a network may not be made of.
func TestNetwork_BadInput(t *testing.T) {
	a := newAPI(t)
	long := strings.Repeat("x", 256)
	for _, x := range []struct{ kind, body string }{
		{"HTTPBadRequest", ``}, {"HTTPBadRequest", `null`}, {"HTTPBadRequest", `[]`}, {"HTTPBadRequest", `"network"`},
		{"HTTPBadRequest", `{}`}, {"HTTPBadRequest", `{"network":null}`}, {"HTTPBadRequest", `{"network":[]}`}, {"HTTPBadRequest", `{"network":1}`},
		{"HTTPBadRequest", `{"net":{}}`}, {"HTTPBadRequest", `{"network":{"name":1}}`}, {"HTTPBadRequest", `{"network":{"name":"` + long + `"}}`},
		{"HTTPBadRequest", `{"network":{"description":"` + long + `"}}`}, {"HTTPBadRequest", `{"network":{"name":"a\u0000b"}}`},
		{"HTTPBadRequest", `{"network":{"name":"a\u001bb"}}`}, {"HTTPBadRequest", `{"network":{"admin_state_up":"maybe"}}`},
		{"HTTPBadRequest", `{"network":{"admin_state_up":null}}`}, {"HTTPBadRequest", `{"network":{"admin_state_up":[]}}`},
		{"HTTPBadRequest", `{"network":{"mtu":67}}`}, {"HTTPBadRequest", `{"network":{"mtu":65536}}`}, {"HTTPBadRequest", `{"network":{"mtu":-1}}`},
		{"HTTPBadRequest", `{"network":{"mtu":"big"}}`}, {"HTTPBadRequest", `{"network":{"mtu":1e99}}`}, {"HTTPBadRequest", `{"network":{"shared":"x"}}`},
		{"InvalidInput", `{"network":{"provider:network_type":"vxlan"}}`}, {"InvalidInput", `{"network":{"provider:segmentation_id":7}}`},
		{"InvalidInput", `{"network":{"provider:physical_network":"nope"}}`}, {"InvalidInput", `{"network":{"is_default":true}}`},
		{"InvalidInput", `{"network":{"availability_zone_hints":["a"]}}`}, {"HTTPBadRequest", `{"network":` + strings.Repeat("[", 10000)},
		{"HTTPBadRequest", `{"network":` + strings.Repeat(`{"a":`, 10000) + `1` + strings.Repeat("}", 10001)},
		{"HTTPBadRequest", "{\"network\":{\"name\":\"\xff\"}}"},
	} {
		a.refused(400, x.kind, "POST", "/v2.0/networks", "admin", x.body)
	}
	a.refused(413, "HTTPRequestEntityTooLarge", "POST", "/v2.0/networks", "admin", `{"network":{"name":"`+strings.Repeat("x", 200_000)+`"}}`)
	if n := len(a.want(200, "GET", "/v2.0/networks", "admin", "")["networks"].([]any)); n != 0 {
		t.Errorf("%d networks were made", n)
	}
	if res := a.call("POST", "/v2.0/networks", "admin", `<network/>`, "Content-Type", "application/xml"); res.StatusCode != 415 {
		t.Errorf("XML: status %d", res.StatusCode)
	}
}

// TestNetwork_NamesAreJustText gives networks names that mean something elsewhere. They come back as they were.
func TestNetwork_NamesAreJustText(t *testing.T) {
	a := newAPI(t)
	for _, name := range []string{"../../etc/passwd", "<a href='x'>&amp;", "%00", "a/b?c=d&e#f", "名前", `"quoted"`, "", " lan ", "'; DROP TABLE ports; --"} {
		quoted, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		id := a.network("demo", `"name":`+string(quoted))
		if got := str(t, a.want(200, "GET", "/v2.0/networks/"+id, "demo", ""), "network/name"); got != name {
			t.Errorf("name %q came back as %q", name, got)
		}
	}
	for _, path := range []string{"/v2.0/networks/..%2f..%2fetc", "/v2.0/networks/%00", "/v2.0/networks/" + strings.Repeat("x", 5000)} {
		if res := a.call("GET", path, "demo", ""); res.StatusCode != 404 {
			t.Errorf("%.40s: status %d", path, res.StatusCode)
		}
	}
}

// TestSubnet_BadInput sends what a subnet may not be made of.
func TestSubnet_BadInput(t *testing.T) {
	a := newAPI(t)
	n := a.network("demo", `"name":"lan"`)
	a.subnet("demo", n, `"cidr":"10.9.0.0/16"`)
	for _, x := range []struct {
		status           int
		kind, attributes string
	}{
		{400, "HTTPBadRequest", `"name":"x"`}, {400, "HTTPBadRequest", `"cidr":"10.0.0.0"`}, {400, "HTTPBadRequest", `"cidr":"10.0.0.0/33"`},
		{400, "HTTPBadRequest", `"cidr":"::ffff:10.0.0.0/120"`}, {400, "HTTPBadRequest", `"cidr":7`}, {400, "HTTPBadRequest", `"cidr":"nonsense"`},
		{400, "InvalidInput", `"cidr":"10.0.0.0/24","ip_version":6`}, {400, "InvalidInput", `"cidr":"fd00::/64","ip_version":4`},
		{400, "InvalidInput", `"cidr":"10.9.3.0/24"`}, {400, "InvalidInput", `"cidr":"10.0.0.0/8"`},
		{400, "InvalidInput", `"cidr":"10.0.0.0/24","gateway_ip":"10.1.0.1"`}, {400, "HTTPBadRequest", `"cidr":"10.0.0.0/24","gateway_ip":"x"`},
		{400, "InvalidInput", `"cidr":"10.0.0.0/24","allocation_pools":[{"start":"10.0.0.9","end":"10.0.0.3"}]`},
		{400, "InvalidInput", `"cidr":"10.0.0.0/24","allocation_pools":[{"start":"10.0.0.9","end":"10.0.1.9"}]`},
		{409, "OverlappingAllocationPools", `"cidr":"10.0.0.0/24","allocation_pools":[{"start":"10.0.0.2","end":"10.0.0.9"},{"start":"10.0.0.9","end":"10.0.0.12"}]`},
		{400, "HTTPBadRequest", `"cidr":"10.0.0.0/24","allocation_pools":[{"start":"10.0.0.2"}]`},
		{400, "HTTPBadRequest", `"cidr":"10.0.0.0/24","allocation_pools":{"start":"10.0.0.2"}`},
		{400, "HTTPBadRequest", `"cidr":"10.0.0.0/24","dns_nameservers":["dns.example.com"]`},
		{400, "HTTPBadRequest", `"cidr":"10.0.0.0/24","dns_nameservers":"10.0.0.1"`},
		{400, "HTTPBadRequest", `"cidr":"10.0.0.0/24","host_routes":[{"destination":"x","nexthop":"10.0.0.1"}]`},
		{400, "HTTPBadRequest", `"cidr":"10.0.0.0/24","host_routes":[{"destination":"10.2.0.0/16","nexthop":"x"}]`},
		{400, "InvalidInput", `"cidr":"fd00::/64","ipv6_ra_mode":"slaac"`}, {400, "InvalidInput", `"cidr":"10.0.0.0/24","subnetpool_id":"x"`},
		{400, "InvalidInput", `"cidr":"10.0.0.0/24","service_types":["compute:nova"]`}, {400, "HTTPBadRequest", `"cidr":"10.0.0.0/24","zzz":1`},
		{400, "InvalidInput", `"cidr":"fd00::/64","dns_nameservers":["fe80::1%eth0"]`},
	} {
		a.refused(x.status, x.kind, "POST", "/v2.0/subnets", "demo", fmt.Sprintf(`{"subnet":{"network_id":%q,%s}}`, n, x.attributes))
	}
	a.refused(400, "HTTPBadRequest", "POST", "/v2.0/subnets", "demo", `{"subnet":{"cidr":"10.0.0.0/24"}}`)
	a.refused(404, "NetworkNotFound", "POST", "/v2.0/subnets", "demo", `{"subnet":{"cidr":"10.0.0.0/24","network_id":"nope"}}`)
	if got := len(a.want(200, "GET", "/v2.0/subnets", "demo", "")["subnets"].([]any)); got != 1 {
		t.Errorf("%d subnets instead of the first", got)
	}
}

// TestPort_BadInput sends what a port may not be made of.
func TestPort_BadInput(t *testing.T) {
	a := newAPI(t)
	n := a.network("demo", `"name":"lan"`)
	for _, x := range []struct{ kind, attributes string }{
		{"InvalidInput", `"allowed_address_pairs":[{"ip_address":"10.0.0.1"}]`}, {"InvalidInput", `"security_groups":["default"]`},
		{"InvalidInput", `"extra_dhcp_opts":[{}]`}, {"InvalidInput", `"binding:vnic_type":"direct"`}, {"HTTPBadRequest", `"security_groups":"x"`},
		{"HTTPBadRequest", `"device_id":7`}, {"HTTPBadRequest", `"port_security_enabled":"maybe"`}, {"HTTPBadRequest", `"zzz":7`},
		{"HTTPBadRequest", `"device_owner":"` + strings.Repeat("x", 256) + `"`}, {"HTTPBadRequest", `"tags":"x"`},
	} {
		a.refused(400, x.kind, "POST", "/v2.0/ports", "demo", fmt.Sprintf(`{"port":{"network_id":%q,%s}}`, n, x.attributes))
	}
	a.refused(400, "InvalidInput", "POST", "/v2.0/ports", "admin", fmt.Sprintf(`{"port":{"network_id":%q,"binding:host_id":"node-1"}}`, n))
	a.refused(400, "HTTPBadRequest", "POST", "/v2.0/ports", "demo", `{"port":{}}`)
	a.refused(404, "NetworkNotFound", "POST", "/v2.0/ports", "demo", `{"port":{"network_id":"nope"}}`)
	a.port("demo", n, `"security_groups":[],"allowed_address_pairs":[],"binding:vnic_type":"normal","admin_state_up":true`)
}

// TestNetwork_PhysicalNetworkIsChosenWhenThereIsOne makes networks in a cloud whose nodes have none, one and two.
func TestNetwork_PhysicalNetworkIsChosenWhenThereIsOne(t *testing.T) {
	a := newAPI(t)
	physical := func(attributes string) string {
		return str(t, a.want(201, "POST", "/v2.0/networks", "admin", `{"network":{`+attributes+`}}`), "network/provider:physical_network")
	}
	bridges := func(b map[string]string) {
		a.t.Helper()
		n, ok := a.Local().Node(a.Node.ID)
		if !ok {
			t.Fatal("the node is gone")
		}
		next := *n
		next.Bridges = b
		a.Must(&cluster.UpdateNode{Node: next})
	}
	if got := physical(`"name":"a"`); got != "lan" {
		t.Errorf("the only one is not chosen, but %s", got)
	}
	if got := physical(`"name":"b","provider:network_type":"flat","provider:physical_network":"lan"`); got != "lan" {
		t.Errorf("physical network %s", got)
	}
	bridges(map[string]string{"lan": "br0", "wan": "br1"})
	if m := a.refused(400, "InvalidInput", "POST", "/v2.0/networks", "admin", `{"network":{"name":"c"}}`); !strings.Contains(m, "[lan wan]") {
		t.Error(m)
	}
	if got := physical(`"provider:physical_network":"wan"`); got != "wan" {
		t.Errorf("physical network %s", got)
	}
	bridges(nil)
	if m := a.refused(400, "InvalidInput", "POST", "/v2.0/networks", "admin", `{"network":{"name":"d"}}`); !strings.Contains(m, "--bridge") {
		t.Errorf("the message does not say what to do: %s", m)
	}
}

// TestNetwork_MembersNeedAnOpenOne: an operator offers bridges of the company's own networks. Members make networks on none of them,
// then on the one that every node has opened, and the administrator gives them one on the other.
func TestNetwork_MembersNeedAnOpenOne(t *testing.T) {
	a := newAPI(t)
	offer := func(id cluster.NodeID, open ...string) {
		a.t.Helper()
		n, ok := a.Local().Node(id)
		if !ok {
			t.Fatal("the node is gone")
		}
		next := n.Clone()
		next.Bridges, next.Open = map[string]string{"lan": "br0", "office": "br1"}, open
		a.Must(&cluster.UpdateNode{Node: *next})
	}
	refused := func() {
		t.Helper()
		if m := a.refused(403, "PolicyNotAuthorized", "POST", "/v2.0/networks", "demo", `{"network":{"name":"a"}}`); m !=
			"(rule:create_network and rule:create_network:provider:physical_network) is disallowed by policy" {
			t.Error(m)
		}
	}
	offer(a.Node.ID)
	refused()
	offer(a.Node.ID, "lan")
	id := a.network("demo", `"name":"a"`)
	if got := str(t, a.want(200, "GET", "/v2.0/networks/"+id, "admin", ""), "network/provider:physical_network"); got != "lan" {
		t.Errorf("the network is on %s", got)
	}
	a.Must(&cluster.PutJoinToken{Token: cluster.JoinToken{ID: "t", Hash: cluster.Hash{1}, Uses: 1, Expires: cluster.At(time.Now().Add(time.Hour))}})
	second := cluster.Node{ID: "n2", Name: "node-2", Address: "192.0.2.22", Zone: "nova", Voter: cluster.VoterAuto, Capacity: a.Node.Capacity}
	a.Must(&cluster.EnrolNode{Token: "t", Secret: cluster.Hash{1}, Node: second})
	offer("n2", "office")
	refused() // one node has opened the one, and another the other
	a.network("admin", fmt.Sprintf(`"name":"theirs","provider:physical_network":"office","project_id":%q`, a.Projs["demo"]))
}

// TestNetwork_UpdateRefusals tries to change what a network keeps.
func TestNetwork_UpdateRefusals(t *testing.T) {
	a := newAPI(t)
	n := a.network("admin", `"name":"lan"`)
	path := "/v2.0/networks/" + n
	a.refused(400, "HTTPBadRequest", "PUT", path, "admin", `{"network":{"project_id":"x"}}`)
	a.refused(400, "HTTPBadRequest", "PUT", path, "admin", `{"networks":[{"name":"x"}]}`)
	a.refused(400, "InvalidInput", "PUT", path, "admin", `{"network":{"provider:physical_network":"wan"}}`)
	a.want(200, "PUT", path, "admin", `{"network":{"provider:physical_network":"lan","mtu":9000,"admin_state_up":false}}`)
	if got := a.want(200, "GET", path, "admin", "")["network"].(map[string]any); got["mtu"] != 9000.0 || got["status"] != "DOWN" {
		t.Errorf("network %v", got)
	}
}

// TestDelete_InUse refuses what others stand on, and removes a network with its subnets.
func TestDelete_InUse(t *testing.T) {
	a := newAPI(t)
	n := a.network("demo", `"name":"lan"`)
	s := a.subnet("demo", n, `"cidr":"10.0.0.0/24"`)
	p := a.port("demo", n, "")["id"].(string)
	a.refused(409, "NetworkInUse", "DELETE", "/v2.0/networks/"+n, "demo", "")
	a.refused(409, "SubnetInUse", "DELETE", "/v2.0/subnets/"+s, "demo", "")
	a.want(204, "DELETE", "/v2.0/ports/"+p, "demo", "")
	a.want(204, "DELETE", "/v2.0/networks/"+n, "demo", "")
	a.refused(404, "SubnetNotFound", "GET", "/v2.0/subnets/"+s, "demo", "")
	a.refused(404, "PortNotFound", "DELETE", "/v2.0/ports/"+p, "demo", "")
}

// TestPaths_UnknownOnes are 404 in Neutron's shape, and a wrong method is, too.
func TestPaths_UnknownOnes(t *testing.T) {
	a := newAPI(t)
	for _, x := range []struct{ method, path string }{
		{"GET", "/v2.0/routers"}, {"GET", "/v2.0/security-groups"}, {"GET", "/v3"}, {"PATCH", "/v2.0/networks"}, {"GET", "/v2.0/networks/a/b"},
		{"GET", "/v2.0/extensions/router"},
	} {
		a.refused(404, "HTTPNotFound", x.method, x.path, "admin", "")
	}
	a.want(200, "GET", "/v2.0/extensions/provider", "admin", "")
}

// TestAgents_SayWhetherANodeIsAlive looks at the node as Neutron's clients see it, up and down.
func TestAgents_SayWhetherANodeIsAlive(t *testing.T) {
	a := newAPI(t)
	for _, down := range []bool{false, true} {
		a.down = down
		agents := a.want(200, "GET", "/v2.0/agents?host=node-1", "admin", "")["agents"].([]any)
		if len(agents) != 1 || agents[0].(map[string]any)["alive"] != !down {
			t.Errorf("agents %v", agents)
		}
	}
	if got := len(a.want(200, "GET", "/v2.0/agents?alive=true", "admin", "")["agents"].([]any)); got != 0 {
		t.Errorf("%d agents are alive", got)
	}
	zones := a.want(200, "GET", "/v2.0/availability_zones", "demo", "")["availability_zones"].([]any)
	if len(zones) != 1 || str(t, zones[0], "name") != "nova" {
		t.Errorf("zones %v", zones)
	}
}

// FuzzRequests sends any body to each request that takes one. None is a fault of ours, and an error has Neutron's shape.
func FuzzRequests(f *testing.F) {
	for i, body := range []string{
		`{"network":{"name":"x","mtu":1400,"shared":true,"router:external":false}}`,
		`{"subnet":{"network_id":"N","cidr":"10.0.0.0/24","gateway_ip":null,"allocation_pools":[{"start":"10.0.0.2","end":"10.0.0.9"}]}}`,
		`{"port":{"network_id":"N","mac_address":"02:00:00:00:00:01","fixed_ips":[{"ip_address":"10.9.0.9"}],"tags":["a"]}}`,
		`{"quota":{"network":5}}`, `{"tags":["a","b"]}`, `{"networks":[{},{}]}`, `{"subnet":{"network_id":"N","cidr":"fd00::/127"}}`,
	} {
		f.Add(byte(i), body)
	}
	f.Fuzz(func(t *testing.T, which byte, body string) {
		a := newAPI(t)
		n := a.network("admin", `"name":"lan"`)
		s := a.subnet("admin", n, `"cidr":"10.9.0.0/24"`)
		p := a.port("admin", n, "")["id"].(string)
		requests := []struct{ method, path string }{
			{"POST", "/networks"}, {"POST", "/subnets"}, {"POST", "/ports"}, {"PUT", "/quotas/" + demoProject(a)}, {"PUT", "/networks/" + n + "/tags"},
			{"PUT", "/networks/" + n}, {"PUT", "/subnets/" + s}, {"PUT", "/ports/" + p},
		}
		x := requests[int(which)%len(requests)]
		res := a.call(x.method, "/v2.0"+x.path, "admin", strings.ReplaceAll(body, `"N"`, `"`+n+`"`))
		reply, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode >= http.StatusInternalServerError {
			t.Fatalf("%s %s %s: %d %s", x.method, x.path, body, res.StatusCode, reply)
		}
		if res.StatusCode >= http.StatusBadRequest && !strings.HasPrefix(string(reply), `{"NeutronError":`) {
			t.Fatalf("%s %s %s: not Neutron's shape: %s", x.method, x.path, body, reply)
		}
	})
}
