package cluster

import "testing"

// A server is locked and unlocked while it is resized. Both are told among its actions, without steps, as Nova has it, and the resize
// goes on and ends as if nothing had been.
func TestLock_IsAnActionAndDisturbsNone(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.active("a")
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpResize, Flavor: larger()})
	locked, open := "owner", ""
	by := By{Request: "req-lock", User: root, Project: home}
	w.do(&UpdateInstance{ID: "a", Locked: &locked, By: &by})
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
	w.says("a", PowerShutdown)
	w.do(&UpdateInstance{ID: "a", Locked: &open, By: &by})
	w.advance("a", AdvanceOperation{Done: true})
	w.says("a", PowerRunning)
	const want = "create: compute__do_build_and_run_instance=Success\n" +
		"resize: compute_prep_resize=Success compute_finish_resize=Success\nlock:\nunlock:\n"
	if got := w.actions("a"); got != want {
		t.Errorf("the actions are\n%swant\n%s", got, want)
	}
	if a := last(w.s.View().Actions("a")); a.Request != by.Request || a.User != root || a.Project != home || a.Message != "" {
		t.Errorf("the last one is %+v", a)
	}
}
