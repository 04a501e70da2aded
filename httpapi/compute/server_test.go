package compute_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// full is a server with everything, as the recorded one.
func (l *lab) full() cluster.InstanceID {
	l.t.Helper()
	l.Must(&cluster.CreateKeyPair{Project: l.Projs["demo"], KeyPair: cluster.KeyPair{
		User: l.Users["demo"], Name: "labkey", Type: "ssh", PublicKey: "ssh-ed25519 AAAA", Fingerprint: "00:11",
	}})
	a := l.do("demo", "2.92", "POST", "/servers", l.request("tr-full", object{
		"metadata": object{"role": "web", "tier": "1"}, "key_name": "labkey", "user_data": "IyEvYmluL3NoCmVjaG8gaGVsbG8K",
		"config_drive": true, "description": "desc", "tags": []string{"blue"}, "networks": []object{{"uuid": l.network}},
		"security_groups": []object{{"name": "default"}},
	}))
	l.golden("306-server-create-full#11", a)
	id := cluster.InstanceID(a.text("server", "id"))
	if want := "http://cloud.example:8774/compute/v2.1/servers/" + string(id); a.Header.Get("Location") != want {
		l.t.Errorf("Location is %q", a.Header.Get("Location"))
	}
	if len(a.text("server", "adminPass")) != 12 {
		l.t.Errorf("adminPass is %q", a.text("server", "adminPass"))
	}
	l.boot(id)
	return id
}

// What a server shows depends on the microversion and on who asks. A real Nova's answers are the measure.
func TestServers_LookAsNovaShowsThem(t *testing.T) {
	l := newLab(t)
	id := l.full()
	path := "/servers/" + string(id)
	l.golden("339-server-show#4", l.do("admin", "", "GET", path, nil))
	l.golden("340-server-show-mv2.92#4", l.do("admin", "2.92", "GET", path, nil))
	// The recorded one had no metadata, and its network another name.
	l.golden("342-server-show-demo-mv2.92#4", l.do("demo", "2.92", "GET", path, nil),
		"/server/metadata", "/server/addresses")
	l.golden("337-server-list-demo#3", l.do("demo", "", "GET", "/servers/detail", nil), "/servers/*/metadata", "/servers/*/addresses")
	// Of the recorded ones some were volume-backed, so their image is "".
	l.golden("331-server-list-mv2.92#3", l.do("admin", "2.92", "GET", "/servers/detail?all_tenants=1", nil),
		"/servers/*/metadata", "/servers/*/addresses")
	l.golden("344-servers-raw-pagination", l.do("demo", "", "GET", "/servers?limit=1", nil))
	l.golden("348-server-ips", l.do("demo", "", "GET", path+"/ips", nil))
	l.golden("349-server-metadata", l.do("demo", "", "GET", path+"/metadata", nil))
	l.golden("350-server-interfaces", l.do("demo", "", "GET", path+"/os-interface", nil))
	l.golden("352-server-volume-attachments", l.do("demo", "", "GET", path+"/os-volume_attachments", nil))
	l.golden("353-server-topology-mv2.78", l.do("demo", "2.78", "GET", path+"/topology", nil))
	l.golden("354-server-migrations", l.do("admin", "2.80", "GET", path+"/migrations", nil))
	l.do("demo", "2.70", "GET", path+"/os-interface", nil).want(http.StatusOK)
	if got := l.do("demo", "", "GET", path+"/os-security-groups", nil).want(200).text("security_groups", 0, "name"); got != "default" {
		t.Errorf("security group is %s", got)
	}

	bare := l.server("admin", "bare", nil)
	l.golden("754-raw-server-show-mv2.1", l.do("admin", "", "GET", "/servers/"+string(bare), nil))
	l.golden("755-raw-server-show-mv2.93", l.do("admin", "2.93", "GET", "/servers/"+string(bare), nil))
}

