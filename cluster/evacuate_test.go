package cluster

import "testing"

// flying is an instance that migrates live from n1 to n2 at the moment at which an operator gives up n1. n3 is there, too.
func flying(t *testing.T) *town {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.enrol("n3", "192.0.2.3")
	w.active("a")
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpLive})
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
	return w
}

func (w *town) giveUp(id InstanceID) {
	w.t.Helper()
	w.do(&BeginMove{ID: id, By: operator, Operation: "o9", What: OpEvacuate})
}

func (w *town) holds(when string, want bool) {
	w.t.Helper()
	if _, hold := w.instance("a").Desired(); hold != want {
		w.t.Fatalf("%s: hold is %t", when, hold)
	}
}

// The source of a live migration dies, and an operator gives it up. The guest had just arrived: it is the one that survives.
func TestEvacuate_AGuestThatHadArrivedSurvives(t *testing.T) {
	w := flying(t)
	w.giveUp("a")
	in := w.is("given up", "a", first, VMActive, TaskRebuilding, StepAsking)
	if in.Executor() != "n2" {
		t.Fatalf("%q is asked", in.Executor())
	}
	w.holds("asked", true)
	w.refuse(&BeginMove{ID: "a", By: operator, Operation: "o10", What: OpEvacuate}, Conflict, "in another operation")
	w.refuse(&ResetInstance{ID: "a", By: operator, State: VMActive}, Conflict, "has not said yet")
	w.advance("a", AdvanceOperation{Done: true})
	in = w.is("it is there", "a", "n2", VMActive, TaskNone, "")
	if in.Epoch != 2 || in.DiskEpoch() != 2 {
		t.Fatalf("epoch %d, disks of %d", in.Epoch, in.DiskEpoch())
	}
	w.gone("a", first)
	statuses := map[OperationKind]string{}
	for m := range w.s.View().Migrations() {
		statuses[m.Kind] = m.Status
	}
	if statuses[OpLive] != MigrationError || statuses[OpEvacuate] != MigrationCompleted {
		t.Errorf("the records say %v", statuses)
	}
}

// The guest had not arrived. Its destination clears what it had prepared before any node is looked for, and so before anything runs.
func TestEvacuate_AHalfReceivedGuestGoesBeforeANewOneIsBuilt(t *testing.T) {
	w := flying(t)
	w.giveUp("a")
	w.advance("a", AdvanceOperation{Error: "It has not arrived."})
	w.is("it is not there", "a", first, VMActive, TaskRebuilding, StepPlacing)
	w.refuse(&PlaceMove{ID: "a", Operation: "o9", Node: "n3"}, Stale, "until node n2 has cleared")
	w.gone("a", "n2")
	w.do(&PlaceMove{ID: "a", Operation: "o9", Node: "n3"})
	in := w.is("placed", "a", "n3", VMActive, TaskRebuilding, StepFinishing)
	w.holds("cleared", false)
	if in.Epoch != 3 {
		t.Fatalf("epoch %d: that of the attempt must not come again", in.Epoch)
	}
	w.says("a", PowerRunning)
	w.is("built", "a", "n3", VMActive, TaskNone, "")
}

// Between the word and the answer the instance is deleted, softly or for good. Both ends clear what they have; restored, it waits for
// the destination that has not answered.
func TestEvacuate_DeletedWhileTheDestinationIsAsked(t *testing.T) {
	w := flying(t)
	w.giveUp("a")
	w.do(&DeleteInstance{ID: "a"})
	w.gone("a", "n2")
	w.gone("a", first)
	if _, there := w.s.View().Instance("a"); there {
		t.Error("it is still there")
	}
	w = flying(t)
	w.giveUp("a")
	w.do(&DeleteInstance{ID: "a", Reclaim: w.now + 1<<50})
	w.do(&RestoreInstance{ID: "a", By: operator})
	w.holds("restored", true)
	w.gone("a", "n2")
	w.holds("cleared", false)
}

