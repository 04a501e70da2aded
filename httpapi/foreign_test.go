package httpapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi"
	"github.com/kilonova/kilonova/httpapi/compute"
	"github.com/kilonova/kilonova/httpapi/image"
	"github.com/kilonova/kilonova/httpapi/network"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/resttest"
	"github.com/kilonova/kilonova/httpapi/volume"
)

// estate is what the project demo has, by the names that routes give to the parts of their paths, below each service.
type estate struct {
	*resttest.Cloud
	t       *testing.T
	handler http.Handler
	routers map[string]http.Handler
	things  map[string][]string // "compute {server}", "network {id} networks", ...: IDs
}

func newEstate(t *testing.T) *estate {
	c := resttest.NewCloud(t)
	e := &estate{Cloud: c, t: t, things: map[string][]string{}}
	e.routers = map[string]http.Handler{
		"/compute": compute.Router(compute.Config{Backend: c, Verifier: c, Log: quiet(),
			ConsoleURL: func(base string, _ cluster.ConsoleKind, token string) string { return base + "/console?token=" + token }}),
		"/image":   image.Router(image.Config{Backend: c, Verifier: c, Node: c.Node.ID}),
		"/network": network.Router(network.Config{Backend: c, Verifier: c}),
		"/volume":  volume.Router(volume.Config{Backend: c, Verifier: c, Node: c.Node.ID}),
	}
	e.handler = httpapi.New(httpapi.Config{Compute: e.routers["/compute"], Image: e.routers["/image"], Network: e.routers["/network"],
		Volume: e.routers["/volume"], Log: quiet()})
	e.furnish()
	return e
}

// send sends a request as somebody and gives the status and the body of the answer.
func (e *estate) send(token, method, path, body, microversion string) (int, string) {
	r := httptest.NewRequest(method, "http://node-1:8774"+path, strings.NewReader(body))
	r.Header.Set(rest.TokenHeader, token)
	r.Header.Set("Content-Type", "application/json")
	if strings.HasPrefix(path, "/image/") && method == http.MethodPatch {
		r.Header.Set("Content-Type", "application/openstack-images-v2.1-json-patch")
	}
	if strings.HasSuffix(path, "/file") {
		r.Header.Set("Content-Type", "application/octet-stream")
	}
	if microversion != "" {
		r.Header.Set("OpenStack-API-Version", microversion)
	}
	w := httptest.NewRecorder()
	e.handler.ServeHTTP(w, r)
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return w.Code, string(b)
}

var firstID = regexp.MustCompile(`"id": ?"([0-9a-f-]{36})"`)

// mine makes something as demo and gives its ID.
func (e *estate) mine(path, body string) string {
	e.t.Helper()
	code, answer := e.send("demo", http.MethodPost, path, body, "")
	id := firstID.FindStringSubmatch(answer)
	if code/100 != 2 || id == nil {
		e.t.Fatalf("POST %s: %d %s", path, code, answer)
	}
	return id[1]
}

// furnish gives the project one of everything.
func (e *estate) furnish() {
	demo := e.Projs["demo"]
	net := e.mine("/network/v2.0/networks", `{"network":{"name":"lan"}}`)
	sub := e.mine("/network/v2.0/subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":4,"cidr":"10.1.0.0/24"}}`, net))
	port := e.mine("/network/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q}}`, net))
	img := cluster.ImageID(rest.NewUUID())
	e.Must(&cluster.PutImage{Image: cluster.Image{ID: img, Owner: demo, Name: "mine", Status: cluster.ImageActive, Visibility: cluster.Private,
		Format: cluster.ImageFormat{Disk: "qcow2", Container: "bare"},
		Data: &cluster.ImageData{Root: cluster.Hash{1}, Size: 1 << 20, VirtualSize: 8 << 20, MD5: strings.Repeat("a", 32), SHA512: strings.Repeat("b", 128),
			Nodes: []cluster.NodeID{e.Node.ID}}}})
	e.Must(&cluster.PutFlavor{Flavor: cluster.Flavor{ID: "1", Name: "nano", VCPUs: 1, MemoryMiB: 64, DiskGiB: 1, RxTxFactor: 1}})
	vm := e.mine("/compute/v2.1/servers", fmt.Sprintf(`{"server":{"name":"vm","imageRef":%q,"flavorRef":"1","networks":[{"port":%q}]}}`, img, port))
	in, _ := e.Local().Instance(cluster.InstanceID(vm))
	if in.Node == "" {
		e.Must(&cluster.PlaceInstance{ID: in.ID, Generation: in.Generation, Epoch: in.Epoch, Node: e.Node.ID})
		in, _ = e.Local().Instance(in.ID)
	}
	e.Must(&cluster.ReportInstances{Node: e.Node.ID, Reports: []cluster.InstanceReport{{ID: in.ID, Generation: in.Generation, Epoch: in.Epoch, Power: cluster.PowerRunning}}})
	group := e.mine("/compute/v2.1/os-server-groups", `{"server_group":{"name":"g","policies":["affinity"]}}`)
	at := "/volume/v3/" + string(demo)
	vol := e.mine(at+"/volumes", `{"volume":{"size":1,"name":"v"}}`)
	v, _ := e.Local().Volume(cluster.VolumeID(vol))
	e.Must(&cluster.ReportVolumes{Node: e.Node.ID, Volumes: []cluster.VolumeReport{{ID: v.ID, Generation: v.Generation, SizeGiB: v.SizeGiB}}})
	snap := e.mine(at+"/snapshots", fmt.Sprintf(`{"snapshot":{"volume_id":%q,"name":"s"}}`, vol))
	e.things = map[string][]string{
		"/compute/servers/{server}": {vm}, "/compute/os-server-groups/{group}": {group}, "/compute/images/{image}": {string(img)},
		"/compute/os-quota-sets/{project}": {string(demo)}, "/compute/os-simple-tenant-usage/{project}": {string(demo)},
		"/image/images/{id}": {string(img)}, "/network/networks/{id}": {net}, "/network/subnets/{id}": {sub}, "/network/ports/{id}": {port},
		"/network/quotas/{project}": {string(demo)}, "/volume/volumes/{id}": {vol}, "/volume/snapshots/{id}": {snap}, "/volume/os-quota-sets/{project}": {string(demo)},
	}
}

