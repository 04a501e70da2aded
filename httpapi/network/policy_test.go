package network_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestPolicy_AnotherProjectsThingsAreNotThere asks for a project's network, subnet and port as a member of another one.
// They are 404 in every way, and on no list.
func TestPolicy_AnotherProjectsThingsAreNotThere(t *testing.T) {
	a := newAPI(t)
	n := a.network("demo", `"name":"lan"`)
	s := a.subnet("demo", n, `"cidr":"10.0.0.0/24"`)
	p := a.port("demo", n, "")["id"].(string)
	for _, x := range []struct{ kind, list, id string }{{"network", "networks", n}, {"subnet", "subnets", s}, {"port", "ports", p}} {
		missing := strings.ToUpper(x.kind[:1]) + x.kind[1:] + "NotFound"
		path := "/v2.0/" + x.list + "/" + x.id
		a.refused(404, missing, "GET", path, "other", "")
		a.refused(404, missing, "PUT", path, "other", `{"`+x.kind+`":{"name":"mine"}}`)
		a.refused(404, missing, "DELETE", path, "other", "")
		a.refused(404, missing, "GET", path+"/tags", "other", "")
		a.refused(404, missing, "PUT", path+"/tags", "other", `{"tags":["mine"]}`)
		a.refused(404, missing, "DELETE", path+"/tags", "other", "")
		if got := ids(t, a.want(200, "GET", "/v2.0/"+x.list, "other", ""), x.list, nil); got != "" {
			t.Errorf("%s of others: %s", x.list, got)
		}
		if got := ids(t, a.want(200, "GET", "/v2.0/"+x.list, "admin", ""), x.list, nil); got != x.id {
			t.Errorf("the administrator sees %q instead of %s", got, x.id)
		}
	}
	for _, body := range []string{`{"port":{"network_id":%q}}`, `{"subnet":{"network_id":%q,"ip_version":4,"cidr":"10.1.0.0/24"}}`} {
		path := "/v2.0/ports"
		if strings.Contains(body, "subnet") {
			path = "/v2.0/subnets"
		}
		a.refused(404, "NetworkNotFound", "POST", path, "other", fmt.Sprintf(body, n))
	}
}

// TestPolicy_SharedNetworkIsForUseOnly shares a network. Members of other projects see it and make ports on it, but change
// nothing about it, choose no addresses, and do not switch off the filters that keep them from taking a neighbour's.
func TestPolicy_SharedNetworkIsForUseOnly(t *testing.T) {
	a := newAPI(t)
	n := a.network("admin", `"name":"lan","shared":true`)
	s := a.subnet("admin", n, `"cidr":"10.0.0.0/24"`)
	a.want(200, "GET", "/v2.0/networks/"+n, "demo", "")
	a.want(200, "GET", "/v2.0/subnets/"+s, "demo", "")
	p := a.port("demo", n, fmt.Sprintf(`"fixed_ips":[{"subnet_id":%q}]`, s))["id"].(string)

	a.refused(404, "NetworkNotFound", "PUT", "/v2.0/networks/"+n, "demo", `{"network":{"name":"mine"}}`)
	a.refused(404, "NetworkNotFound", "DELETE", "/v2.0/networks/"+n, "demo", "")
	a.refused(404, "SubnetNotFound", "PUT", "/v2.0/subnets/"+s, "demo", `{"subnet":{"name":"mine"}}`)
	a.refused(404, "SubnetNotFound", "DELETE", "/v2.0/subnets/"+s, "demo", "")
	a.refused(403, "PolicyNotAuthorized", "POST", "/v2.0/subnets", "demo", fmt.Sprintf(`{"subnet":{"network_id":%q,"cidr":"10.1.0.0/24"}}`, n))
	for _, bad := range []string{`"mac_address":"02:00:00:00:00:01"`, `"fixed_ips":[{"ip_address":"10.0.0.9"}]`, `"port_security_enabled":false`, `"device_owner":"network:dhcp"`} {
		a.refused(403, "PolicyNotAuthorized", "POST", "/v2.0/ports", "demo", fmt.Sprintf(`{"port":{"network_id":%q,%s}}`, n, bad))
		a.refused(403, "PolicyNotAuthorized", "PUT", "/v2.0/ports/"+p, "demo", `{"port":{`+bad+`}}`)
	}
	a.want(200, "PUT", "/v2.0/ports/"+p, "demo", `{"port":{"name":"mine"}}`)
	a.refused(404, "PortNotFound", "GET", "/v2.0/ports/"+p, "other", "")
}

