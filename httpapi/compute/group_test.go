package compute_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/resttest"
)

// recordedGroups loads the goldens of groups and aggregates.
func recordedGroups(l *lab) *lab {
	l.shapes = resttest.LoadGoldens(l.t, "testdata/group_shapes.txt")
	return l
}

// group makes a server group and gives its ID.
func (l *lab) group(token, policy string) string {
	l.t.Helper()
	return l.do(token, "2.64", "POST", "/os-server-groups", object{"server_group": object{"name": "g", "policy": policy}}).want(200).
		text("server_group", "id")
}

// A group is made, listed, shown and deleted, at each of its three looks.
func TestServerGroups_LookAsNovaShowsThem(t *testing.T) {
	l := recordedGroups(newLab(t))
	old := l.do("demo", "", "POST", "/os-server-groups", object{"server_group": object{"name": "g21", "policies": []string{"affinity"}}})
	l.golden("752-raw-server-group-create-mv2.1", old)
	l.golden("753-raw-server-groups-list-mv2.1", l.do("demo", "", "GET", "/os-server-groups", nil))
	l.do("demo", "", "DELETE", "/os-server-groups/"+old.text("server_group", "id"), nil).want(204)
	a := l.do("demo", "2.64", "POST", "/os-server-groups", object{"server_group": object{"name": "labgrp", "policy": "anti-affinity"}})
	l.golden("310-server-group-create", a)
	b := l.do("demo", "2.64", "POST", "/os-server-groups",
		object{"server_group": object{"name": "labgrp64", "policy": "anti-affinity", "rules": object{"max_server_per_host": "2"}}})
	l.golden("311-server-group-create-mv2.64", b)
	id := a.text("server_group", "id")
	l.create("demo", "m1", nil)
	req := l.request("member", nil)
	req["os:scheduler_hints"] = object{"group": id}
	server := l.do("demo", "2.79", "POST", "/servers", req).want(202).text("server", "id")
	list := l.do("demo", "2.64", "GET", "/os-server-groups", nil)
	l.golden("318-server-group-list", list)
	if list.count("server_groups") != 2 || list.at("server_groups", 0, "members", 0) != server {
		t.Errorf("%s", list.body)
	}
	if s := l.do("demo", "2.79", "GET", "/servers/"+server, nil); s.at("server", "server_groups", 0) != id {
		t.Errorf("%s", s.body)
	}
	show := l.do("demo", "2.13", "GET", "/os-server-groups/"+id, nil).want(200)
	if show.text("server_group", "user_id") != string(l.Users["demo"]) || show.at("server_group", "policies", 0) != "anti-affinity" {
		t.Errorf("%s", show.body)
	}
	detail := l.do("demo", "", "GET", "/os-quota-sets/"+string(l.Projs["demo"])+"/detail", nil)
	if detail.at("quota_set", "server_groups", "in_use") != 2.0 || l.do("demo", "", "GET", "/limits", nil).at("limits", "absolute", "totalServerGroupsUsed") != 2.0 {
		t.Errorf("%s", detail.body)
	}
	l.do("demo", "2.64", "DELETE", "/os-server-groups/"+id, nil).want(204)
	if s := l.do("demo", "2.79", "GET", "/servers/"+server, nil); s.count("server", "server_groups") != 0 {
		t.Errorf("%s", s.body)
	}
}

