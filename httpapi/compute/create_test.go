package compute_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

const nobody = "11111111-2222-3333-4444-555555555555"

// Each way to ask wrongly for a server is refused in Nova's words, and nothing is made.
func TestCreate_BadRequestsAreRefused(t *testing.T) {
	l := newLab(t)
	l.addNetwork("second", "demo", "10.79.0.0/24")
	foreign, _ := l.addNetwork("foreign", "other", "10.80.0.0/24")
	private := l.addImage("private", l.Projs["other"], cluster.Private)
	queued := cluster.ImageID(rest.NewUUID())
	l.Must(&cluster.PutImage{Image: cluster.Image{ID: queued, Owner: l.Projs["demo"], Name: "q", Status: cluster.ImageQueued, Visibility: cluster.Private}})
	vmdk := cluster.ImageID(rest.NewUUID())
	l.Must(&cluster.PutImage{Image: cluster.Image{ID: vmdk, Owner: l.Projs["demo"], Name: "v", Status: cluster.ImageActive, Visibility: cluster.Private,
		Format: cluster.ImageFormat{Disk: "vmdk", Container: "bare"},
		Data:   &cluster.ImageData{Root: cluster.Hash{1}, Size: 1, MD5: strings.Repeat("0", 32), SHA512: strings.Repeat("0", 128)}}})
	for name, tc := range map[string]struct {
		version string
		change  object
		status  int
		message string
	}{
		"unknown field":       {"2.79", object{"zzz": 1}, 400, "Additional properties are not allowed ('zzz' was unexpected)"},
		"no flavor":           {"2.79", object{"flavorRef": nil}, 400, "'flavorRef' is a required property"},
		"name is a number":    {"2.79", object{"name": 5}, 400, "Invalid input for field/attribute name. Value: 5. 5 is not of type 'string'"},
		"empty name":          {"2.79", object{"name": ""}, 400, "Invalid input for field/attribute name. Value: . '' is too short"},
		"long name":           {"2.79", object{"name": strings.Repeat("x", 256)}, 400, "is too long"},
		"NUL in name":         {"2.79", object{"name": "a\x00b"}, 400, "An invalid 'name' value was provided."},
		"space around name":   {"2.79", object{"name": " a"}, 400, "Can not start or end with whitespace."},
		"unknown flavor":      {"2.79", object{"flavorRef": "nope"}, 400, "Flavor nope could not be found."},
		"unknown image":       {"2.79", object{"imageRef": nobody}, 400, "Can not find requested image"},
		"image is no UUID":    {"2.79", object{"imageRef": "tiny"}, 400, "'tiny' is not a 'image_id_or_empty_string'"},
		"no image":            {"2.79", object{"imageRef": nil}, 400, "Missing imageRef attribute"},
		"another's image":     {"2.79", object{"imageRef": private}, 400, "Can not find requested image"},
		"image of VMware":     {"2.79", object{"imageRef": vmdk}, 400, "servers do not boot from the format vmdk"},
		"image without data":  {"2.79", object{"imageRef": queued}, 400, "is not active."},
		"no networks at 2.37": {"2.79", object{"networks": nil}, 400, "'networks' is a required property"},
		"unknown network":     {"2.79", object{"networks": []object{{"uuid": nobody}}}, 400, "Network " + nobody + " could not be found."},
		"another's network":   {"2.79", object{"networks": []object{{"uuid": foreign}}}, 400, "could not be found."},
		"several networks":    {"2.79", object{"networks": "auto"}, 409, "Multiple possible networks found"},
		"several, implicitly": {"", object{"networks": nil}, 409, "Multiple possible networks found, use a Network ID to be more specific."},
		"none at 2.1":         {"", object{}, 400, "'none' is not of type 'array'"},
		"unknown port":        {"2.79", object{"networks": []object{{"port": nobody}}}, 400, "Port id " + nobody + " could not be found."},
		"address elsewhere":   {"2.79", object{"networks": []object{{"uuid": l.network, "fixed_ip": "192.0.2.1"}}}, 400, "is not a valid ip address for network"},
		"address is none":     {"2.79", object{"networks": []object{{"uuid": l.network, "fixed_ip": "x"}}}, 400, "is not valid under any of the given schemas"},
		"unknown key":         {"2.79", object{"key_name": "nope"}, 400, "Invalid key_name provided."},
		"unknown zone":        {"2.79", object{"availability_zone": "nope"}, 400, "The requested availability zone is not available"},
		"host by zone":        {"2.79", object{"availability_zone": "nova:node-1"}, 403, "Policy doesn't allow os_compute_api:servers:create:forced_host to be performed."},
		"host":                {"2.79", object{"host": "node-1"}, 403, "Policy doesn't allow compute:servers:create:requested_destination to be performed."},
		"host before 2.74":    {"2.73", object{"host": "node-1"}, 400, "('host' was unexpected)"},
		"user_data":           {"2.79", object{"user_data": "!!!"}, 400, "Invalid input for field/attribute user_data."},
		"long user_data":      {"2.79", object{"user_data": strings.Repeat("QUFB", 20000)}, 400, "is too long"},
		"too much metadata":   {"2.79", object{"metadata": manyKeys(129)}, 403, "Maximum number of metadata items exceeds 128"},
		"long metadata":       {"2.79", object{"metadata": object{"k": strings.Repeat("v", 256)}}, 400, "Invalid input for field/attribute k. Value: vvv"},
		"min over max":        {"2.79", object{"min_count": 3, "max_count": 2}, 400, "min_count must be <= max_count"},
		"none wanted":         {"2.79", object{"min_count": 0}, 400, "0 is less than the minimum of 1"},
		"far too many":        {"2.79", object{"max_count": 100000}, 400, "is greater than the maximum of 1000"},
		"quota":               {"2.79", object{"min_count": 11}, 403, "Quota exceeded for instances: Requested 11, but already used 0 of 10 instances"},
		"personality":         {"2.56", object{"personality": []object{{"path": "/x", "contents": ""}}}, 400, "Use user_data instead"},
		"personality at 2.57": {"2.57", object{"personality": []object{}}, 400, "('personality' was unexpected)"},
		"volume":              {"2.79", object{"block_device_mapping_v2": []object{{"boot_index": 0, "source_type": "volume", "uuid": nobody}}}, 400, "combination is not valid"},
		"security group":      {"2.79", object{"security_groups": []object{{"name": "web"}}}, 400, "Security group web not found."},
		"tags before 2.52":    {"2.51", object{"tags": []string{"x"}}, 400, "('tags' was unexpected)"},
		"tag with comma":      {"2.79", object{"tags": []string{"a,b"}}, 400, "does not match"},
		"same tag twice":      {"2.79", object{"tags": []string{"a", "a"}}, 400, "has non-unique elements"},
		"bad host name":       {"2.90", object{"hostname": "a_b"}, 400, "does not match"},
		"address of access":   {"2.79", object{"accessIPv6": "10.0.0.1"}, 400, "is not a 'ipv6'"},
	} {
		t.Run(name, func(t *testing.T) {
			l.do("demo", tc.version, "POST", "/servers", l.request("x", tc.change)).fails(tc.status, tc.message)
		})
	}
	for range l.Local().Instances() {
		t.Error("a server was made")
	}
	for p := range l.Local().Ports() {
		t.Errorf("port %s was made", p.ID)
	}
}

