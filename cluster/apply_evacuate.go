package cluster

import "fmt"

// evacuate begins to build an instance elsewhere whose node an operator has given up. Whatever was being done to it is over.
func (s *State) evacuate(in *Instance, t *transition, o *BeginMove) {
	defer func() { s.saveInstance(in) }()
	in.Spec.AdminPass = o.AdminPass
	op := in.Op
	switch {
	case op == nil:
	case op.Step == StepMigrating && op.Move.To != "":
		s.recordMove(in, op, MigrationError, "", "")
		s.beginTo(in, t, o)
		in.Op.Move.To, in.Op.Move.Epoch = op.Move.To, op.Move.Epoch
		s.step(in, StepAsking)
		return
	case op.Step == StepFinishing && op.Kind != OpEvacuate && op.Move.From != in.Node && s.hasNode(op.Move.From): // there are its disks yet
		s.began(in, t, o.By)
		s.revert(in)
		return
	default:
		s.failOperation(in, "Its node was given up.")
	}
	s.beginTo(in, t, o)
}

func (s *State) hasNode(id NodeID) bool {
	_, ok := s.t.nodes.Get(id)
	return ok
}

// givenUp tells whether an operator has given up the instance's node, and nothing was done about that yet.
func (i *Instance) givenUp() bool {
	return i.Op != nil && (i.Op.Step == StepAsking || i.Op.Kind == OpEvacuate && i.Op.Step == StepPlacing)
}

// notArrived goes on when the destination of a live migration whose source is dead has no guest. What it prepared goes before the
// instance may start anywhere.
func (s *State) notArrived(in *Instance, why string) {
	m := in.Op.Move
	if in.stranded() {
		s.recordMove(in, in.Op, MigrationError, "", "")
		s.entomb(in, in.Node, in.Epoch, 0, in.Resources())
		s.endActions(in, resultError, why)
		in.Op, in.Node = nil, ""
		in.Epoch, in.Epochs.Disk = in.newEpoch(), 0
		in.Generation++
		in.Status = Status{VM: VMError, Fault: &Fault{Code: faultCode, Message: "Its node was removed from the cluster. " + why, Created: s.t.meta.Time}}
		return
	}
	s.entomb(in, m.To, m.Epoch, 0, in.Spec.resourcesAs(&m.Flavor))
	s.await(in, m.To)
	m.To, m.Epoch = "", 0
	s.step(in, StepPlacing)
}

// withdrawFlight decides about a guest that was on its way from or to a node that is removed.
func (s *State) withdrawFlight(in *Instance, node NodeID) {
	m := in.Op.Move
	switch {
	case in.stranded(), m.From == node && m.To == "": // lost with its node, or with the last that may have had it
		s.recordMove(in, in.Op, MigrationError, "", "")
		in.Op = nil
	case m.From == node: // its destination has it, or nobody
		s.arrive(in)
		m.From = ""
		s.step(in, StepAsking)
	case in.Op.Step == StepAsking:
		m.To, m.Epoch = "", 0
		s.step(in, StepPlacing)
	default: // its source knows, once it need not ask any more
		m.To = ""
		s.step(in, StepMigrating)
	}
}

// heardOf takes note of a node that speaks. An operator may have given it up while it lives: then it has to clear what it has of an
// instance before the next node, which has not started it yet as far as the state knows, may do so. What the cluster itself starts
// elsewhere does not wait: that node's lease is over.
func (s *State) heardOf(node NodeID) {
	var again []*Instance
	for t := range prefixed(&s.t.tombstones, string(node)+sep) {
		in, ok := s.t.instances.Get(t.Instance)
		if ok && in.Op != nil && in.Op.Kind == OpEvacuate && in.Op.Step == StepFinishing && in.Op.Move.From == node && !in.Op.Move.Auto && in.Mode.Await == "" {
			again = append(again, in)
		}
	}
	for _, old := range again {
		in := old.Clone()
		in.Mode.Await = node
		in.Status.Note = clip(fmt.Sprintf("waiting for node %s, which lives, to clear it", node), maxText)
		s.saveInstance(in)
	}
}

func (s *State) stopAwaiting(o *StopAwaiting) ([]string, *Error) {
	n, ok := s.t.nodes.Get(o.Node)
	if !ok {
		return nil, missing("Node", string(o.Node))
	}
	var waiting []*Instance
	for t := range prefixed(&s.t.tombstones, string(o.Node)+sep) {
		if in, ok := s.t.instances.Get(t.Instance); ok && in.AwaitsDead(n) {
			waiting = append(waiting, in)
		}
	}
	if len(waiting) == 0 {
		return nil, Errorf(Conflict, "No operator has said that the node %s is down, or nothing waits for it", n.Name)
	}
	var ids []string
	for _, old := range waiting {
		in := old.Clone()
		in.Mode.Await = ""
		s.saveInstance(in)
		ids = append(ids, string(in.ID))
	}
	return ids, nil
}

// AwaitsDead tells whether the instance waits for a node that an operator has given up: by forcing it down, or by the evacuation that
// the instance is in.
func (i *Instance) AwaitsDead(n *Node) bool {
	return i.Mode.Await == n.ID && (n.Dead() || i.Op != nil && i.Op.Kind == OpEvacuate && i.Op.Move.From == n.ID)
}

// Dead tells whether an operator has said that the node is down.
func (n *Node) Dead() bool { return n.Service.ForcedDown || n.Lost != nil && n.Lost.Confirmed }
