package node

import "testing"

// Memory is given back when nobody works and there is enough of it; the collector lets a small heap fill before it runs.
func TestPlanHeap_TrimsQuietNodesAndSparesSmallOnes(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		before, now heap
		want        heapPlan
	}{
		"after a login":                 {heap{allocated: 100 * mib}, heap{8 * mib, 50 * mib, 101 * mib}, heapPlan{600, true}},
		"while many log in":             {heap{allocated: 100 * mib}, heap{8 * mib, 50 * mib, 160 * mib}, heapPlan{600, false}},
		"nothing to gain":               {heap{allocated: 100 * mib}, heap{8 * mib, 12 * mib, 101 * mib}, heapPlan{600, false}},
		"a large state, little to gain": {heap{allocated: 900 * mib}, heap{400 * mib, 450 * mib, 901 * mib}, heapPlan{100, false}},
		"a large state, much to gain":   {heap{allocated: 900 * mib}, heap{400 * mib, 800 * mib, 901 * mib}, heapPlan{100, true}},
		"before the first collection":   {heap{}, heap{0, 3 * mib, 2 * mib}, heapPlan{1200, false}},
		"figures that do not fit":       {heap{}, heap{9 * mib, 3 * mib, 2 * mib}, heapPlan{533, false}},
	} {
		if got := planHeap(c.before, c.now); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// The figures that the plan is made from are there in the Go that builds the program.
func TestReadHeap_KnowsTheRuntime(t *testing.T) {
	if h := readHeap(); h.held == 0 || h.allocated == 0 {
		t.Errorf("readHeap = %+v", h)
	}
}
