package node

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/kilonova/kilonova/cluster"
)

// administrator is a client of the API of a node, with the password that init wrote.
type administrator struct {
	t     *testing.T
	token string
	http  http.Client
}

func newAdministrator(t *testing.T, first, at *running) *administrator {
	t.Helper()
	var c clouds
	if err := yaml.Unmarshal(first.file(t, cloudsFile), &c); err != nil {
		t.Fatal(err)
	}
	a := &administrator{t: t, http: http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}}
	auth := c.Clouds[CloudName].Auth
	body := fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":%q,"domain":{"id":"default"},"password":%q}}},
		"scope":{"project":{"name":%q,"domain":{"id":"default"}}}}}`, auth.Username, auth.Password, auth.Project)
	res, err := a.http.Post("https://"+at.cfg.at(APIPort)+"/identity/v3/auth/tokens", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if a.token = res.Header.Get("X-Subject-Token"); a.token == "" {
		t.Fatalf("log in: %s", res.Status)
	}
	return a
}

// call gives the status and what was decoded into out, unless that is nil.
func (a *administrator) call(at *running, method, path, contentType string, body []byte, out any) int {
	a.t.Helper()
	req, err := http.NewRequest(method, "https://"+at.cfg.at(APIPort)+path, bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", a.token)
	req.Header.Set("Content-Type", contentType)
	res, err := a.http.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	if out != nil && res.StatusCode/100 == 2 {
		if err := json.Unmarshal(b, out); err != nil {
			a.t.Fatalf("%s %s: %v: %s", method, path, err, b)
		}
	}
	return res.StatusCode
}

// pairWithWitness are two hypervisors and a witness, all of which vote.
func pairWithWitness(t *testing.T) (l *lan, n1, n2, w *running) {
	t.Helper()
	l = newLAN(t)
	n1 = l.first()
	n2 = l.join(2, n1)
	cfg := l.config(3)
	cfg.Witness, cfg.Bridges, cfg.Hypervisor.Driver = true, nil, "libvirt" // which is not there
	if err := Join(t.Context(), cfg, n1.cfg.Bind, l.token(n1, nil)); err != nil {
		t.Fatal(err)
	}
	cfg.Witness = false // it is remembered
	w = l.run(cfg)
	l.until("three voters", func() bool { return n1.votersUp(3) && n2.votersUp(3) && w.votersUp(3) })
	return l, n1, n2, w
}

// Two hypervisors and a witness survive the loss of any one of them: the others go on agreeing.
func TestWitness_TwoNodesSurviveTheLossOfAnyOne(t *testing.T) {
	l, n1, n2, w := pairWithWitness(t)
	all := []*running{n1, n2, w}
	for i := range all {
		if err := all[i].stop(); err != nil {
			t.Fatal(err)
		}
		for j, other := range all {
			if j != i {
				l.until(other.cfg.Name+" agrees without "+all[i].cfg.Name, func() bool {
					return other.ask(http.MethodPost, "/tokens", map[string]any{}, nil) == nil
				})
			}
		}
		all[i] = l.run(all[i].cfg)
		l.until("it is back", func() bool { return all[0].votersUp(3) && all[1].votersUp(3) && all[2].votersUp(3) })
	}
	if err := w.stop(); err != nil {
		t.Error(err)
	}
}

// A witness is shown for what it is, and is no hypervisor to anybody. It serves the API, also to whoever uploads an image, and has it no longer
// than it takes the hypervisors to fetch it.
func TestWitness_NeverGetsAnything(t *testing.T) {
	l, n1, _, w := pairWithWitness(t)
	nodes, err := n1.nodes()
	if err != nil || nodes["n3"].Role != "witness" || nodes["n1"].Role != "hypervisor" || nodes["n3"].Limit != (cluster.Resources{}) {
		t.Fatalf("the nodes are %+v, %v", nodes, err)
	}
	a := newAdministrator(t, n1, w)
	var hypervisors struct {
		Hypervisors []struct {
			Host string `json:"hypervisor_hostname"`
		}
	}
	if status := a.call(w, "GET", "/compute/v2.1/os-hypervisors", "", nil, &hypervisors); status != 200 || len(hypervisors.Hypervisors) != 2 {
		t.Errorf("hypervisors: %d %+v", status, hypervisors)
	}
	var services struct{ Services []struct{ Host string } }
	a.call(w, "GET", "/compute/v2.1/os-services?host=n3", "", nil, &services)
	if len(services.Services) != 0 {
		t.Errorf("it has the services %+v", services)
	}
	var image struct{ ID, Status string }
	if status := a.call(w, "POST", "/image/v2/images", "application/json", []byte(`{"name":"x","disk_format":"raw","container_format":"bare"}`), &image); status != 201 {
		t.Fatalf("make an image: %d", status)
	}
	if status := a.call(w, "PUT", "/image/v2/images/"+image.ID+"/file", "application/octet-stream", bytes.Repeat([]byte("x"), 1<<20), nil); status != 204 {
		t.Fatalf("upload to the witness: %d", status)
	}
	l.until("the image is active", func() bool {
		a.call(w, "GET", "/image/v2/images/"+image.ID, "", nil, &image)
		return image.Status == "active"
	})
	flavor := []byte(`{"flavor":{"name":"s","vcpus":1,"ram":64,"disk":1,"id":"s1"}}`)
	if status := a.call(w, "POST", "/compute/v2.1/flavors", "application/json", flavor, nil); status != 200 {
		t.Fatalf("make a flavor: %d", status)
	}
	for i := range 6 {
		server := fmt.Appendf(nil, `{"server":{"name":"s%d","imageRef":%q,"flavorRef":"s1","networks":"none"}}`, i, image.ID)
		req, _ := http.NewRequest("POST", "https://"+w.cfg.at(APIPort)+"/compute/v2.1/servers", bytes.NewReader(server))
		req.Header.Set("X-Auth-Token", a.token)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("OpenStack-API-Version", "compute 2.37")
		res, err := a.http.Do(req)
		if err != nil || res.StatusCode != 202 {
			t.Fatalf("create: %v, %v", res, err)
		}
		res.Body.Close()
	}
	l.until("every server has a place", func() bool {
		nodes, err := n1.nodes()
		return err == nil && nodes["n1"].Instances+nodes["n2"].Instances == 6 && nodes["n3"].Instances == 0
	})
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if status := a.call(n1, "GET", "/image/v2/images/"+image.ID+"/file", "", nil, nil); status != 200 {
		t.Errorf("without the witness nobody has the image: %d", status)
	}
}

// What contradicts being a witness is said, and a hypervisor does not become one in passing.
func TestWitness_RefusesWhatContradictsIt(t *testing.T) {
	for flag, spoil := range map[string]func(*Config){
		"--voter never": func(c *Config) { c.Voter = cluster.VoterNever },
		"--shared-dir":  func(c *Config) { c.SharedDir = "/srv" },
		"and --bridge":  func(c *Config) { c.Bridges = map[string]string{"lan": "br0"} },
	} {
		c := DefaultConfig()
		c.Bind, c.Witness = "127.0.0.1", true
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
	l := newLAN(t)
	cfg := l.config(1)
	if _, err := Init(cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Bridges, cfg.Witness = nil, true
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "enrolled as a hypervisor") {
		t.Errorf("run as a witness: %v", err)
	}
	if _, err := Init(cfg); err == nil || !strings.Contains(err.Error(), "enrolled as a hypervisor") {
		t.Errorf("init again as a witness: %v", err)
	}
}
