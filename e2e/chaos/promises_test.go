package chaos

import (
	"strings"
	"testing"
)

// made is a server that was made, and is known by its key.
func made(key string, ids ...string) Deed {
	return Deed{Kind: kindCreate, Key: key, Outcome: done, Status: 202, IDs: ids}
}

func dropped(key string, o outcome) Deed { return Deed{Kind: kindDelete, Key: key, Outcome: o} }

// What may be so is not found: one that is there, one that is deleted, two of whose deletion or creation nobody knows, in both ways that they can end.
func TestBroken_NothingIsFoundWhereAllIsKept(t *testing.T) {
	lost := Deed{Kind: kindCreate, Key: "e", Outcome: unknown}
	became := Deed{Kind: kindCreate, Key: "f", Outcome: unknown}
	deeds := []Deed{made("a", "1", "1"), made("b", "2"), dropped("b", done), made("c", "3"), dropped("c", unknown), made("d", "4"), dropped("d", unknown),
		lost, became, {Kind: kindCreate, Key: "g", Outcome: refused, Status: 403}, dropped("a", refused)}
	if all := broken(deeds, kindCreate, kindDelete, []thing{{"1", "a"}, {"3", "c"}, {"6", "f"}}); len(all) > 0 {
		t.Error(all)
	}
}

// Each planted mistake leaves its trace in a history or in what is there in the end.
func TestBroken_FindsEachPlantedMistake(t *testing.T) {
	for name, c := range map[string]struct {
		deeds []Deed
		there []thing
		found string
	}{
		"acknowledged before it was committed":   {[]Deed{made("a", "1")}, nil, "1 was acknowledged, nobody deleted it"},
		"done twice":                             {[]Deed{made("a", "1")}, []thing{{"1", "a"}, {"2", "a"}}, "one request made [1 2]"},
		"done at each node that was asked":       {[]Deed{made("a", "1", "2")}, []thing{{"1", "a"}}, "answered with [1 2]"},
		"a retry after a failover made it again": {[]Deed{made("a", "1")}, []thing{{"2", "a"}}, "1 was acknowledged, and there is 2"},
		"refused and done":                       {[]Deed{{Kind: kindCreate, Key: "a", Outcome: refused, Status: 409}}, []thing{{"1", "a"}}, "it was refused (409)"},
		"a deletion acknowledged and forgotten":  {[]Deed{made("a", "1"), dropped("a", done), dropped("a", unknown)}, []thing{{"1", "a"}}, "its deletion was acknowledged"},
		"made by nobody":                         {nil, []thing{{"1", "a"}}, "nobody asked for it"},
		"an unknown create made two":             {[]Deed{{Kind: kindCreate, Key: "a", Outcome: unknown}}, []thing{{"1", "a"}, {"2", "a"}}, "one request made"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(broken(c.deeds, kindCreate, kindDelete, c.there), "\n"); !strings.Contains(got, c.found) {
				t.Errorf("found %q, not %q", got, c.found)
			}
		})
	}
}

// An error of the service is found, one that says to ask again is not.
func TestStrange_FindsErrorsOfTheService(t *testing.T) {
	deeds := []Deed{{Kind: kindRead, Key: "a", Outcome: unknown, Status: 503}, {Kind: kindRead, Key: "b", Outcome: refused, Status: 404}}
	if all := strange(deeds); len(all) > 0 {
		t.Error(all)
	}
	if all := strange(append(deeds, Deed{Kind: kindRead, Key: "c", Outcome: refused, Status: 500})); len(all) != 1 {
		t.Errorf("found %q", all)
	}
}