// Every microversion adds to what a server shows, or changes it; the members that must be there are listed.
func TestServers_MembersByMicroversion(t *testing.T) {
	l := newLab(t)
	id := l.full()
	since := map[string]int{
		"locked": 9, "host_status": 16, "description": 19, "tags": 26, "trusted_image_certificates": 63, "server_groups": 71,
		"locked_reason": 73, "pinned_availability_zone": 96, "OS-EXT-SRV-ATTR:user_data": 3,
	}
	for _, v := range []int{1, 2, 3, 8, 9, 15, 16, 18, 19, 25, 26, 46, 47, 62, 63, 70, 71, 72, 73, 89, 90, 95, 96} {
		s := l.do("admin", "2."+itoa(v), "GET", "/servers/"+string(id), nil).want(200).at("server").(object)
		for name, from := range since {
			if _, ok := s[name]; ok != (v >= from) {
				t.Errorf("2.%d: %s is there: %v", v, name, ok)
			}
		}
		if _, embedded := s["flavor"].(object)["vcpus"]; embedded != (v >= 47) {
			t.Errorf("2.%d: flavor is %v", v, s["flavor"])
		}
		mine := l.do("demo", "2."+itoa(v), "GET", "/servers/"+string(id), nil).want(200).at("server").(object)
		if _, ok := mine["OS-EXT-SRV-ATTR:hostname"]; ok != (v >= 90) {
			t.Errorf("2.%d: a member sees the host name: %v", v, ok)
		}
		if _, ok := mine["OS-EXT-SRV-ATTR:host"]; ok {
			t.Errorf("2.%d: a member sees the host", v)
		}
	}
}

// The status is one word made of several states.
func TestServers_StatusFollowsTheInstance(t *testing.T) {
	l := newLab(t)
	id := l.create("demo", "s", nil)
	path := "/servers/" + string(id)
	status := func(want string) {
		t.Helper()
		if got := l.do("demo", "", "GET", path, nil).want(200).text("server", "status"); got != want {
			t.Errorf("status is %s instead of %s", got, want)
		}
	}
	act := func(body object) {
		t.Helper()
		l.do("demo", "", "POST", path+"/action", body).want(http.StatusAccepted)
	}
	status("BUILD")
	l.boot(id)
	status("ACTIVE")
	act(object{"os-stop": nil})
	status("ACTIVE") // until its node says that it is off
	l.report(id, cluster.InstanceReport{Power: cluster.PowerShutdown})
	status("SHUTOFF")
	act(object{"os-start": nil})
	l.report(id, cluster.InstanceReport{Power: cluster.PowerRunning})
	status("ACTIVE")
	act(object{"reboot": object{"type": "soft"}})
	status("REBOOT")
	l.report(id, cluster.InstanceReport{Power: cluster.PowerRunning})
	status("ACTIVE")
	act(object{"reboot": object{"type": "HARD"}})
	status("HARD_REBOOT")
	act(object{"reboot": object{"type": "HARD"}}) // a hard reboot may interrupt another
	l.report(id, cluster.InstanceReport{Power: cluster.PowerRunning})
	status("ACTIVE")
	l.do("demo", "", "DELETE", path, nil).want(http.StatusNoContent)
	if got := l.do("demo", "", "GET", path, nil).want(200).text("server", "OS-EXT-STS:task_state"); got != "deleting" {
		t.Errorf("task is %s", got)
	}
	in, _ := l.Local().Instance(id)
	l.Must(&cluster.ReportInstances{Node: l.Node.ID, Reports: []cluster.InstanceReport{{ID: id, Epoch: in.Epoch, Gone: true}}})
	l.do("demo", "", "GET", path, nil).fails(404, "Instance "+string(id)+" could not be found.")
	l.golden("338-server-list-deleted#3", l.do("admin", "", "GET", "/servers/detail?deleted=True&all_tenants=1", nil), "/servers/*/image")
}

