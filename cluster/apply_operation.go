package cluster

import "cmp"

func (s *State) applyOperationOp(op Op) (ids []string, refusal *Error, known bool) {
	known = true
	switch o := op.(type) {
	case *RebuildInstance:
		ids, refusal = s.rebuildInstance(o)
	case *RescueInstance:
		ids, refusal = s.rescueInstance(o)
	case *BeginMove:
		ids, refusal = s.beginMove(o)
	case *PlaceMove:
		ids, refusal = s.placeMove(o)
	case *EndMove:
		ids, refusal = s.endMove(o)
	case *SignalMove:
		ids, refusal = s.signalMove(o)
	case *BeginCapture:
		ids, refusal = s.beginCapture(o)
	case *AdvanceOperation:
		ids, refusal = s.advanceOperation(o)
	case *UnshelveInstance:
		ids, refusal = s.unshelveInstance(o)
	case *RestoreInstance:
		ids, refusal = s.restoreInstance(o)
	case *ResetInstance:
		ids, refusal = s.resetInstance(o)
	case *AttachPort:
		ids, refusal = s.attachPort(o)
	case *DetachPort:
		ids, refusal = s.detachPort(o)
	case *StopAwaiting:
		ids, refusal = s.stopAwaiting(o)
	default:
		known = false
	}
	return ids, refusal, known
}

func (s *State) advanceOperation(o *AdvanceOperation) ([]string, *Error) {
	old, ok := s.t.instances.Get(o.ID)
	if !ok {
		return nil, missingInstance(o.ID)
	}
	if old.Op == nil || old.Op.ID != o.Operation || old.Op.Step != o.Step || !old.mayAdvance(o) {
		return nil, nil // late: somebody else went on
	}
	in := old.Clone()
	if o.Progress != nil && in.Op.Move != nil {
		in.Op.Move.Progress = *o.Progress
		s.recordMove(in, in.Op, "", "", "")
		in.Status.Progress = o.Progress.percent()
	}
	switch {
	case o.Done:
		s.advance(in)
	case in.Op.Step == StepAsking && (o.Cancelled || o.Error != ""):
		s.notArrived(in, clip(o.Error, maxText))
	case o.Cancelled:
		s.cancelOperation(in, clip(o.Error, maxText), MigrationCancelled)
	case o.Error != "":
		s.failOperation(in, clip(o.Error, maxText))
	default:
		in.Status.Note = clip(o.Note, maxText)
	}
	if o.Anew && old.Op.Step == StepMigrating && in.Op == nil && in.Wanted == WantOn {
		s.powerOnAgain(in)
	}
	s.saveInstance(in)
	return []string{string(in.ID)}, nil
}

// mayAdvance tells whether a node may say how a step went. Of a live migration the destination, too, may say that the guest
// has arrived, because a source that dies at that moment never will.
func (i *Instance) mayAdvance(o *AdvanceOperation) bool {
	if i.Executor() == o.Node {
		return true
	}
	return i.Op.Step == StepMigrating && i.Op.Move.To == o.Node && o.Node != "" && o.Done
}

// percent is how much of what is known to be sent was sent.
func (p MoveProgress) percent() int {
	total := p.MemoryTotal + p.DiskTotal
	if total <= 0 {
		return 0
	}
	return int(max(0, min(100, 100*(total-p.MemoryRemaining-p.DiskRemaining)/total)))
}

// failOperation ends the operation of an instance, or takes the instance back to where it was before, because something
// cannot be done.
func (s *State) failOperation(in *Instance, why string) { s.cancelOperation(in, why, MigrationError) }

// interrupt ends the operation of an instance, if there is one, because of something else that was asked for.
func (s *State) interrupt(in *Instance, why string) {
	op := in.Op
	if op == nil {
		return
	}
	s.failOperation(in, why)
	if op.Step == StepMigrating || op.Step == StepAsking {
		s.await(in, op.Move.To) // nobody has looked yet where the guest is
	}
}

// cancelOperation is failOperation with another word for how it ended.
func (s *State) cancelOperation(in *Instance, why, status string) {
	op := in.Op
	op.Failure = why
	s.endActions(in, resultError, why)
	if op.Capture != nil {
		s.uncaptured(in)
		return
	}
	m := op.Move
	switch op.Step {
	case StepFinishing:
		if op.Kind != OpEvacuate {
			s.revert(in)
			return
		}
		s.giveUp(in, why)
		return
	case StepReverting:
		s.giveUp(in, why)
		return
	case StepCopying:
		if m.From == m.To { // its disks stay; what was made for the move goes
			in.Epoch, in.Epochs.Disk = in.newEpoch(), m.WasDisk
			s.entomb(in, m.To, m.Epoch, m.WasDisk, Resources{})
		} else {
			s.entomb(in, m.To, m.Epoch, 0, in.Spec.resourcesAs(&m.Flavor))
		}
	case StepMigrating, StepAsking:
		s.entomb(in, m.To, m.Epoch, 0, in.Spec.resourcesAs(&m.Flavor))
	case StepWaiting: // nobody will revert it any more
		s.entomb(in, m.From, m.WasEpoch, 0, in.Spec.resourcesAs(&m.Was))
	}
	s.recordMove(in, op, status, "", "")
	in.Op = nil
	in.Status.Task, in.Status.Note, in.Status.Progress = TaskNone, "", 0
	if op.Kind == OpEvacuate {
		in.Status.VM = VMError
		in.Status.Fault = &Fault{Code: faultCode, Message: why, Created: s.t.meta.Time}
		return
	}
	switch {
	case in.Wanted != WantOn:
	case op.Step == StepCopying:
		s.powerOnAgain(in)
	case op.Step == StepStopping:
		s.keepOn(in)
	}
}

