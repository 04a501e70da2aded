package main

import (
	"testing"

	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// What is lost with a node is named line by line, and nothing is said where nothing is.
func TestRemovalText_NamesWhatIsLost(t *testing.T) {
	if got := removalText("n1", &clusterapi.Removal{}); got != "" {
		t.Errorf("of an empty node: %q", got)
	}
	got := removalText("n1", &clusterapi.Removal{
		GoOn:    []clusterapi.Parted{{ID: "i1", Name: "web"}},
		Lost:    []clusterapi.Parted{{ID: "i2", Name: "db", Why: "its root disk is on its node alone"}},
		Copies:  []clusterapi.Parted{{ID: "i3", Name: "mail"}},
		Volumes: []string{"v1", "v2"},
	})
	const want = `Servers that go on elsewhere without n1:
  web (i1)
Servers that are lost with n1, and end in error:
  db (i2): its root disk is on its node alone
Servers on other nodes that lose the current copy of their disk:
  mail (i3)
Volumes that are lost with n1, and their snapshots:
  v1
  v2
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A drain says how many copies are left beside the instances.
func TestDrainLine_TellsOfCopies(t *testing.T) {
	for want, d := range map[string]clusterapi.Drain{
		"1 left, 1 on their way":                                                           {Left: 1, Moving: 1},
		"0 left, 0 on their way; 3 copies of disks are to leave":                           {Copies: 3},
		"2 left, 1 on their way, 1 cannot leave; 3 copies of disks are to leave, 1 cannot": {Left: 2, Moving: 1, Stuck: 1, Copies: 3, CopiesStuck: 1},
	} {
		if got := drainLine(&d); got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
}
