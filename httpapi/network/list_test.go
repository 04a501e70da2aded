package network_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// TestList_Filters asks for parts of a list in the ways that clients do. A parameter that is no attribute is ignored, as
// Neutron does.
func TestList_Filters(t *testing.T) {
	a := newAPI(t)
	names := map[string]string{}
	for _, name := range []string{"red", "blue", "green"} {
		names[a.network("demo", fmt.Sprintf(`"name":%q,"description":"d %s"`, name, name))] = name
	}
	shared := a.network("admin", `"name":"all","shared":true,"admin_state_up":false`)
	names[shared] = "all"
	for id, name := range names {
		if name != "all" {
			a.want(200, "PUT", "/v2.0/networks/"+id+"/tags", "demo", fmt.Sprintf(`{"tags":["net",%q]}`, name))
		}
	}
	for query, want := range map[string]string{
		"":                              "all blue green red",
		"name=red":                      "red",
		"name=red&name=blue":            "blue red",
		"name=red&shared=true":          "",
		"name=re":                       "",
		"shared=True":                   "all",
		"shared=0":                      "blue green red",
		"admin_state_up=false":          "all",
		"status=DOWN":                   "all",
		"id=" + shared:                  "all",
		"id=nope":                       "",
		"router:external=True":          "",
		"project_id=" + demoProject(a):  "blue green red",
		"tenant_id=" + demoProject(a):   "blue green red",
		"description=d%20red":           "red",
		"provider:physical_network=lan": "all blue green red",
		"nothing=such":                  "all blue green red",
		"tags=net":                      "blue green red",
		"tags=net,red":                  "red",
		"tags-any=red,blue":             "blue red",
		"not-tags=net,red":              "all blue green",
		"not-tags-any=red,blue":         "all green",
	} {
		sorted := query + "&sort_key=name&sort_dir=asc"
		if got := ids(t, a.want(200, "GET", "/v2.0/networks?"+sorted, "demo", ""), "networks", names); got != want {
			t.Errorf("%s: %q instead of %q", query, got, want)
		}
	}
	if got := ids(t, a.want(200, "GET", "/v2.0/networks?sort_key=name&sort_dir=desc", "demo", ""), "networks", names); got != "red green blue all" {
		t.Errorf("descending: %s", got)
	}
}

func demoProject(a *api) string { return string(a.Projs["demo"]) }

// TestList_PortsByWhatNovaAsks filters ports by device, network and address.
func TestList_PortsByWhatNovaAsks(t *testing.T) {
	a := newAPI(t)
	n, other := a.network("demo", `"name":"lan"`), a.network("demo", `"name":"other"`)
	sub := a.subnet("demo", n, `"cidr":"10.0.0.0/24"`)
	first := a.port("demo", n, `"name":"first","device_id":"some-machine","mac_address":"02:00:00:00:00:01"`)
	names := map[string]string{
		first["id"].(string):                               "first",
		a.port("demo", n, "")["id"].(string):               "second",
		a.port("demo", other, `"name":"x"`)["id"].(string): "third",
	}
	for query, want := range map[string]string{
		"device_id=some-machine":          "first",
		"device_id=nope":                  "",
		"network_id=" + other:             "third",
		"network_id=" + n + "&name=first": "first",
		"mac_address=02:00:00:00:00:01":   "first",
		"fixed_ips=ip_address%3D10.0.0.3": "second",
		"fixed_ips=" + url.QueryEscape("subnet_id="+sub+",ip_address=10.0.0.2"): "first",
		"fixed_ips=ip_address%3D10.0.0.99":                                      "",
	} {
		if got := ids(t, a.want(200, "GET", "/v2.0/ports?"+query, "demo", ""), "ports", names); got != want {
			t.Errorf("%s: %q instead of %q", query, got, want)
		}
	}
}

// TestList_Pages follows the links of a list from page to page. Everything comes once.
func TestList_Pages(t *testing.T) {
	a := newAPI(t)
	for i := range 7 {
		a.network("demo", fmt.Sprintf(`"name":"n%d"`, i))
	}
	seen := map[string]bool{}
	pages := 0
	for path := "/v2.0/networks?limit=3&fields=id"; path != ""; pages++ {
		body := a.want(200, "GET", path, "demo", "")
		for _, n := range body["networks"].([]any) {
			id := str(t, n, "id")
			if seen[id] || len(n.(map[string]any)) != 1 {
				t.Errorf("%v comes twice, or with more than its ID", n)
			}
			seen[id] = true
		}
		path = ""
		if links, ok := body["networks_links"].([]any); ok {
			next, err := url.Parse(str(t, links[0], "href"))
			if err != nil || str(t, links[0], "rel") != "next" {
				t.Fatalf("link %v", links)
			}
			path = strings.TrimPrefix(next.RequestURI(), "/network")
		}
	}
	if len(seen) != 7 || pages != 3 {
		t.Errorf("%d networks on %d pages", len(seen), pages)
	}
	a.refused(400, "HTTPBadRequest", "GET", "/v2.0/networks?limit=-1", "demo", "")
	a.refused(400, "HTTPBadRequest", "GET", "/v2.0/networks?limit=x", "demo", "")
	a.refused(400, "HTTPBadRequest", "GET", "/v2.0/networks?marker=nope", "demo", "")
}

