package e2e

import (
	"fmt"
	"slices"
	"testing"
)

// rehearsed is what a rehearsal may have heard: every deed comes by some places, some of them more than once.
func rehearsed() []cue {
	var all []cue
	for i, d := range deeds() {
		for at := range 5 + i {
			for hit := range 1 + at%(maxHits+2) {
				all = append(all, cue{deed: d.name, point: fmt.Sprintf("place/%d", at), side: home, hit: hit + 1})
			}
		}
		all = append(all, cue{deed: d.name, point: behindCommits + "committed", side: either, hit: 1})
	}
	return all
}

// Everybody dies at every place. The leader does not where it is the one who comes by, and nobody does where something is repeated without end.
func TestWhatCanGoWrong_EveryHarmAtEveryPlace(t *testing.T) {
	all := whatCanGoWrong(rehearsed())
	for _, c := range rehearsed() {
		for _, h := range []harm{daemon, libvirtd, leader} {
			c.harm = h
			want := c.hit <= maxHits && (h != leader || c.point != behindCommits+"committed")
			if slices.Contains(all, c) != want {
				t.Errorf("%s: played is %t", c, !want)
			}
		}
	}
}

// All are dealt, once, and no more guests are in the air at the same time than nodes let fly. A part has each deed and each harm.
func TestWaves_DealAllPlaces(t *testing.T) {
	all := whatCanGoWrong(rehearsed())
	seen := map[cue]int{}
	for _, group := range waves(all, castSize, 7) {
		inAir := 0
		for _, c := range group {
			seen[c]++
			if c.deed == liveMigrate {
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
		deedsOf, harmsOf := map[string]bool{}, map[harm]bool{}
		part := oneOfEachDeed(all, seed)
		for _, c := range part {
			deedsOf[c.deed], harmsOf[c.harm] = true, true
		}
		if len(part) != len(deeds()) || len(deedsOf) != len(part) || len(harmsOf) != 3 || !slices.Equal(part, oneOfEachDeed(all, seed)) {
			t.Errorf("seed %d leaves %v", seed, part)
		}
	}
}
