package chaos

import (
	"testing"

	"github.com/kilonova/kilonova/e2e/audit"
)

// Each host has what the cluster says. Then each mistake is made once, and found.
func TestStrays_FindWhatAHostHasWrong(t *testing.T) {
	servers := []audit.Server{{ID: "a", Status: "ACTIVE", Host: "n1"}, {ID: "p", Status: "PAUSED", Host: "n2"}, {ID: "o", Status: "SHUTOFF", Host: "n1"},
		{ID: "s", Status: "SHELVED_OFFLOADED"}, {ID: "e", Status: "ERROR"}}
	sound := []holding{{"n1", "a", 1, true}, {"n2", "p", 1, true}, {"n1", "o", 0, true}}
	if got := strays(servers, sound); len(got) != 0 {
		t.Errorf("of sound hosts: %q", got)
	}
	for name, held := range map[string][]holding{
		"it runs elsewhere, too":       append([]holding{{"n2", "a", 1, true}}, sound...),
		"its domain was left":          append([]holding{{"n2", "a", 0, true}}, sound...),
		"it runs and should not":       {sound[0], sound[1], {"n1", "o", 1, true}},
		"it does not run and should":   {{"n1", "a", 0, true}, sound[1], sound[2]},
		"there is nothing of it":       sound[1:],
		"it runs twice on its host":    {{"n1", "a", 2, true}, sound[1], sound[2]},
		"nobody knows it":              append([]holding{{"n1", "x", 1, false}}, sound...),
		"what was put away is there":   append([]holding{{"n1", "s", 0, true}}, sound...),
		"what has no place is there":   append([]holding{{"n1", "e", 0, true}}, sound...),
		"a paused one lost its QEMU":   {sound[0], {"n2", "p", 0, true}, sound[2]},
		"a deleted one's QEMU is left": append([]holding{{"n2", "d", 1, true}}, sound...),
	} {
		if got := strays(servers, held); len(got) != 1 {
			t.Errorf("%s: %q", name, got)
		}
	}
}
