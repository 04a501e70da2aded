package cluster

import (
	"iter"
	"strings"
	"testing"
)

var operator = By{Request: "req-op", User: root, Project: home}

// says reports an instance's power from its own node, as it is now.
func (w *town) says(id InstanceID, p PowerState) {
	w.t.Helper()
	in := w.instance(string(id))
	w.do(&ReportInstances{Node: in.Node, Reports: []InstanceReport{{
		ID: id, Generation: in.Generation, Epoch: in.Epoch, Power: p, Boot: in.Boot}}})
}

// gone reports that a node removed what its tombstone covers.
func (w *town) gone(id InstanceID, node NodeID) {
	w.t.Helper()
	t, ok := w.s.View().Tombstone(node, id)
	if !ok {
		w.t.Fatalf("no tombstone of %s on %s", id, node)
	}
	w.do(&ReportInstances{Node: node, Reports: []InstanceReport{{ID: id, Epoch: t.Epoch, Gone: true}}})
}

func (w *town) advance(id InstanceID, how AdvanceOperation) {
	w.t.Helper()
	in := w.instance(string(id))
	how.ID, how.Operation, how.Step, how.Node = id, in.Op.ID, in.Op.Step, in.Executor()
	w.do(&how)
}

func (w *town) is(when string, id InstanceID, node NodeID, vm VMState, task TaskState, step OperationStep) *Instance {
	w.t.Helper()
	in := w.instance(string(id))
	at := OperationStep("")
	if in.Op != nil {
		at = in.Op.Step
	}
	if in.Node != node || in.Status.VM != vm || in.Status.Task != task || at != step {
		w.t.Fatalf("%s: on %q, %s, task %q, step %q; want on %q, %s, task %q, step %q",
			when, in.Node, in.Status.VM, in.Status.Task, at, node, vm, task, step)
	}
	return in
}

func larger() *Flavor {
	f := someFlavor()
	f.ID, f.Name, f.VCPUs, f.DiskGiB = "2", "large", 3, 7
	return &f
}

// resized brings a running instance to another node with a larger flavor, where it waits for its user.
func resized(t *testing.T) *town {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.active("a")
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpResize, Flavor: larger()})
	w.is("asked for", "a", first, VMActive, TaskResizePrep, StepPlacing)
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
	w.is("placed", "a", first, VMActive, TaskResizeMoving, StepStopping)
	w.says("a", PowerShutdown)
	w.is("stopped", "a", first, VMActive, TaskResizeMoving, StepCopying)
	if in := w.instance("a"); in.Executor() != "n2" {
		t.Fatalf("%s copies", in.Executor())
	}
	w.advance("a", AdvanceOperation{Done: true})
	w.is("copied", "a", "n2", VMActive, TaskResizeFinish, StepFinishing)
	w.says("a", PowerRunning)
	w.is("finished", "a", "n2", VMResized, TaskNone, StepWaiting)
	return w
}

// A resize counts both ends until its user has decided. Confirmed, the old end is the old node's to remove.
func TestMove_ConfirmedLeavesTheOldEndToItsTombstone(t *testing.T) {
	w := resized(t)
	v := w.s.View()
	was, now := someFlavor(), larger()
	if v.Allocated(first) != was.Resources() || v.Allocated("n2") != now.Resources() {
		t.Fatalf("allocated %v and %v", v.Allocated(first), v.Allocated("n2"))
	}
	w.refuse(&SetPower{ID: "a", Wanted: WantOff}, Conflict, "Cannot 'stop' instance a while it is in vm_state resized")
	w.do(&EndMove{ID: "a", By: operator})
	w.is("confirmed", "a", "n2", VMActive, TaskNone, "")
	w.gone("a", first)
	if r := w.s.View().Allocated(first); r != (Resources{}) {
		t.Fatalf("%v is left behind", r)
	}
	if m := last(w.s.View().Migrations()); m.Status != MigrationConfirmed || m.OldFlavor != "1" || m.NewFlavor != "2" {
		t.Fatalf("the record says %+v", m)
	}
}

