package rest_test

import (
	"crypto/tls"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// TestParsePage_ReadsWhatClientsSend.
func TestParsePage_ReadsWhatClientsSend(t *testing.T) {
	for query, want := range map[string]string{
		"":                                       "1000||[]",
		"limit=5&marker=x":                       "5|x|[]",
		"limit=0":                                "0||[]",
		"limit=":                                 "1000||[]",
		"limit=99999":                            "1000||[]",
		"sort_key=name":                          "1000||[name-]",
		"sort_key=name&sort_dir=asc":             "1000||[name+]",
		"sort_key=name&sort_key=id&sort_dir=asc": "1000||[name+ id-]",
		"sort=id:asc,name":                       "1000||[id+ name-]",
		"sort=name,id:asc":                       "1000||[name- id+]",
		"limit=x":                                "Invalid input for query parameters limit. Value: x. 'x' does not match '^[0-9]*$'",
		"limit=-1":                               "Invalid input for query parameters limit. Value: -1. '-1' does not match '^[0-9]*$'",
		"sort_key=zzz":                           "Invalid input for query parameters sort_key. Value: zzz. 'zzz' is not one of ['id', 'name']",
		"sort_key=id&sort_dir=up":                "Invalid input for query parameters sort_dir. Value: up. 'up' is not one of ['asc', 'desc']",
	} {
		p, err := rest.ParsePage(httptest.NewRequest("GET", "http://h/x?"+query, nil), true, "id", "name")
		var keys []string
		for _, s := range p.Sort {
			keys = append(keys, s.Key+map[bool]string{true: "-", false: "+"}[s.Descending])
		}
		got := strings.Join([]string{strconv.Itoa(p.Limit), p.Marker, "[" + strings.Join(keys, " ") + "]"}, "|")
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
}

// TestCut_GivesEveryItemOnce: following pages by their markers sees the whole list.
func TestCut_GivesEveryItemOnce(t *testing.T) {
	items := strings.Split("a b c d e f g", " ")
	same := func(s string) string { return s }
	for limit := 1; limit < 10; limit++ {
		var all []string
		p := rest.Page{Limit: limit}
		for more := true; more; {
			var page []string
			var err error
			if page, more, err = rest.Cut(items, p, same); err != nil {
				t.Fatal(err)
			}
			all = append(all, page...)
			p.Marker = all[len(all)-1]
		}
		if strings.Join(all, " ") != strings.Join(items, " ") {
			t.Errorf("by %d: %v", limit, all)
		}
	}
	if _, _, err := rest.Cut(items, rest.Page{Limit: 1, Marker: "nope"}, same); cluster.CodeOf(err) != cluster.Invalid {
		t.Errorf("got %v", err)
	}
}

// TestURLs_AreOfTheNodeThatWasAsked, by the name that the client knows.
func TestURLs_AreOfTheNodeThatWasAsked(t *testing.T) {
	r := httptest.NewRequest("GET", "http://node-1:8774/compute/v2.1/servers/a%2Fb?limit=1&name=x&marker=old", nil)
	if got := rest.NextURL(r, "new"); got != "http://node-1:8774/compute/v2.1/servers/a%2Fb?limit=1&marker=new&name=x" {
		t.Error(got)
	}
	r.TLS = &tls.ConnectionState{}
	if got := rest.BaseURL(r); got != "https://node-1:8774" {
		t.Error(got)
	}
	r.Host = "[fd00::1]:8774"
	if got := rest.BaseURL(r); got != "https://[fd00::1]:8774" {
		t.Error(got)
	}
}

// TestTimes_LookLikeOpenStacks.
func TestTimes_LookLikeOpenStacks(t *testing.T) {
	x := cluster.At(time.Date(2026, 3, 4, 5, 6, 7, 89000, time.FixedZone("", 3600)))
	for got, want := range map[string]string{
		rest.Nova(x): "2026-03-04T04:06:07Z", rest.Micros(x): "2026-03-04T04:06:07.000089", rest.Keystone(x): "2026-03-04T04:06:07.000089Z", rest.Nova(0): "",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if rest.OrNull(rest.Nova(0)) != nil || *rest.OrNull("x") != "x" {
		t.Error("null is wrong")
	}
}

// TestUUIDs_AreTakenInEveryForm that OpenStack takes, and stored in one.
func TestUUIDs_AreTakenInEveryForm(t *testing.T) {
	const canonical = "0123abcd-0123-0123-0123-0123456789ab"
	for _, s := range []string{canonical, "0123ABCD012301230123 0123456789AB", "0123ABCD0123012301230123456789AB", "", canonical + "\n", "../" + canonical} {
		id, ok := rest.CanonicalUUID(s)
		if want := s == canonical || len(s) == 32; ok != want || ok && id != canonical {
			t.Errorf("%q: %q %v", s, id, ok)
		}
	}
	if x, y := rest.NewHexID(), rest.NewHexID(); !rest.IsUUID(rest.NewUUID()) || len(x) != 32 || x == y {
		t.Error("new IDs are wrong")
	}
}

// TestCheckText_BoundsAndControlCharacters.
func TestCheckText_BoundsAndControlCharacters(t *testing.T) {
	for s, ok := range map[string]bool{
		"web-1": true, "": false, "ééé": true, "12345678": true, "123456789": false, "a\x00b": false, "a\x1b[31m": false, "a\nb": true, "\xff": false, "<a>/../": true,
	} {
		if err := rest.CheckText("name", s, 1, 8); (err == nil) != ok || err != nil && cluster.CodeOf(err) != cluster.Invalid {
			t.Errorf("%q: %v", s, err)
		}
	}
}