// TestPolicy_NetworkOwnerSeesPortsOnIt lets another project use a network. Its owner sees the port and may remove it, but
// not change it.
func TestPolicy_NetworkOwnerSeesPortsOnIt(t *testing.T) {
	a := newAPI(t)
	n := a.network("demo", `"name":"lan"`)
	a.want(200, "PUT", "/v2.0/networks/"+n, "admin", `{"network":{"shared":true}}`)
	p := a.port("other", n, "")["id"].(string)
	a.want(200, "GET", "/v2.0/ports/"+p, "demo", "")
	a.refused(404, "PortNotFound", "PUT", "/v2.0/ports/"+p, "demo", `{"port":{"name":"x"}}`)
	a.want(204, "DELETE", "/v2.0/ports/"+p, "demo", "")
}

// TestPolicy_NoAddressOfAnotherProjectOnTheSameWire lets a project make a network of its own, which is on the bridge that
// everybody's is on. It may not take the range of another's, and so neither a gateway nor a guest's address.
func TestPolicy_NoAddressOfAnotherProjectOnTheSameWire(t *testing.T) {
	a := newAPI(t)
	a.subnet("demo", a.network("demo", `"name":"lan"`), `"cidr":"10.0.0.0/24"`)
	mine := a.network("other", `"name":"mine"`)
	for _, cidr := range []string{"10.0.0.0/24", "10.0.0.0/8", "10.0.0.1/32"} {
		a.refused(400, "InvalidInput", "POST", "/v2.0/subnets", "other", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":4,"cidr":%q}}`, mine, cidr))
	}
	a.subnet("other", mine, `"cidr":"10.0.1.0/24"`)
}

// TestPolicy_OnlyAdministratorsSetThese tries, as a member, each attribute that is not a member's. Saying that an attribute
// is as it would be anyway is no offence: clients do.
func TestPolicy_OnlyAdministratorsSetThese(t *testing.T) {
	a := newAPI(t)
	n := a.network("demo", `"name":"lan","shared":false,"router:external":false,"provider:physical_network":null`)
	for _, attribute := range []string{
		`"shared":true`, `"router:external":true`, `"provider:network_type":"flat"`, `"provider:physical_network":"lan"`,
		`"provider:segmentation_id":7`, `"is_default":true`,
	} {
		a.refused(403, "PolicyNotAuthorized", "POST", "/v2.0/networks", "demo", `{"network":{"name":"x",`+attribute+`}}`)
		a.refused(403, "PolicyNotAuthorized", "PUT", "/v2.0/networks/"+n, "demo", `{"network":{`+attribute+`}}`)
	}
	a.refused(403, "PolicyNotAuthorized", "PUT", "/v2.0/networks/"+n, "demo", `{"network":{"shared":false}}`)
	for _, attribute := range []string{`"binding:host_id":"node-1"`, `"binding:profile":{"a":1}`} {
		a.refused(403, "PolicyNotAuthorized", "POST", "/v2.0/ports", "demo", fmt.Sprintf(`{"port":{"network_id":%q,%s}}`, n, attribute))
	}
	elsewhere := string(a.Projs["other"])
	for path, body := range map[string]string{
		"/v2.0/networks": `{"network":{"name":"x","tenant_id":%q}}`,
		"/v2.0/ports":    `{"port":{"network_id":"` + n + `","project_id":%q}}`,
		"/v2.0/subnets":  `{"subnet":{"network_id":"` + n + `","cidr":"10.7.0.0/24","project_id":%q}}`,
	} {
		a.refused(403, "PolicyNotAuthorized", "POST", path, "demo", fmt.Sprintf(body, elsewhere))
	}
	if got := str(t, a.want(201, "POST", "/v2.0/networks", "admin", fmt.Sprintf(`{"network":{"tenant_id":%q}}`, elsewhere)), "network/project_id"); got != elsewhere {
		t.Errorf("project %s", got)
	}
}

// TestPolicy_ReadersOnlyRead lists what a reader may not do, and that it may look.
func TestPolicy_ReadersOnlyRead(t *testing.T) {
	a := newAPI(t)
	n := a.network("demo", `"name":"lan"`)
	s := a.subnet("demo", n, `"cidr":"10.0.0.0/24"`)
	p := a.port("demo", n, "")["id"].(string)
	for _, path := range []string{"/networks/" + n, "/subnets/" + s, "/ports/" + p, "/networks", "/subnets", "/ports", "/networks/" + n + "/tags",
		"/quotas/" + string(a.Projs["demo"]), "/extensions", "/availability_zones"} {
		a.want(200, "GET", "/v2.0"+path, "viewer", "")
	}
	for path, kind := range map[string]string{"/networks": "network", "/subnets": "subnet", "/ports": "port"} {
		id := map[string]string{"network": n, "subnet": s, "port": p}[kind]
		a.refused(403, "PolicyNotAuthorized", "POST", "/v2.0"+path, "viewer", fmt.Sprintf(`{%q:{"name":"x","network_id":%q}}`, kind, n))
		a.refused(403, "PolicyNotAuthorized", "PUT", "/v2.0"+path+"/"+id, "viewer", fmt.Sprintf(`{%q:{"name":"x"}}`, kind))
		a.refused(403, "PolicyNotAuthorized", "DELETE", "/v2.0"+path+"/"+id, "viewer", "")
		a.refused(403, "PolicyNotAuthorized", "PUT", "/v2.0"+path+"/"+id+"/tags", "viewer", `{"tags":[]}`)
		a.refused(403, "PolicyNotAuthorized", "DELETE", "/v2.0"+path+"/"+id+"/tags/x", "viewer", "")
	}
}

// TestPolicy_OnlyAdministratorsSeeWhereThingsAre looks at the attributes that say something about hosts.
func TestPolicy_OnlyAdministratorsSeeWhereThingsAre(t *testing.T) {
	a := newAPI(t)
	n := a.network("demo", `"name":"lan"`)
	p := a.port("demo", n, "")["id"].(string)
	for token, want := range map[string]bool{"admin": true, "demo": false, "viewer": false} {
		_, physical := a.want(200, "GET", "/v2.0/networks/"+n, token, "")["network"].(map[string]any)["provider:physical_network"]
		_, host := a.want(200, "GET", "/v2.0/ports/"+p, token, "")["port"].(map[string]any)["binding:host_id"]
		if physical != want || host != want {
			t.Errorf("%s sees the physical network: %t, the host: %t", token, physical, host)
		}
	}
	for who, many := range map[string]bool{"demo": false, "admin": true} {
		if got := a.want(200, "GET", "/v2.0/agents", who, "")["agents"].([]any); len(got) > 0 != many {
			t.Errorf("%s sees the agents %v", who, got)
		}
	}
}

// TestPolicy_TokenIsNeeded tries without one, with garbage and without a quorum. What tells versions needs none.
func TestPolicy_TokenIsNeeded(t *testing.T) {
	a := newAPI(t)
	for _, token := range []string{"", "garbage", "demo@other"} {
		res := a.call("GET", "/v2.0/networks", token, "")
		if res.StatusCode != 401 || !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Keystone uri=") {
			t.Errorf("token %q: %d %v", token, res.StatusCode, res.Header)
		}
	}
	a.LoseQuorum(true)
	if res := a.call("GET", "/v2.0/networks", "demo", ""); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("without a quorum: %d %v", res.StatusCode, res.Header)
	}
	a.want(200, "GET", "/", "", "")
	a.want(200, "GET", "/v2.0", "", "")
}