// keepOn has an instance run that an operation was about to stop. If it still runs, it is not started anew.
func (s *State) keepOn(in *Instance) {
	in.Generation++
	in.Status.Task = TaskPoweringOn
}

// powerOnAgain starts an instance that an operation had stopped.
func (s *State) powerOnAgain(in *Instance) {
	in.Generation++
	in.Boot++
	in.Status.Task = TaskPoweringOn
}

// giveUp puts an instance in error where it is: neither forwards nor backwards worked.
func (s *State) giveUp(in *Instance, why string) {
	s.recordMove(in, in.Op, MigrationError, "", "")
	in.Op = nil
	in.Status.VM, in.Status.Task, in.Status.Note, in.Status.Progress = VMError, TaskNone, "", 0
	in.Status.Fault = &Fault{Code: faultCode, Message: why, Created: s.t.meta.Time}
}

// recordMove keeps the record of a move. An empty status is that of its step.
func (s *State) recordMove(in *Instance, op *Operation, status string, user UserID, project ProjectID) {
	if op == nil || op.Move == nil {
		return
	}
	m := op.Move
	r := Migration{
		ID: op.ID, Number: op.Number, Instance: in.ID, Project: project, User: user, Kind: op.Kind, Status: status, Step: op.Step,
		From: m.From, To: m.To, OldFlavor: m.Was.ID, NewFlavor: m.Flavor.ID, Created: op.Began, Updated: s.t.meta.Time, Progress: m.Progress,
	}
	if old, ok := s.t.migrations.Get(migrationKey(&r)); ok {
		r.User, r.Project = old.User, old.Project
		r.From = cmp.Or(r.From, old.From)
	}
	if status == "" {
		r.Status = migrationStatus(op.Kind, op.Step)
	}
	s.putMigration(&r)
	for s.t.migrations.Len() > maxMigrations {
		s.t.migrations.PopMin()
	}
}

const destinationRemoved = "The destination was removed from the cluster."

// withdrawOperations ends what a node that is removed had to do with.
func (s *State) withdrawOperations(node NodeID) {
	var touched []*Instance
	for id := range values(&s.t.operations) {
		if in, ok := s.t.instances.Get(id); ok && in.Op.Move != nil && (in.Op.Move.From == node || in.Op.Move.To == node) {
			touched = append(touched, in)
		}
	}
	for _, old := range touched {
		in := old.Clone()
		m := in.Op.Move
		switch {
		case in.Op.Step == StepMigrating || in.Op.Step == StepAsking:
			s.withdrawFlight(in, node)
		case in.Node == node && m.From != node && in.Op.Kind != OpEvacuate: // what it was is at its source still
			s.comeBack(in)
		case in.Node == node: // lost with its node; what the other end has goes
			s.recordMove(in, in.Op, MigrationError, "", "")
			if other := m.other(node); other != "" {
				s.entomb(in, other, max(in.Epochs.Given, in.Epoch), 0, Resources{})
			}
			in.Op = nil
		case m.To == node && in.Op.Step != StepReverting:
			s.failOperation(in, destinationRemoved)
		case m.From == node && in.Op.Step == StepWaiting:
			s.settleMove(in, MigrationConfirmed)
		default: // it is on its way up on the node that is left, and there is no other way any more
			s.settleMove(in, MigrationError)
			if in.Wanted == WantOn {
				s.powerOnAgain(in)
			}
		}
		s.saveInstance(in)
	}
}

// comeBack takes an instance back from the destination of a move, which is removed.
func (s *State) comeBack(in *Instance) {
	s.endActions(in, resultError, destinationRemoved)
	s.revert(in)
	s.settleMove(in, MigrationError)
	if in.Wanted == WantOn {
		s.powerOnAgain(in)
	}
}

// other is the end of the move that is not the node, or "".
func (m *Move) other(node NodeID) NodeID {
	for _, id := range []NodeID{m.From, m.To} {
		if id != node {
			return id
		}
	}
	return ""
}

// dropOperation ends what is under way on an instance that is being deleted or put in another state by hand.
func (s *State) dropOperation(in *Instance) {
	if in.Op == nil {
		return
	}
	if in.Op.Capture != nil {
		s.discardCapture(in.Op.Capture.Image)
	} else {
		s.recordMove(in, in.Op, MigrationError, "", "")
	}
	in.Op = nil
}

// entombEverywhere lets every node that may have something of an instance remove it.
func (s *State) entombEverywhere(in *Instance) {
	s.dropReplica(in)
	through := max(in.Epoch, in.Epochs.Given)
	here := in.Resources()
	switch node, r := in.held(); node {
	case "":
	case in.Node:
		here = here.Add(r)
	default:
		s.entomb(in, node, through, 0, r)
	}
	s.entomb(in, in.Node, through, 0, here)
}