func manyKeys(n int) object {
	m := object{}
	for i := range n {
		m["k"+itoa(i)] = "v"
	}
	return m
}

// Bodies that are no JSON, too deep, too long or of another kind are refused before anything is looked at.
func TestCreate_BadBodiesAreRefused(t *testing.T) {
	l := newLab(t)
	l.golden("488-error-400-bad-json", l.do("demo", "", "POST", "/servers", "{bad"))
	l.do("demo", "", "POST", "/servers", "{bad").fails(400, "Malformed request body")
	l.do("demo", "", "POST", "/servers", "").fails(400, "None is not of type 'object'")
	l.do("demo", "", "POST", "/servers", "[]").fails(400, "[] is not of type 'object'")
	l.do("demo", "", "POST", "/servers", "{}").fails(400, "'server' is a required property")
	l.do("demo", "", "POST", "/servers", `{"server":{}} {}`).fails(400, "Malformed request body")
	l.do("demo", "", "POST", "/servers", `{"server":`+strings.Repeat("[", 10000)+strings.Repeat("]", 10000)+"}").fails(400, "nests deeper")
	l.do("demo", "", "POST", "/servers", "{\"server\":{\"name\":\"\xff\"}}").fails(400, "Malformed request body")
	l.golden("528-error-415-content-type", l.send(ask{token: "demo", method: "POST", path: "/compute/v2.1/servers", body: "<x/>",
		header: http.Header{"Content-Type": {"application/xml"}}}))
	l.golden("721-error-413-overlarge-body-full", l.do("demo", "2.79", "POST", "/servers", l.request("x", object{"user_data": strings.Repeat("A", 200000)})))
}

// A password must not come back in an error, even to the one who sent it.
func TestCreate_ErrorsDoNotRepeatSecrets(t *testing.T) {
	l := newLab(t)
	a := l.do("demo", "2.79", "POST", "/servers", l.request("x", object{"adminPass": "hunter2", "user_data": "c2VjcmV0", "zzz": 1}))
	a.fails(400, "'adminPass': '***'")
	if strings.Contains(string(a.body), "hunter2") || strings.Contains(string(a.body), "c2VjcmV0") {
		t.Errorf("%s", a.body)
	}
	b := l.do("demo", "2.79", "POST", "/servers", l.request("x", object{"adminPass": strings.Repeat("hunter2", 50)}))
	b.fails(400, "is too long")
	if strings.Contains(string(b.body), "hunter2") {
		t.Errorf("%s", b.body)
	}
}

