package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kilonova/kilonova/e2e/cue"
)

// rehearsed is what a rehearsal may have heard: every deed comes by some places, some of them more than once.
func rehearsed() []cue.Cue {
	var all []cue.Cue
	for i, d := range deeds() {
		for at := range 5 + i {
			for hit := range 1 + at%(cue.MaxHits+2) {
				all = append(all, cue.Cue{Deed: d.name, Point: fmt.Sprintf("place/%d", at), Side: cue.Home, Hit: hit + 1})
			}
		}
		all = append(all, cue.Cue{Deed: d.name, Point: cue.BehindCommits + "committed", Side: cue.Either, Hit: 1})
	}
	return all
}

// All are dealt, once, and no more guests are in the air at the same time than nodes let fly. A part has each deed and each harm.
func TestWaves_DealAllPlaces(t *testing.T) {
	all := cue.All(rehearsed(), harms...)
	seen := map[cue.Cue]int{}
	for _, group := range waves(all, castSize, 7) {
		inAir := 0
		for _, c := range group {
			seen[c]++
			if c.Deed == liveMigrate {
				inAir++
			}
		}
		if len(group) == 0 || len(group) > castSize || inAir > mostInAir {
			t.Errorf("%d at the same time, %d of them in the air", len(group), inAir)
		}
	}
	for _, c := range all {
		if seen[c] != 1 {
			t.Errorf("%s is played %d times", c, seen[c])
		}
	}
	for seed := range uint64(20) {
		deedsOf, harmsOf := map[string]bool{}, map[cue.Harm]bool{}
		part := oneOfEachDeed(all, seed)
		for _, c := range part {
			deedsOf[c.Deed], harmsOf[c.Harm] = true, true
		}
		if len(part) != len(deeds()) || len(deedsOf) != len(part) || len(harmsOf) != 3 || !slices.Equal(part, oneOfEachDeed(all, seed)) {
			t.Errorf("seed %d leaves %v", seed, part)
		}
	}
}
