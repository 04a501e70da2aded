package raftfsm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kilonova/kilonova/cluster"
)

// crew reads candidates from words such as "1L", "2v", "3d", "4n@b!": a name of one character, then L leader,
// v voter, d voter that is dead, q voter that is quiet for a moment, n non-voter, y young non-voter that is not
// stable yet, x dead non-voter; @ and a zone; ! preferred, - never.
func crew(text string) []candidate {
	var all []candidate
	for w := range strings.FieldsSeq(text) {
		c := candidate{id: cluster.NodeID(w[:1]), zone: "a", pin: cluster.VoterAuto, since: time.Hour}
		switch w[1] {
		case 'L':
			c.voter, c.leader, c.healthy, c.stable = true, true, true, true
		case 'v':
			c.voter, c.healthy, c.stable = true, true, true
		case 'd':
			c.voter = true
		case 'q':
			c.voter, c.since = true, time.Second
		case 'n':
			c.healthy, c.stable = true, true
		case 'y':
			c.healthy = true
		}
		rest := w[2:]
		if z, ok := strings.CutPrefix(rest, "@"); ok {
			c.zone, rest = z[:1], z[1:]
		}
		switch rest {
		case "!":
			c.pin = cluster.VoterPrefer
		case "-":
			c.pin = cluster.VoterNever
		}
		all = append(all, c)
	}
	return all
}

func TestChooseVoters(t *testing.T) {
	for _, c := range []struct{ story, crew, want string }{
		{"one node alone", "1L", ""},
		{"two nodes: a second vote would only add a way to stop", "1L 2n", ""},
		{"the third node makes three voters at once", "1L 2n 3n", "+2 +3"},
		{"a young node waits", "1L 2n 3y", "+2"},
		{"four nodes keep three voters and a spare", "1L 2v 3v 4n", ""},
		{"five nodes vote", "1L 2v 3v 4n 5n", "+4 +5"},
		{"six nodes keep five voters", "1L 2v 3v 4v 5v 6n", ""},
		{"the sixth and seventh vote is one too many", "1L 2v 3v 4v 5v 6v 7v", "-6"},
		{"a dead voter gives way to a spare", "1L 2v 3d 4n", "+4 -3"},
		{"a quiet voter is waited for", "1L 2v 3q 4n", ""},
		{"a dead voter without a spare stays", "1L 2v 3d", ""},
		{"a dead spare is no spare", "1L 2v 3d 4x", ""},
		{"two of five are dead: three are enough and safer", "1L 2v 3v 4d 5d", "-4"},
		{"two of three are dead: nothing can be done", "1L 2d 3d 4n", "+4"},
		{"zones are spread", "1L@a 2v@a 3v@a 4n@b 5n@c 6n@c", "+4 +5 +6 -3"},
		{"three voters move to three zones", "1L@a 2v@a 3v@a 4n@b", "+4 -3"},
		{"a preferred node votes", "1L 2v 3v 4n!", "+4 -3"},
		{"a node pinned to never loses its vote", "1L 2v 3v- 4n", "+4 -3"},
		{"a leader that may not vote hands over first", "1L- 2v 3v 4n", "+4 >2"},
		{"the only node is the leader whatever is asked", "1L-", ""},
	} {
		t.Run(c.story, func(t *testing.T) {
			if got := show(chooseVoters(crew(c.crew))); got != c.want {
				t.Errorf("%s: got %q, want %q", c.crew, got, c.want)
			}
		})
	}
}

func show(d decision) string {
	var words []string
	for _, id := range d.promote {
		words = append(words, "+"+string(id))
	}
	slices.Sort(words)
	for _, id := range d.demote {
		words = append(words, "-"+string(id))
	}
	if d.leader != "" {
		words = append(words, ">"+string(d.leader))
	}
	return strings.Join(words, " ")
}

// Any cluster, carried out step by step as autopilot does: decisions never take the vote of the leader, never leave
// the voters without a healthy majority that they had, hand over only to a healthy voter, and come to rest.
func TestChooseVoters_AlwaysComesToRestSafely(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kinds := rapid.SliceOfN(rapid.SampledFrom(strings.Split("v d q n y x", " ")), 0, 9).Draw(t, "kinds")
		words := []string{"0L"}
		for i, k := range kinds {
			zone := rapid.SampledFrom([]string{"@a", "@b", "@c"}).Draw(t, "zone")
			pin := rapid.SampledFrom([]string{"", "", "!", "-"}).Draw(t, "pin")
			words = append(words, fmt.Sprintf("%d%s%s%s", i+1, k, zone, pin))
		}
		all := crew(strings.Join(words, " "))
		for range 20 {
			d := chooseVoters(all)
			if len(d.promote)+len(d.demote) == 0 && d.leader == "" {
				return
			}
			step(t, all, d)
		}
		t.Fatalf("%v: the votes never come to rest", words)
	})
}

// step carries a decision out, in place.
func step(t *rapid.T, all []candidate, d decision) {
	before := majority(all)
	for i := range all {
		c := &all[i]
		if slices.Contains(d.demote, c.id) {
			if c.leader {
				t.Fatalf("the leader lost its vote")
			}
			c.voter = false
			c.stable = c.healthy
		}
	}
	if before && !majority(all) {
		t.Fatalf("too few healthy voters are left: %+v", all)
	}
	for i := range all {
		c := &all[i]
		if slices.Contains(d.promote, c.id) {
			if !c.healthy || c.pin == cluster.VoterNever {
				t.Fatalf("%s got a vote", c.id)
			}
			c.voter = true
		}
	}
	if d.leader == "" || len(d.promote)+len(d.demote) > 0 {
		return // autopilot hands over when nothing else is to be done
	}
	for i := range all {
		c := &all[i]
		c.leader = c.id == d.leader
		if c.leader && !(c.voter && c.healthy) {
			t.Fatalf("%s cannot lead", c.id)
		}
	}
}

func majority(all []candidate) bool { return safeWithout(all, "") }