// A server that found no node says so, and why. The details of faults of ours are for administrators.
func TestServers_WithoutRoomAreInErrorWithTheReasons(t *testing.T) {
	l := newLab(t)
	id := l.create("demo", "s", nil)
	l.Must(&cluster.PlaceInstance{ID: id, Generation: 1, Explanation: cluster.Explanation{
		Considered: 2, Reasons: []string{"n1 short of 2 vCPU", "n2 draining"},
	}})
	a := l.do("admin", "", "GET", "/servers/"+string(id), nil)
	l.golden("317-server-show-novalidhost-fault#4", a)
	if got := a.text("server", "fault", "details"); got != "n1 short of 2 vCPU\nn2 draining" {
		t.Errorf("details are %q", got)
	}
	b := l.do("demo", "", "GET", "/servers/"+string(id), nil)
	message := b.text("server", "fault", "message")
	if !strings.HasPrefix(message, "No valid host was found. There are not enough hosts available.") || !strings.Contains(message, "n1 short of 2 vCPU") {
		t.Errorf("a member reads %q", message)
	}
	if got := b.at("server", "fault").(object); got["details"] != nil {
		t.Errorf("a member sees %v", got)
	}
}

// Listings page, filter and sort as Nova's do.
func TestServers_ListsPageFilterAndSort(t *testing.T) {
	l := newLab(t)
	ids := map[string]string{}
	for _, name := range []string{"a-1", "b-1", "a-2", "b-2"} {
		ids[name] = string(l.server("demo", name, object{"tags": []string{name[:1]}}))
	}
	l.server("other", "hidden", nil)
	l.Must(&cluster.SetPower{ID: cluster.InstanceID(ids["b-1"]), Request: "req", User: "u", Project: "p", Wanted: cluster.WantOff})
	l.report(cluster.InstanceID(ids["b-1"]), cluster.InstanceReport{Power: cluster.PowerShutdown})
	names := func(token, version, query string) string {
		t.Helper()
		a := l.do(token, version, "GET", "/servers"+query, nil).want(200)
		var got []string
		for i := range a.count("servers") {
			got = append(got, a.text("servers", i, "name"))
		}
		return strings.Join(got, " ")
	}
	for query, want := range map[string]string{
		"":                                    "b-2 a-2 b-1 a-1",
		"?limit=2":                            "b-2 a-2",
		"?limit=0":                            "",
		"?limit=2&marker=" + ids["a-2"]:       "b-1 a-1",
		"?name=a-":                            "a-2 a-1",
		"?name=^a-1$":                         "a-1",
		"?name=nothing":                       "",
		"?status=SHUTOFF":                     "b-1",
		"?status=active&status=SHUTOFF":       "b-2 a-2 b-1 a-1",
		"?status=NONSENSE":                    "",
		"?sort_key=display_name":              "b-2 b-1 a-2 a-1",
		"?sort_key=display_name&sort_dir=asc": "a-1 a-2 b-1 b-2",
		"?sort_key=display_name&sort_dir=asc&limit=2":                      "a-1 a-2",
		"?sort_key=display_name&sort_dir=asc&limit=2&marker=" + ids["a-2"]: "b-1 b-2",
		"?sort_key=created_at&sort_dir=asc":                                "a-1 b-1 a-2 b-2",
		"?image=" + string(l.image):                                        "b-2 a-2 b-1 a-1",
		"?flavor=" + micro:                                                 "",
		"?host=node-1":                                                     "b-2 a-2 b-1 a-1", // not for members: ignored
		"?host=elsewhere":                                                  "b-2 a-2 b-1 a-1",
		"?zzz=1":                                                           "b-2 a-2 b-1 a-1",
		"?changes-since=2100-01-01":                                        "",
		"?changes-since=2001-01-01T00:00:00Z":                              "b-2 a-2 b-1 a-1",
	} {
		if got := names("demo", "", query); got != want {
			t.Errorf("%s: %q instead of %q", query, got, want)
		}
	}
	for query, want := range map[string]string{
		"?tags=a": "a-2 a-1", "?tags-any=a,c": "a-2 a-1", "?not-tags=a": "b-2 b-1", "?not-tags-any=a,b": "", "?tags=a,b": "",
		"?vm_state=stopped": "b-1", "?locked=true": "",
	} {
		if got := names("demo", "2.90", query); got != want {
			t.Errorf("2.90 %s: %q instead of %q", query, got, want)
		}
	}
	for query, want := range map[string]string{
		"": "", "?all_tenants=1": "hidden b-2 a-2 b-1 a-1", "?all_tenants=1&host=node-1&limit=1": "hidden", "?all_tenants=1&host=x": "",
		"?all_tenants=True&project_id=" + string(l.Projs["other"]): "hidden",
	} {
		if got := names("admin", "", query); got != want {
			t.Errorf("admin %s: %q instead of %q", query, got, want)
		}
	}
}