// What the user asked for is what the cluster is told.
func TestCreate_SaysWhatWasAskedFor(t *testing.T) {
	l := newLab(t)
	kernel := l.addImage("kernel", l.Projs["admin"], cluster.Public)
	image := l.addImage("ami", l.Projs["admin"], cluster.Public)
	l.change(image, func(i *cluster.Image) {
		i.Properties = map[string]string{"kernel_id": string(kernel), "os_command_line": "console=ttyS0", "hw_disk_bus": "scsi"}
		i.Format.MinDiskGiB, i.Format.MinRAMMiB = 1, 64
	})
	a := l.do("admin", "2.96", "POST", "/servers", object{
		"server": object{"name": "Web Server_1", "imageRef": image, "flavorRef": nano, "networks": "none", "user_data": "aGk=\n",
			"adminPass": "given", "availability_zone": "nova:node-1", "min_count": "2", "max_count": 2, "config_drive": "True"},
		"os:scheduler_hints": object{"same_host": []string{nobody, "11111111-1111-4111-8111-111111111111"}},
	}).want(202)
	if a.text("server", "adminPass") != "given" {
		t.Errorf("%s", a.body)
	}
	in, ok := l.Local().Instance(cluster.InstanceID(a.text("server", "id")))
	if !ok {
		t.Fatal("it is not there")
	}
	s := in.Spec
	switch {
	case s.Name != "Web Server_1-1" || s.Hostname != "web-server-1-1":
		t.Errorf("name %q, host name %q", s.Name, s.Hostname)
	case string(s.UserData) != "hi" || s.AdminPass != "given" || !s.Boot.ConfigDrv:
		t.Errorf("%+v", s)
	case s.Boot.Kernel != kernel || s.Boot.Properties["os_command_line"] != "console=ttyS0" || s.Boot.MinDiskGiB != 1:
		t.Errorf("boots %+v", s.Boot)
	case s.Scheduling.Host != "node-1" || !s.Scheduling.Forced || s.Scheduling.Zone != "nova" || s.Scheduling.Hints["same_host"] != nobody+",11111111-1111-4111-8111-111111111111":
		t.Errorf("scheduled %+v", s.Scheduling)
	case s.Flavor.Name != "m1.nano" || len(s.Reservation) != 10:
		t.Errorf("%+v", s)
	}
	var indexes []int
	for other := range l.Local().Instances() {
		if other.Spec.Reservation == s.Reservation {
			indexes = append(indexes, other.LaunchIndex)
		}
	}
	if len(indexes) != 2 || indexes[0]+indexes[1] != 1 {
		t.Errorf("launch indexes %v", indexes)
	}
}

// change changes an image.
func (l *lab) change(id cluster.ImageID, how func(*cluster.Image)) {
	l.t.Helper()
	i, ok := l.Local().Image(id)
	if !ok {
		l.t.Fatalf("no image %s", id)
	}
	c := i.Clone()
	how(c)
	l.Must(&cluster.PutImage{Image: *c})
}

// An image that does not fit the flavor is refused before anything is placed.
func TestCreate_ImageMustFitTheFlavor(t *testing.T) {
	l := newLab(t)
	l.change(l.image, func(i *cluster.Image) { i.Format.MinRAMMiB = 65 })
	l.do("demo", "2.79", "POST", "/servers", l.request("x", nil)).fails(400, "Flavor's memory is too small for requested image.")
	l.change(l.image, func(i *cluster.Image) { i.Format.MinRAMMiB, i.Format.MinDiskGiB = 0, 2 })
	l.do("demo", "2.79", "POST", "/servers", l.request("x", nil)).fails(400, "minimum size is 2147483648 bytes.")
	l.change(l.image, func(i *cluster.Image) { i.Format.MinDiskGiB, i.Data.VirtualSize = 0, 3<<30 })
	l.do("demo", "2.79", "POST", "/servers", l.request("x", nil)).fails(400, "image is 3221225472 bytes.")
}