// The source of a live migration is deleted with its host dead: the deletion needs nobody's answer but the two hosts'.
func TestDelete_WhileItMigratesFromADeadNode(t *testing.T) {
	w := flying(t)
	w.do(&DeleteInstance{ID: "a"})
	w.gone("a", "n2")
	w.do(&ForgetInstance{ID: "a"})
	if _, there := w.s.View().Instance("a"); there {
		t.Error("it is still there")
	}
}

// One of the two nodes of a migration is removed for good. The guest is lost only if the other one has not got it.
func TestRemoveNode_InTheMiddleOfALiveMigration(t *testing.T) {
	t.Run("the source, and the guest had arrived", func(t *testing.T) {
		w := flying(t)
		w.do(&RemoveNode{ID: first, Force: true})
		w.is("asked", "a", "n2", VMActive, TaskMigrating, StepAsking)
		w.holds("asked", true)
		w.advance("a", AdvanceOperation{Done: true})
		w.is("it is there", "a", "n2", VMActive, TaskNone, "")
		if m := last(w.s.View().Migrations()); m.Status != MigrationCompleted || m.From != first {
			t.Errorf("the record says %+v", m)
		}
	})
	t.Run("the source, and the guest had not", func(t *testing.T) {
		w := flying(t)
		w.do(&RemoveNode{ID: first, Force: true})
		w.advance("a", AdvanceOperation{Error: "It has not arrived."})
		w.is("lost", "a", "", VMError, TaskNone, "")
		w.gone("a", "n2")
	})
	t.Run("both", func(t *testing.T) {
		w := flying(t)
		w.giveUp("a")
		w.do(&RemoveNode{ID: first, Force: true})
		w.do(&RemoveNode{ID: "n2", Force: true})
		w.is("lost", "a", "", VMError, TaskNone, "")
	})
	t.Run("the destination that is asked", func(t *testing.T) {
		w := flying(t)
		w.giveUp("a")
		w.do(&RemoveNode{ID: "n2", Force: true})
		w.is("goes on", "a", first, VMActive, TaskRebuilding, StepPlacing)
		w.do(&PlaceMove{ID: "a", Operation: "o9", Node: "n3"})
		w.says("a", PowerRunning)
		w.is("built", "a", "n3", VMActive, TaskNone, "")
	})
	t.Run("the destination, and the source knows", func(t *testing.T) {
		w := flying(t)
		w.do(&RemoveNode{ID: "n2", Force: true})
		if in := w.is("looks", "a", first, VMActive, TaskMigrating, StepMigrating); in.Executor() != first {
			t.Fatalf("%q looks", in.Executor())
		}
		w.advance("a", AdvanceOperation{Error: "The destination was removed."})
		w.is("goes on", "a", first, VMActive, TaskNone, "")
	})
	t.Run("the destination, which had it", func(t *testing.T) {
		w := flying(t)
		w.do(&RemoveNode{ID: "n2", Force: true})
		w.advance("a", AdvanceOperation{Done: true})
		w.is("starts again from its disks", "a", first, VMActive, TaskPoweringOn, "")
	})
}

