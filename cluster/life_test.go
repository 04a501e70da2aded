package cluster

import (
	"strings"
	"testing"
)

func (w *town) wantState(id string, vm VMState, task TaskState, p PowerState) *Instance {
	w.t.Helper()
	in := w.instance(id)
	if in.Status.VM != vm || in.Status.Task != task || in.Status.Power != p {
		w.t.Fatalf("instance %s is %s, task %q, power %d; want %s, %q, %d", id,
			in.Status.VM, in.Status.Task, in.Status.Power, vm, task, p)
	}
	return in
}

// An instance is made, boots, is stopped, started, rebooted both ways and deleted. At each step it shows what Nova
// would show, and its actions tell the story.
func TestInstance_LivesAndDiesInNovasWords(t *testing.T) {
	w := newTown(t)
	power1 := func(wanted Power, reboot string) {
		w.do(&SetPower{ID: "a", Request: "req-p", User: root, Project: home, Wanted: wanted, Reboot: reboot})
	}
	w.do(create("a", first))
	in := w.wantState("a", VMBuilding, TaskSpawning, PowerNoState)
	if in.Epoch != 1 || in.Number != 1 || in.Node != first || len(in.Ports) != 1 {
		t.Fatalf("made as %+v", in)
	}
	w.reports("a", func(r *InstanceReport) { r.Power, r.Step = PowerNoState, "fetching image 43 %" })
	if got := w.wantState("a", VMBuilding, TaskSpawning, PowerNoState).Status.Note; got != "fetching image 43 %" {
		t.Fatalf("note is %q", got)
	}
	w.reports("a", power(PowerShutdown))
	w.wantState("a", VMBuilding, TaskSpawning, PowerShutdown)
	w.reports("a", power(PowerRunning))
	if w.wantState("a", VMActive, TaskNone, PowerRunning).Times.Launched == 0 {
		t.Fatal("it has no launch time")
	}

	power1(WantOff, "")
	w.wantState("a", VMActive, TaskPoweringOff, PowerRunning)
	w.reports("a", power(PowerRunning))
	w.wantState("a", VMActive, TaskPoweringOff, PowerRunning)
	w.reports("a", power(PowerShutdown))
	w.wantState("a", VMStopped, TaskNone, PowerShutdown)

	power1(WantOn, "")
	w.wantState("a", VMStopped, TaskPoweringOn, PowerShutdown)
	w.reports("a", power(PowerShutdown)) // not there yet: nobody powered it off
	w.wantState("a", VMStopped, TaskPoweringOn, PowerShutdown)
	w.reports("a", power(PowerRunning))
	w.wantState("a", VMActive, TaskNone, PowerRunning)

	power1(WantOn, RebootSoft)
	w.wantState("a", VMActive, TaskRebooting, PowerRunning)
	w.reports("a", func(r *InstanceReport) { r.Boot-- }) // still the old boot
	w.wantState("a", VMActive, TaskRebooting, PowerRunning)
	power1(WantOn, RebootHard) // the guest does not listen
	w.wantState("a", VMActive, TaskRebootHard, PowerRunning)
	w.reports("a", power(PowerShutdown))
	w.wantState("a", VMActive, TaskRebootHard, PowerShutdown)
	w.reports("a", power(PowerRunning))
	if in := w.wantState("a", VMActive, TaskNone, PowerRunning); in.Boot != 2 || in.Status.Boot != 2 {
		t.Fatalf("boot is %d, its domain's %d; want 2", in.Boot, in.Status.Boot)
	}

	w.do(&DeleteInstance{ID: "a", Request: "req-d", User: root, Project: home})
	w.wantState("a", VMActive, TaskDeleting, PowerRunning)
	w.do(&DeleteInstance{ID: "a"}) // again is not an error
	w.reports("a", func(r *InstanceReport) { r.Gone = true })
	if _, ok := w.s.View().Instance("a"); ok {
		t.Fatal("it is still there")
	}
	gone, ok := w.s.View().DeletedInstance("a")
	if !ok || !gone.Deleted || gone.Status.VM != VMDeleted || gone.Times.Terminated == 0 {
		t.Fatalf("its record is %+v", gone)
	}
	want := strings.Join([]string{
		"create: compute__do_build_and_run_instance=Success",
		"stop: compute_stop_instance=Success",
		"start: compute_start_instance=Success",
		"reboot: compute_reboot_instance=Error", // overtaken by the hard one
		"reboot: compute_reboot_instance=Success",
		"delete: compute_terminate_instance=Success", "",
	}, "\n")
	if got := w.actions("a"); got != want {
		t.Fatalf("actions are\n%s, want\n%s", got, want)
	}
	w.refuse(create("a", first), Conflict, "exists already")
	w.refuse(&DeleteInstance{ID: "a"}, NotFound, "could not be found")
}

