package node

import (
	"strings"
	"testing"
)

// A disk is short of room below the bound, and what is said names it and what is left.
func TestTooLittle_BelowTheBound(t *testing.T) {
	if why := tooLittle(lowSpace, "/d"); why != "" {
		t.Errorf("at the bound: %q", why)
	}
	if why := tooLittle(lowSpace-1, "/d"); !strings.Contains(why, "/d is nearly full: 63 MiB") {
		t.Errorf("below it: %q", why)
	}
	if why := (space{"/nowhere"}).shortage(); why != "" {
		t.Errorf("of a directory that is not there: %q", why)
	}
}
