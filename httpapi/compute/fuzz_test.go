package compute_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// sound fails the test when an answer is no answer of an API: a fault of ours, or a body that is not JSON.
func sound(t *testing.T, a *answer) {
	t.Helper()
	if a.StatusCode >= 500 && a.StatusCode != http.StatusNotImplemented {
		t.Fatalf("%d: %s", a.StatusCode, a.body)
	}
	if len(a.body) > 0 && !json.Valid(a.body) {
		t.Fatalf("%d with a body that is not JSON: %q", a.StatusCode, a.body)
	}
}

// Whatever is sent to make a server, the answer is a server or a refusal.
func FuzzCreateServer(f *testing.F) {
	l := newLab(f)
	for _, change := range []object{nil, {"networks": "auto"}, {"networks": []object{{"uuid": l.network, "fixed_ip": "10.78.0.9"}}},
		{"metadata": object{"a": "b"}, "user_data": "aGk="}, {"min_count": "1", "max_count": 2}, {"availability_zone": "nova:node-1"},
		{"block_device_mapping_v2": []object{{"boot_index": "0", "source_type": "image", "destination_type": "local", "uuid": l.image}}}} {
		b, err := json.Marshal(l.request("x", change))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "2.90")
		f.Add(b, "2.1")
	}
	f.Add([]byte(`{"server":null}`), "2.37")
	f.Add([]byte(`{"server":{"name":"x","flavorRef":1,"networks":[]},"os:scheduler_hints":{"a":[1]}}`), "2.37")
	f.Fuzz(func(t *testing.T, body []byte, version string) {
		if strings.ContainsAny(version, "\r\n") {
			return
		}
		l.t = t
		sound(t, l.do("admin", version, "POST", "/servers", string(body)))
	})
}

// Whatever is asked of a listing, the answer is a listing or a refusal.
func FuzzListServers(f *testing.F) {
	l := newLab(f)
	l.server("demo", "s", object{"networks": "auto"})
	for _, q := range []string{"limit=1&marker=x", "name=^a.*$&status=ACTIVE", "sort_key=host&sort_dir=asc", "changes-since=2020-01-01T00:00:00%2B01:00",
		"tags=a,b&not-tags-any=", "all_tenants=1&deleted=1&ip=10", "locked=no&config_drive=1&flavor=/1", "sort=name:desc", "power_state=1&launch_index=0"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		if u, err := url.Parse("http://x/?" + query); err != nil || u.RawQuery != query || strings.ContainsAny(query, " \t\r\n\x00#") {
			return
		}
		l.t = t
		for _, who := range []string{"admin", "demo"} {
			sound(t, l.do(who, "2.74", "GET", "/servers/detail?"+query, nil))
		}
	})
}

// Whatever the action, it is done or refused.
func FuzzAction(f *testing.F) {
	l := newLab(f)
	id := l.server("demo", "s", nil)
	for _, b := range []string{`{"reboot":{"type":"SOFT"}}`, `{"os-getConsoleOutput":{"length":"5"}}`, `{"lock":{"locked_reason":"x"}}`, `{"unlock":null}`,
		`{"os-getVNCConsole":5}`, `{"rebuild":{}}`, `{"x":1,"y":2}`, `{"os-start":[[]]}`, `{"pause":null}`, `{"resize":{"flavorRef":2}}`,
		`{"os-migrateLive":{"host":null,"block_migration":"auto","force":"no"}}`, `{"evacuate":{"host":"node-1","adminPass":"x"}}`,
		`{"rebuild":{"imageRef":"` + string(l.image) + `","description":null,"key_name":null,"user_data":null,"metadata":{"a":"b"}}}`,
		`{"rescue":{"adminPass":"x","rescue_image_ref":"` + string(l.image) + `"}}`, `{"createImage":{"name":"x","metadata":{"a":"b"}}}`,
		`{"createBackup":{"name":"x","backup_type":"daily","rotation":"1"}}`, `{"unshelve":{"availability_zone":null,"host":"x"}}`,
		`{"os-resetState":{"state":"error"}}`, `{"addFixedIp":{"networkId":1}}`, `{"removeFixedIp":{"address":"::1"}}`} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		l.t = t
		for _, version := range []string{"2.1", "2.73", "2.96"} {
			sound(t, l.act("admin", version, id, string(body)))
		}
	})
}

// Whatever is asked of the listing of migrations, or sent to attach a card, the answer is a listing, a card or a refusal.
func FuzzMovesAndCards(f *testing.F) {
	l := newLab(f)
	id := l.server("demo", "s", nil)
	f.Add("limit=1&marker=x", []byte(`{"interfaceAttachment":{"net_id":"`+string(l.network)+`","fixed_ips":[{"ip_address":"10.78.0.9"}]}}`))
	f.Add("changes-since=2020-01-01&changes-before=x&hidden=1", []byte(`{"interfaceAttachment":{"port_id":null}}`))
	f.Add("migration_type=resize&status=error&host=node-1", []byte(`{}`))
	f.Fuzz(func(t *testing.T, query string, body []byte) {
		if u, err := url.Parse("http://x/?" + query); err != nil || u.RawQuery != query || strings.ContainsAny(query, " \t\r\n\x00#") {
			return
		}
		l.t = t
		for _, version := range []string{"2.1", "2.59", "2.96"} {
			sound(t, l.do("admin", version, "GET", "/os-migrations?"+query, nil))
		}
		sound(t, l.do("demo", "2.70", "POST", "/servers/"+string(id)+"/os-interface", string(body)))
	})
}
