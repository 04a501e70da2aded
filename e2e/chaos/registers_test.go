package chaos

import (
	"testing"
	"time"
)

// past builds the history of one server. Each deed lasts from one second to another.
type past []Deed

func (p past) with(kind, value string, o outcome, from, to int, saw *sight) past {
	return append(p, Deed{Kind: kind, Key: "s", Value: value, Outcome: o, Call: time.Duration(from) * time.Second, Return: time.Duration(to) * time.Second, Saw: saw})
}

func (p past) refused(kind string, status, from, to int) past {
	return append(p, Deed{Kind: kind, Key: "s", Outcome: refused, Status: status, Call: time.Duration(from) * time.Second, Return: time.Duration(to) * time.Second})
}

// begun is a server called "n" without a label.
func begun() past { return past{}.with(kindCreate, "n", done, 0, 1, nil) }

func shows(name, label string) *sight { return &sight{Name: name, Label: label} }

// Reads that overlap a write see either side of it; a write of which nobody knows is seen late, or never.
func TestDisordered_NothingIsFoundInAnOrder(t *testing.T) {
	for name, h := range map[string]past{
		"a read during a write sees what was":        begun().with(kindLabel, "x", done, 2, 5, nil).with(kindRead, "", done, 3, 4, shows("n", "")),
		"a read during a write sees what will be":    begun().with(kindLabel, "x", done, 2, 5, nil).with(kindRead, "", done, 3, 4, shows("n", "x")),
		"an unknown write is seen late":              begun().with(kindLabel, "x", unknown, 2, 3, nil).with(kindRead, "", done, 4, 5, shows("n", "")).with(kindRead, "", done, 6, 7, shows("n", "x")),
		"an unknown write is never seen":             begun().with(kindLabel, "x", unknown, 2, 3, nil).with(kindRead, "", done, 4, 5, shows("n", "")),
		"an unknown delete comes after all":          begun().with(kindDelete, "", unknown, 2, 3, nil).with(kindRead, "", done, 4, 5, shows("n", "")).refused(kindLabel, 404, 6, 7),
		"it is being deleted for a while":            begun().with(kindDelete, "", done, 2, 3, nil).with(kindRead, "", done, 4, 5, &sight{Deleting: true}).with(kindRead, "", done, 6, 7, &sight{Gone: true}),
		"a refusal changes nothing":                  begun().refused(kindLabel, 409, 2, 3).with(kindRead, "", done, 4, 5, shows("n", "")),
		"an unknown write comes to one that is gone": begun().with(kindLabel, "x", unknown, 2, 3, nil).with(kindDelete, "", done, 4, 5, nil).with(kindRead, "", done, 6, 7, &sight{Gone: true}),
	} {
		t.Run(name, func(t *testing.T) {
			if all := disordered(h); len(all) > 0 {
				t.Error(all)
			}
		})
	}
}

// Each planted mistake is one that a replicated store can make.
func TestDisordered_FindsEachPlantedMistake(t *testing.T) {
	for name, h := range map[string]past{
		"a read at another node is behind":               begun().with(kindLabel, "x", done, 2, 3, nil).with(kindRead, "", done, 4, 5, shows("n", "")),
		"a read goes back in time":                       begun().with(kindLabel, "x", unknown, 2, 3, nil).with(kindRead, "", done, 4, 5, shows("n", "x")).with(kindRead, "", done, 6, 7, shows("n", "")),
		"a write is acknowledged and lost":               begun().with(kindRename, "m", done, 2, 3, nil).with(kindLabel, "x", done, 4, 5, nil).with(kindRead, "", done, 6, 7, shows("n", "x")),
		"one of two writes at once undoes the other":     begun().with(kindRename, "m", done, 2, 5, nil).with(kindLabel, "x", done, 2, 5, nil).with(kindRead, "", done, 6, 7, shows("n", "x")),
		"a server is seen before its deletion, and gone": begun().with(kindRead, "", done, 2, 3, &sight{Gone: true}),
		"a deleted server comes back":                    begun().with(kindDelete, "", done, 2, 3, nil).with(kindRead, "", done, 4, 5, shows("n", "")),
		"one that is gone is seen again":                 begun().with(kindDelete, "", done, 2, 3, nil).with(kindRead, "", done, 4, 5, &sight{Gone: true}).with(kindRead, "", done, 6, 7, &sight{Deleting: true}),
		"a created server is not found elsewhere":        begun().refused(kindLabel, 404, 2, 3),
		"a value that nobody wrote":                      begun().with(kindRead, "", done, 2, 3, shows("n", "y")),
		"a write to what is gone is acknowledged":        begun().with(kindDelete, "", done, 2, 3, nil).with(kindRead, "", done, 4, 5, &sight{Gone: true}).with(kindLabel, "x", done, 6, 7, nil),
	} {
		t.Run(name, func(t *testing.T) {
			if all := disordered(h); len(all) != 1 {
				t.Errorf("found %q", all)
			}
		})
	}
}