// Room is held by the tombstone until the node says that everything is gone, and is free then.
func TestDeleteInstance_HoldsItsRoomUntilItsNodeSaysGone(t *testing.T) {
	w := newTown(t)
	in := w.active("a")
	room := in.Resources()
	w.do(&DeleteInstance{ID: "a"})
	if got := w.s.View().Allocated(first); got != room {
		t.Fatalf("allocated is %v, want %v", got, room)
	}
	stones := 0
	for s := range w.s.View().TombstonesOn(first) {
		stones++
		if s.Instance != "a" || s.Epoch != in.Epoch || s.Resources != room {
			t.Fatalf("tombstone is %+v", s)
		}
	}
	if stones != 1 {
		t.Fatalf("%d tombstones", stones)
	}
	w.reports("a", func(r *InstanceReport) { r.Gone, r.Epoch = true, r.Epoch+1 }) // of another epoch: nothing
	w.wantState("a", VMActive, TaskDeleting, PowerRunning)
	w.reports("a", func(r *InstanceReport) { r.Gone = true })
	if got := w.s.View().Allocated(first); got != (Resources{}) {
		t.Fatalf("allocated is %v after it is gone", got)
	}
	if u := w.s.View().Usage(home); u.Instances != 0 || u.Ports != 0 || u.VCPUs != 0 {
		t.Fatalf("usage is %+v after it is gone", u)
	}
}

// An instance that never found a node has nothing to remove, so it is gone at once.
func TestDeleteInstance_WithoutANodeIsGoneAtOnce(t *testing.T) {
	w := newTown(t)
	w.do(create("a", ""))
	w.wantState("a", VMBuilding, TaskScheduling, PowerNoState)
	w.do(&DeleteInstance{ID: "a"})
	if _, ok := w.s.View().Instance("a"); ok {
		t.Fatal("it is still there")
	}
}

// The node does not answer and the user wants to see the instance go. It goes; its room stays taken until the node is
// back, or is removed.
func TestForgetInstance_LeavesTheTombstone(t *testing.T) {
	w := newTown(t)
	in := w.active("a")
	w.refuse(&ForgetInstance{ID: "a"}, Conflict, "not being deleted")
	w.refuse(&ForgetInstance{ID: "b"}, NotFound, "could not be found")
	w.do(&DeleteInstance{ID: "a"})
	w.do(&ForgetInstance{ID: "a"})
	if got := w.s.View().Allocated(first); got != in.Resources() {
		t.Fatalf("allocated is %v, want %v", got, in.Resources())
	}
	if u := w.s.View().Usage(home); u.Instances != 0 {
		t.Fatalf("the project still uses %+v", u)
	}
	w.do(&ReportInstances{Node: first, Reports: []InstanceReport{{ID: "a", Epoch: in.Epoch, Gone: true}}})
	if got := w.s.View().Allocated(first); got != (Resources{}) {
		t.Fatalf("allocated is %v after the node came back", got)
	}
}

