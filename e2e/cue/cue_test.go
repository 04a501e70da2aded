package cue

import (
	"fmt"
	"slices"
	"testing"
)

// rehearsed is what a rehearsal may have heard: deeds that come by some places, some of them more than once.
func rehearsed() []Cue {
	counts := map[Cue]int{}
	for d := range 20 {
		deed := fmt.Sprintf("deed %d", d)
		for p := range 5 {
			counts[Cue{Deed: deed, Point: fmt.Sprintf("place %d", p), Side: Home}] = 1 + (d+p)%(MaxHits+3)
		}
		counts[Cue{Deed: deed, Point: BehindCommits + "committed", Side: Either}] = 1
	}
	return Heard(counts)
}

// Each time that a place was come by is a cue of its own, always in the same order.
func TestHeard_CountsEveryTime(t *testing.T) {
	all := rehearsed()
	if again := rehearsed(); !slices.Equal(all, again) {
		t.Error("the order is another one the second time")
	}
	hits := map[Cue]int{}
	for _, c := range all {
		hit := c.Hit
		c.Hit = 0
		if hits[c]++; hit != hits[c] {
			t.Fatalf("%v comes as number %d", c, hits[c])
		}
	}
	if n := hits[Cue{Deed: "deed 2", Point: "place 3", Side: Home}]; n != 6 {
		t.Errorf("6 times became %d", n)
	}
}

// Every harm is done at every place, but for the leader's death where the leader comes by, and for what is repeated without end.
func TestAll_EveryHarmAtEveryPlace(t *testing.T) {
	harms := []Harm{"kill", Leader, "error"}
	all := All(rehearsed(), harms...)
	for _, c := range rehearsed() {
		for _, h := range harms {
			c.Harm = h
			want := c.Hit <= MaxHits && (h != Leader || c.Point != BehindCommits+"committed")
			if slices.Contains(all, c) != want {
				t.Errorf("%s: played is %t", c, !want)
			}
		}
	}
}

// The order is the seed's, whatever order they come in, and each is still there once.
func TestShuffled_DependsOnTheSeedAlone(t *testing.T) {
	all := rehearsed()
	mixed := Shuffled(all, 7)
	backwards := slices.Clone(all)
	slices.Reverse(backwards)
	if !slices.Equal(mixed, Shuffled(backwards, 7)) {
		t.Error("it depends on the order in which they come")
	}
	if slices.Equal(mixed, Shuffled(all, 8)) || slices.Equal(mixed, all) {
		t.Error("it does not depend on the seed")
	}
	slices.SortFunc(mixed, compare)
	if !slices.Equal(mixed, all) {
		t.Error("some are lost, or come twice")
	}
}
