package compute_test

import (
	"net/http"
	"testing"
)

// Clients find the API by asking without a token, with and without a final slash.
func TestVersions_AreShownWithoutAToken(t *testing.T) {
	l := newLab(t)
	root := l.send(ask{method: "GET", path: "/compute/"}).want(http.StatusOK)
	l.golden("003-versions-nova-root", root)
	if got := root.text("versions", 1, "links", 0, "href"); got != "http://cloud.example:8774/compute/v2.1/" {
		t.Errorf("self is %s", got)
	}
	for _, path := range []string{"/compute/v2.1", "/compute/v2.1/"} {
		l.golden("004-versions-nova-v2.1", l.send(ask{method: "GET", path: path}).want(http.StatusOK))
	}
	if v := l.send(ask{method: "GET", path: "/compute/v2.1"}).text("version", "version"); v != "2.96" {
		t.Errorf("newest version is %s", v)
	}
}

// The version is negotiated by two headers, and the answer says which one was used.
func TestVersions_AreNegotiated(t *testing.T) {
	l := newLab(t)
	for name, tc := range map[string]struct {
		header, value string
		status        int
		used          string
	}{
		"none asked":      {"", "", 200, "2.1"},
		"new header":      {"Openstack-Api-Version", "compute 2.50", 200, "2.50"},
		"old header":      {"X-Openstack-Nova-Api-Version", "2.50", 200, "2.50"},
		"latest":          {"Openstack-Api-Version", "compute latest", 200, "2.96"},
		"other service":   {"Openstack-Api-Version", "volume 3.1", 200, "2.1"},
		"several":         {"Openstack-Api-Version", "volume 3.1, compute 2.7", 200, "2.7"},
		"too new":         {"Openstack-Api-Version", "compute 2.999", 406, "2.999"},
		"too old":         {"Openstack-Api-Version", "compute 2.0", 406, "2.0"},
		"other major":     {"X-Openstack-Nova-Api-Version", "3.1", 406, "3.1"},
		"malformed":       {"Openstack-Api-Version", "compute abc", 400, ""},
		"huge":            {"Openstack-Api-Version", "compute 2.99999999999999999999", 400, ""},
		"negative number": {"Openstack-Api-Version", "compute 2.-1", 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			if tc.header != "" {
				h[tc.header] = []string{tc.value}
			}
			a := l.send(ask{token: "demo", method: "GET", path: "/compute/v2.1/servers", header: h})
			if a.StatusCode != tc.status {
				t.Errorf("status %d: %s", a.StatusCode, a.body)
			}
			want := ""
			if tc.used != "" {
				want = "compute " + tc.used
			}
			if got := a.Header.Get("OpenStack-API-Version"); got != want || a.Header.Get("X-OpenStack-Nova-API-Version") != tc.used {
				t.Errorf("says %q, %v", got, a.Header)
			}
			if (a.Header.Get("Vary") == "OpenStack-API-Version, X-OpenStack-Nova-API-Version") != (tc.used != "") {
				t.Errorf("Vary is %q", a.Header.Get("Vary"))
			}
		})
	}
	l.golden("521-error-406-microversion-too-high", l.do("demo", "2.999", "GET", "/servers", nil))
	l.golden("523-error-400-microversion-malformed", l.do("demo", "abc", "GET", "/servers", nil))
}

// Without a valid token nothing is told, not even which versions there are; paths that do not exist, and methods, are 404.
func TestPaths_TokensAndUnknownPaths(t *testing.T) {
	l := newLab(t)
	for _, token := range []string{"", "garbage"} {
		a := l.do(token, "", "GET", "/servers", nil)
		a.fails(http.StatusUnauthorized, "requires authentication")
		if a.Header.Get("WWW-Authenticate") == "" || a.Header.Get("OpenStack-API-Version") != "" {
			t.Errorf("token %q: headers %v", token, a.Header)
		}
	}
	l.golden("516-error-404-path", l.do("demo", "", "GET", "/nothing", nil))
	l.golden("519-error-405-method", l.do("demo", "", "DELETE", "/servers", nil))
	if a := l.do("demo", "2.90", "GET", "/nothing", nil); a.Header.Get("OpenStack-API-Version") != "" {
		t.Errorf("an unknown path says a version")
	}
}

// Old clients put their project into the path. Another project there is a mistake of the client's.
func TestPaths_MayNameTheProject(t *testing.T) {
	l := newLab(t)
	id := l.create("demo", "one", nil)
	own := string(l.Projs["demo"])
	a := l.do("demo", "", "GET", "/"+own+"/servers?limit=1", nil).want(http.StatusOK)
	base := "http://cloud.example:8774/compute/v2.1/" + own + "/servers"
	if got := a.text("servers", 0, "links", 0, "href"); got != base+"/"+string(id) {
		t.Errorf("self is %s", got)
	}
	if got := a.text("servers_links", 0, "href"); got != base+"?limit=1&marker="+string(id) {
		t.Errorf("next is %s", got)
	}
	l.do("demo", "", "GET", "/"+string(l.Projs["other"])+"/servers", nil).fails(http.StatusBadRequest, "Malformed request URL")
}

// The API before microversions is still there, and does not speak of them.
func TestLegacy_HasNoVersionHeaders(t *testing.T) {
	l := newLab(t)
	l.create("demo", "one", nil)
	a := l.send(ask{token: "demo", version: "2.90", method: "GET", path: "/compute/v2/servers?limit=1"}).want(http.StatusOK)
	l.golden("530-nova-v2-legacy", a)
	if a.Header.Get("OpenStack-API-Version") != "" {
		t.Errorf("headers %v", a.Header)
	}
	if got := a.text("servers", 0, "links", 0, "href"); got[:38] != "http://cloud.example:8774/compute/v2/s" {
		t.Errorf("self is %s", got)
	}
}
