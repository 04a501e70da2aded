package crash

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kilonova/kilonova/e2e/cue"
)

// rehearsed is what a rehearsal may have heard: deeds that come by some places.
func rehearsed() []cue.Cue {
	var all []cue.Cue
	for d := range 20 {
		for p := range 5 {
			for hit := range 1 + (d+p)%7 {
				all = append(all, cue.Cue{Deed: fmt.Sprintf("deed %d", d), Point: fmt.Sprintf("place %d", (d+p)%8), Side: cue.Home, Hit: hit + 1})
			}
		}
		all = append(all, cue.Cue{Deed: fmt.Sprintf("deed %d", d), Point: cue.BehindCommits + "committed", Side: cue.Either, Hit: 1})
	}
	return all
}

// The representative part is the same for the same seed, and leaves out neither a place nor a deed.
func TestRepresentative_LeavesNothingOut(t *testing.T) {
	all := programme(rehearsed())
	for seed := range uint64(20) {
		part := representative(all, seed)
		if !slices.Equal(part, representative(all, seed)) {
			t.Fatalf("seed %d gives two parts", seed)
		}
		killed, disturbed := map[string]bool{}, map[string]bool{}
		for _, c := range part {
			if c.Harm == kill {
				killed[c.Point] = true
			} else {
				disturbed[c.Deed] = true
			}
		}
		for _, c := range all {
			if !killed[c.Point] || !disturbed[c.Deed] {
				t.Fatalf("seed %d leaves out %s", seed, c)
			}
		}
		if len(part) > 40 {
			t.Errorf("seed %d: %d of %d", seed, len(part), len(all))
		}
	}
}

// All are dealt, once, each among those of its lot and no more than these bear.
func TestWaves_DealAll(t *testing.T) {
	all := programme(rehearsed())
	of := func(deed string) lot {
		switch deed {
		case "deed 3", "deed 7":
			return lot{"lost", castSize}
		case "deed 9":
			return lot{"narrow", 2}
		}
		return lot{"", castSize}
	}
	seen := map[cue.Cue]int{}
	for _, group := range waves(all, castSize, 5, of) {
		if len(group) > of(group[0].Deed).most {
			t.Errorf("%d at a time: %s", len(group), group[0])
		}
		for _, c := range group {
			seen[c]++
			if of(c.Deed) != of(group[0].Deed) {
				t.Errorf("%s plays with %s", c, group[0])
			}
		}
	}
	for _, c := range all {
		if seen[c] != 1 {
			t.Errorf("%s is played %d times", c, seen[c])
		}
	}
}

// A place was not come by during one deed. Another one is tried, and then one more.
func TestInstead_TriesAnotherOfTheKind(t *testing.T) {
	all := programme(rehearsed())
	missed := []cue.Cue{{Deed: "deed 1", Point: "place 1", Side: cue.Home, Hit: 1, Harm: kill}}
	tried := map[cue.Cue]bool{missed[0]: true}
	for range 2 {
		next := instead(missed, all, tried, 1)
		if len(next) != 1 || kind(next[0]) != kind(missed[0]) || next[0] == missed[0] || next[0].Hit != 1 {
			t.Fatalf("instead of %v it gives %v", missed, next)
		}
		missed = next
	}
	last := []cue.Cue{{Deed: "lonely", Harm: cue.Leader, Hit: 1}}
	if next := instead(last, all, tried, 1); !slices.Equal(next, last) {
		t.Errorf("there is no other, and it gives %v", next)
	}
}