// The links lead through all pages and end.
func TestServers_LinksLeadThroughAllPages(t *testing.T) {
	l := newLab(t)
	for range 5 {
		l.create("demo", "s", nil)
	}
	seen, path := map[string]bool{}, "/compute/v2.1/servers?limit=2"
	for range 10 {
		a := l.send(ask{token: "demo", method: "GET", path: path}).want(200)
		for i := range a.count("servers") {
			seen[a.text("servers", i, "id")] = true
		}
		if a.at("servers_links") == nil {
			break
		}
		path = strings.TrimPrefix(a.text("servers_links", 0, "href"), "http://cloud.example:8774")
	}
	if len(seen) != 5 {
		t.Errorf("saw %d of 5", len(seen))
	}
}

// A query that cannot be answered is refused in Nova's words.
func TestServers_BadQueriesAreRefused(t *testing.T) {
	l := newLab(t)
	for _, tc := range []struct {
		token, version, query string
		status                int
		message               string
	}{
		{"demo", "", "limit=abc", 400, "Invalid input for query parameters limit. Value: abc. 'abc' does not match '^[0-9]*$'"},
		{"demo", "", "limit=-1", 400, "does not match '^[0-9]*$'"},
		{"demo", "", "marker=11111111-2222-3333-4444-555555555555", 400, "marker [11111111-2222-3333-4444-555555555555] not found"},
		{"demo", "", "sort_key=zzz", 400, "Invalid input for query parameters sort_key. Value: zzz. 'zzz' is not one of ['access_ip_v4', 'access_ip_v6'"},
		{"demo", "2.75", "zzz=1&limit=1", 400, "'zzz' does not match any of the regexes: '^_'"},
		{"demo", "", "name=%5B", 400, "is not a 'regex'"},
		{"demo", "", "name=" + strings.Repeat("a", 300), 400, "is not a 'regex'"},
		{"demo", "", "changes-since=yesterday", 400, "is not a 'date-time'"},
		{"demo", "2.66", "changes-since=2020-01-02&changes-before=2020-01-01", 400, "changes-since must be less than or equal"},
		{"demo", "2.38", "status=NONSENSE", 400, "Invalid status value"},
		{"demo", "", "status=deleted", 403, "Only administrators may list deleted instances"},
		{"demo", "", "all_tenants=1", 403, "Policy doesn't allow os_compute_api:servers:index:get_all_tenants to be performed."},
		{"demo", "", "all_tenants=maybe", 400, "is not a boolean"},
		{"admin", "", "power_state=on", 400, "does not match"},
	} {
		l.do(tc.token, tc.version, "GET", "/servers?"+tc.query, nil).fails(tc.status, tc.message)
	}
}

