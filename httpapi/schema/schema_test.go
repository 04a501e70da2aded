package schema_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/httpapi/schema"
)

// person is a schema with something of everything.
var person = schema.Wrap("person", schema.Record(map[string]*schema.Schema{
	"name":  schema.Text(1, 5),
	"age":   schema.Int(0, 150),
	"born":  schema.Text(0, 0).Formatted(&schema.Format{Name: "date", OK: func(s string) bool { return s == "today" }}),
	"nick":  schema.Text(0, 5).OrNull(),
	"alive": schema.Boolean(),
	"code":  {Types: []string{"string"}, Pattern: regexp.MustCompile(`^[a-z]*$`)},
	"kind":  {Types: []string{"string"}, Enum: []any{"a", "b"}},
	"pets":  {Types: []string{"array"}, Array: &schema.List{Items: schema.Text(1, 3), Min: 1, Max: 2, Unique: true}},
	"extra": schema.Map(`^[a-z]+$`, schema.Text(0, 2)),
	"open":  schema.Loose(map[string]*schema.Schema{"n": schema.Int(1, 2)}, "n"),
	"some":  {Types: []string{"object"}, Object: &schema.Members{Open: true, Min: 1}},
	"any":   {AnyOf: []*schema.Schema{schema.ArrayOf(schema.Text(1, 1), 3), schema.OneOf("none", nil)}},
}, "name"))