// The build fails at the node: the instance is in error with the reason, and when the node succeeds after all, it is well.
func TestReport_ErrorWhileBuildingIsAFaultUntilItHeals(t *testing.T) {
	w := newTown(t)
	w.do(create("a", first))
	w.reports("a", func(r *InstanceReport) { r.Power, r.Error, r.Detail = PowerNoState, "disk full", "ENOSPC\x00" })
	in := w.wantState("a", VMError, TaskNone, PowerNoState)
	if f := in.Status.Fault; f == nil || f.Code != 500 || f.Message != "disk full" || f.Details != "ENOSPC " {
		t.Fatalf("fault is %+v", f)
	}
	revision := in.Revision
	w.reports("a", func(r *InstanceReport) { r.Power, r.Error, r.Detail = PowerNoState, "disk full", "ENOSPC\x00" })
	if w.instance("a").Revision != revision {
		t.Fatal("the same report again changed it")
	}
	for a := range w.s.View().Actions("a") {
		if a.Message != "Error" || a.Events[0].Result != "Error" || a.Events[0].Details != "disk full" {
			t.Fatalf("action is %+v", a)
		}
	}
	w.reports("a", power(PowerRunning))
	if w.wantState("a", VMActive, TaskNone, PowerRunning).Status.Fault != nil {
		t.Fatal("its fault stays")
	}
}

// The guest runs "poweroff". The cluster takes it at its word and does not start it again.
func TestReport_GuestThatPoweredItselfOffIsStopped(t *testing.T) {
	for _, p := range []PowerState{PowerShutdown, PowerCrashed} {
		w := newTown(t)
		generation := w.active("a").Generation
		w.reports("a", power(p))
		in := w.wantState("a", VMStopped, TaskNone, p)
		if in.Wanted != WantOff || in.Generation != generation+1 {
			t.Fatalf("wanted %s at generation %d", in.Wanted, in.Generation)
		}
	}
}

// Reports that are about an earlier life, an earlier wish or another node's instance mean nothing.
func TestReport_OfAnotherEpochGenerationOrNodeIsIgnored(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	in := w.active("a")
	w.do(&SetPower{ID: "a", Wanted: WantOff})
	for _, r := range []InstanceReport{
		{ID: "a", Epoch: in.Epoch, Generation: in.Generation, Power: PowerShutdown}, // from before the wish
		{ID: "a", Epoch: in.Epoch + 1, Generation: in.Generation + 1, Power: PowerShutdown},
		{ID: "nobody", Epoch: 1, Generation: 1, Power: PowerShutdown},
	} {
		if got := w.do(&ReportInstances{Node: first, Reports: []InstanceReport{r}}); len(got.IDs) != 0 {
			t.Fatalf("report %+v changed %v", r, got.IDs)
		}
	}
	r := InstanceReport{ID: "a", Epoch: in.Epoch, Generation: in.Generation + 1, Power: PowerShutdown}
	w.do(&ReportInstances{Node: "n2", Reports: []InstanceReport{r}})
	w.wantState("a", VMActive, TaskPoweringOff, PowerRunning)
	if !ReportChanges(w.instance("a"), r) {
		t.Fatal("the right report is said to change nothing")
	}
	w.do(&ReportInstances{Node: first, Reports: []InstanceReport{r}})
	w.wantState("a", VMStopped, TaskNone, PowerShutdown)
	if ReportChanges(w.instance("a"), r) {
		t.Fatal("the same report is said to change something")
	}
	w.refuse(&ReportInstances{Node: "n9"}, NotFound, "n9")
}

