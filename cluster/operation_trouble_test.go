package cluster

import "testing"

// A revert comes while the guest still runs at the destination. Its source leaves it alone until the destination says that
// nothing is left there: otherwise it would run twice.
func TestMove_RevertWaitsUntilTheDestinationIsClear(t *testing.T) {
	w := resized(t)
	w.do(&EndMove{ID: "a", By: operator, Revert: true})
	if _, hold := w.instance("a").Desired(); !hold {
		t.Fatal("the source may start the guest that still runs at the destination")
	}
	w.gone("a", "n2")
	in := w.is("clear", "a", first, VMResized, TaskResizeRevert, StepReverting)
	if wanted, hold := in.Desired(); hold || wanted != WantOn {
		t.Fatalf("wanted %s, hold %t: the source does not bring it back", wanted, hold)
	}
	w.says("a", PowerRunning)
	w.is("reverted", "a", first, VMActive, TaskNone, "")
}

// An administrator resets the state of an instance that waits for its user's decision. It stays where it is, and its old disks go.
func TestReset_OfAResizedInstanceClearsItsOldEnd(t *testing.T) {
	w := resized(t)
	w.do(&ResetInstance{ID: "a", By: operator, State: VMActive})
	w.is("reset", "a", "n2", VMActive, TaskNone, "")
	w.gone("a", first)
	if r := w.s.View().Allocated(first); r != (Resources{}) {
		t.Fatalf("%v is left behind", r)
	}
}

// Between the word that a node is dead and the choice of another, the node comes back. It does not start the instance.
func TestEvacuate_TheNodeThatComesBackLeavesItAlone(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.active("a")
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpEvacuate})
	if _, hold := w.instance("a").Desired(); !hold {
		t.Fatal("the node that was given up may start it")
	}
}

// A paused instance is evacuated. Its memory died with its node, so it is built and runs, as in Nova.
func TestEvacuate_PausedComesBackRunning(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.active("a")
	w.do(&SetPower{ID: "a", Action: "pause"})
	w.says("a", PowerPaused)
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpEvacuate})
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
	w.says("a", PowerRunning)
	w.is("evacuated", "a", "n2", VMActive, TaskNone, "")
}

// An instance on no node cannot be made active by a word. A shelved one goes back to being shelved.
func TestReset_OfAnInstanceOnNoNode(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(&BeginCapture{ID: "a", By: operator, Operation: "o1", What: OpShelve, Image: Image{ID: "i9", Name: "saved", Visibility: Private}})
	w.says("a", PowerShutdown)
	img, _ := w.s.View().Image("i9")
	full := img.Clone()
	full.Status, full.Data = ImageActive, &ImageData{Root: Hash{7}, Size: 1, Nodes: []NodeID{first}}
	full.Format = ImageFormat{Disk: "qcow2", Container: "bare"}
	w.do(&PutImage{Image: *full})
	w.advance("a", AdvanceOperation{Done: true})
	w.do(&ResetInstance{ID: "a", By: operator, State: VMError})
	w.is("in error", "a", "", VMError, TaskNone, "")
	w.do(&ResetInstance{ID: "a", By: operator, State: VMActive})
	w.is("reset", "a", "", VMOffloaded, TaskNone, "")
}

// A resize has two events. The first is over when the second begins, and both are in the end.
func TestMove_EachEventIsFinished(t *testing.T) {
	w := resized(t)
	for a := range w.s.View().Actions("a") {
		for _, e := range a.Events {
			if e.Finished == 0 || e.Result != resultSuccess {
				t.Errorf("%s, %s: %+v", a.Kind, e.Name, e)
			}
		}
	}
}

// A revert is under way when an administrator resets the state, or the user deletes the instance softly. Whatever is asked then, its
// source does not start it before the destination has said that nothing is left there.
func TestMove_RevertCutShortStillWaitsForTheDestination(t *testing.T) {
	for name, cut := range map[string]func(*town){
		"reset": func(w *town) {
			w.do(&ResetInstance{ID: "a", By: operator, State: VMActive})
			w.do(&SetPower{ID: "a", Wanted: WantOn, Reboot: RebootHard})
		},
		"deleted softly": func(w *town) {
			w.do(&DeleteInstance{ID: "a", Reclaim: w.now + 1<<50})
			w.do(&RestoreInstance{ID: "a", By: operator})
		},
	} {
		w := resized(t)
		w.do(&EndMove{ID: "a", By: operator, Revert: true})
		cut(w)
		if _, hold := w.instance("a").Desired(); !hold {
			t.Errorf("%s: the source may start the guest that still runs at the destination", name)
		}
		w.gone("a", "n2")
		if wanted, hold := w.instance("a").Desired(); hold || wanted != WantOn {
			t.Errorf("%s: wanted %s, hold %t when the destination is clear", name, wanted, hold)
		}
	}
}