// probe is a request to try on something of another project.
type probe struct{ service, method, path, body string }

// bodies are what is sent to routes that take one: without, it would be refused for being empty. The first pattern that fits counts.
var bodies = []struct {
	route string // method and end of the route
	all   []string
}{
	{"POST /servers/{server}/action", []string{`{"os-start":null}`, `{"os-stop":null}`, `{"reboot":{"type":"HARD"}}`, `{"os-getConsoleOutput":{}}`, `{"createImage":{"name":"x"}}`,
		`{"os-getVNCConsole":{"type":"novnc"}}`, `{"lock":null}`, `{"pause":null}`, `{"rescue":{}}`, `{"resize":{"flavorRef":"1"}}`, `{"rebuild":{"imageRef":"70a599e0-31e7-49b7-b260-868f441e862b"}}`,
		`{"changePassword":{"adminPass":"x"}}`, `{"shelve":null}`, `{"forceDelete":null}`}},
	{"POST /remote-consoles", []string{`{"remote_console":{"protocol":"vnc","type":"novnc"}}`}},
	{"PUT /servers/{server}", []string{`{"server":{"name":"x"}}`}},
	{"POST /metadata", []string{`{"metadata":{"k":"v"}}`}},
	{"PUT /metadata", []string{`{"metadata":{"k":"v"}}`}},
	{"PUT /metadata/{key}", []string{`{"meta":{"k":"v"}}`}},
	{"PUT /tags", []string{`{"tags":["k"]}`}},
	{"POST /os-interface", []string{`{"interfaceAttachment":{}}`}},
	{"POST /os-volume_attachments", []string{`{"volumeAttachment":{"volumeId":"70a599e0-31e7-49b7-b260-868f441e862b"}}`}},
	{"PUT /os-volume_attachments/{volume}", []string{`{"volumeAttachment":{"volumeId":"70a599e0-31e7-49b7-b260-868f441e862b"}}`}},
	{"POST /volumes/{id}/action", []string{`{"os-extend":{"new_size":2}}`, `{"os-detach":{}}`, `{"os-reserve":{}}`, `{"os-volume_upload_image":{"image_name":"x"}}`, `{"os-set_bootable":{"bootable":true}}`,
		`{"os-retype":{"new_type":"shared"}}`}},
	{"PUT /volumes/{id}", []string{`{"volume":{"name":"x"}}`}},
	{"PUT /snapshots/{id}", []string{`{"snapshot":{"name":"x"}}`}},
	{"PATCH /images/{id}", []string{`[{"op":"replace","path":"/name","value":"x"}]`}},
	{"POST /images/{id}/members", []string{`{"member":"x"}`}},
	{"PUT /images/{id}/members/{member}", []string{`{"status":"accepted"}`}},
	{"PUT /networks/{id}", []string{`{"network":{"name":"x"}}`}},
	{"PUT /subnets/{id}", []string{`{"subnet":{"name":"x"}}`}},
	{"PUT /ports/{id}", []string{`{"port":{"name":"x"}}`}},
	{"PUT /file", []string{"bytes"}},
}

// probes gives every request that the routers take for a thing of demo's, with the thing's ID left open.
func (e *estate) probes() map[probe]string {
	all := map[probe]string{}
	for service, router := range e.routers {
		err := chi.Walk(router.(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
			_, tail, _ := strings.Cut(strings.TrimPrefix(route, "/"), "/")
			tail = "/" + strings.TrimPrefix(tail, "*/")
			if service+tail == "/compute/os-quota-sets/{project}/defaults" {
				return nil // what every project begins with is no secret, and nothing of this one
			}
			for key, ids := range e.things {
				base, found := strings.CutPrefix(key, service)
				if !found || !strings.HasPrefix(tail, base) || method == http.MethodOptions {
					continue
				}
				for _, body := range bodiesOf(method, tail) {
					all[probe{service, method, tail, body}] = ids[0]
				}
			}
			return nil
		})
		if err != nil {
			e.t.Fatal(err)
		}
	}
	return all
}

