package raftfsm

import (
	"cmp"
	"slices"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

const (
	// maxVoters is the most nodes that vote. Each more makes every commit wait for more disks.
	maxVoters = 5

	// keptVoters is what the voters never shrink below while there are that many nodes: with fewer, less than
	// two disks hold each acknowledgement.
	keptVoters = 3

	// deadAfter is how long a voter is silent before another takes its place. A node that merely restarts its
	// daemon is back sooner.
	deadAfter = 15 * time.Second
)

// candidate is a member as the choice of voters sees it.
type candidate struct {
	id      cluster.NodeID
	zone    string
	pin     cluster.VoterPreference
	voter   bool
	leader  bool
	healthy bool          // answers, and its log is near the end
	stable  bool          // healthy for long enough to be trusted with a vote
	since   time.Duration // how long healthy has been what it is
}

// usable tells whether the candidate should count as a voter now or soon.
func (c candidate) usable() bool {
	if c.voter {
		return c.healthy || c.since < deadAfter
	}
	return c.healthy && c.stable
}

// decision is how the voters should change next.
type decision struct {
	promote []cluster.NodeID
	demote  []cluster.NodeID // one at most
	leader  cluster.NodeID   // "": stays
}

// chooseVoters decides who gets and who loses a vote. It never takes a vote whose loss would leave too few
// healthy voters, never the leader's own, and never changes anything because of a short silence.
func chooseVoters(all []candidate) decision {
	chosen := pick(all, wantedVoters(all))
	var d decision
	for _, c := range chosen {
		if !c.voter && c.healthy {
			d.promote = append(d.promote, c.id)
		}
	}
	surplus := slices.DeleteFunc(slices.Clone(all), func(c candidate) bool {
		return !c.voter || slices.ContainsFunc(chosen, func(o candidate) bool { return o.id == c.id })
	})
	// The dead first: they count in the majority and bring nothing to it.
	slices.SortFunc(surplus, func(a, b candidate) int {
		return cmp.Or(compareBool(b.healthy, a.healthy), cmp.Compare(a.id, b.id))
	})
	for _, c := range surplus {
		if c.leader {
			d.leader = successor(chosen)
			continue
		}
		if d.demote == nil && safeWithout(all, c.id) {
			d.demote = []cluster.NodeID{c.id}
		}
	}
	return d
}

// wantedVoters is how many voters there should be: an odd number, see the package comment.
func wantedVoters(all []candidate) int {
	known, usable := 0, 0
	for _, c := range all {
		if c.pin == cluster.VoterNever {
			continue
		}
		known++
		if c.usable() || c.healthy {
			usable++
		}
	}
	odd := func(n int) int { return max(1, n-1+n%2) }
	return max(odd(min(usable, maxVoters)), odd(min(known, keptVoters)))
}

// pick chooses n voters, best first. Fewer come back when there are not enough that may vote.
func pick(all []candidate, n int) []candidate {
	pool := slices.DeleteFunc(slices.Clone(all), func(c candidate) bool {
		return c.pin == cluster.VoterNever || !c.voter && !c.usable()
	})
	var chosen []candidate
	for len(chosen) < n && len(pool) > 0 {
		inZone := func(c candidate) (n int) {
			for _, o := range chosen {
				if o.zone == c.zone {
					n++
				}
			}
			return n
		}
		best := slices.MinFunc(pool, func(a, b candidate) int {
			return cmp.Or(
				compareBool(a.usable(), b.usable()),
				compareBool(a.pin == cluster.VoterPrefer, b.pin == cluster.VoterPrefer),
				compareBool(a.leader, b.leader),
				cmp.Compare(inZone(a), inZone(b)),
				compareBool(a.voter, b.voter),
				cmp.Compare(a.id, b.id),
			)
		})
		chosen = append(chosen, best)
		pool = slices.DeleteFunc(pool, func(c candidate) bool { return c.id == best.id })
	}
	return chosen
}

// successor is who should lead in place of a leader that should not vote; "" when nobody can yet.
func successor(chosen []candidate) cluster.NodeID {
	for _, c := range chosen {
		if c.voter && c.healthy {
			return c.id
		}
	}
	return ""
}

// safeWithout tells whether the voters other than id have a healthy majority among themselves.
func safeWithout(all []candidate, id cluster.NodeID) bool {
	voters, healthy := 0, 0
	for _, c := range all {
		if !c.voter || c.id == id {
			continue
		}
		voters++
		if c.healthy {
			healthy++
		}
	}
	return healthy >= voters/2+1
}

// compareBool orders true before false.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}