// Reverted, the instance has its old node, disks and flavor, and the new end is the new node's to remove.
func TestMove_RevertedGivesBackNodeFlavorAndDisks(t *testing.T) {
	w := resized(t)
	disks := w.instance("a").Op.Move.WasDisk
	w.do(&EndMove{ID: "a", By: operator, Revert: true})
	in := w.is("reverting", "a", first, VMResized, TaskResizeRevert, StepReverting)
	if in.DiskEpoch() != disks || in.Spec.Flavor.ID != "1" || in.Epoch <= 2 {
		t.Fatalf("disks of epoch %d, want %d; epoch %d", in.DiskEpoch(), disks, in.Epoch)
	}
	w.says("a", PowerRunning)
	w.is("reverted", "a", first, VMActive, TaskNone, "")
	w.gone("a", "n2")
	if m := last(w.s.View().Migrations()); m.Status != MigrationReverted {
		t.Fatalf("the record says %+v", m)
	}
}

// A copy that fails leaves the instance where it was, started again; what the destination has of it is to go.
func TestMove_FailedCopyGoesBackToWhatItWas(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.active("a")
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpMigrate})
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
	w.says("a", PowerShutdown)
	w.advance("a", AdvanceOperation{Error: "the disk is full"})
	w.is("failed", "a", first, VMActive, TaskPoweringOn, "")
	w.gone("a", "n2")
	w.says("a", PowerRunning)
	w.is("up again", "a", first, VMActive, TaskNone, "")
	if m := last(w.s.View().Migrations()); m.Status != MigrationError {
		t.Fatalf("the record says %+v", m)
	}
}

// A destination that cannot start the guest gives it back.
func TestMove_FailedStartGoesBackByItself(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.active("a")
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpMigrate})
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
	w.says("a", PowerShutdown)
	w.advance("a", AdvanceOperation{Done: true})
	in := w.instance("a")
	w.do(&ReportInstances{Node: "n2", Reports: []InstanceReport{{ID: "a", Generation: in.Generation, Epoch: in.Epoch, Error: "no such machine type"}}})
	w.is("given back", "a", first, VMActive, TaskResizeRevert, StepReverting)
	w.says("a", PowerRunning)
	w.is("back", "a", first, VMActive, TaskNone, "")
}

// A resize on the node that it is on keeps the old disks beside the new ones until it is confirmed.
func TestMove_OnTheSameNodeKeepsBothDisks(t *testing.T) {
	for _, revert := range []bool{false, true} {
		w := newTown(t)
		w.active("a")
		w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpResize, Flavor: larger()})
		w.do(&PlaceMove{ID: "a", Operation: "o1", Node: first})
		w.says("a", PowerShutdown)
		w.advance("a", AdvanceOperation{Done: true})
		w.says("a", PowerRunning)
		m := *w.instance("a").Op.Move
		w.do(&EndMove{ID: "a", By: operator, Revert: revert})
		g, ok := w.s.View().Tombstone(first, "a")
		switch in := w.instance("a"); {
		case !ok || g.Epoch >= in.Epoch:
			t.Fatalf("tombstone %+v of an instance at epoch %d", g, in.Epoch)
		case revert && (in.DiskEpoch() != m.WasDisk || g.Epoch < m.Epoch || g.Keep != m.WasDisk):
			t.Fatalf("reverted: disks of %d, tombstone %+v, move %+v", in.DiskEpoch(), g, m)
		case !revert && (in.DiskEpoch() != m.Epoch || g.Epoch < m.WasDisk || g.Epoch >= m.Epoch):
			t.Fatalf("confirmed: disks of %d, tombstone %+v, move %+v", in.DiskEpoch(), g, m)
		}
	}
}

