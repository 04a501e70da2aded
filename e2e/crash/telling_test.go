package crash

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Two nodes logged about two servers. What is told of a fault is the last that both said about its server, in the order of time, and not too much.
func TestTell_GivesWhatTheNodesSaidOfTheServer(t *testing.T) {
	dir := t.TempDir()
	town := &town{}
	for name, log := range map[string]string{
		"n1": strings.Repeat("time=00 msg=old id=4cef\n", 50) + "time=10 msg=first id=4cef\ntime=11 msg=other id=b\ntime=30 msg=third id=4cef\nkilled at failpoint x@4cef\n",
		"n2": "time=20 msg=second id=4cef " + strings.Repeat("y", 1000) + "\ngarbage\n",
	} {
		town.peers = append(town.peers, &peer{name: name, dir: filepath.Join(dir, name)})
		if err := os.WriteFile(filepath.Join(dir, name+".log"), []byte(log), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lines := town.logged("4cef")
	if len(lines) != toldLines {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	for i, want := range []string{"10 n1 msg=first id=4cef", "20 n2 msg=second id=4cef yyy", "30 n1 msg=third id=4cef", "30 n1 killed at failpoint x@4cef"} {
		if got := lines[toldLines-4+i]; !strings.HasPrefix(got, want) || len(got) > toldLength+len("...") {
			t.Errorf("line %d is %q, want %q", i, got, want)
		}
	}
	var faults []fault
	for range 20 {
		faults = append(faults, fault{"it was lost", "4cef"})
	}
	told := town.tell(faults)
	if !strings.HasPrefix(told, "20 faults\n1. it was lost\n   00 n1") || strings.Count(told, "it was lost") != toldFaults {
		t.Errorf("told %q", told)
	}
}
