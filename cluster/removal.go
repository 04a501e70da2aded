package cluster

import (
	"cmp"
	"fmt"
	"time"
)

// Outlives tells whether an instance can be started elsewhere, as it was, when its node is removed by force; else why it is lost with the node, or
// why the node is not to be removed before somebody has said that it is down.
func (v *View) Outlives(in *Instance) (goesOn bool, why string) {
	if !v.t.outlives(in) {
		return false, cmp.Or(v.t.tied(in), "something else is done to it")
	}
	n, ok := v.Node(in.Node)
	if !ok || !in.mayRunOn(n) {
		return true, ""
	}
	if in.CurrentReplica() == nil {
		return false, "it may still run there"
	}
	return true, "it may still run there: say that the node is down first"
}

// CopiesOn yields the instances whose current replica is on a node, by ID. It looks at every instance.
func (v *View) CopiesOn(node NodeID) func(yield func(*Instance) bool) {
	return func(yield func(*Instance) bool) {
		for in := range v.Instances() {
			if r := in.CurrentReplica(); r != nil && r.Node == node && !yield(in) {
				return
			}
		}
	}
}

// outlives tells whether nothing of an instance is on its node alone, and what is done to it, if anything, is to start it elsewhere.
func (t *tables) outlives(in *Instance) bool {
	return in.Wanted != WantDeleted && in.Mode.Reclaim == 0 && !in.Mode.away() && in.Mode.Await == "" && t.tied(in) == "" &&
		(in.Op == nil || in.Op.Kind == OpEvacuate && in.Op.Step == StepPlacing)
}

// mayRunOn tells whether the instance's guest may go on running on its node though nobody asks it to: it is neither off, nor guarded, so that it ends
// with the node's lease, nor has an operator said that the node is down.
func (i *Instance) mayRunOn(n *Node) bool {
	off := i.Wanted == WantOff && i.Status.Power == PowerShutdown
	return !off && !i.Guarded() && !n.Dead()
}

// uselessCopy says which copy an instance is not started from, and since when; "": there is none.
func (t *tables) uselessCopy(in *Instance) string {
	r := in.Replica
	if r == nil || in.CurrentReplica() != nil {
		return ""
	}
	name := string(r.Node)
	if n, ok := t.nodes.Get(r.Node); ok {
		name = n.Name
	}
	if r.State == ReplicaBuilding && r.Of == in.Epoch {
		return fmt.Sprintf(" (its copy on %s is being filled since %s, and lacks the rest)", name, r.Since.Std().UTC().Format(time.RFC3339))
	}
	why := ""
	if r.Note != "" {
		why = ": " + r.Note
	}
	return fmt.Sprintf(" (its copy on %s is stale since %s%s)", name, r.Since.Std().UTC().Format(time.RFC3339), why)
}

// heedCopies refuses the removal of a node that would lose copies without saying so, and takes the instances off it that go on from theirs.
func (s *State) heedCopies(o *RemoveNode, n *Node, placed []*Instance) *Error {
	if !o.Force {
		kept := 0
		for in := range values(&s.t.instances) {
			if r := in.CurrentReplica(); r != nil && r.Node == o.ID {
				kept++
			}
		}
		if kept > 0 {
			return Errorf(Conflict, "The node %s keeps the current copies of %d disks; drain it first", n.Name, kept)
		}
		return nil
	}
	for _, in := range placed {
		if r := in.CurrentReplica(); r != nil && s.t.outlives(in) && in.mayRunOn(n) {
			return Errorf(Conflict, "Instance %s would be started from its copy, and may still run on the node %s: cut its power, and say so with `kilonova node confirm-dead`",
				in.ID, n.Name)
		}
	}
	for _, in := range placed {
		if s.t.outlives(in) && !in.mayRunOn(n) {
			s.orphan(in)
		}
	}
	return nil
}

// orphan begins to start an instance elsewhere whose node is being removed, or goes on with that.
func (s *State) orphan(old *Instance) {
	in := old.Clone()
	if in.Op == nil {
		s.beginTo(in, moves[OpEvacuate], &BeginMove{ID: in.ID, Operation: restartID(in, s.t.meta.Index), What: OpEvacuate})
	}
	in.Op.Move.Auto = true
	in.Node, in.Op.Move.From = "", ""
	s.saveInstance(in)
}

// Orphaned tells whether an instance is to be started elsewhere whose node was removed. How long that node holds a lease nobody has noted.
func (i *Instance) Orphaned() bool {
	return i.Op != nil && i.Op.Kind == OpEvacuate && i.Op.Step == StepPlacing && i.Node == ""
}

func (s *State) retireReplica(o *RetireReplica) ([]string, *Error) {
	old, ok := s.t.instances.Get(o.ID)
	if !ok {
		return nil, missingInstance(o.ID)
	}
	r := old.Replica
	if old.Epoch != o.Epoch || r == nil || r.Epoch != o.Replica {
		return nil, Errorf(Stale, "Instance %s, or its replica, was changed in the meantime", o.ID)
	}
	if r.State == ReplicaStale {
		return []string{string(o.ID)}, nil
	}
	if n, ok := s.t.nodes.Get(r.Node); !ok || !n.Service.Draining {
		return nil, Errorf(Stale, "The node that has the replica of instance %s is not drained", o.ID)
	}
	if !old.MayMoveReplica() {
		return nil, Errorf(Stale, "No other replica of instance %s can be begun now", o.ID)
	}
	in := old.Clone()
	s.setReplica(in, ReplicaStale, "its node is drained")
	s.saveInstance(in)
	return []string{string(o.ID)}, nil
}

// CopyStays says why the replica of an instance cannot leave its node now, if that is drained; "" when it can, and when there is none that counts.
func (i *Instance) CopyStays() string {
	if !i.copyCounts() || !i.AsksReplica() {
		return ""
	}
	return i.uncopied()
}

// CopyLeaves tells whether a node has a replica of the instance that counts, or that is given up and not yet in another place.
func (i *Instance) CopyLeaves(node NodeID) bool {
	return i.Replica != nil && i.Replica.Node == node && i.Replica.Of == i.Epoch && (i.copyCounts() || i.MayPlaceReplica())
}