// Nothing fits, or what fitted is full by now: the instance stays where it is, running.
func TestMove_WithoutRoomLeavesTheInstanceAlone(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.active("a")
	huge := larger()
	huge.VCPUs = 100
	w.do(&PutQuota{Quota: Quota{Project: home, Limits: map[QuotaName]int64{QuotaCores: -1}}})
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpResize, Flavor: huge})
	w.refuse(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"}, NoRoom, "no room")
	w.do(&PlaceMove{ID: "a", Operation: "o1", Explanation: Explanation{Reasons: []string{"n2 short of 92 vCPU"}}})
	w.is("not placed", "a", first, VMActive, TaskNone, "")
	act := last(w.s.View().Actions("a"))
	if act.Kind != "resize" || act.Message != resultError || !strings.Contains(act.Events[0].Details, "n2 short of 92 vCPU") {
		t.Fatalf("the action says %+v", act)
	}
}

// What makes no sense is refused before anything begins.
func TestMove_RefusesNonsense(t *testing.T) {
	w := newTown(t)
	w.active("a")
	small := larger()
	small.DiskGiB = 1
	same := someFlavor()
	for _, x := range []struct {
		op    BeginMove
		words string
	}{
		{BeginMove{What: OpResize, Flavor: small}, "smaller disk"},
		{BeginMove{What: OpResize, Flavor: &same}, "instances must change flavor"},
		{BeginMove{What: OpResize}, "names a flavor"},
		{BeginMove{What: OpLive, Flavor: larger()}, "names a flavor"},
		{BeginMove{What: "teleport"}, "no move called"},
	} {
		x.op.ID, x.op.Operation = "a", "o1"
		w.refuse(&x.op, Invalid, x.words)
	}
	w.do(&PutQuota{Quota: Quota{Project: home, Limits: map[QuotaName]int64{QuotaCores: 2}}})
	w.refuse(&BeginMove{ID: "a", Operation: "o1", What: OpResize, Flavor: larger()}, OverQuota, "Quota exceeded for cores")
}

// A live migration changes nothing until the guest has arrived; aborted, nothing at all.
func TestMove_LiveSwitchesWhenTheGuestHasArrived(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.active("a")
	begin := &BeginMove{ID: "a", By: operator, Operation: "o1", What: OpLive, Host: "host-n2"}
	w.do(begin)
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
	w.is("under way", "a", first, VMActive, TaskMigrating, StepMigrating)
	if _, hold := w.instance("a").Desired(); !hold {
		t.Fatal("the reconciler would touch it")
	}
	w.do(&SignalMove{ID: "a", Operation: "o1", Signal: SignalAbort})
	w.advance("a", AdvanceOperation{Cancelled: true, Error: "aborted"})
	w.is("aborted", "a", first, VMActive, TaskNone, "")
	w.gone("a", "n2")
	begin.Operation = "o2"
	w.do(begin)
	w.do(&PlaceMove{ID: "a", Operation: "o2", Node: "n2"})
	w.advance("a", AdvanceOperation{Progress: &MoveProgress{MemoryTotal: 100, MemoryRemaining: 25}})
	if p := w.instance("a").Status.Progress; p != 75 {
		t.Fatalf("progress %d %%", p)
	}
	w.advance("a", AdvanceOperation{Done: true})
	in := w.is("arrived", "a", "n2", VMActive, TaskNone, "")
	if in.Epoch != 3 || in.DiskEpoch() != 3 {
		t.Fatalf("epoch %d, disks of %d: the epoch of the aborted attempt must not come again", in.Epoch, in.DiskEpoch())
	}
	w.gone("a", first)
}

