package cluster

import "slices"

func (s *State) applyLeaseOp(op Op) (ids []string, refusal *Error, known bool) {
	known = true
	switch o := op.(type) {
	case *BeginTerm:
		ids, refusal = s.beginTerm(o)
	case *LoseNode:
		ids, refusal = s.loseNode(o)
	case *ReturnNode:
		ids, refusal = s.returnNode(o)
	case *PutSettings:
		ids, refusal = s.saveSettings(o)
	case *GuardInstances:
		ids, refusal = s.guardInstances(o)
	default:
		known = false
	}
	return ids, refusal, known
}

func (s *State) beginTerm(o *BeginTerm) ([]string, *Error) {
	if err := firstOf(checkID("Term", o.Term), checkID("Leader", o.Leader)); err != nil {
		return nil, err
	}
	s.t.meta.Term = o.Term
	return []string{string(o.Term)}, nil
}

func (s *State) loseNode(o *LoseNode) ([]string, *Error) {
	old, ok := s.t.nodes.Get(o.Node)
	switch {
	case !ok:
		return nil, missing("Node", string(o.Node))
	case o.Term != "" && o.Term != s.t.meta.Term:
		return nil, Errorf(Stale, "Another term of leadership began meanwhile")
	case o.Term == "" && s.t.nodes.Len() == 1:
		return nil, Errorf(Conflict, "The node %s is the only one of the cluster", old.Name)
	}
	confirmed := o.Term == ""
	var lost []*Instance
	for in := range resolved(&s.t.byNode, &s.t.instances, string(o.Node)+sep) {
		if s.t.restartable(in) {
			lost = append(lost, in)
		}
	}
	if old.Lost != nil && len(lost) == 0 && (old.Lost.Confirmed || !confirmed) {
		return nil, Errorf(Conflict, "The node %s is taken for dead already", old.Name)
	}
	n := old.Clone()
	if n.Lost == nil {
		n.Lost = &Loss{At: s.t.meta.Time}
	}
	if confirmed {
		n.Lost.Confirmed, n.Lost.By = true, o.By.User
	}
	n.Revision, n.Updated = s.t.meta.Index, s.t.meta.Time
	s.putNode(n)
	ids := []string{string(n.ID)}
	for _, in := range lost {
		s.restart(in, o.By)
		ids = append(ids, string(in.ID))
	}
	return ids, nil
}

// restart begins to start an instance elsewhere, whatever was being done to it.
func (s *State) restart(old *Instance, by By) {
	in := old.Clone()
	s.evacuate(in, moves[OpEvacuate], &BeginMove{
		ID: in.ID, By: by, Operation: restartID(in, s.t.meta.Index), What: OpEvacuate, AdminPass: in.Spec.AdminPass,
	})
	if in.Op == nil || in.Op.Kind != OpEvacuate {
		return // it goes back to where it was before
	}
	waits := in.Clone()
	waits.Op.Move.Auto = true
	s.saveInstance(waits)
}

func (s *State) returnNode(o *ReturnNode) ([]string, *Error) {
	old, ok := s.t.nodes.Get(o.Node)
	switch {
	case !ok:
		return nil, missing("Node", string(o.Node))
	case s.expelled(o.Node):
		return nil, Errorf(Conflict, "The node %s was given up when the cluster was recovered", old.Name)
	case old.Lost == nil:
		return []string{string(o.Node)}, nil // said twice
	case old.Lost.At != o.Lost:
		return nil, Errorf(Stale, "The node %s was lost again", old.Name)
	}
	n := old.Clone()
	n.Lost = nil
	n.Revision, n.Updated = s.t.meta.Index, s.t.meta.Time
	s.putNode(n)
	ids := []string{string(n.ID)}
	for _, in := range slices.Collect(resolved(&s.t.byNode, &s.t.instances, string(o.Node)+sep)) {
		if in.Op != nil && in.Op.Kind == OpEvacuate && in.Op.Step == StepPlacing && in.Op.Move.Auto {
			s.stay(in)
			ids = append(ids, string(in.ID))
		}
	}
	return ids, nil
}

// stay ends a restart that found no node before the instance's own came back: it is started there.
func (s *State) stay(old *Instance) {
	in := old.Clone()
	s.endActions(in, resultError, "Its node came back first.")
	s.recordMove(in, in.Op, MigrationCancelled, "", "")
	in.Op = nil
	in.Status.Task, in.Status.Note, in.Status.Progress = TaskNone, "", 0
	if in.Wanted == WantOn || in.Wanted == WantPaused {
		in.Wanted = WantOn // what it had in memory is gone
		s.powerOnAgain(in)
	}
	s.saveInstance(in)
}

func (s *State) saveSettings(o *PutSettings) ([]string, *Error) {
	present := s.t.chosen()
	if o.Settings.Revision != present.Revision {
		return nil, Errorf(Stale, "The settings of the cluster were changed in the meantime")
	}
	next := present
	if o.Settled {
		next.Former = 0
	} else {
		err := firstOf(o.Settings.Lease.Check(), checkAmount("The number of restarts at the same time", int64(o.Settings.Restarts), 0, MaxRestarts),
			checkAmount("The number of nodes that room is kept for", int64(o.Settings.ReserveNodes), 0, MaxReserveNodes))
		if err != nil {
			return nil, err
		}
		next = o.Settings
		if next.Former = present.Former; present.Lease != next.Lease {
			next.Former = max(present.Former, present.Lease.Dead)
		}
	}
	next.Revision = s.t.meta.Index
	s.t.settings = &next
	return []string{"settings"}, nil
}

func (s *State) guardInstances(o *GuardInstances) ([]string, *Error) {
	var ids []string
	for _, g := range o.Guards {
		old, ok := s.t.instances.Get(g.ID)
		if !ok || old.Node != o.Node || old.Epoch != g.Epoch {
			continue
		}
		in := old.Clone()
		if in.Mode.Guard = g.Epoch; g.Off {
			in.Mode.Guard = 0
		}
		if in.Mode.Guard != old.Mode.Guard {
			s.saveInstance(in)
			ids = append(ids, string(g.ID))
		}
	}
	return ids, nil
}