// TestTags_AreASetOfTheirOwn goes through every request that the tags of a thing have.
func TestTags_AreASetOfTheirOwn(t *testing.T) {
	a := newAPI(t)
	n := a.network("demo", `"name":"lan"`)
	for _, thing := range []string{
		"/v2.0/networks/" + n,
		"/v2.0/subnets/" + a.subnet("demo", n, `"cidr":"10.0.0.0/24"`),
		"/v2.0/ports/" + a.port("demo", n, "")["id"].(string),
	} {
		tags := func(want string) {
			t.Helper()
			if got := fmt.Sprint(a.want(200, "GET", thing+"/tags", "demo", "")["tags"]); got != want {
				t.Errorf("%s: tags %s instead of %s", thing, got, want)
			}
		}
		tags("[]")
		a.want(200, "PUT", thing+"/tags", "demo", `{"tags":["b","a","b"]}`)
		tags("[a b]")
		a.want(201, "PUT", thing+"/tags/c%20d", "demo", "")
		a.want(201, "PUT", thing+"/tags/a", "demo", "")
		tags("[a b c d]")
		a.want(204, "GET", thing+"/tags/c%20d", "viewer", "")
		a.want(204, "DELETE", thing+"/tags/b", "demo", "")
		a.refused(404, "TagNotFound", "DELETE", thing+"/tags/b", "demo", "")
		a.refused(404, "TagNotFound", "GET", thing+"/tags/b", "demo", "")
		tags("[a c d]")
		a.want(204, "DELETE", thing+"/tags", "demo", "")
		tags("[]")
		for _, bad := range []string{`{"tags":"a"}`, `{"tags":[1]}`, `{"tag":["a"]}`, `{"tags":["` + strings.Repeat("x", 300) + `"]}`, `[]`} {
			if res := a.call("PUT", thing+"/tags", "demo", bad); res.StatusCode != http.StatusBadRequest {
				t.Errorf("%s %.40s: status %d", thing, bad, res.StatusCode)
			}
		}
	}
}

// TestQuota_LimitsHold sets the limits of a project, runs into each, sees what is used, and takes them back.
func TestQuota_LimitsHold(t *testing.T) {
	a := newAPI(t)
	path := "/v2.0/quotas/" + demoProject(a)
	a.refused(403, "PolicyNotAuthorized", "PUT", path, "demo", `{"quota":{"network":1000}}`)
	a.refused(403, "PolicyNotAuthorized", "GET", path, "other", "")
	a.refused(404, "ProjectNotFound", "PUT", "/v2.0/quotas/nope", "admin", `{"quota":{"network":1}}`)
	for _, bad := range []string{`{"quota":{"network":-2}}`, `{"quota":{"zzz":1}}`, `{"quota":{"network":"many"}}`, `{"quota":{"network":1.5}}`} {
		a.refused(400, "HTTPBadRequest", "PUT", path, "admin", bad)
	}
	got := a.want(200, "PUT", path, "admin", `{"quota":{"network":1,"subnet":1,"port":1}}`)["quota"].(map[string]any)
	if got["network"] != 1.0 || got["port"] != 1.0 {
		t.Errorf("quota %v", got)
	}
	if n := len(a.want(200, "GET", "/v2.0/quotas", "admin", "")["quotas"].([]any)); n != 1 {
		t.Errorf("%d projects with limits of their own", n)
	}
	n := a.network("demo", `"name":"lan"`)
	a.subnet("demo", n, `"cidr":"10.0.0.0/24"`)
	a.port("demo", n, "")
	for kind, body := range map[string]string{
		"network": `{"network":{"name":"x"}}`,
		"subnet":  `{"subnet":{"network_id":"` + n + `","cidr":"10.1.0.0/24"}}`,
		"port":    `{"port":{"network_id":"` + n + `"}}`,
	} {
		if m := a.refused(409, "OverQuota", "POST", "/v2.0/"+kind+"s", "demo", body); m != "Quota exceeded for resources: ['"+kind+"']." {
			t.Error(m)
		}
	}
	used := a.want(200, "GET", path+"/details", "demo", "")["quota"].(map[string]any)["port"].(map[string]any)
	if used["limit"] != 1.0 || used["used"] != 1.0 || used["reserved"] != 0.0 {
		t.Errorf("ports %v", used)
	}
	a.want(204, "DELETE", path, "admin", "")
	if back := a.want(200, "GET", path, "demo", "")["quota"].(map[string]any)["network"]; back != a.want(200, "GET", path+"/default", "demo", "")["quota"].(map[string]any)["network"] {
		t.Errorf("network limit %v after a reset", back)
	}
	a.network("demo", `"name":"second"`)
	a.Must(&cluster.PutQuota{Quota: cluster.Quota{Project: a.Projs["other"], Limits: map[cluster.QuotaName]int64{cluster.QuotaCores: 1}}})
	if of := a.want(200, "GET", "/v2.0/quotas", "admin", "")["quotas"].([]any); len(of) != 0 {
		t.Errorf("no project has limits of networks, but %v are listed", of)
	}
}

