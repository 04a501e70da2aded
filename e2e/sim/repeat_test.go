package sim

import (
	"strings"
	"testing"
)

// A failing seed is worth something only if it fails again. Two runs of one seed have to do the same things at the same
// instants, and end in the same state, byte for byte.
func TestRun_TheSameSeedGivesTheSameHistory(t *testing.T) {
	for seed := uint64(1); seed <= 60; seed++ {
		var traces [2]strings.Builder
		var reports [2]Report
		for i := range traces {
			reports[i] = simulate(t, Config{Seed: seed, Rounds: 1, Trace: &traces[i]})
		}
		if reports[0] == reports[1] {
			continue
		}
		one, two := strings.Split(traces[0].String(), "\n"), strings.Split(traces[1].String(), "\n")
		for i := range min(len(one), len(two)) {
			if one[i] != two[i] {
				t.Errorf("seed %d parts after\n%s\nonce:  %s\ntwice: %s", seed, strings.Join(one[max(0, i-10):i], "\n"),
					strings.Join(one[i:min(i+5, len(one))], "\n"), strings.Join(two[i:min(i+5, len(two))], "\n"))
				break
			}
		}
		t.Errorf("seed %d\nonce:  %+v\ntwice: %+v", seed, reports[0], reports[1])
	}
}