func bodiesOf(method, tail string) []string {
	for _, b := range bodies {
		if m, end, _ := strings.Cut(b.route, " "); m == method && strings.HasSuffix(tail, end) {
			return b.all
		}
	}
	return []string{""}
}

var part = regexp.MustCompile(`\{[a-z]+\}`)

// address is where a probe goes for a thing.
func (p probe) address(id, project string) string {
	first := true
	tail := part.ReplaceAllStringFunc(p.path, func(name string) string {
		switch {
		case first:
			first = false
			return id
		case name == "{key}":
			return "k"
		}
		return "70a599e0-31e7-49b7-b260-868f441e862b"
	})
	switch p.service {
	case "/compute":
		return "/compute/v2.1" + tail
	case "/image":
		return "/image/v2" + tail
	case "/network":
		return "/network/v2.0" + tail
	}
	return "/volume/v3/" + project + tail
}

// A member of one project sends every request that the API has, as the routers list them, for the things of another project: servers and
// their consoles, metadata, tags, volumes, snapshots, images and their bytes, networks, subnets, ports. It is answered as if they did not exist, in
// every microversion, and nothing is even proposed. What only administrators may ask is refused to it without a word about the thing.
func TestForeign_EveryRequestIsAnsweredAsIfThereWereNothing(t *testing.T) {
	e := newEstate(t)
	nothing := rest.NewUUID()
	other, tried, hers := string(e.Projs["other"]), 0, 0
	before := len(e.Applied())
	for p, id := range e.probes() {
		for _, version := range []string{"", "compute 2.1", "compute 2.60", "compute 2.96", "volume 3.70"} {
			service, _, _ := strings.Cut(version, " ")
			if version != "" && "/"+service != p.service {
				continue
			}
			got, body := e.send("other", p.method, p.address(id, other), p.body, version)
			want, _ := e.send("other", p.method, p.address(nothing, other), p.body, version)
			tried++
			switch {
			case got != want:
				t.Errorf("%s %s %s %s: %d, and %d for what does not exist: %s", version, p.method, p.path, p.body, got, want, body)
			case !slices.Contains([]int{http.StatusNotFound, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusGone}, got):
				t.Errorf("%s %s %s %s: %d: %s", version, p.method, p.path, p.body, got, body)
			case strings.Contains(body, "10.1.0."):
				t.Errorf("%s %s: %s", p.method, p.path, body)
			}
			if p.method == http.MethodGet {
				if code, _ := e.send("demo", p.method, p.address(id, string(e.Projs["demo"])), "", version); code == http.StatusOK {
					hers++
				}
			}
		}
	}
	if tried < 200 || hers < 40 {
		t.Errorf("%d requests were tried, and the owner was answered %d times: the table has lost its routes", tried, hers)
	}
	if n := len(e.Applied()) - before; n != 0 {
		t.Errorf("%d changes were proposed, the last %T", n, e.Applied()[len(e.Applied())-1])
	}
}

// A user asks for an image to be fetched from an address, in every way that Glance has for that. There is none here, so nothing of the cloud's
// own network, and no metadata service, can be reached through it.
func TestForeign_NothingIsFetchedFromAnAddress(t *testing.T) {
	e := newEstate(t)
	asked := make(chan string, 1)
	bait := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.Path:
		default:
		}
	}))
	defer bait.Close()
	if _, body := e.send("demo", http.MethodGet, "/image/v2/info/import", "", ""); !strings.Contains(body, `"value":[]`) {
		t.Errorf("methods of import: %s", body)
	}
	_, answer := e.send("demo", http.MethodPost, "/image/v2/images", `{"name":"x","disk_format":"raw","container_format":"bare"}`, "")
	id := firstID.FindStringSubmatch(answer)
	if id == nil {
		t.Fatal(answer)
	}
	for _, who := range []string{"demo", "admin"} {
		for _, r := range []struct{ method, path, body string }{
			{"POST", "/images/" + id[1] + "/import", `{"method":{"name":"web-download","uri":"` + bait.URL + `"}}`},
			{"POST", "/images/" + id[1] + "/import", `{"method":{"name":"glance-download","glance_image_id":"x"}}`},
			{"POST", "/tasks", `{"type":"import","input":{"import_from":"` + bait.URL + `","import_from_format":"raw","image_properties":{}}}`},
			{"POST", "/images/" + id[1] + "/locations", `{"url":"` + bait.URL + `"}`},
			{"PATCH", "/images/" + id[1], `[{"op":"add","path":"/locations/-","value":{"url":"` + bait.URL + `","metadata":{}}}]`},
			{"POST", "/images", `{"name":"y","copy_from":"` + bait.URL + `","locations":[{"url":"` + bait.URL + `"}]}`},
		} {
			if code, body := e.send(who, r.method, "/image/v2"+r.path, r.body, ""); code/100 == 2 {
				t.Errorf("%s: %s %s: %d %s", who, r.method, r.path, code, body)
			}
		}
	}
	select {
	case path := <-asked:
		t.Errorf("%s was fetched", path)
	default:
	}
}
