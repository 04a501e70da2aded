package main

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"
)

func TestCommand_RefusesWhatItCannotDo(t *testing.T) {
	for want, args := range map[string][]string{
		"unknown argument":  {"five"},
		"must be above 0":   {"--runs", "0"},
		`no figure "speed"`: {"--only", "idle,speed"},
		"find the kilonova": {"--kilonova", "testdata/absent"},
	} {
		if err := command(context.Background(), args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("command(%v) = %v, want an error about %q", args, err, want)
		}
	}
}

// A goal is judged by the median, whichever way it points, and what has no goal is never missed.
func TestFigure_IsMetByItsMedian(t *testing.T) {
	for name, c := range map[string]struct {
		f    figure
		want string
	}{
		"one bad run":       {figure{Values: []float64{1, 1, 9}, Limit: 2}, "met"},
		"two bad runs":      {figure{Values: []float64{1, 9, 9}, Limit: 2}, "MISSED"},
		"enough":            {figure{Values: []float64{1000}, Limit: 1000, AtLeast: true}, "met"},
		"not enough":        {figure{Values: []float64{999}, Limit: 1000, AtLeast: true}, "MISSED"},
		"no goal":           {figure{Values: []float64{999}}, ""},
		"nothing was found": {figure{Limit: 1}, "not measured"},
	} {
		if got := c.f.verdict(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestQuantile_TakesOneOfTheValues(t *testing.T) {
	values := []float64{5, 1, 3, 2, 4}
	for q, want := range map[float64]float64{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %v = %v, want %v", q, got, want)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

// The lines are those of "go test -bench", where the name ends in the number of processors.
func TestParseBenchmarks_GathersTheRuns(t *testing.T) {
	got := parseBenchmarks(`goos: linux
BenchmarkDecide/spread/nodes=1000-2   	  200000	       612.5 ns/op	         5.000 classes	       480.0 p50-ns	       0 B/op	       0 allocs/op
BenchmarkDecide/spread/nodes=1000-2   	  200000	       700 ns/op	       490.0 p50-ns
Benchmark
PASS`)
	one := got["BenchmarkDecide/spread/nodes=1000"]
	if len(got) != 1 || len(one["ns/op"]) != 2 || one["ns/op"][1] != 700 || one["p50-ns"][0] != 480 || len(one["allocs/op"]) != 1 {
		t.Errorf("parsed: %v", got)
	}
}

// The examples follow proc(5): the name of a process may hold brackets and blanks.
func TestParse_ReadsProc(t *testing.T) {
	used, err := parseProcess("42 (a ) b) S 1 42 42 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 9 0 1 2 3")
	if err != nil || used != 3*time.Second {
		t.Errorf("parseProcess = %v, %v; want 3s", used, err)
	}
	cpu, err := parseCPU("cpu  100 0 100 600 200 0 0 0 0 0\ncpu0 1 2 3\n")
	if err != nil || cpu.all != 10*time.Second || cpu.busy != 2*time.Second {
		t.Errorf("parseCPU = %+v, %v; want 2 s busy of 10 s", cpu, err)
	}
	for _, broken := range []string{"", "42", "42 (x) S 1", "42 (x) S 1 2 3 4 5 6 7 8 9 10 x y z"} {
		if _, err := parseProcess(broken); err == nil {
			t.Errorf("parseProcess(%q) takes it", broken)
		}
	}
	for _, broken := range []string{"", "cpu 1 2", "cpu0 1 2 3 4 5 6 7 8 9", "cpu a b c d e f g h"} {
		if _, err := parseCPU(broken); err == nil {
			t.Errorf("parseCPU(%q) takes it", broken)
		}
	}
}

func TestOthersShare_LeavesOutWhatIsOurs(t *testing.T) {
	from := cpuTimes{busy: 10 * time.Second, all: 100 * time.Second, ours: 4 * time.Second}
	to := cpuTimes{busy: 18 * time.Second, all: 110 * time.Second, ours: 9 * time.Second}
	if got := othersShare(from, to); math.Abs(got-0.3) > 1e-9 {
		t.Errorf("others had %v of the processors, want 0.3", got)
	}
	if got := othersShare(from, from); got != 0 {
		t.Errorf("in no time, others had %v", got)
	}
}

// The line is what a node writes at level debug; another server's does not count.
func TestTimeOfStart_FindsTheServersOwnLine(t *testing.T) {
	const log = `time=2026-11-23T05:18:00.100Z level=INFO msg=start instance=a epoch=1
time=2026-11-23T05:18:00.120Z level=DEBUG msg="tell the hypervisor to start" instance=b
time=2026-11-23T05:18:00.150Z level=DEBUG msg="tell the hypervisor to start" instance=a
`
	at, err := timeOfStart(log, "a")
	if want := time.Date(2026, 11, 23, 5, 18, 0, 150e6, time.UTC); err != nil || !at.Equal(want) {
		t.Errorf("timeOfStart = %v, %v; want %v", at, err, want)
	}
	if _, err := timeOfStart(log, "c"); err == nil {
		t.Error("a server that was never started has a time")
	}
}

// The table holds a line for each figure, with its goal and what happened on the machine.
func TestWriteTable_SaysGoalAndVerdict(t *testing.T) {
	var out strings.Builder
	writeTable(&out, []figure{{Name: "creates", Unit: "/s", Values: []float64{900, 1100, 1000}, Limit: 2000, AtLeast: true,
		During: machine{SyncMedian: 500 * time.Microsecond, SyncP99: 8 * time.Millisecond, Others: 0.25}}})
	for _, want := range []string{"creates", ">= 2000", "1000 /s", "900 to 1100", "MISSED", "0.500/8 ms", "25 %"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

// A node's log says how long its calls to libvirt took. What is looked for must be there, and other calls do not count.
func TestSumCalls_ReadsTheLog(t *testing.T) {
	const log = `time=x level=DEBUG msg="called libvirt" call="look up domain" took=1ms
time=x level=DEBUG msg="called libvirt" call="destroy domain" took=800.5ms
time=x level=DEBUG msg="called libvirt" call="create domain" took=1.5s
`
	if all, err := sumCalls(log, []string{"destroy domain", "create domain"}); err != nil || all != 2300500*time.Microsecond {
		t.Errorf("counted %v, %v", all, err)
	}
	for _, bad := range []string{"", "a msg=\"called libvirt\" call=\"create domain\" took=long\n"} {
		if _, err := sumCalls(bad, []string{"create domain"}); err == nil {
			t.Errorf("read %q", bad)
		}
	}
}
