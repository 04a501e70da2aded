package clusterapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// A token is made with what was asked for, shown with its secret once, listed without it, and withdrawn.
func TestTokens_AreMadeListedAndWithdrawn(t *testing.T) {
	a := newAPI(t)
	for body, want := range map[string]string{`{}`: "1 1h0m0s ", `{"uses":3,"ttl":"30m","zone":"b"}`: "3 30m0s b"} {
		b := newAPI(t)
		b.want(http.StatusCreated, "POST", "/tokens", body, nil)
		if b.mintedAs != want {
			t.Errorf("%s was made as %q", body, b.mintedAs)
		}
	}
	var made clusterapi.Token
	a.want(http.StatusCreated, "POST", "/tokens", `{"uses":3,"ttl":"30m","zone":"b"}`, &made)
	want := clusterapi.Token{ID: "t1", Uses: 3, Zone: "b", Created: decided, Expires: decided.Add(30 * time.Minute), Text: "kn1.secret"}
	if made != want {
		t.Errorf("the token is %+v instead of %+v", made, want)
	}
	_, _, text := a.ask("GET", "/tokens", "admin", "")
	var list struct{ Tokens []clusterapi.Token }
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Tokens) != 1 || strings.Contains(text, "secret") {
		t.Errorf("%v: the list is %s", err, text)
	}
	a.want(http.StatusNoContent, "DELETE", "/tokens/t1", "", nil)
	if code, _, body := a.ask("DELETE", "/tokens/t1", "admin", ""); code != http.StatusNotFound {
		t.Errorf("withdrawn twice: %d %s", code, body)
	}
}

// What asks for no token that there can be makes none.
func TestTokens_BadRequestsMakeNone(t *testing.T) {
	a := newAPI(t)
	for body, words := range map[string]string{
		`{"uses":-1}`: "1 to 1000 machines", `{"uses":1001}`: "1 to 1000 machines", `{"ttl":"0s"}`: "lasts up to", `{"ttl":"-1h"}`: "lasts up to",
		`{"ttl":"721h"}`: "lasts up to", `{"ttl":"soon"}`: "not a duration", `{"ttl":3}`: "", `{"uses":"1"}`: "", `{"use":1}`: "", `{"uses":1,"uses":2}`: "",
		`[]`: "", `{`: "", `{"uses":1e99}`: "", strings.Repeat("[", 10_000): "",
	} {
		a.refused(http.StatusBadRequest, "badRequest", words, "POST", "/tokens", body)
	}
	if code, _, _ := a.ask("POST", "/tokens", "admin", `{"zone":"`+strings.Repeat("x", 200_000)+`"}`); code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of 200 kB gave %d", code)
	}
	if a.mintedAs != "" {
		t.Errorf("made %q", a.mintedAs)
	}
}

// FuzzCreateToken sends anything for a body. A token is made within its bounds, or the request is at fault, never the node.
func FuzzCreateToken(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"uses":2,"ttl":"1h","zone":"a"}`, `{"uses":-1}`, `{"ttl":"9999999h"}`, "[1", "\xff", `{"zone":"\u0000"}`, `{"Uses":1}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		a := newAPI(t)
		code, _, text := a.ask("POST", "/tokens", "admin", body)
		switch {
		case code == http.StatusCreated && strings.Contains(text, "kn1.secret"):
		case (code/100 == 4) && a.mintedAs == "":
		default:
			t.Errorf("%q gave %d %s, made as %q", body, code, text, a.mintedAs)
		}
	})
}

// A placement says when it was decided in the form that the whole API has, and where the instance would go now.
func TestPlacement_SaysWhenAndWhy(t *testing.T) {
	a := newAPI(t)
	a.instance("placed", a.Node.ID, &cluster.Explanation{At: cluster.At(decided), Considered: 1, Node: a.Node.ID, NodeName: "node-1"})
	a.instance("waits", "", nil)
	_, _, text := a.ask("GET", "/instances/placed/placement", "admin", "")
	if n := strings.Count(text, `"at":"2026-03-04T05:06:07.000000089Z"`); n != 2 {
		t.Errorf("the times are not of RFC 3339: %s", text)
	}
	var p clusterapi.Placement
	a.want(http.StatusOK, "GET", "/instances/placed/placement", "", &p)
	if p.Instance != "placed" || p.Chosen == nil || p.Chosen.NodeName != "node-1" || !p.Chosen.At.Equal(decided) || p.Now.Node != a.Node.ID {
		t.Errorf("the placement is %+v", p)
	}
	a.want(http.StatusOK, "GET", "/instances/waits/placement", "", &p)
	if p.Chosen != nil || p.Now.Considered != 1 {
		t.Errorf("the placement is %+v", p)
	}
	a.refused(http.StatusNotFound, "itemNotFound", "Instance nope could not be found.", "GET", "/instances/nope/placement", "")
}