// Every change of power, from every state: allowed where Nova allows it, and refused in Nova's words elsewhere.
func TestSetPower_IsAllowedWhereNovaAllowsIt(t *testing.T) {
	stop := &SetPower{ID: "a", Wanted: WantOff}
	start := &SetPower{ID: "a", Wanted: WantOn}
	soft := &SetPower{ID: "a", Wanted: WantOn, Reboot: RebootSoft}
	hard := &SetPower{ID: "a", Wanted: WantOn, Reboot: RebootHard}
	w := newTown(t)
	w.refuse(stop, NotFound, "Instance a could not be found.")
	w.do(create("a", first))
	w.refuse(stop, Conflict, "Cannot 'stop' instance a while it is in vm_state building")
	w.reports("a", power(PowerRunning))
	w.refuse(start, Conflict, "Cannot 'start' instance a while it is in vm_state active")
	w.do(stop)
	w.refuse(stop, Conflict, "Cannot 'stop' instance a while it is in task_state powering-off")
	w.refuse(soft, Conflict, "Cannot 'reboot' instance a while it is in task_state powering-off")
	w.reports("a", power(PowerShutdown))
	w.refuse(stop, Conflict, "Cannot 'stop' instance a while it is in vm_state stopped")
	w.refuse(soft, Conflict, "Cannot 'reboot' instance a while it is in vm_state stopped")
	w.do(hard)
	w.reports("a", power(PowerRunning))
	w.wantState("a", VMActive, TaskNone, PowerRunning)
	w.do(&DeleteInstance{ID: "a"})
	w.refuse(stop, Conflict, "task_state deleting")
	w.refuse(hard, Conflict, "task_state deleting")
	w.refuse(&SetPower{ID: "a", Wanted: WantDeleted}, Invalid, "no change of power")
	w.refuse(&SetPower{ID: "a", Wanted: WantOff, Reboot: RebootHard}, Invalid, "no change of power")
	w.refuse(&SetPower{ID: "a", Wanted: WantOn, Reboot: "WARM"}, Invalid, "no change of power")
}

// A node burns down and the operator removes it. What ran there is in error without a node, what was being deleted
// is gone, its images are gone, and nothing of it is counted any more.
func TestRemoveNode_ByForceLeavesNothingBehind(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.do(create("a", "n2"))
	w.do(create("b", "n2"))
	w.reports("a", power(PowerRunning))
	w.do(&DeleteInstance{ID: "b"})
	w.do(&AddImageNode{ID: disk, Root: Hash{1}, Node: "n2"})
	w.refuse(&RemoveNode{ID: "n2"}, Conflict, "has 2 instances")
	epoch := w.instance("a").Epoch
	w.do(&RemoveNode{ID: "n2", Force: true})

	in := w.wantState("a", VMError, TaskNone, PowerNoState)
	if in.Node != "" || in.Epoch != epoch+1 || !strings.Contains(in.Status.Fault.Message, "host-n2") {
		t.Fatalf("instance is %+v", in)
	}
	v := w.s.View()
	if _, ok := v.Instance("b"); ok {
		t.Fatal("what was being deleted is still there")
	}
	if got := v.Allocated("n2"); got != (Resources{}) {
		t.Fatalf("allocated is %v", got)
	}
	if i, _ := v.Image(disk); len(i.Data.Nodes) != 1 {
		t.Fatalf("the image is on %v", i.Data.Nodes)
	}
	if _, ok := v.NodeNamed("host-n2"); ok || !v.WasRemoved("n2") {
		t.Fatal("the node is still known")
	}
	w.do(&PutJoinToken{Token: JoinToken{ID: "again", Hash: Hash{9}, Uses: 1}})
	w.refuse(&EnrolNode{Token: "again", Secret: Hash{9}, Node: someNode("n2", "192.0.2.2")}, Conflict, "may not come back")
	w.refuse(&RemoveNode{ID: first, Force: true}, Conflict, "last one")
	w.refuse(&RemoveNode{ID: "n2"}, NotFound, "n2")
	w.refuse(&SetPower{ID: "a", Wanted: WantOff}, Conflict, "not ready")
	w.do(&DeleteInstance{ID: "a"})
}
