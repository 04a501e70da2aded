package compute_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/compute"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/resttest"
)

// lab is a cloud with an image, two flavors and a network, served in process.
type lab struct {
	*resttest.Cloud
	t       testing.TB
	handler http.Handler
	shapes  resttest.Goldens
	console string
	down    bool   // the node
	unheard bool   // if it is down, nobody can know
	key     string // under which what is asked is done once; "": none
	last    ask    // what was asked last
	image   cluster.ImageID
	network cluster.NetworkID
	subnet  cluster.SubnetID
}

// The flavors of a lab.
const (
	nano  = "1"
	micro = "2"
)

func newLab(t testing.TB) *lab {
	l := &lab{Cloud: resttest.NewCloud(t), t: t, console: "one\ntwo\nthree\n"}
	quiet := slog.New(slog.DiscardHandler)
	service := rest.Service{Name: "compute", Errors: rest.NovaErrors, Log: quiet}
	router := chi.NewRouter()
	router.Mount(compute.Path, service.Wrap(compute.Router(compute.Config{
		Backend: l.Cloud, Verifier: l.Cloud, Console: l, Liveness: l, Log: quiet,
	})))
	l.handler = router
	now := cluster.At(time.Now())
	l.image = l.addImage("tiny", l.Projs["admin"], cluster.Public)
	for id, name := range map[string]string{nano: "m1.nano", micro: "m1.micro"} {
		f := cluster.Flavor{ID: cluster.FlavorID(id), Name: name, VCPUs: 1, MemoryMiB: 64, DiskGiB: 1, RxTxFactor: 1, Created: now}
		l.Must(&cluster.PutFlavor{Flavor: f})
	}
	l.network, l.subnet = l.addNetwork("admin-net", "demo", "10.78.0.0/24")
	return l
}

func (l *lab) addImage(name string, owner cluster.ProjectID, v cluster.Visibility) cluster.ImageID {
	id := cluster.ImageID(rest.NewUUID())
	l.Must(&cluster.PutImage{Image: cluster.Image{
		ID: id, Owner: owner, Name: name, Status: cluster.ImageActive, Visibility: v,
		Format: cluster.ImageFormat{Disk: "qcow2", Container: "bare"},
		Data: &cluster.ImageData{
			Root: cluster.Hash{1}, Size: 1 << 20, VirtualSize: 8 << 20, MD5: strings.Repeat("a", 32), SHA512: strings.Repeat("b", 128),
			Nodes: []cluster.NodeID{l.Node.ID},
		},
	}})
	return id
}

func (l *lab) addNetwork(name, project, cidr string) (cluster.NetworkID, cluster.SubnetID) {
	net, sub := cluster.NetworkID(rest.NewUUID()), cluster.SubnetID(rest.NewUUID())
	l.Must(&cluster.PutNetwork{Network: cluster.Network{
		ID: net, Project: l.Projs[project], Name: name, Physical: "lan", MTU: 1500, PortSecurity: true,
	}})
	prefix := strings.TrimSuffix(cidr, "0/24")
	l.Must(&cluster.PutSubnet{Subnet: cluster.Subnet{
		ID: sub, Project: l.Projs[project], Network: net, Name: name, CIDR: cidr, Gateway: prefix + "1",
		Pools: []cluster.AddressPool{{Start: prefix + "2", End: prefix + "254"}}, DHCP: true,
	}})
	return net, sub
}

// Console implements compute.Console.
func (l *lab) Console(_ context.Context, _ *cluster.Instance, lines int) (string, error) {
	all := strings.SplitAfter(strings.TrimSuffix(l.console, "\n"), "\n")
	if lines >= 0 {
		all = all[max(0, len(all)-lines):]
	}
	return strings.Join(all, ""), nil
}

// Liveness implements compute.Liveness.
func (l *lab) Liveness(cluster.NodeID) (bool, time.Time) {
	return !l.down, time.Now().Add(-26 * time.Hour)
}

// Unheard implements compute.Liveness.
func (l *lab) Unheard(cluster.NodeID) bool { return l.unheard }

// ask is one request.
type ask struct {
	token, version, method, path string
	body                         any // a string is sent as it is
	header                       http.Header
}

// answer is what came back.
type answer struct {
	*http.Response
	t    testing.TB
	body []byte
}

func (l *lab) send(a ask) *answer {
	l.t.Helper()
	var body []byte
	switch b := a.body.(type) {
	case nil:
	case string:
		body = []byte(b)
	default:
		var err error
		if body, err = json.Marshal(b); err != nil {
			l.t.Fatal(err)
		}
	}
	r := httptest.NewRequest(a.method, "http://cloud.example:8774"+a.path, bytes.NewReader(body))
	for k, v := range a.header {
		r.Header[k] = v
	}
	if l.key != "" {
		r.Header.Set(rest.IdempotencyKeyHeader, l.key)
	}
	l.last = a
	if a.token != "" {
		r.Header.Set("X-Auth-Token", a.token)
	}
	if a.version != "" {
		r.Header.Set("OpenStack-API-Version", "compute "+a.version)
	}
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", "application/json")
	}
	if body != nil && r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	l.handler.ServeHTTP(w, r)
	return &answer{Response: w.Result(), t: l.t, body: w.Body.Bytes()}
}