// What a client can do wrong with a group, and whose groups it sees.
func TestServerGroups_BadRequestsAreRefused(t *testing.T) {
	l := newLab(t)
	ask := func(version string, group object) *answer {
		return l.do("demo", version, "POST", "/os-server-groups", object{"server_group": group})
	}
	ask("", object{"name": "g", "policies": []string{"soft-affinity"}}).fails(400, "soft-affinity")
	ask("2.15", object{"name": "g", "policies": []string{"soft-affinity"}}).want(200)
	ask("", object{"name": "g", "policies": []string{}}).fails(400, "policies")
	ask("", object{"name": "g", "policy": "affinity"}).fails(400, "policies")
	ask("2.64", object{"name": "g", "policies": []string{"affinity"}}).fails(400, "policy")
	ask("2.64", object{"name": " ", "policy": "affinity"}).fails(400, "name")
	ask("2.64", object{"name": "g", "policy": "affinity", "rules": object{"max_server_per_host": 2}}).fails(400, "Only anti-affinity policy supports rules.")
	ask("2.64", object{"name": "g", "policy": "anti-affinity", "rules": object{"max_server_per_host": 0}}).fails(400, "max_server_per_host")
	l.do("viewer", "2.64", "POST", "/os-server-groups", object{}).fails(403, "os_compute_api:os-server-groups:create")
	id := l.group("other", "affinity")
	l.do("demo", "2.64", "GET", "/os-server-groups/"+id, nil).fails(404, "Instance group "+id+" could not be found.")
	l.do("demo", "2.64", "DELETE", "/os-server-groups/"+id, nil).fails(404, "Instance group "+id+" could not be found.")
	l.do("admin", "2.64", "GET", "/os-server-groups/"+id, nil).want(200)
	if n := l.do("admin", "2.64", "GET", "/os-server-groups?all_projects=1&limit=1&offset=1", nil).count("server_groups"); n != 1 {
		t.Errorf("a page of one has %d", n)
	}
	if n := l.do("admin", "2.64", "GET", "/os-server-groups", nil).count("server_groups"); n != 0 {
		t.Errorf("the administrator's project has %d", n)
	}
	l.do("demo", "2.64", "GET", "/os-server-groups?limit=-1", nil).fails(400, "limit")
	l.do("demo", "2.75", "GET", "/os-server-groups?colour=red", nil).fails(400, "colour")
	for _, hint := range []string{id, "11111111-1111-4111-8111-111111111111"} {
		req := l.request("x", nil)
		req["os:scheduler_hints"] = object{"group": hint}
		l.do("demo", "2.79", "POST", "/servers", req).fails(400, "Instance group "+hint+" could not be found.")
	}
	req := l.request("x", nil)
	req["os:scheduler_hints"] = object{"group": "no uuid"}
	l.do("demo", "2.79", "POST", "/servers", req).fails(400, "'no uuid' is not a 'uuid'")
}

// The tenth group is the last, and so is the tenth server of one.
func TestServerGroups_Quotas(t *testing.T) {
	l := newLab(t)
	for range 9 {
		l.group("demo", "affinity")
	}
	id := l.group("demo", "soft-affinity")
	l.do("demo", "2.64", "POST", "/os-server-groups", object{"server_group": object{"name": "g", "policy": "affinity"}}).
		fails(403, "Quota exceeded, too many server groups.")
	l.do("admin", "", "PUT", "/os-quota-sets/"+string(l.Projs["demo"]), object{"quota_set": object{"instances": 100, "server_group_members": 2}}).want(200)
	req := l.request("x", object{"min_count": 3})
	req["os:scheduler_hints"] = object{"group": id}
	l.do("demo", "2.79", "POST", "/servers", req).fails(403, "Quota exceeded, too many servers in group")
}

// An administrator sets a user's quota within the project's; the user cannot use more, and sees its own only.
func TestQuotas_OfUsers(t *testing.T) {
	l := newLab(t)
	path := "/os-quota-sets/" + string(l.Projs["demo"])
	of := "?user_id=" + string(l.Users["demo"])
	l.do("admin", "", "PUT", path+of, object{"quota_set": object{"instances": 11}}).fails(400, "Quota limit 11 for instances must be less than or equal to 10.")
	l.do("admin", "", "PUT", path+of, object{"quota_set": object{"instances": -1}}).fails(400, "must be less than or equal to 10.")
	l.do("admin", "", "PUT", path+of, object{"quota_set": object{"instances": 11, "force": true}}).want(200)
	if a := l.do("admin", "", "PUT", path+of, object{"quota_set": object{"instances": 1}}).want(200); a.at("quota_set", "instances") != 1.0 {
		t.Errorf("%s", a.body)
	}
	l.create("demo", "a", nil)
	l.do("demo", "2.79", "POST", "/servers", l.request("b", nil)).fails(403, "Quota exceeded for instances: Requested 1, but already used 1 of 1 instances")
	l.do("admin", "", "PUT", path+of, object{"quota_set": object{"cores": 0}}).fails(400, "must be greater than or equal to already used and reserved 1.")
	detail := l.do("demo", "", "GET", path+"/detail"+of, nil).want(200)
	if detail.at("quota_set", "instances", "limit") != 1.0 || detail.at("quota_set", "instances", "in_use") != 1.0 {
		t.Errorf("%s", detail.body)
	}
	if a := l.do("demo", "", "GET", path, nil); a.at("quota_set", "instances") != 10.0 {
		t.Errorf("the project's is %s", a.body)
	}
	l.do("demo", "", "GET", path+"?user_id="+string(l.Users["viewer"]), nil).fails(403, "os_compute_api:os-quota-sets:show")
	l.do("admin", "", "PUT", path+"?user_id=nobody", object{"quota_set": object{"instances": 1}}).want(404)
	l.do("admin", "", "DELETE", path+of, nil).want(202)
	l.do("demo", "2.79", "POST", "/servers", l.request("b", nil)).want(202)
}