// Ports are made for the server, or given to it; addresses are as asked for.
func TestCreate_Networks(t *testing.T) {
	l := newLab(t)
	ports := func(id cluster.InstanceID) []*cluster.Port {
		var all []*cluster.Port
		in, _ := l.Local().Instance(id)
		for _, p := range in.Ports {
			port, _ := l.Local().Port(p)
			all = append(all, port)
		}
		return all
	}
	fixed := ports(l.create("demo", "fixed", object{"networks": []object{{"uuid": strings.ToUpper(string(l.network)), "fixed_ip": "10.78.0.77"}}}))
	if len(fixed) != 1 || fixed[0].FixedIPs[0].Address != "10.78.0.77" || !strings.HasPrefix(fixed[0].MAC, "fa:") || !fixed[0].AutoDelete {
		t.Errorf("%+v", fixed)
	}
	l.do("demo", "2.90", "POST", "/servers", l.request("x", object{"networks": []object{{"uuid": l.network, "fixed_ip": "10.78.0.77"}}})).
		fails(400, "already in use")
	given := cluster.PortID(rest.NewUUID())
	l.Must(&cluster.PutPort{Port: cluster.Port{ID: given, Project: l.Projs["demo"], Network: l.network, MAC: "fa:00:00:00:00:01"}})
	if p := ports(l.create("demo", "given", object{"networks": []object{{"port": given}}})); len(p) != 1 || p[0].ID != given {
		t.Errorf("%+v", p)
	}
	l.do("demo", "2.90", "POST", "/servers", l.request("x", object{"networks": []object{{"port": given}}})).fails(409, "is still in use.")
	l.do("demo", "2.90", "POST", "/servers", l.request("x", object{"networks": []object{{"port": given, "fixed_ip": "10.78.0.9"}}})).
		fails(400, "the two cannot be specified together")
	if p := ports(l.create("demo", "auto", object{"networks": "auto"})); len(p) != 1 {
		t.Errorf("auto: %+v", p)
	}
	if p := ports(l.create("demo", "none", nil)); len(p) != 0 {
		t.Errorf("none: %+v", p)
	}
	a := l.do("demo", "", "POST", "/servers", l.request("implicit", object{"networks": nil})).want(202)
	if p := ports(cluster.InstanceID(a.text("server", "id"))); len(p) != 1 {
		t.Errorf("implicit: %+v", p)
	}
	l.do("demo", "2.90", "POST", "/servers", l.request("x", object{"min_count": 2, "networks": []object{{"uuid": l.network, "fixed_ip": "10.78.0.99"}}})).
		fails(400, "max_count cannot be greater than 1")
}

// Several are made at once: as many as the quota has room for, between the least and the most that were asked for.
func TestCreate_SeveralAtOnce(t *testing.T) {
	l := newLab(t)
	a := l.do("demo", "2.79", "POST", "/servers", l.request("m", object{"min_count": 2, "max_count": 50, "return_reservation_id": true})).want(202)
	if !strings.HasPrefix(a.text("reservation_id"), "r-") {
		t.Errorf("%s", a.body)
	}
	if n := l.do("demo", "", "GET", "/servers?reservation_id="+a.text("reservation_id"), nil).count("servers"); n != 10 {
		t.Errorf("%d servers", n)
	}
	l.golden("532-error-403-quota-exceeded", l.do("demo", "2.79", "POST", "/servers", l.request("one", nil)))
}

// A client that repeats a request under its Idempotency-Key gets the same server with the same password, not a second one.
func TestCreate_RepeatedUnderAKeyIsTheSameServer(t *testing.T) {
	l := newLab(t)
	key := http.Header{"Idempotency-Key": {"k1"}}
	body := l.request("once", object{"networks": []object{{"uuid": l.network, "fixed_ip": "10.78.0.50"}}})
	send := func(body any) *answer {
		return l.send(ask{token: "demo", version: "2.90", method: "POST", path: "/compute/v2.1/servers", body: body, header: key})
	}
	first, second := send(body).want(202), send(body).want(202)
	if string(first.body) != string(second.body) || first.Header.Get("Location") != second.Header.Get("Location") {
		t.Errorf("%s\n%s", first.body, second.body)
	}
	if n := l.do("demo", "", "GET", "/servers", nil).count("servers"); n != 1 {
		t.Errorf("%d servers", n)
	}
	send(l.request("other", nil)).want(http.StatusConflict)

	path := "/compute/v2.1/servers/" + first.text("server", "id")
	for range 2 { // the second finds a server that is gone, and must not say that it never was
		l.send(ask{token: "demo", method: "DELETE", path: path, header: http.Header{"Idempotency-Key": {"k2"}}}).want(204)
	}
	l.send(ask{token: "demo", method: "DELETE", path: path}).fails(404, "could not be found")
}

// Without a quorum nothing is promised: 503, and the client may try again.
func TestCreate_WithoutQuorumIs503(t *testing.T) {
	l := newLab(t)
	l.LoseQuorum(true)
	a := l.do("demo", "", "POST", "/servers", l.request("x", nil))
	if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
	stale := l.send(ask{token: "demo", method: "GET", path: "/compute/v2.1/servers", header: http.Header{"X-Kilonova-Consistency": {"stale"}}})
	stale.want(200)
}