// A deletion in the middle of a move tells both ends, and the instance is gone when its own has answered.
func TestDelete_DuringAMoveTellsBothEnds(t *testing.T) {
	for _, at := range []OperationStep{StepCopying, StepWaiting} {
		w := newTown(t)
		w.enrol("n2", "192.0.2.2")
		w.active("a")
		w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpMigrate})
		w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
		w.says("a", PowerShutdown)
		if at == StepWaiting {
			w.advance("a", AdvanceOperation{Done: true})
			w.says("a", PowerRunning)
		}
		w.do(&DeleteInstance{ID: "a"})
		w.gone("a", first)
		w.gone("a", "n2")
		if _, there := w.s.View().Instance("a"); there {
			t.Fatalf("deleted at %s, it is still there", at)
		}
		for _, n := range []NodeID{first, "n2"} {
			if r := w.s.View().Allocated(n); r != (Resources{}) {
				t.Fatalf("deleted at %s, %v is left on %s", at, r, n)
			}
		}
	}
}

// A rebuild gives new disks under a new epoch and keeps ID, ports and power.
func TestRebuild_MakesNewDisksAndKeepsTheRest(t *testing.T) {
	w := newTown(t)
	w.active("a")
	ports := w.instance("a").Ports
	name := "renamed"
	w.do(&RebuildInstance{ID: "a", By: operator, Image: disk, Change: SpecChange{Name: &name}})
	in := w.is("asked for", "a", first, VMActive, TaskRebuilding, "")
	if in.DiskEpoch() != 2 || in.Spec.Name != name || len(in.Ports) != len(ports) {
		t.Fatalf("%+v", in)
	}
	w.gone("a", first)
	w.says("a", PowerRunning)
	w.is("rebuilt", "a", first, VMActive, TaskNone, "")
}

// Pausing and suspending are reached when the node says so; a guest whose memory is lost meanwhile is off.
func TestPower_PauseAndSuspend(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(&SetPower{ID: "a", Action: "pause"})
	w.is("pausing", "a", first, VMActive, TaskPausing, "")
	w.says("a", PowerPaused)
	w.is("paused", "a", first, VMPaused, TaskNone, "")
	w.refuse(&SetPower{ID: "a", Action: "suspend"}, Conflict, "vm_state paused")
	w.do(&SetPower{ID: "a", Action: "unpause"})
	w.says("a", PowerRunning)
	w.is("unpaused", "a", first, VMActive, TaskNone, "")
	w.do(&SetPower{ID: "a", Action: "suspend"})
	w.says("a", PowerSuspended)
	w.is("suspended", "a", first, VMSuspended, TaskNone, "")
	w.do(&SetPower{ID: "a", Action: "resume"})
	w.says("a", PowerRunning)
	w.is("resumed", "a", first, VMActive, TaskNone, "")
	w.do(&SetPower{ID: "a", Action: "pause"})
	w.says("a", PowerPaused)
	w.says("a", PowerShutdown)
	w.is("its host lost power", "a", first, VMStopped, TaskNone, "")
	w.refuse(&SetPower{ID: "a", Action: "levitate"}, Invalid, "levitate")
}

// A rescue boots from another image and comes back.
func TestRescue_AndBack(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(&RescueInstance{ID: "a", By: operator, Image: disk, Cmdline: "console=ttyS0", AdminPass: "x"})
	w.says("a", PowerRunning)
	in := w.is("rescued", "a", first, VMRescued, TaskNone, "")
	if len(in.Needs()) != 2 || in.Mode.Rescue.Cmdline != "console=ttyS0" {
		t.Fatalf("it needs %v, and boots with %+v", in.Needs(), in.Mode.Rescue)
	}
	w.refuse(&RescueInstance{ID: "a"}, Conflict, "vm_state rescued")
	w.do(&RescueInstance{ID: "a", By: operator, End: true})
	w.says("a", PowerRunning)
	w.is("back", "a", first, VMActive, TaskNone, "")
}

func anImage(id ImageID, properties map[string]string) Image {
	return Image{ID: id, Owner: home, Name: string(id), Visibility: Private, Properties: properties}
}