// An instance is deleted softly while its guest is on its way, and restored at once. It may have arrived by then.
func TestDelete_SoftlyWhileItMigratesWaitsForTheDestination(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.active("a")
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpLive})
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
	w.do(&DeleteInstance{ID: "a", Reclaim: w.now + 1<<50})
	w.do(&RestoreInstance{ID: "a", By: operator})
	if _, hold := w.instance("a").Desired(); !hold {
		t.Error("the source may start the guest that may run at the destination")
	}
	w.do(&RemoveNode{ID: "n2", Force: true})
	if _, hold := w.instance("a").Desired(); hold {
		t.Error("the source waits for a node that was removed")
	}
}

// While the destination copies, it tells how far it is. What the source says of the guest that is off there does not wipe that away.
func TestReport_LeavesTheNoteOfAnOperationAlone(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.active("a")
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpMigrate})
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
	w.says("a", PowerShutdown)
	w.advance("a", AdvanceOperation{Note: "copying disks: 40 %"})
	in := w.instance("a")
	r := InstanceReport{ID: "a", Generation: in.Generation, Epoch: in.Epoch, Power: PowerShutdown}
	if ReportChanges(in, r) {
		t.Error("the source would tell what is known")
	}
	w.says("a", PowerShutdown)
	if note := w.instance("a").Status.Note; note != "copying disks: 40 %" {
		t.Errorf("the note is %q", note)
	}
}

// The guest of a rescued instance powers itself off. It is no stopped instance, which could be resized with the wrong disk, and goes
// back to its own disk as ever. Deleted softly and restored, it is rescued again; rebuilt or evacuated, it is not.
func TestRescue_TheGuestPowersItselfOff(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(&RescueInstance{ID: "a", By: operator})
	w.says("a", PowerRunning)
	w.says("a", PowerShutdown)
	w.is("off", "a", first, VMRescued, TaskNone, "")
	w.refuse(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpMigrate}, Conflict, "vm_state rescued")
	w.do(&DeleteInstance{ID: "a", Reclaim: w.now + 1<<50})
	w.says("a", PowerShutdown)
	w.is("deleted softly", "a", first, VMSoftDeleted, TaskNone, "")
	w.do(&RestoreInstance{ID: "a", By: operator})
	w.says("a", PowerRunning)
	w.is("restored", "a", first, VMRescued, TaskNone, "")
	w.do(&ResetInstance{ID: "a", By: operator, State: VMError})
	w.do(&RebuildInstance{ID: "a", By: operator, Image: disk})
	w.says("a", PowerRunning)
	w.is("rebuilt", "a", first, VMActive, TaskNone, "")
}

// A user restores an instance at the moment at which the leader reclaims it. It stays.
func TestDelete_ReclaimIsTooLateAfterARestore(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(&DeleteInstance{ID: "a", Reclaim: w.now + 1})
	w.do(&RestoreInstance{ID: "a", By: operator})
	w.refuse(&DeleteInstance{ID: "a", Due: true}, Stale, "not to be reclaimed")
	w.says("a", PowerRunning)
	w.do(&DeleteInstance{ID: "a", Reclaim: w.now + 1<<50})
	w.refuse(&DeleteInstance{ID: "a", Due: true}, Stale, "not to be reclaimed")
	w.do(&ResetInstance{ID: "a", By: operator, State: VMActive})
	if at := w.instance("a").Mode.Reclaim; at != 0 {
		t.Errorf("an instance that is active again is reclaimed at %d", at)
	}
}

// A volume that lies on the destination is attached to a resized instance. It could not follow the instance back.
func TestMove_RevertNeedsItsVolumes(t *testing.T) {
	w := resized(t)
	w.do(someVolume("v"))
	w.do(attach("v", "a"))
	w.made("v")
	w.refuse(&EndMove{ID: "a", By: operator, Revert: true}, Conflict, "local volume")
	w.do(&DetachVolume{Volume: "v", Instance: "a"})
	w.guestSays("v", "a", func(r *AttachmentReport) { r.Detached = true })
	w.do(&EndMove{ID: "a", By: operator, Revert: true})
	w.do(someVolume("v2"))
	w.refuse(attach("v2", "a"), Conflict, "in another operation")
}

// An instance is deleted while it has disks of two epochs on its node, and while an earlier end is not removed yet. The room stays taken
// until all of that is gone.
func TestDelete_HoldsTheRoomOfEverythingThatIsLeft(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpResize, Flavor: larger()})
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: first})
	w.says("a", PowerShutdown)
	before := w.s.View().Allocated(first)
	w.do(&DeleteInstance{ID: "a"})
	if after := w.s.View().Allocated(first); after != before {
		t.Errorf("copying: %v were taken, and %v are while it is deleted", before, after)
	}
	w = newTown(t)
	w.active("a")
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpResize, Flavor: larger()})
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: first})
	w.says("a", PowerShutdown)
	w.advance("a", AdvanceOperation{Done: true})
	w.says("a", PowerRunning)
	before = w.s.View().Allocated(first)
	w.do(&EndMove{ID: "a", By: operator})
	w.do(&DeleteInstance{ID: "a"})
	if after := w.s.View().Allocated(first); after != before {
		t.Errorf("confirmed: %v were taken, and %v are while it is deleted", before, after)
	}
	w.gone("a", first)
	if r := w.s.View().Allocated(first); r != (Resources{}) {
		t.Errorf("%v is left behind", r)
	}
}

