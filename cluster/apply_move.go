package cluster

import "strings"

// moves says of each kind of move when it may begin, in Nova's terms.
var moves = map[OperationKind]*transition{
	OpResize: {action: "resize", event: "compute_prep_resize", task: TaskResizePrep,
		from: []VMState{VMActive, VMStopped}, during: []TaskState{TaskNone}},
	OpMigrate: {action: "migrate", event: "compute_prep_resize", task: TaskResizePrep,
		from: []VMState{VMActive, VMStopped}, during: []TaskState{TaskNone}},
	OpLive: {action: "live-migration", words: "os-migrateLive", event: "conductor_live_migrate_instance", task: TaskMigrating,
		from: []VMState{VMActive, VMPaused}, during: []TaskState{TaskNone}},
	OpEvacuate: {action: "evacuate", event: "rebuild_server", task: TaskRebuilding,
		from: []VMState{VMActive, VMStopped, VMError, VMPaused, VMSuspended}}, // whatever its node was doing
}

func (s *State) beginMove(o *BeginMove) ([]string, *Error) {
	t, ok := moves[o.What]
	if !ok {
		return nil, Errorf(Invalid, "There is no move called %.20q", string(o.What))
	}
	old, err := s.permitted(o.ID, t)
	if err != nil {
		return nil, err
	}
	if err := s.checkMove(o, old); err != nil {
		return nil, err
	}
	in := old.Clone()
	if o.What == OpEvacuate {
		s.evacuate(in, t, o)
		return []string{string(in.ID)}, nil
	}
	s.beginTo(in, t, o)
	s.saveInstance(in)
	return []string{string(in.ID)}, nil
}

// beginTo begins a move of an instance to where the leader will find.
func (s *State) beginTo(in *Instance, t *transition, o *BeginMove) {
	m := &Move{
		From: in.Node, Flavor: in.Spec.Flavor, Was: in.Spec.Flavor, WasEpoch: in.Epoch, WasDisk: in.DiskEpoch(),
		Wanted: in.Wanted, Host: o.Host, Forced: o.Forced, Drain: o.Drain, CopyDisks: o.CopyDisks,
	}
	if o.Flavor != nil {
		m.Flavor = *o.Flavor
	}
	in.Op = s.newOperation(o.Operation, o.What, StepPlacing)
	in.Op.Move = m
	in.Status.Task, in.Status.Note, in.Status.Progress = t.task, "", 0
	s.began(in, t, o.By)
	s.recordMove(in, in.Op, "", o.By.User, o.By.Project)
}

func (s *State) checkMove(o *BeginMove, in *Instance) *Error {
	if in.Op != nil && (o.What != OpEvacuate || in.givenUp()) {
		return Errorf(Conflict, "Instance %s is in another operation", o.ID)
	}
	if err := firstOf(
		checkID("Operation", o.Operation),
		checkText("The host", o.Host),
		checkText("The admin password", o.AdminPass),
		oneOf("Whether disks are copied", o.CopyDisks, "", "yes", "no", "auto"),
	); err != nil {
		return err
	}
	if (o.What == OpResize) != (o.Flavor != nil) {
		return Errorf(Invalid, "A resize, and nothing else, names a flavor")
	}
	if o.Flavor == nil {
		return nil
	}
	now, next := in.Spec.Resources(), in.Spec.resourcesAs(o.Flavor)
	switch {
	case in.Spec.Flavor.ID == o.Flavor.ID:
		return Errorf(Invalid, "When resizing, instances must change flavor!")
	case next.DiskGiB < now.DiskGiB || o.Flavor.DiskGiB < in.Spec.Flavor.DiskGiB, o.Flavor.Ephemeral < in.Spec.Flavor.Ephemeral:
		return Errorf(Invalid, "Resize to a smaller disk is not possible: the flavor %s has %d GiB, the instance %d GiB",
			o.Flavor.Name, next.DiskGiB, now.DiskGiB)
	}
	more := next.Sub(now)
	more.VCPUs, more.MemoryMiB = max(more.VCPUs, 0), max(more.MemoryMiB, 0)
	return firstOf(checkFlavor(o.Flavor), s.checkComputeQuota(in.Project, 0, more), s.checkUserQuota(in.Project, in.User, 0, more))
}

// newOperation makes the record of an operation that begins now.
func (s *State) newOperation(id OperationID, kind OperationKind, first OperationStep) *Operation {
	s.t.meta.OpCount++
	now := s.t.meta.Time
	return &Operation{ID: id, Number: s.t.meta.OpCount, Kind: kind, Step: first, Began: now, Stepped: now}
}

// began records the action of a transition on an instance that is being changed.
func (s *State) began(in *Instance, t *transition, by By) {
	in.Mode.Error = false
	s.begin(in, t.action, asked{request: by.Request, project: by.Project, user: by.User}, t.event)
}

// step goes on to the next step of an instance's operation.
func (s *State) step(in *Instance, next OperationStep) {
	in.Op.Step, in.Op.Stepped = next, s.t.meta.Time
	in.Status.Note, in.Status.Progress = "", 0
	if in.Op.Move != nil {
		s.recordMove(in, in.Op, "", "", "")
	}
}