// TestBulk_IsAllOrNothing makes several things with one request. When one is refused, none stays.
func TestBulk_IsAllOrNothing(t *testing.T) {
	a := newAPI(t)
	made := a.want(201, "POST", "/v2.0/networks", "demo", `{"networks":[{"name":"a"},{"name":"b"}]}`)
	if n := len(made["networks"].([]any)); n != 2 {
		t.Fatalf("%d networks", n)
	}
	n := str(t, made["networks"].([]any)[0], "id")
	a.want(201, "POST", "/v2.0/subnets", "demo", fmt.Sprintf(`{"subnets":[{"network_id":%q,"cidr":"10.0.0.0/24"},{"network_id":%q,"cidr":"10.0.1.0/24"}]}`, n, n))
	a.refused(409, "IpAddressInUse", "POST", "/v2.0/ports", "demo", fmt.Sprintf(
		`{"ports":[{"network_id":%q,"fixed_ips":[{"ip_address":"10.0.0.9"}]},{"network_id":%q,"fixed_ips":[{"ip_address":"10.0.0.9"}]}]}`, n, n))
	if left := a.want(200, "GET", "/v2.0/ports", "demo", "")["ports"].([]any); len(left) != 0 {
		t.Errorf("%d ports stay of a refused request", len(left))
	}
	a.want(201, "POST", "/v2.0/ports", "demo", fmt.Sprintf(`{"ports":[{"network_id":%q},{"network_id":%q}]}`, n, n))
	a.want(200, "PUT", "/v2.0/quotas/"+demoProject(a), "admin", `{"quota":{"network":3}}`)
	a.refused(409, "OverQuota", "POST", "/v2.0/networks", "demo", `{"networks":[{"name":"c"},{"name":"d"}]}`)
	if left := a.want(200, "GET", "/v2.0/networks", "demo", "")["networks"].([]any); len(left) != 2 {
		t.Errorf("%d networks after a refused request", len(left))
	}
	for _, bad := range []string{`{"networks":[]}`, `{"networks":{}}`, `{"networks":[1]}`, `{"networks":[` + strings.Repeat(`{},`, 100) + `{}]}`} {
		a.refused(400, "HTTPBadRequest", "POST", "/v2.0/networks", "demo", bad)
	}
}

// TestIdempotency_RepetitionMakesNothingNew repeats a create under its key, as a client does that heard no answer.
func TestIdempotency_RepetitionMakesNothingNew(t *testing.T) {
	a := newAPI(t)
	first := a.want(201, "POST", "/v2.0/networks", "demo", `{"network":{"name":"lan"}}`, "Idempotency-Key", "k1")
	again := a.want(201, "POST", "/v2.0/networks", "demo", `{"network":{"name":"lan"}}`, "Idempotency-Key", "k1")
	if str(t, first, "network/id") != str(t, again, "network/id") {
		t.Error("the repetition made another network")
	}
	if n := len(a.want(200, "GET", "/v2.0/networks", "demo", "")["networks"].([]any)); n != 1 {
		t.Errorf("%d networks", n)
	}
}

// A node's availability zone is that of its aggregate, if that has one, as it is for the compute service.
func TestZones_FollowAggregates(t *testing.T) {
	a := newAPI(t)
	a.Must(&cluster.PutAggregate{Aggregate: cluster.Aggregate{ID: "a", Name: "a", Hosts: []cluster.NodeID{a.Node.ID},
		Metadata: map[string]string{cluster.ZoneKey: "east"}}})
	zone := func(path, list, name string) {
		t.Helper()
		all := a.want(200, "GET", path, "admin", "")[list].([]any)
		if len(all) != 1 || str(t, all[0], name) != "east" {
			t.Errorf("%s: %v", path, all)
		}
	}
	zone("/v2.0/availability_zones", "availability_zones", "name")
	zone("/v2.0/agents", "agents", "availability_zone")
	zone("/v2.0/agents?availability_zone=east", "agents", "availability_zone")
	n := a.network("demo", `"name":"lan"`)
	zones := a.want(200, "GET", "/v2.0/networks/"+n, "demo", "")["network"].(map[string]any)["availability_zones"].([]any)
	if len(zones) != 1 || zones[0] != "east" {
		t.Errorf("the network's zones are %v", zones)
	}
}