// An administrator puts a running instance in error. What its node goes on to report does not undo that; a reboot does.
func TestReset_ToErrorStandsUntilSomethingIsAsked(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(&ResetInstance{ID: "a", By: operator, State: VMError})
	w.says("a", PowerRunning)
	w.is("reported", "a", first, VMError, TaskNone, "")
	w.do(&SetPower{ID: "a", Wanted: WantOn, Reboot: RebootHard})
	w.says("a", PowerRunning)
	w.is("rebooted", "a", first, VMActive, TaskNone, "")
	w.do(&ResetInstance{ID: "a", By: operator, State: VMError})
	w.do(&ResetInstance{ID: "a", By: operator, State: VMActive})
	w.says("a", PowerRunning)
	w.is("reset to active", "a", first, VMActive, TaskNone, "")
}

// Two servers grow at the same time, and the quota has room for one of them. The second is refused although the first is not copied
// yet; when the first goes back, or shrinks and is confirmed, what it held is free again.
func TestResize_CountsTheLargerFlavorUntilItIsDecided(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.active("a")
	w.active("b")
	w.do(&PutQuota{Quota: Quota{Project: home, Limits: map[QuotaName]int64{QuotaCores: 5}}})
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpResize, Flavor: larger()})
	w.refuse(&BeginMove{ID: "b", By: operator, Operation: "o2", What: OpResize, Flavor: larger()}, OverQuota, "Quota exceeded for cores")
	w.do(&PlaceMove{ID: "a", Operation: "o1"})
	if u := w.s.View().Usage(home); u.VCPUs != 4 {
		t.Fatalf("%d vCPUs are charged when nothing moves", u.VCPUs)
	}
	w.do(&BeginMove{ID: "b", By: operator, Operation: "o2", What: OpResize, Flavor: larger()})
	w.do(&PlaceMove{ID: "b", Operation: "o2", Node: "n2"})
	w.says("b", PowerShutdown)
	w.advance("b", AdvanceOperation{Done: true})
	w.says("b", PowerRunning)
	w.do(&EndMove{ID: "b", By: operator})
	w.gone("b", first)
	small := someFlavor()
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o3", What: OpResize, Flavor: tinier()})
	w.do(&PlaceMove{ID: "a", Operation: "o3", Node: "n2"})
	w.says("a", PowerShutdown)
	w.advance("a", AdvanceOperation{Done: true})
	if u := w.s.View().Usage(home); u.VCPUs != 3+small.VCPUs {
		t.Fatalf("%d vCPUs are charged while it may go back to what it had", u.VCPUs)
	}
	w.says("a", PowerRunning)
	w.do(&EndMove{ID: "a", By: operator})
	if u := w.s.View().Usage(home); u.VCPUs != 3+tinier().VCPUs {
		t.Fatalf("%d vCPUs are charged in the end", u.VCPUs)
	}
}

func tinier() *Flavor {
	f := someFlavor()
	f.ID, f.Name, f.VCPUs = "3", "tiny", 1
	return &f
}

// What a guest was to be stopped for ends before it has stopped. It goes on, and is not started anew; only one whose disks were being
// read already had stopped, and is.
func TestMove_CutShortBeforeTheGuestStoppedDoesNotRestartIt(t *testing.T) {
	for name, begin := range map[string]func(*town){
		"resize": func(w *town) {
			w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpResize, Flavor: larger()})
			w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
		},
		"shelve": func(w *town) {
			w.do(&BeginCapture{ID: "a", By: operator, Operation: "o1", What: OpShelve, Image: anImage("i1", nil)})
		},
	} {
		w := newTown(t)
		w.enrol("n2", "192.0.2.2")
		boot := w.active("a").Boot
		begin(w)
		w.is(name, "a", first, VMActive, w.instance("a").Status.Task, StepStopping)
		w.advance("a", AdvanceOperation{Error: "the power button is broken"})
		if in := w.is(name+" ended", "a", first, VMActive, TaskPoweringOn, ""); in.Boot != boot {
			t.Errorf("%s: it is started anew, boot %d after %d", name, in.Boot, boot)
		}
		w.says("a", PowerRunning)
		w.is(name+" forgotten", "a", first, VMActive, TaskNone, "")
	}
}