// Each thing that can be wrong is said in the words of Python's jsonschema, which clients and people know from Nova.
func TestCheck_SaysWhatIsWrong(t *testing.T) {
	for body, want := range map[string]string{
		`{"person": {"name": "x"}}`:                              "",
		`{"person": {"name": "x", "age": "12", "nick": null}}`:   "",
		`{"person": {"name": "x", "age": ""}}`:                   "Invalid input for field/attribute age. Value: . '' is too short",
		`{"person": {"name": "x", "open": {"n": 1, "m": 2}}}`:    "",
		`{"person": {"name": "x", "any": "none"}}`:               "",
		`{"person": {"name": "x", "any": null, "alive": "yes"}}`: "",
		`{}`:                                "'person' is a required property",
		`5`:                                 "5 is not of type 'object'",
		`{"person": {}}`:                    "Invalid input for field/attribute person. Value: {}. 'name' is a required property",
		`{"person": {"name": "x"}, "a": 1}`: "Additional properties are not allowed ('a' was unexpected)",
		`{"person": {"name": "x", "b": 1, "a": [true, null, "it's"]}}`: "Invalid input for field/attribute person. " +
			`Value: {'name': 'x', 'b': 1, 'a': [True, None, "it's"]}. Additional properties are not allowed ('b', 'a' were unexpected)`,
		`{"person": {"name": ""}}`:                           "Invalid input for field/attribute name. Value: . '' is too short",
		`{"person": {"name": "äöüßéx"}}`:                     "Invalid input for field/attribute name. Value: äöüßéx. 'äöüßéx' is too long",
		`{"person": {"name": "äöüßé"}}`:                      "",
		`{"person": {"name": "x", "age": -1}}`:               "Invalid input for field/attribute age. Value: -1. -1 is less than the minimum of 0",
		`{"person": {"name": "x", "age": 151}}`:              "Invalid input for field/attribute age. Value: 151. 151 is greater than the maximum of 150",
		`{"person": {"name": "x", "age": "151"}}`:            "Invalid input for field/attribute age. Value: 151. 151 is greater than the maximum of 150",
		`{"person": {"name": "x", "age": "old"}}`:            "Invalid input for field/attribute age. Value: old. 'old' does not match '^[0-9]*$'",
		`{"person": {"name": "x", "age": 1.5}}`:              "Invalid input for field/attribute age. Value: 1.5. 1.5 is not of type 'integer', 'string'",
		`{"person": {"name": "x", "age": 1e999}}`:            "Invalid input for field/attribute age. Value: 1e999. 1e999 is not of type 'integer', 'string'",
		`{"person": {"name": "x", "born": "never"}}`:         "Invalid input for field/attribute born. Value: never. 'never' is not a 'date'",
		`{"person": {"name": "x", "alive": "maybe"}}`:        "Invalid input for field/attribute alive. Value: maybe. 'maybe' is not one of [True, 'True'",
		`{"person": {"name": "x", "code": "A"}}`:             "Invalid input for field/attribute code. Value: A. 'A' does not match '^[a-z]*$'",
		`{"person": {"name": "x", "kind": "c"}}`:             "Invalid input for field/attribute kind. Value: c. 'c' is not one of ['a', 'b']",
		`{"person": {"name": "x", "pets": []}}`:              "Invalid input for field/attribute pets. Value: []. [] is too short",
		`{"person": {"name": "x", "pets": ["a","b","c"]}}`:   "['a', 'b', 'c'] is too long",
		`{"person": {"name": "x", "pets": ["a","a"]}}`:       "['a', 'a'] has non-unique elements",
		`{"person": {"name": "x", "pets": ["a","long"]}}`:    "Invalid input for field/attribute 1. Value: long. 'long' is too long",
		`{"person": {"name": "x", "extra": {"A": "b"}}}`:     "Invalid input for field/attribute extra. Value: {'A': 'b'}. 'A' does not match any of the regexes: '^[a-z]+$'",
		`{"person": {"name": "x", "extra": {"a": "bcd"}}}`:   "Invalid input for field/attribute a. Value: bcd. 'bcd' is too long",
		`{"person": {"name": "x", "open": {"n": 3}}}`:        "3 is greater than the maximum of 2",
		`{"person": {"name": "x", "open": {}}}`:              "'n' is a required property",
		`{"person": {"name": "x", "some": {}}}`:              "{} does not have enough properties",
		`{"person": {"name": "x", "any": "all"}}`:            "'all' is not valid under any of the given schemas",
		`{"person": {"name": "x", "nick": "a\n\u0000'\""}}`:  "",
		`{"person": {"name": "x", "nick": "a\n\u0000'\"b"}}`: `'a\n\x00\'"b' is too long`,
	} {
		v, err := schema.Parse([]byte(body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		switch got := person.Check(v); {
		case got == nil && want == "":
		case got == nil || want == "" || !strings.Contains(got.Error(), want):
			t.Errorf("%s:\n got %v\nwant %s", body, got, want)
		}
	}
}

// Errors are bounded however long what was sent is, and do not hold what nobody should read.
func TestCheck_ErrorsAreBoundedAndKeepSecrets(t *testing.T) {
	body := `{"person": {"adminPass": "hunter2", "long": "` + strings.Repeat("ä", 100_000) + `"}}`
	v, err := schema.Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	got := person.Check(v).Error()
	if strings.Contains(got, "hunter2") || len(got) > 5000 {
		t.Errorf("%d bytes: %.300s", len(got), got)
	}
}

// The same error about a query speaks of query parameters.
func TestError_AboutAQuery(t *testing.T) {
	s := schema.Record(map[string]*schema.Schema{"limit": schema.Int(0, 9)})
	got := s.Check(&schema.Object{Names: []string{"limit"}, Values: map[string]any{"limit": "abc"}}).Query()
	if got != "Invalid input for query parameters limit. Value: abc. 'abc' does not match '^[0-9]*$'" {
		t.Error(got)
	}
}

// What is not one JSON value is not parsed.
func TestParse_RefusesWhatIsNotOneValue(t *testing.T) {
	for _, body := range []string{"", "{", "[1,", `{"a"}`, "{} {}", "nul", `{"a":1}}`} {
		if v, err := schema.Parse([]byte(body)); err == nil {
			t.Errorf("%q is %v", body, v)
		}
	}
}

// Parse takes exactly what encoding/json takes, and Check never panics, whatever comes.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`{"person": {"name": "x", "age": 5}}`, `{"person": 5}`, `[]`, `null`, `{"person": {"pets": [{}, [[]], "\ud800"]}}`,
		`{"a":1,"a":2}`, `1e400`, `{"person":{"any":[["x"]]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := schema.Parse(body)
		if (err == nil) != json.Valid(body) {
			t.Fatalf("%q: error %v, but encoding/json says %v", body, err, json.Valid(body))
		}
		if err != nil {
			return
		}
		if wrong := person.Check(v); wrong != nil && (wrong.Error() == "" || len(wrong.Error()) > 5000) {
			t.Fatalf("%q: the error has %d bytes", body, len(wrong.Error()))
		}
	})
}
