package resttest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func shape(t *testing.T, text string) *Shape {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return ShapeOf(v)
}

// TestShape_FindsEachKindOfDifference: the checker itself must be able to fail.
func TestShape_FindsEachKindOfDifference(t *testing.T) {
	const want = `{"server":{"id":"x","n":1,"tags":["a"],"flavor":{"id":"1"},"fault":null,"list":[{"a":1},{"a":1,"b":"x"}]}}`
	for got, differences := range map[string][]string{
		want: nil,
		`{"server":{"id":"y","n":null,"tags":[],"flavor":{"id":"2"},"fault":"any","list":[{"a":5}]}}`:                   nil,
		`{"server":{"n":1,"tags":["a"],"flavor":{"id":"1"},"fault":null,"list":[]}}`:                                    {"/server/id is missing"},
		`{"server":{"id":5,"n":1,"tags":["a"],"flavor":{"id":"1"},"fault":null,"list":[]}}`:                             {"/server/id is number instead of string"},
		`{"server":{"id":"x","n":1,"tags":[5],"flavor":{"id":"1"},"fault":null,"list":[]}}`:                             {"/server/tags/* is number instead of string"},
		`{"server":{"id":"x","n":1,"tags":{},"flavor":{},"fault":null,"list":[]}}`:                                      {"/server/flavor/id is missing", "/server/tags is object instead of array"},
		`{"server":{"id":"x","n":1,"tags":["a"],"flavor":{"id":"1","a/b":1},"fault":null,"list":[{"b":"x"}]},"more":1}`: {"/more should not be there", "/server/flavor/a~1b should not be there", "/server/list/*/a is missing"},
	} {
		found := Diff(shape(t, want), shape(t, got))
		slices.Sort(found)
		if !slices.Equal(found, differences) {
			t.Errorf("%s:\n%s", got, strings.Join(found, "\n"))
		}
	}
}

// TestGolden_ReadsWhatItWrites.
func TestGolden_ReadsWhatItWrites(t *testing.T) {
	g := &Golden{Name: "x", Request: "GET /a", Status: 200, Headers: []string{"Content-Type: application/json", "Vary"}, Body: shape(t, `{"a/b":[{"*":null},{"c":"x"}],"~":{}}`)}
	bare := &Golden{Name: "y", Request: "DELETE /a", Status: 204}
	all, err := ParseGoldens(g.String() + bare.String())
	if err != nil || len(all) != 2 || all["x"].String() != g.String() || all["y"].String() != bare.String() {
		t.Errorf("%v, %v", all, err)
	}
	for _, bad := range []string{"-- x --\n", "-- x --\nGET /\nabc\n", "-- x --\nGET /\n200\nnonsense\n"} {
		if _, err := ParseGoldens(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// FuzzShape: the text of any value's shape says it all.
func FuzzShape(f *testing.F) {
	for _, s := range []string{`{}`, `[[],[1,"a",null]]`, `{"a":{"/":1,"*":[true]}}`, `{"":{"":""}}`, `{"a b\n":1}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var v any
		if json.Unmarshal([]byte(s), &v) != nil {
			return
		}
		first := ShapeOf(v)
		again, err := ParseShape(first.String())
		if err != nil || again.String() != first.String() || len(Diff(first, again)) > 0 {
			t.Errorf("%s became\n%s, %v", first, again, err)
		}
	})
}