func (s *State) placeMove(o *PlaceMove) ([]string, *Error) {
	old, ok := s.t.instances.Get(o.ID)
	if !ok {
		return nil, missingInstance(o.ID)
	}
	if old.Op == nil || old.Op.ID != o.Operation || old.Op.Step != StepPlacing {
		return nil, Errorf(Stale, "The move of instance %s does not wait for a node", o.ID)
	}
	if err := checkExplanation(&o.Explanation); err != nil {
		return nil, err
	}
	in := old.Clone()
	if o.Node == "" {
		why := noValidHost
		if r := o.Explanation.Reasons; len(r) > 0 {
			why = clip(noValidHost+" "+strings.Join(r, ", "), maxText)
		}
		s.failOperation(in, why)
		s.saveInstance(in)
		return []string{string(in.ID)}, nil
	}
	m := in.Op.Move
	if in.Op.Kind == OpEvacuate && in.Mode.Await != "" {
		return nil, Errorf(Stale, "Instance %s waits until node %s has cleared what it has of it", o.ID, in.Mode.Await)
	}
	if o.Node == m.From && in.Op.Kind != OpResize {
		return nil, Errorf(Invalid, "Instance %s cannot move to the node that it is on", o.ID)
	}
	replica, err := s.promotes(in, o.Node)
	if err != nil {
		return nil, err
	}
	room := in.Spec.resourcesAs(&m.Flavor)
	if replica != nil {
		room = room.Sub(replica.room()) // it has that already
	}
	if err := firstOf(s.accepts(o.Node, room), s.groupAdmits(in, o.Node), s.volumesAccept(in, o.Node)); err != nil {
		return nil, err
	}
	m.To, m.Epoch = o.Node, in.newEpoch()
	in.Placement = &o.Explanation
	switch {
	case in.Op.Kind == OpEvacuate:
		s.entomb(in, m.From, m.WasEpoch, 0, in.Resources())
		if o.Answers {
			s.await(in, m.From)
		}
		s.arrive(in)
		if replica != nil {
			in.Epochs.Disk, in.Replica = replica.Epoch, nil
		}
		if in.Wanted != WantOff {
			in.Wanted = WantOn // its memory died with its node
		}
		in.Mode.Rescue = nil
		s.step(in, StepFinishing)
	case in.Op.Kind == OpLive:
		s.step(in, StepMigrating)
	case in.Wanted == WantOff && in.Status.Power == PowerShutdown:
		in.Status.Task = TaskResizeMoving
		s.step(in, StepCopying)
	default:
		in.Status.Task = TaskResizeMoving
		in.Generation++ // a report that it was off before says nothing about whether it is now
		s.step(in, StepStopping)
	}
	s.saveInstance(in)
	return []string{string(in.ID)}, nil
}

// arrive makes the destination of a move the instance's node.
func (s *State) arrive(in *Instance) {
	m := in.Op.Move
	in.Node, in.Epoch, in.Epochs.Disk = m.To, m.Epoch, 0
	in.Spec.Flavor = m.Flavor
	s.setPortOwner(in, s.portOwner(in))
	s.bringVolumes(in)
}

// entomb lets a node remove what it has of an instance, up to an epoch. A node that is gone has nothing.
func (s *State) entomb(in *Instance, node NodeID, through, keep uint64, r Resources) {
	if _, ok := s.t.nodes.Get(node); !ok {
		return
	}
	if old, pending := s.t.tombstones.Get(nodeKey(node, in.ID)); pending {
		r = r.Add(old.Resources) // nothing of that has gone yet
	}
	s.putTombstone(&Tombstone{Instance: in.ID, Node: node, Epoch: through, Keep: keep, Resources: r, Created: s.t.meta.Time})
}

// await has nothing done to an instance before its tombstone on a node is settled: it may run there.
func (s *State) await(in *Instance, node NodeID) {
	if _, pending := s.t.tombstones.Get(nodeKey(node, in.ID)); pending {
		in.Mode.Await = node
	}
}

// advance goes on after a step was done.
func (s *State) advance(in *Instance) {
	op := in.Op
	switch op.Step {
	case StepStopping:
		if op.Capture != nil {
			s.stoppedToCapture(in)
			return
		}
		s.step(in, StepCopying)
	case StepCopying:
		s.arrive(in)
		in.Generation++
		in.Status.Task = TaskResizeFinish
		s.step(in, StepFinishing)
		s.beginEvent(in, "compute_finish_resize")
	case StepFinishing:
		s.endActions(in, resultSuccess, "")
		in.Status.Task = TaskNone
		if op.Kind == OpEvacuate {
			s.settleMove(in, MigrationCompleted)
			return
		}
		in.Status.VM = VMResized
		s.step(in, StepWaiting)
	case StepReverting:
		status := MigrationReverted
		if op.Failure != "" {
			status = MigrationError
			s.endActions(in, resultError, op.Failure)
		}
		s.settleMove(in, status)
	case StepMigrating, StepAsking:
		m := op.Move
		if m.To == "" { // it went to a node that was removed, and what it left is here
			s.failOperation(in, destinationRemoved)
			s.powerOnAgain(in)
			return
		}
		s.arrive(in)
		s.settleMove(in, MigrationCompleted)
		s.entomb(in, m.From, m.WasEpoch, 0, in.Resources())
	case StepCapturing:
		s.captured(in)
	}
}