// The class "default" changes what every project has by default; other classes are only remembered.
func TestQuotas_OfClasses(t *testing.T) {
	l := newLab(t)
	a := l.do("admin", "", "PUT", "/os-quota-class-sets/default", object{"quota_class_set": object{"cores": 5, "injected_files": 7}}).want(200)
	if a.at("quota_class_set", "cores") != 5.0 || a.at("quota_class_set", "injected_files") != 7.0 {
		t.Errorf("%s", a.body)
	}
	l.do("admin", "", "PUT", "/os-quota-class-sets/gold", object{"quota_class_set": object{"cores": 500}}).want(200)
	demo := "/os-quota-sets/" + string(l.Projs["demo"])
	for _, path := range []string{demo, demo + "/defaults"} {
		if a := l.do("demo", "", "GET", path, nil); a.at("quota_set", "cores") != 5.0 {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	if a := l.do("admin", "", "GET", "/os-quota-class-sets/gold", nil); a.at("quota_class_set", "cores") != 500.0 || a.text("quota_class_set", "id") != "gold" {
		t.Errorf("%s", a.body)
	}
	l.do("admin", "", "PUT", "/os-quota-class-sets/default", object{"quota_class_set": object{"force": true}}).fails(400, "force")
	l.do("demo", "", "PUT", "/os-quota-class-sets/default", object{"quota_class_set": object{}}).want(403)
}

// An aggregate's life, in the shapes that Nova gives it.
func TestAggregates_LookAsNovaShowsThem(t *testing.T) {
	l := recordedGroups(newLab(t))
	made := l.do("admin", "2.81", "POST", "/os-aggregates", object{"aggregate": object{"name": "labagg", "availability_zone": "labaz"}})
	l.golden("448-aggregate-create", made)
	path := "/os-aggregates/" + fmt.Sprint(made.at("aggregate", "id"))
	act := func(name string, what object) *answer {
		return l.do("admin", "", "POST", path+"/action", object{name: what})
	}
	l.golden("449-aggregate-add-host", act("add_host", object{"host": "node-1"}), "/aggregate/updated_at")
	l.golden("450-aggregate-list", l.do("admin", "2.81", "GET", "/os-aggregates", nil), "/aggregates/*/updated_at")
	if got := l.do("demo", "", "GET", "/os-availability-zone", nil); got.text("availabilityZoneInfo", 0, "zoneName") != "labaz" {
		t.Errorf("%s", got.body)
	}
	if got := l.do("admin", "2.69", "GET", "/os-services", nil); got.text("services", 0, "zone") != "labaz" {
		t.Errorf("%s", got.body)
	}
	server := l.server("demo", "s", object{"availability_zone": "labaz"})
	if got := l.do("demo", "2.79", "GET", "/servers/"+string(server), nil); got.text("server", "OS-EXT-AZ:availability_zone") != "labaz" {
		t.Errorf("%s", got.body)
	}
	act("remove_host", object{"host": "node-1"}).fails(409, "Cannot remove host node-1 in aggregate 1")
	act("set_metadata", object{"metadata": object{"availability_zone": "z2"}}).
		fails(400, "Cannot update metadata of aggregate 1. Reason: One or more hosts contain instances in this zone.")
	l.do("demo", "2.79", "DELETE", "/servers/"+string(server), nil).want(204)
	meta := act("set_metadata", object{"metadata": object{"ssd": "true"}})
	l.golden("452-aggregate-set-property", meta)
	if got := act("set_metadata", object{"metadata": object{"ssd": nil}}); got.text("aggregate", "metadata") != "map[availability_zone:labaz]" {
		t.Errorf("%s", got.body)
	}
	l.do("admin", "", "DELETE", path, nil).fails(400, "Cannot remove aggregate 1. Reason: Host aggregate is not empty.")
	l.golden("453-aggregate-remove-host", act("remove_host", object{"host": "node-1"}), "/aggregate/metadata/ssd")
	up := l.do("admin", "2.81", "PUT", path, object{"aggregate": object{"name": "new", "availability_zone": "z2"}}).want(200)
	if up.text("aggregate", "name") != "new" || up.text("aggregate", "availability_zone") != "z2" {
		t.Errorf("%s", up.body)
	}
	l.do("admin", "2.81", "DELETE", path, nil).want(200)
	l.do("admin", "", "GET", path, nil).fails(404, "Aggregate 1 could not be found.")
}

// What Nova refuses about aggregates, and in which words.
func TestAggregates_BadRequestsAreRefused(t *testing.T) {
	l := newLab(t)
	create := func(a object) *answer { return l.do("admin", "2.81", "POST", "/os-aggregates", object{"aggregate": a}) }
	create(object{"name": "one", "availability_zone": "az1"}).want(200)
	create(object{"name": "two", "availability_zone": "az2"}).want(200)
	create(object{"name": "one"}).fails(409, "Aggregate one already exists.")
	create(object{"name": ""}).fails(400, "name")
	create(object{"name": "x", "availability_zone": ""}).fails(400, "availability_zone")
	act := func(id string, body any) *answer {
		return l.do("admin", "2.81", "POST", "/os-aggregates/"+id+"/action", body)
	}
	host := object{"add_host": object{"host": "node-1"}}
	act("1", host).want(200)
	act("1", host).fails(409, "Aggregate 1 already has host node-1.")
	act("2", host).fails(409, "Cannot add host to aggregate 2. Reason: Hosts already in availability zone(s): ['az1'].")
	act("1", object{"add_host": object{"host": "nowhere"}}).fails(404, "Compute host nowhere could not be found.")
	act("2", object{"remove_host": object{"host": "node-1"}}).fails(404, "Cannot remove host node-1 in aggregate 2")
	act("7", host).fails(404, "Aggregate 7 could not be found.")
	act("x", host).fails(400, "id must be an integer")
	act("1", object{"fly": object{}}).fails(400, "There is no such action: fly")
	act("1", object{}).fails(400, "There is no such action")
	act("1", object{"add_host": object{"host": "a b"}}).fails(400, "host")
	l.do("demo", "2.81", "POST", "/os-aggregates/1/action", host).fails(403, "Policy doesn't allow os_compute_api:os-aggregates:add_host")
	l.do("demo", "2.81", "GET", "/os-aggregates", nil).want(403)
	l.do("admin", "2.81", "PUT", "/os-aggregates/1", object{"aggregate": object{}}).fails(400, "not valid under any of the given schemas")
	l.do("admin", "2.81", "PUT", "/os-aggregates/1", object{"aggregate": object{"availability_zone": nil}}).
		fails(400, "Cannot update aggregate 1. Reason: Aggregate one does not support empty named availability zone.")
	l.do("admin", "2.81", "PUT", "/os-aggregates/1", object{"aggregate": object{"name": "two"}}).fails(409, "Aggregate two already exists.")
	cache := func(ids ...cluster.ImageID) *answer {
		list := []object{}
		for _, id := range ids {
			list = append(list, object{"id": id})
		}
		return l.do("admin", "2.81", "POST", "/os-aggregates/1/images", object{"cache": list})
	}
	cache(l.image).fails(501, "caching images")
	cache(l.image, l.image).fails(400, "Duplicate images in request")
	cache(cluster.ImageID(rest.NewUUID())).fails(400, "could not be found")
	cache().fails(400, "cache")
	l.do("admin", "2.80", "POST", "/os-aggregates/1/images", object{}).want(http.StatusNotFound)
}
