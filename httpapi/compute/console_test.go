package compute_test

import (
	"context"
	"crypto/sha256"
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

// inside is a lab whose guests can be looked into.
type inside struct {
	*lab
	fails    error  // what every call gives
	user     string // whose password was set last, and to what
	password string
	crashed  cluster.InstanceID
	other    *cluster.Node // the second, in a lab of two
}

func newInside(t testing.TB) *inside {
	l := &inside{lab: newLab(t)}
	l.shapes = resttest.LoadGoldens(t, "testdata/inside.txt")
	quiet := slog.New(slog.DiscardHandler)
	service := rest.Service{Name: "compute", Errors: rest.NovaErrors, Log: quiet}
	router := chi.NewRouter()
	router.Mount(compute.Path, service.Wrap(compute.Router(compute.Config{
		Backend: l.Cloud, Verifier: l.Cloud, Console: l, Liveness: l, Log: quiet, Inside: l,
		ConsoleURL: func(base string, kind cluster.ConsoleKind, token string) string {
			return base + "/console/" + string(kind) + "?token=" + token
		},
	})))
	l.handler = router
	return l
}

// Diagnostics implements compute.Inside.
func (l *inside) Diagnostics(context.Context, *cluster.Instance) (cluster.Diagnostics, error) {
	return cluster.Diagnostics{
		State: "running", Uptime: 30 * time.Second, CPUs: []time.Duration{14 * time.Second}, MemoryMaxMiB: 64, MemoryUsedMiB: 32,
		Disks: []cluster.DiskDiagnostics{{ID: "root", ReadBytes: 17408, ReadRequests: 34, Errors: -1}, {ID: "config", Errors: -1}},
		NICs:  []cluster.NICDiagnostics{{MAC: "fa:16:3e:99:c7:38", RxOctets: 90, RxPackets: 1}},
	}, l.fails
}

// SetPassword implements compute.Inside.
func (l *inside) SetPassword(_ context.Context, _ *cluster.Instance, user, password string) error {
	l.user, l.password = user, password
	return l.fails
}

// Crash implements compute.Inside.
func (l *inside) Crash(_ context.Context, in *cluster.Instance) error {
	l.crashed = in.ID
	return l.fails
}

func (l *inside) consoles(token, version string, id cluster.InstanceID, protocol, kind string) *answer {
	return l.do(token, version, "POST", "/servers/"+string(id)+"/remote-consoles", object{"remote_console": object{"protocol": protocol, "type": kind}})
}

// A console's URL leads to the node that was asked, with a token that the state knows by its hash alone.
func TestConsoles_AreGivenAsNovaGivesThem(t *testing.T) {
	l := newInside(t)
	id := l.server("demo", "s", nil)
	// The recorded cloud's proxy was a server of its own.
	l.golden("409-server-console-url-show-fake", l.consoles("demo", "2.8", id, "vnc", "novnc"))
	l.golden("746-raw-getVNCConsole-mv2.1", l.act("demo", "", id, object{"os-getVNCConsole": object{"type": "novnc"}}))
	l.golden("747-raw-getVNCConsole-mv2.6-404", l.act("demo", "2.6", id, object{"os-getVNCConsole": object{"type": "novnc"}}))
	if got := l.act("demo", "", id, object{"os-getSerialConsole": object{"type": "serial"}}).want(200).text("console", "type"); got != "serial" {
		t.Errorf("type %s", got)
	}
	a := l.consoles("demo", "2.92", id, "serial", "serial").want(200)
	if a.Header.Get("Cache-Control") != "no-store" {
		t.Error("whoever is on the way may keep the token")
	}
	base, token, _ := strings.Cut(a.text("remote_console", "url"), "?token=")
	if base != "http://cloud.example:8774/console/serial" {
		t.Errorf("URL %s", base)
	}
	c, ok := l.Local().ConsoleToken(sha256.Sum256([]byte(token)))
	if !ok || c.Instance != id || c.Kind != cluster.ConsoleSerial || c.Project != l.Projs["demo"] || c.User != l.Users["demo"] || c.Used {
		t.Errorf("the state has %+v", c)
	}
	if c.Expires.Sub(c.Created) != compute.DefaultConsoleLife {
		t.Errorf("it lives for %s", c.Expires.Sub(c.Created))
	}
}

// The same request, repeated under one Idempotency-Key, gives a token each time: the first is kept nowhere.
func TestConsoles_RepeatedGiveATokenThatIsKnown(t *testing.T) {
	l := newInside(t)
	id := l.server("demo", "s", nil)
	for range 2 {
		a := l.send(ask{token: "demo", version: "2.8", method: "POST", path: "/compute/v2.1/servers/" + string(id) + "/remote-consoles",
			header: http.Header{"Idempotency-Key": {"again"}}, body: object{"remote_console": object{"protocol": "vnc", "type": "novnc"}}}).want(200)
		_, token, _ := strings.Cut(a.text("remote_console", "url"), "?token=")
		if _, ok := l.Local().ConsoleToken(sha256.Sum256([]byte(token))); !ok {
			t.Error("the state does not know the token")
		}
	}
}

func TestConsoles_AreRefusedAsNovaRefusesThem(t *testing.T) {
	l := newInside(t)
	id := l.create("demo", "s", nil)
	l.consoles("demo", "2.8", id, "vnc", "novnc").fails(409, "Instance "+string(id)+" is not ready")
	l.boot(id)
	l.golden("608-libvirt-console-url-show-spice-unavailable", l.consoles("demo", "2.8", id, "spice", "spice-html5"))
	l.consoles("demo", "2.8", id, "spice", "spice-html5").fails(400, "Unavailable console type spice-html5.")
	l.consoles("demo", "2.8", id, "serial", "novnc").fails(400, "Unavailable console type novnc.")
	l.consoles("demo", "2.8", id, "vnc", "teletype").fails(400, "'teletype' is not one of")
	l.act("demo", "", id, object{"os-getVNCConsole": object{"type": "serial"}}).fails(400, "'serial' is not one of")
	l.act("demo", "", id, object{"os-getVNCConsole": object{"type": "xvpvnc"}}).fails(400, "Unavailable console type xvpvnc.")
	l.act("demo", "", id, object{"os-getSPICEConsole": object{"type": "spice-html5"}}).fails(400, "Unavailable console type spice-html5.")
	l.act("demo", "", id, object{"os-getVNCConsole": nil}).fails(400, "not of type 'object'")
	l.consoles("other", "2.8", id, "vnc", "novnc").fails(404, "Instance "+string(id)+" could not be found.")
	l.consoles("viewer", "2.8", id, "vnc", "novnc").fails(403, "os_compute_api:os-remote-consoles")
	l.consoles("demo", "2.5", id, "vnc", "novnc").want(404)
	l.report(id, cluster.InstanceReport{Power: cluster.PowerShutdown})
	l.consoles("demo", "2.8", id, "vnc", "novnc").fails(409, "is not ready")
}

// An administrator sees where a token leads, without using it up, and the path, which holds the token, is not what the log gets.
func TestConsoleTokens_AreShownToAdministrators(t *testing.T) {
	l := newInside(t)
	id := l.server("demo", "s", nil)
	_, token, _ := strings.Cut(l.consoles("demo", "2.8", id, "vnc", "novnc").text("remote_console", "url"), "?token=")
	for range 2 {
		a := l.do("admin", "2.31", "GET", "/os-console-auth-tokens/"+token, nil).want(200)
		if a.text("console", "instance_uuid") != string(id) || a.text("console", "host") != "127.0.0.1" || a.at("console", "port") != 8774.0 ||
			a.at("console", "internal_access_path") != nil {
			t.Errorf("%s", a.body)
		}
	}
	l.do("admin", "2.30", "GET", "/os-console-auth-tokens/"+token, nil).want(401)
	l.do("demo", "2.31", "GET", "/os-console-auth-tokens/"+token, nil).fails(403, "os_compute_api:os-console-auth-tokens")
	l.do("admin", "2.31", "GET", "/os-console-auth-tokens/bad"+token, nil).fails(404, "Token not found")
	l.Must(&cluster.UseConsoleToken{Hash: sha256.Sum256([]byte(token))})
	l.do("admin", "2.31", "GET", "/os-console-auth-tokens/"+token, nil).fails(404, "Token not found")

	r := httptest.NewRequest("GET", "/compute/v2.1/os-console-auth-tokens/"+token, nil)
	r.Header.Set("X-Auth-Token", "admin")
	l.handler.ServeHTTP(httptest.NewRecorder(), r)
	if strings.Contains(r.URL.Path, token) {
		t.Errorf("the log gets %s", r.URL.Path)
	}
}

func TestDiagnostics_LookAsNovaShowsThem(t *testing.T) {
	l := newInside(t)
	id := l.server("demo", "s", object{"networks": []object{{"uuid": l.network}}})
	path := "/servers/" + string(id) + "/diagnostics"
	l.golden("612-libvirt-diagnostics-mv2.48", l.do("admin", "2.48", "GET", path, nil))
	old := l.do("admin", "", "GET", path, nil).want(200)
	for name, want := range map[string]any{
		"cpu0_time": 14e9, "vda_read": 17408.0, "vda_read_req": 34.0, "vda_errors": -1.0, "vdb_write": 0.0, "memory": 65536.0,
		"tap-fa:16:3e:99:c7:38_rx": 90.0,
	} {
		if got := old.at(name); got != want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
	}
	l.do("demo", "", "GET", path, nil).fails(403, "os_compute_api:os-server-diagnostics")
	l.fails = cluster.Errorf(cluster.Unsupported, "The guest or its hypervisor cannot do it.")
	l.do("admin", "", "GET", path, nil).want(501)
	l.fails = cluster.Errorf(cluster.Unavailable, "The node of the instance does not answer.")
	l.do("admin", "", "GET", path, nil).want(503)
	l.report(id, cluster.InstanceReport{Power: cluster.PowerShutdown})
	l.do("admin", "", "GET", path, nil).fails(409, "Cannot 'get_diagnostics' instance "+string(id)+" while it is in power state shutdown")
}

// A password is set through the guest's agent. Without one, nothing is done, and the words are Nova's.
func TestChangePassword_AsksTheGuest(t *testing.T) {
	l := newInside(t)
	id := l.server("demo", "s", nil)
	change := func(token string) *answer {
		return l.act(token, "", id, object{"changePassword": object{"adminPass": "correct horse"}})
	}
	l.golden("362-server-set-password", change("demo"))
	if l.user != "root" || l.password != "correct horse" {
		t.Errorf("set for %q", l.user)
	}
	last := func() string {
		a := l.do("demo", "", "GET", "/servers/"+string(id)+"/os-instance-actions", nil).want(200)
		return a.text("instanceActions", 0, "action") + " " + a.text("instanceActions", 0, "message")
	}
	if got := last(); got != "changePassword <nil>" {
		t.Errorf("recorded: %s", got)
	}
	l.fails = cluster.Errorf(cluster.Unsupported, "no agent")
	change("demo").fails(409, "QEMU guest agent is not enabled")
	if got := last(); got != "changePassword Error" {
		t.Errorf("recorded: %s", got)
	}
	l.fails = cluster.Errorf(cluster.Unavailable, "The node does not answer.")
	change("demo").want(503)
	l.fails = nil
	l.act("demo", "", id, object{"changePassword": object{}}).fails(400, "'adminPass' is a required property")
	l.act("demo", "", id, object{"changePassword": object{"adminPass": 7}}).fails(400, "is not of type 'string'")
	change("viewer").fails(403, "os_compute_api:os-admin-password")
	change("other").fails(404, "could not be found")
	l.act("demo", "", id, object{"lock": nil}).want(202)
	change("demo").fails(409, "is locked")
	l.act("demo", "", id, object{"unlock": nil}).want(202)
	l.report(id, cluster.InstanceReport{Power: cluster.PowerShutdown})
	change("demo").fails(409, "Cannot 'changePassword' instance "+string(id)+" while it is in vm_state stopped")
}

// What the state and the log keep of a password is that it was changed.
func TestChangePassword_IsKeptNowhere(t *testing.T) {
	l := newInside(t)
	id := l.server("demo", "s", nil)
	l.act("demo", "", id, object{"changePassword": object{"adminPass": "correct horse"}}).want(202)
	var state strings.Builder
	if _, err := l.Local().WriteTo(&state); err != nil || strings.Contains(state.String(), "correct horse") {
		t.Errorf("the state holds the password (%v)", err)
	}
}

func TestCrashDump_SendsAnInterrupt(t *testing.T) {
	l := newInside(t)
	id := l.server("demo", "s", nil)
	crash := object{"trigger_crash_dump": nil}
	l.act("demo", "2.16", id, crash).want(404)
	l.act("demo", "2.17", id, crash).want(202)
	if l.crashed != id {
		t.Errorf("crashed %q", l.crashed)
	}
	l.act("demo", "2.17", id, object{"trigger_crash_dump": object{}}).fails(400, "not of type 'null'")
	l.fails = cluster.Errorf(cluster.Unsupported, "no")
	l.act("demo", "2.17", id, crash).fails(400, "Triggering crash dump is not supported")
	l.fails = nil
	l.act("demo", "2.17", id, object{"os-stop": nil}).want(202)
	l.act("demo", "2.17", id, crash).fails(409, "Cannot 'trigger_crash_dump' instance "+string(id)+" while it is in task_state powering-off")
}

// Neutron and Cinder tell of events of several servers at once. Each has its own code.
func TestExternalEvents_AreJudgedOneByOne(t *testing.T) {
	l := newInside(t)
	on, off := l.server("demo", "on", nil), l.create("demo", "off", nil)
	event := func(id any, name string, more object) object {
		e := object{"server_uuid": id, "name": name}
		for k, v := range more {
			e[k] = v
		}
		return e
	}
	post := func(version string, events ...object) *answer {
		return l.do("admin", version, "POST", "/os-server-external-events", object{"events": events})
	}
	a := post("", event(on, "network-vif-plugged", object{"tag": "port", "status": "completed"}), event(on, "network-changed", nil)).want(200)
	if a.at("events", 0, "code") != 200.0 || a.text("events", 1, "status") != "completed" || a.text("events", 0, "tag") != "port" {
		t.Errorf("%s", a.body)
	}
	a = post("2.51", event(on, "network-changed", nil), event(nobody, "network-changed", nil), event(off, "network-changed", nil),
		event(on, "volume-extended", nil)).want(207)
	for i, want := range []float64{200, 404, 422, 400} {
		if a.at("events", i, "code") != want || (a.text("events", i, "status") == "failed") != (want != 200) {
			t.Errorf("event %d: %s", i, a.body)
		}
	}
	post("", event(on, "volume-extended", object{"tag": "v"})).fails(400, "'volume-extended' is not one of")
	post("", event("x", "network-changed", nil)).want(400)
	post("").want(400)
	post("", event(on, "network-changed", object{"zzz": 1})).fails(400, "('zzz' was unexpected)")
	l.do("demo", "", "POST", "/os-server-external-events", object{"events": []object{event(on, "network-changed", nil)}}).
		fails(403, "Policy doesn't allow os_compute_api:os-server-external-events:create to be performed.")
}