// What one project owns does not exist for another; administrators see all.
func TestServers_OfAnotherProjectDoNotExist(t *testing.T) {
	l := newLab(t)
	id := string(l.server("demo", "mine", nil))
	for _, r := range []struct{ method, path string }{
		{"GET", ""}, {"PUT", ""}, {"DELETE", ""}, {"POST", "/action"}, {"GET", "/metadata"}, {"PUT", "/metadata/k"}, {"GET", "/ips"},
		{"GET", "/os-interface"}, {"GET", "/os-instance-actions"}, {"GET", "/os-volume_attachments"}, {"GET", "/tags"},
	} {
		body := any(nil)
		switch {
		case r.path == "/action":
			body = object{"os-stop": nil}
		case r.path == "/metadata/k":
			body = object{"meta": object{"k": "v"}}
		case r.method == "PUT":
			body = object{"server": object{"name": "x"}}
		}
		l.do("other", "2.90", r.method, "/servers/"+id+r.path, body).fails(404, "Instance "+id+" could not be found.")
	}
	l.do("admin", "", "GET", "/servers/"+id, nil).want(200)
	l.do("demo", "", "GET", "/servers/no-such-server", nil).fails(404, "Instance no-such-server could not be found.")
}

// Readers read and members act.
func TestServers_ReadersOnlyRead(t *testing.T) {
	l := newLab(t)
	id := string(l.server("demo", "s", nil))
	l.do("viewer", "", "GET", "/servers/"+id, nil).want(200)
	l.do("viewer", "", "GET", "/servers/detail", nil).want(200)
	l.do("viewer", "", "POST", "/servers", l.request("x", nil)).fails(403, "Policy doesn't allow os_compute_api:servers:create to be performed.")
	l.do("viewer", "", "DELETE", "/servers/"+id, nil).fails(403, "os_compute_api:servers:delete")
	l.do("viewer", "", "PUT", "/servers/"+id, object{"server": object{"name": "x"}}).fails(403, "os_compute_api:servers:update")
	l.do("viewer", "", "POST", "/servers/"+id+"/action", object{"os-stop": nil}).fails(403, "os_compute_api:servers:stop")
	l.do("demo", "", "POST", "/servers/"+id+"/action", object{"migrate": nil}).fails(403, "os_compute_api:os-migrate-server:migrate")
	l.do("admin@system", "", "POST", "/servers", l.request("x", nil)).fails(403, "os_compute_api:servers:create")
}

// Names, descriptions and the like change at any time; the answer is short before 2.75.
func TestServers_Update(t *testing.T) {
	l := newLab(t)
	id := l.server("admin", "s", nil)
	path := "/servers/" + string(id)
	a := l.do("admin", "", "PUT", path, object{"server": object{"name": "tr-az2", "accessIPv4": "192.0.2.7"}})
	l.golden("357-server-set-name", a, "/server/metadata")
	if a.text("server", "name") != "tr-az2" || a.text("server", "accessIPv4") != "192.0.2.7" {
		t.Errorf("%s", a.body)
	}
	l.golden("359-server-set-description", l.do("admin", "2.92", "PUT", path, object{"server": object{"description": "dd"}}))
	if got := l.do("admin", "2.92", "PUT", path, object{"server": object{"description": nil}}).want(200).at("server", "description"); got != nil {
		t.Errorf("description is %v", got)
	}
	l.do("admin", "", "PUT", path, object{"server": object{"name": ""}}).fails(400, "Invalid input for field/attribute name. Value: . '' is too short")
	l.do("admin", "", "PUT", path, object{"server": object{"description": "x"}}).fails(400, "Additional properties are not allowed ('description' was unexpected)")
	a = l.do("admin", "", "PUT", path, object{"server": object{"accessIPv6": "0000:0000:0000:0000:0000:babe:220.12.22.2"}}).want(200)
	if got := a.text("server", "accessIPv6"); got != "::babe:dc0c:1602" {
		t.Errorf("an IPv6 address in full is kept as %s", got)
	}
	l.do("admin", "", "PUT", path, object{"server": object{"accessIPv4": "nowhere"}}).fails(400, "'nowhere' is not a 'ipv4'")
}

