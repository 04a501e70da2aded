package cue

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

const (
	// MaxHits is how often a place may be come by: one that is come by more often is one at which something is repeated.
	MaxHits = 4

	// BehindCommits begins the places that only the leader comes by.
	BehindCommits = "propose/"
)

// Harm is what happens at a place.
type Harm string

// The harms that mean the same to everybody.
const (
	None   Harm = ""       // nothing: it is a rehearsal
	Leader Harm = "leader" // the leader is killed while the daemon that comes by stands still
)

// Side is where a place is come by.
type Side string

// The sides.
const (
	Home   Side = "home" // at the node that had the guest when its operation began
	Away   Side = "away" // at another
	Either Side = "any"
)

// Cue says what goes wrong during a deed.
type Cue struct {
	Deed  string
	Point string
	Side  Side
	Hit   int // at which time that the place is come by, counted from 1
	Harm  Harm
}

// String is what a cue is called.
func (c Cue) String() string {
	if c.Harm == None {
		return c.Deed
	}
	return fmt.Sprintf("%s: %s %d*%s at %s", c.Deed, c.Harm, c.Hit, c.Point, c.Side)
}

// Heard gives a cue without harm for each time that a place was come by, in a fixed order. The cues that are counted have no Hit.
func Heard(counts map[Cue]int) []Cue {
	var all []Cue
	for c, n := range counts {
		for i := range n {
			c.Hit = i + 1
			all = append(all, c)
		}
	}
	slices.SortFunc(all, compare)
	return all
}

// All gives every harm at every place that was heard of. The leader is not killed where only the leader comes by: whoever is harmed there is the leader.
func All(heard []Cue, harms ...Harm) []Cue {
	var all []Cue
	for _, c := range heard {
		if c.Hit > MaxHits {
			continue
		}
		for _, h := range harms {
			if h == Leader && strings.HasPrefix(c.Point, BehindCommits) {
				continue
			}
			c.Harm = h
			all = append(all, c)
		}
	}
	return all
}

// Shuffled gives cues in an order that depends on the seed alone, not on that in which they come.
func Shuffled(cues []Cue, seed uint64) []Cue {
	order := slices.SortedFunc(slices.Values(cues), compare)
	r := rand.New(rand.NewPCG(seed, seed))
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	return order
}

func compare(a, b Cue) int {
	return cmp.Or(cmp.Compare(a.Deed, b.Deed), cmp.Compare(a.Point, b.Point), cmp.Compare(a.Side, b.Side), cmp.Compare(a.Hit, b.Hit), cmp.Compare(a.Harm, b.Harm))
}
