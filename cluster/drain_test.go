package cluster

import (
	"strings"
	"testing"
)

// What a node that is drained can do about an instance follows from the instance's state alone.
func TestWayOut(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Instance
		want OperationKind
	}{
		{"running", Instance{Status: Status{VM: VMActive}}, OpLive},
		{"paused", Instance{Status: Status{VM: VMPaused}}, OpLive},
		{"stopped", Instance{Status: Status{VM: VMStopped}}, OpMigrate},
		{"suspended", Instance{Status: Status{VM: VMSuspended}}, ""},
		{"in error", Instance{Status: Status{VM: VMError}}, ""},
		{"rebooting", Instance{Status: Status{VM: VMActive, Task: TaskRebooting}}, ""},
		{"moving", Instance{Status: Status{VM: VMActive}, Op: &Operation{Move: &Move{}}}, ""},
		{"waiting for its user", Instance{Status: Status{VM: VMResized}, Op: &Operation{Step: StepWaiting, Move: &Move{}}}, ""},
		{"rescued", Instance{Status: Status{VM: VMRescued}}, ""},
		{"deleted softly", Instance{Status: Status{VM: VMSoftDeleted}}, ""},
		{"captured", Instance{Status: Status{VM: VMActive}, Op: &Operation{Capture: &Capture{}}}, ""},
		{"going", Instance{Status: Status{VM: VMActive}, Wanted: WantDeleted}, ""},
	} {
		if got, why := c.in.WayOut(); got != c.want || (got == "") != (why != "") {
			t.Errorf("%s: %q, %q; want %q", c.name, got, why, c.want)
		}
	}
	waits := Instance{Node: "n2", Op: &Operation{Step: StepWaiting, Move: &Move{From: "n1", To: "n2"}}}
	if !waits.Leftover("n1") || waits.Leftover("n2") {
		t.Error("the disks that wait for a word are on n1")
	}
	if waits.OnItsWay() {
		t.Error("what waits for its user is on its way")
	}
	if waits.Op.Move.Drain = true; !waits.OnItsWay() {
		t.Error("what the leader confirms waits for its user")
	}
}

// An instance that was to leave its node and found no room is there with the reason, until something else is done to it.
func TestCameBack_SaysWhyUntilSomethingElseIsDone(t *testing.T) {
	w := newTown(t)
	id := w.active("i1").ID
	if why := w.s.View().CameBack(id); why != "" {
		t.Errorf("it never left, and came back: %q", why)
	}
	w.do(&BeginMove{ID: id, Operation: "op-1", What: OpLive, Drain: true, By: operator})
	w.do(&PlaceMove{ID: id, Operation: "op-1", Explanation: Explanation{Reasons: []string{"n2 is full"}}})
	if why := w.s.View().CameBack(id); !strings.Contains(why, "n2 is full") {
		t.Errorf("it came back because of %q", why)
	}
	w.do(&SetPower{ID: id, Wanted: WantOff, Request: "req-stop"})
	if why := w.s.View().CameBack(id); why != "" {
		t.Errorf("it was stopped since, and still came back: %q", why)
	}
}
