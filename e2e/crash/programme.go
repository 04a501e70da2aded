package crash

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
)

const (
	castSize = 12 // plays at the same time
	fewer    = 3  // when it is tried again what the others did not let happen
	maxHits  = 4  // a place that is come by more often is one at which something is repeated
)

// behindCommits is where places stand that only the leader comes by.
const behindCommits = "propose/"

// programme gives everything that can go wrong at the places that were heard of in rehearsals.
func programme(heard []cue) []cue {
	var all []cue
	for _, c := range heard {
		if c.hit > maxHits {
			continue
		}
		for _, h := range []harm{kill, leader, failing} {
			if h == leader && strings.HasPrefix(c.point, behindCommits) {
				continue // it is the leader who is killed there
			}
			c.harm = h
			all = append(all, c)
		}
	}
	return all
}

// kind is what two cues have in common of which one is enough: the daemon killed at a place, or anything else during a deed.
func (c cue) kind() cue {
	if c.harm == kill {
		return cue{point: c.point, harm: kill}
	}
	return cue{deed: c.deed}
}

// instead gives, for each kind that was missed, one that was not tried yet; the missed one itself when there is none.
func instead(missed, all []cue, tried map[cue]bool, seed uint64) []cue {
	order := slices.Clone(all)
	shuffle(order, seed)
	var next []cue
	for _, m := range missed {
		i := slices.IndexFunc(order, func(c cue) bool { return c.hit == 1 && c.kind() == m.kind() && !tried[c] })
		if i < 0 {
			next = append(next, m)
			continue
		}
		tried[order[i]] = true
		next = append(next, order[i])
	}
	return next
}

// representative leaves of a programme, in its order: the daemon killed once at every place, and for each deed the leader killed, or an error,
// somewhere. Which ones depends on the seed alone.
func representative(all []cue, seed uint64) []cue {
	order := slices.Clone(all)
	shuffle(order, seed)
	seen := map[cue]bool{}
	chosen := map[cue]bool{}
	for _, c := range order {
		if c.hit > 1 {
			continue
		}
		if k := c.kind(); !seen[k] {
			seen[k], chosen[c] = true, true
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(c cue) bool { return !chosen[c] })
}

// lot is what plays of the same wave have in common.
type lot struct {
	name string
	most int // in a wave
}

// waves deals cues into groups of at most size that are played at the same time, each from one lot.
func waves(all []cue, size int, seed uint64, of func(deed string) lot) [][]cue {
	order := slices.Clone(all)
	shuffle(order, seed)
	slices.SortStableFunc(order, func(a, b cue) int { return cmp.Compare(of(a.deed).name, of(b.deed).name) })
	var groups [][]cue
	for len(order) > 0 {
		first := of(order[0].deed)
		n := 1
		for n < min(size, first.most, len(order)) && of(order[n].deed) == first {
			n++
		}
		groups = append(groups, order[:n])
		order = order[n:]
	}
	return groups
}

func shuffle(cues []cue, seed uint64) {
	r := rand.New(rand.NewPCG(seed, seed))
	r.Shuffle(len(cues), func(i, j int) { cues[i], cues[j] = cues[j], cues[i] })
}