// do sends a request below /compute/v2.1.
func (l *lab) do(token, version, method, path string, body any) *answer {
	l.t.Helper()
	return l.send(ask{token: token, version: version, method: method, path: "/compute/v2.1" + path, body: body})
}

// golden checks the answer against a recorded one.
func (l *lab) golden(name string, a *answer, ignore ...string) {
	l.t.Helper()
	if l.shapes == nil {
		l.shapes = resttest.LoadGoldens(l.t, "testdata/shapes.txt")
	}
	a.Response.Body = http.NoBody
	if len(a.body) > 0 {
		a.Response.Body = readCloser{bytes.NewReader(a.body)}
	}
	l.shapes.Check(l.t, name, a.Response, ignore...)
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// want fails the test when the status is another.
func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.StatusCode != status {
		a.t.Fatalf("%d instead of %d: %s", a.StatusCode, status, a.body)
	}
	return a
}

// fails checks an error's status and message.
func (a *answer) fails(status int, message string) {
	a.t.Helper()
	var body map[string]struct {
		Code    int
		Message string
	}
	if err := json.Unmarshal(a.body, &body); err != nil {
		a.t.Errorf("status %d, body %q: %v", a.StatusCode, a.body, err)
		return
	}
	for name, e := range body {
		if a.StatusCode != status || e.Code != status && name != "error" || !strings.Contains(e.Message, message) {
			a.t.Errorf("%d %s %+v, not %d %q", a.StatusCode, name, e, status, message)
		}
	}
}

// at gives what stands at a path of names and indexes in the body.
func (a *answer) at(path ...any) any {
	a.t.Helper()
	var v any
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Fatalf("body %q: %v", a.body, err)
	}
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				a.t.Fatalf("%v of %s: not an object", path, a.body)
			}
			v = m[p]
		case int:
			l, ok := v.([]any)
			if !ok || p >= len(l) {
				a.t.Fatalf("%v of %s: no such element", path, a.body)
			}
			v = l[p]
		}
	}
	return v
}

// text is at for strings.
func (a *answer) text(path ...any) string { return fmt.Sprint(a.at(path...)) }

// count is at for the length of arrays.
func (a *answer) count(path ...any) int {
	a.t.Helper()
	list, ok := a.at(path...).([]any)
	if !ok {
		a.t.Fatalf("%v of %s is no array", path, a.body)
	}
	return len(list)
}

type object = map[string]any

// create makes a server and gives its ID. more is merged into the request.
func (l *lab) create(token, name string, more object) cluster.InstanceID {
	l.t.Helper()
	a := l.do(token, "2.90", "POST", "/servers", l.request(name, more)).want(http.StatusAccepted)
	return cluster.InstanceID(a.text("server", "id"))
}

// request is the body of a create.
func (l *lab) request(name string, more object) object {
	server := object{"name": name, "imageRef": l.image, "flavorRef": nano, "networks": "none"}
	for k, v := range more {
		if v == nil {
			delete(server, k)
			continue
		}
		server[k] = v
	}
	return object{"server": server}
}

// boot places a server on the lab's node and reports that it runs.
func (l *lab) boot(id cluster.InstanceID) {
	l.t.Helper()
	in, ok := l.Local().Instance(id)
	if !ok {
		l.t.Fatalf("no instance %s", id)
	}
	if in.Node == "" {
		l.Must(&cluster.PlaceInstance{ID: id, Generation: in.Generation, Epoch: in.Epoch, Node: l.Node.ID})
	}
	l.report(id, cluster.InstanceReport{Power: cluster.PowerRunning})
}

// report says what the lab's node sees of a server.
func (l *lab) report(id cluster.InstanceID, r cluster.InstanceReport) {
	l.t.Helper()
	in, ok := l.Local().Instance(id)
	if !ok {
		l.t.Fatalf("no instance %s", id)
	}
	r.ID, r.Generation, r.Epoch, r.Boot = id, in.Generation, in.Epoch, in.Boot
	l.Must(&cluster.ReportInstances{Node: l.Node.ID, Reports: []cluster.InstanceReport{r}})
}

// server makes a server that runs.
func (l *lab) server(token, name string, more object) cluster.InstanceID {
	l.t.Helper()
	id := l.create(token, name, more)
	l.boot(id)
	return id
}

func itoa(n int) string { return fmt.Sprint(n) }