// Metadata and tags are sub-resources of their own.
func TestServers_MetadataAndTags(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", nil)
	path := "/servers/" + string(id)
	l.golden("355-server-set-property", l.do("demo", "", "POST", path+"/metadata", object{"metadata": object{"a": "b"}}))
	l.do("demo", "", "PUT", path+"/metadata/c", object{"meta": object{"c": "d"}}).want(200)
	if got := string(l.do("demo", "", "GET", path+"/metadata", nil).body); got != `{"metadata":{"a":"b","c":"d"}}` {
		t.Errorf("metadata is %s", got)
	}
	l.golden("356-server-unset-property", l.do("demo", "", "DELETE", path+"/metadata/a", nil))
	l.do("demo", "", "DELETE", path+"/metadata/a", nil).fails(404, "Metadata item was not found")
	l.do("demo", "", "GET", path+"/metadata/c", nil).want(200)
	l.do("demo", "", "PUT", path+"/metadata/c", object{"meta": object{"x": "d"}}).fails(400, "Request body and URI mismatch")
	l.do("demo", "", "PUT", path+"/metadata", object{"metadata": object{"only": ""}}).want(200)
	l.do("demo", "", "POST", path+"/metadata", object{"metadata": object{"../x": "y"}}).fails(400, "does not match any of the regexes")
	many := object{}
	for i := range 129 {
		many["k"+itoa(i)] = "v"
	}
	l.do("demo", "", "PUT", path+"/metadata", object{"metadata": many}).fails(403, "Maximum number of metadata items exceeds 128")

	l.golden("360-server-set-tag", l.do("demo", "2.92", "PUT", path+"/tags/green", nil))
	l.do("demo", "2.92", "PUT", path+"/tags/green", nil).want(204)
	l.do("demo", "2.92", "GET", path+"/tags/green", nil).want(204)
	l.golden("361-server-unset-tag", l.do("demo", "2.92", "DELETE", path+"/tags/green", nil))
	l.do("demo", "2.92", "DELETE", path+"/tags/green", nil).fails(404, "has no tag 'green'")
	if got := string(l.do("demo", "2.92", "PUT", path+"/tags", object{"tags": []string{"z", "a"}}).want(200).body); got != `{"tags":["a","z"]}` {
		t.Errorf("tags are %s", got)
	}
	l.do("demo", "2.92", "PUT", path+"/tags/"+strings.Repeat("x", 61), nil).fails(400, "is too long")
	l.do("demo", "2.92", "PUT", path+"/tags/a%2Cb", nil).fails(400, "without characters '/' and ','")
	l.do("demo", "2.92", "DELETE", path+"/tags", nil).want(204)
	if got := string(l.do("demo", "2.92", "GET", path+"/tags", nil).want(200).body); got != `{"tags":[]}` {
		t.Errorf("after all tags were removed they are %s", got)
	}
	l.do("demo", "2.92", "PUT", path+"/tags/last", nil).want(201)
	l.do("demo", "2.92", "DELETE", path+"/tags/last", nil).want(204)
	if got := string(l.do("demo", "2.92", "GET", path+"/tags", nil).want(200).body); got != `{"tags":[]}` {
		t.Errorf("after the last tag was removed they are %s", got)
	}
	l.do("demo", "2.25", "GET", path+"/tags", nil).fails(404, "The resource could not be found.")
}

// Deleted servers are listed to those who follow changes.
func TestServers_ChangesSinceShowsWhatIsGone(t *testing.T) {
	l := newLab(t)
	id := l.create("admin", "s", nil)
	l.do("admin", "", "DELETE", "/servers/"+string(id), nil).want(204)
	l.golden("345-servers-raw-changes-since", l.do("admin", "", "GET", "/servers/detail?changes-since=2026-01-01T00:00:00Z&limit=1&sort_key=created_at&sort_dir=asc", nil))
	since := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	a := l.do("admin", "", "GET", "/servers/detail?changes-since="+since, nil).want(200)
	if a.count("servers") != 1 || a.text("servers", 0, "status") != "DELETED" {
		t.Errorf("%s", a.body)
	}
}