// complete makes the image of a capture active, as the instance's node does, and says so.
func (w *town) complete(id InstanceID) {
	w.t.Helper()
	img, ok := w.s.View().Image(w.instance(string(id)).Op.Capture.Image)
	if !ok {
		w.t.Fatal("the image is not there")
	}
	i := img.Clone()
	i.Status, i.Data = ImageActive, &ImageData{Root: Hash{7}, Size: 1, Nodes: []NodeID{first}}
	w.do(&PutImage{Image: *i})
	w.advance(id, AdvanceOperation{Done: true})
}

// Backups beyond the rotation go, the oldest first, and only those of the same type and instance.
func TestCapture_BackupsAreRotated(t *testing.T) {
	w := newTown(t)
	w.active("a")
	props := map[string]string{"instance_uuid": "a", "image_type": "backup", "backup_type": "daily"}
	for _, id := range []ImageID{"i1", "i2", "i3"} {
		w.do(&BeginCapture{ID: "a", By: operator, Operation: OperationID(id), What: OpBackup, Image: anImage(id, props), Backup: "daily", Rotation: 2})
		w.refuse(&SetPower{ID: "a", Wanted: WantOff}, Conflict, "task_state image_backup")
		w.complete("a")
		w.is("backed up", "a", first, VMActive, TaskNone, "")
	}
	if _, there := w.s.View().Image("i1"); there {
		t.Error("the oldest backup is still there")
	}
	for _, id := range []ImageID{"i2", "i3", disk} {
		if _, there := w.s.View().Image(id); !there {
			t.Errorf("image %s is gone", id)
		}
	}
}

// A capture that fails, or is overtaken by a deletion, leaves no half image behind.
func TestCapture_FailedLeavesNoImage(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(&BeginCapture{ID: "a", By: operator, Operation: "o1", What: OpSnapshot, Image: anImage("i1", nil)})
	w.advance("a", AdvanceOperation{Error: "the disk is full"})
	w.is("failed", "a", first, VMActive, TaskNone, "")
	w.do(&BeginCapture{ID: "a", By: operator, Operation: "o2", What: OpSnapshot, Image: anImage("i2", nil)})
	w.do(&DeleteInstance{ID: "a"})
	for _, id := range []ImageID{"i1", "i2"} {
		if _, there := w.s.View().Image(id); there {
			t.Errorf("image %s was left behind", id)
		}
	}
}

// A shelved instance takes no room anywhere, and comes back from its image, which goes then.
func TestShelve_AndBack(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(&BeginCapture{ID: "a", By: operator, Operation: "o1", What: OpShelve, Image: anImage("i1", nil)})
	w.is("asked for", "a", first, VMActive, TaskShelving, StepStopping)
	w.says("a", PowerShutdown)
	w.complete("a")
	w.is("offloaded", "a", "", VMOffloaded, TaskNone, "")
	w.gone("a", first)
	if r := w.s.View().Allocated(first); r != (Resources{}) {
		t.Fatalf("%v is taken by a shelved instance", r)
	}
	w.do(&UnshelveInstance{ID: "a", By: operator})
	in := w.instance("a")
	if !in.WaitsForNode() || in.Images[len(in.Images)-1].Image != "i1" {
		t.Fatalf("%+v", in)
	}
	w.do(&PlaceInstance{ID: "a", Generation: in.Generation, Epoch: in.Epoch, Explanation: Explanation{}})
	w.is("no room", "a", "", VMOffloaded, TaskNone, "")
	w.do(&UnshelveInstance{ID: "a", By: operator})
	in = w.instance("a")
	w.do(&PlaceInstance{ID: "a", Generation: in.Generation, Epoch: in.Epoch, Node: first})
	w.says("a", PowerRunning)
	w.is("back", "a", first, VMActive, TaskNone, "")
	if _, there := w.s.View().Image("i1"); there {
		t.Error("the image that it came back from is still there")
	}
}