// settleMove ends a move whose instance is where it is to stay.
func (s *State) settleMove(in *Instance, status string) {
	s.endActions(in, resultSuccess, "")
	s.recordMove(in, in.Op, status, "", "")
	in.Op = nil
	in.Status.Task, in.Status.Note, in.Status.Progress, in.Status.Fault = TaskNone, "", 0, nil
	in.Status.VM = in.resting()
}

// without is the state of an instance whose guest went off by itself.
func (i *Instance) without() VMState {
	if i.Mode.Rescue != nil {
		return VMRescued // it is no stopped one: its own disk is not what it boots from
	}
	return VMStopped
}

// resting is the state of an instance that is as it is wanted.
func (i *Instance) resting() VMState {
	switch {
	case i.Wanted == WantOff && i.Mode.Reclaim != 0:
		return VMSoftDeleted
	case i.Mode.Rescue != nil:
		return VMRescued
	case i.Wanted == WantPaused:
		return VMPaused
	case i.Wanted == WantSaved:
		return VMSuspended
	case i.Wanted == WantOff:
		return VMStopped
	}
	return VMActive
}

var (
	confirmTransition = transition{action: "confirmResize", event: "compute_confirm_resize",
		from: []VMState{VMResized}, during: []TaskState{TaskNone}}
	revertTransition = transition{action: "revertResize", event: "compute_revert_resize",
		from: []VMState{VMResized}, during: []TaskState{TaskNone}}
)

func (s *State) endMove(o *EndMove) ([]string, *Error) {
	t := &confirmTransition
	if o.Revert {
		t = &revertTransition
	}
	old, err := s.permitted(o.ID, t)
	if err != nil {
		return nil, err
	}
	if old.Op == nil || old.Op.Step != StepWaiting || o.Operation != "" && old.Op.ID != o.Operation {
		return nil, Errorf(Conflict, "Instance %s has not been resized.", o.ID)
	}
	if _, there := s.t.nodes.Get(old.Op.Move.From); there && o.Revert {
		if err := s.volumesReach(old, old.Op.Move.From); err != nil { // one that was attached since
			return nil, err
		}
	}
	in := old.Clone()
	s.began(in, t, o.By)
	if o.Revert {
		s.revert(in)
	} else {
		m := in.Op.Move
		s.settleMove(in, MigrationConfirmed)
		s.entomb(in, m.From, m.WasEpoch, 0, in.Spec.resourcesAs(&m.Was))
	}
	s.saveInstance(in)
	return []string{string(in.ID)}, nil
}

// revert takes an instance back from the destination of a move.
func (s *State) revert(in *Instance) {
	m := in.Op.Move
	if _, ok := s.t.nodes.Get(m.From); !ok {
		why := "The node that it came from was removed."
		s.recordMove(in, in.Op, MigrationError, "", "")
		s.endActions(in, resultError, why)
		in.Op = nil
		in.Status = Status{VM: VMError, Power: in.Status.Power, Fault: &Fault{Code: faultCode, Message: why, Created: s.t.meta.Time}}
		return
	}
	keep := uint64(0)
	if m.From == m.To {
		keep = m.WasDisk
	}
	there := in.Resources()
	in.Node, in.Epoch, in.Epochs.Disk = m.From, in.newEpoch(), m.WasDisk
	in.Spec.Flavor = m.Was
	in.Generation++
	in.Status.Task = TaskResizeRevert
	s.setPortOwner(in, s.portOwner(in))
	s.bringVolumes(in)
	s.entomb(in, m.To, m.Epoch, keep, there)
	if m.From != m.To {
		s.await(in, m.To)
	}
	s.step(in, StepReverting)
}

func (s *State) signalMove(o *SignalMove) ([]string, *Error) {
	old, ok := s.t.instances.Get(o.ID)
	if !ok {
		return nil, missingInstance(o.ID)
	}
	if old.Op == nil || old.Op.ID != o.Operation || old.Op.Kind != OpLive {
		return nil, Errorf(NotFound, "The live migration %s of instance %s is not under way", o.Operation, o.ID)
	}
	if err := oneOf("The signal", o.Signal, SignalAbort, SignalForce); err != nil {
		return nil, err
	}
	in := old.Clone()
	if o.Signal == SignalAbort && in.Op.Step == StepPlacing {
		s.cancelOperation(in, "It was aborted.", MigrationCancelled)
	} else {
		in.Op.Move.Signal = o.Signal
	}
	s.saveInstance(in)
	return []string{string(in.ID)}, nil
}
