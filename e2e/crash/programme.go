package crash

import (
	"cmp"
	"slices"

	"github.com/kilonova/kilonova/e2e/cue"
)

const (
	castSize = 12 // plays at the same time
	fewer    = 3  // when it is tried again what the others did not let happen
)

// programme gives everything that can go wrong at the places that were heard of in rehearsals.
func programme(heard []cue.Cue) []cue.Cue { return cue.All(heard, kill, cue.Leader, failing) }

// kind is what two cues have in common of which one is enough: the daemon killed at a place, or anything else during a deed.
func kind(c cue.Cue) cue.Cue {
	if c.Harm == kill {
		return cue.Cue{Point: c.Point, Harm: kill}
	}
	return cue.Cue{Deed: c.Deed}
}

// instead gives, for each kind that was missed, one that was not tried yet; the missed one itself when there is none.
func instead(missed, all []cue.Cue, tried map[cue.Cue]bool, seed uint64) []cue.Cue {
	order := cue.Shuffled(all, seed)
	var next []cue.Cue
	for _, m := range missed {
		i := slices.IndexFunc(order, func(c cue.Cue) bool { return c.Hit == 1 && kind(c) == kind(m) && !tried[c] })
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
func representative(all []cue.Cue, seed uint64) []cue.Cue {
	order := cue.Shuffled(all, seed)
	seen := map[cue.Cue]bool{}
	chosen := map[cue.Cue]bool{}
	for _, c := range order {
		if c.Hit > 1 {
			continue
		}
		if k := kind(c); !seen[k] {
			seen[k], chosen[c] = true, true
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(c cue.Cue) bool { return !chosen[c] })
}

// lot is what plays of the same wave have in common.
type lot struct {
	name string
	most int // in a wave
}

// waves deals cues into groups of at most size that are played at the same time, each from one lot.
func waves(all []cue.Cue, size int, seed uint64, of func(deed string) lot) [][]cue.Cue {
	order := cue.Shuffled(all, seed)
	slices.SortStableFunc(order, func(a, b cue.Cue) int { return cmp.Compare(of(a.Deed).name, of(b.Deed).name) })
	var groups [][]cue.Cue
	for len(order) > 0 {
		first := of(order[0].Deed)
		n := 1
		for n < min(size, first.most, len(order)) && of(order[n].Deed) == first {
			n++
		}
		groups = append(groups, order[:n])
		order = order[n:]
	}
	return groups
}