// Whatever was being done to an instance when its node was given up is over, except that a move which had just left its source goes back
// to it: there are its disks.
func TestEvacuate_InTheMiddleOfAnything(t *testing.T) {
	for name, c := range map[string]struct {
		begin func(w *town)
		node  NodeID
		step  OperationStep
	}{
		"reboot": {func(w *town) { w.do(&SetPower{ID: "a", Wanted: WantOn, Reboot: RebootHard}) }, first, StepPlacing},
		"snapshot": {func(w *town) {
			w.do(&BeginCapture{ID: "a", By: operator, Operation: "o1", What: OpSnapshot, Image: anImage("i1", nil)})
		}, first, StepPlacing},
		"placing":   {func(w *town) { w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpMigrate}) }, first, StepPlacing},
		"stopping":  {func(w *town) { w.moving(StepStopping) }, first, StepPlacing},
		"copying":   {func(w *town) { w.moving(StepCopying) }, first, StepPlacing},
		"finishing": {func(w *town) { w.moving(StepFinishing) }, first, StepReverting},
		"evacuated to a node that dies, too": {func(w *town) {
			w.giveUp("a")
			w.do(&PlaceMove{ID: "a", Operation: "o9", Node: "n2"})
		}, "n2", StepPlacing},
	} {
		w := newTown(t)
		w.enrol("n2", "192.0.2.2")
		w.enrol("n3", "192.0.2.3")
		w.active("a")
		c.begin(w)
		w.do(&BeginMove{ID: "a", By: operator, Operation: "o8", What: OpEvacuate})
		in := w.instance("a")
		if in.Node != c.node || in.Op == nil || in.Op.Step != c.step {
			t.Errorf("%s: on %s, %+v", name, in.Node, in.Op)
			continue
		}
		if act := last(w.s.View().Actions("a")); act.Kind != "evacuate" {
			t.Errorf("%s: the last action is %s", name, act.Kind)
		}
		if c.step != StepPlacing {
			w.holds(name, true) // the node that was given up has not cleared it
			w.do(&SetNodeService{ID: "n2", Service: ServiceState{ForcedDown: true}})
			w.do(&StopAwaiting{Node: "n2"})
			w.holds(name, false)
			w.says("a", PowerRunning)
			w.is(name, "a", first, VMActive, TaskNone, "")
			continue
		}
		w.do(&PlaceMove{ID: "a", Operation: "o8", Node: "n3"})
		w.says("a", PowerRunning)
		w.is(name, "a", "n3", VMActive, TaskNone, "")
	}
}

// moving brings a cold migration of a from n1 to n2 to a step.
func (w *town) moving(step OperationStep) {
	w.t.Helper()
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpMigrate})
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
	if step == StepStopping {
		return
	}
	w.says("a", PowerShutdown)
	if step == StepFinishing {
		w.advance("a", AdvanceOperation{Done: true})
	}
}

// An operator gives up a node that lives. The leader hears it and says so: nothing is started before that node has cleared what it has.
// A leader that does not hear it yet is put right by the node's own words.
func TestEvacuate_OfANodeThatLives(t *testing.T) {
	for name, speak := range map[string]func(w *town){
		"the leader hears it": nil,
		"it reports":          func(w *town) { w.do(&ReportInstances{Node: first}) },
		"it tells what it is": func(w *town) {
			n, _ := w.s.View().Node(first)
			w.do(&UpdateNode{Node: *n})
		},
	} {
		w := newTown(t)
		w.enrol("n2", "192.0.2.2")
		w.active("a")
		w.giveUp("a")
		w.do(&PlaceMove{ID: "a", Operation: "o9", Node: "n2", Answers: speak == nil})
		if speak != nil {
			w.holds(name+": before it speaks", false)
			speak(w)
		}
		w.holds(name, true)
		w.refuse(&StopAwaiting{Node: "n2"}, Conflict, "No operator has said")
		w.gone("a", first)
		w.holds(name+": cleared", false)
		w.says("a", PowerRunning)
		w.is(name, "a", "n2", VMActive, TaskNone, "")
	}
}

// A node that was given up was heard of for the last time just then. When it is silent after all, the word that gave it up is enough.
func TestEvacuate_StopsWaitingForANodeThatFellSilent(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.active("a")
	w.giveUp("a")
	w.do(&PlaceMove{ID: "a", Operation: "o9", Node: "n2", Answers: true})
	w.holds("it was heard of", true)
	w.do(&StopAwaiting{Node: first})
	w.holds("it is silent", false)
	w = resized(t)
	w.do(&EndMove{ID: "a", By: operator, Revert: true})
	w.refuse(&StopAwaiting{Node: "n2"}, Conflict, "No operator has said") // nobody gave that one up
}