// Deleted softly, an instance is off and can be restored; deleted again, it is gone.
func TestDelete_SoftlyAndRestored(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(&DeleteInstance{ID: "a", Reclaim: w.now + 1<<50})
	w.says("a", PowerShutdown)
	w.is("deleted", "a", first, VMSoftDeleted, TaskNone, "")
	w.do(&RestoreInstance{ID: "a", By: operator})
	w.says("a", PowerRunning)
	w.is("restored", "a", first, VMActive, TaskNone, "")
	w.do(&DeleteInstance{ID: "a", Reclaim: w.now + 1<<50})
	w.do(&DeleteInstance{ID: "a"})
	w.gone("a", first)
	if _, there := w.s.View().Instance("a"); there {
		t.Fatal("it is still there")
	}
}

// An evacuated instance is built anew elsewhere; what its dead node has of it goes when that comes back.
func TestEvacuate_BuildsElsewhere(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.active("a")
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpEvacuate})
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
	w.is("placed", "a", "n2", VMActive, TaskRebuilding, StepFinishing)
	w.says("a", PowerRunning)
	w.is("evacuated", "a", "n2", VMActive, TaskNone, "")
	w.gone("a", first)
}

// A node that is removed ends the moves that it has a part in, whichever.
func TestRemoveNode_EndsItsMoves(t *testing.T) {
	for _, x := range []struct {
		gone NodeID
		at   OperationStep
		node NodeID
		vm   VMState
	}{
		{"n2", StepCopying, first, VMActive},
		{"n2", StepWaiting, first, VMActive},
		{"n2", StepFinishing, first, VMActive},
		{first, StepWaiting, "n2", VMActive},
		{first, StepFinishing, "n2", VMActive},
		{first, StepCopying, "", VMError},
	} {
		w := newTown(t)
		w.enrol("n2", "192.0.2.2")
		w.active("a")
		w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpMigrate})
		w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
		w.says("a", PowerShutdown)
		if x.at != StepCopying {
			w.advance("a", AdvanceOperation{Done: true})
		}
		if x.at == StepWaiting {
			w.says("a", PowerRunning)
		}
		w.do(&RemoveNode{ID: x.gone, Force: true})
		if in := w.instance("a"); in.Node != x.node || in.Status.VM != x.vm || in.Op != nil {
			t.Errorf("%s removed at %s: on %q, %s, %+v", x.gone, x.at, in.Node, in.Status.VM, in.Op)
		}
	}
}

// What somebody says about a step that is over, or is not theirs, changes nothing.
func TestAdvance_LateOrForeignWordsMeanNothing(t *testing.T) {
	w := resized(t)
	before := w.instance("a")
	for _, o := range []AdvanceOperation{
		{Node: "n2", ID: "a", Operation: "o1", Step: StepCopying, Error: "late"},
		{Node: first, ID: "a", Operation: "o1", Step: StepWaiting, Done: true},
		{Node: "n2", ID: "a", Operation: "other", Step: StepWaiting, Done: true},
	} {
		w.do(&o)
	}
	if w.instance("a") != before {
		t.Fatal("it changed")
	}
}

// Cards come and go while the instance is there; a port that was made for it goes with its card.
func TestPorts_AttachAndDetach(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(&AttachPort{ID: "a", By: operator, Port: NewPort{New: somePort("more", "more")}})
	in := w.instance("a")
	if len(in.Ports) != 2 || in.Generation < 2 {
		t.Fatalf("%v at generation %d", in.Ports, in.Generation)
	}
	w.refuse(&DetachPort{ID: "a", Port: "nobody"}, NotFound, "not attached")
	w.do(&DetachPort{ID: "a", By: operator, Port: "more"})
	if _, there := w.s.View().Port("more"); there || len(w.instance("a").Ports) != 1 {
		t.Fatal("the port is still there")
	}
}

func last[T any](all iter.Seq[T]) T {
	var x T
	for x = range all {
		_ = x
	}
	return x
}
