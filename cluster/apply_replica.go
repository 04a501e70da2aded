package cluster

import "slices"

func (s *State) applyReplicaOp(op Op) (ids []string, refusal *Error, known bool) {
	known = true
	switch o := op.(type) {
	case *PlaceReplica:
		ids, refusal = s.placeReplica(o)
	case *ReportReplica:
		ids, refusal = s.reportReplica(o)
	case *RetireReplica:
		ids, refusal = s.retireReplica(o)
	default:
		known = false
	}
	return ids, refusal, known
}

func (s *State) placeReplica(o *PlaceReplica) ([]string, *Error) {
	old, ok := s.t.instances.Get(o.ID)
	if !ok {
		return nil, missingInstance(o.ID)
	}
	was := uint64(0)
	if old.Replica != nil {
		was = old.Replica.Epoch
	}
	if old.Epoch != o.Epoch || was != o.Was {
		return nil, Errorf(Stale, "Instance %s was changed in the meantime", o.ID)
	}
	in := old.Clone()
	if o.Node == "" {
		if !in.SpareReplica() {
			return nil, Errorf(Stale, "The replica of instance %s is of use", o.ID)
		}
		s.dropReplica(in)
		s.saveInstance(in)
		return []string{string(o.ID)}, nil
	}
	if !in.MayPlaceReplica() {
		return nil, Errorf(Stale, "Instance %s does not wait for a place for its replica", o.ID)
	}
	if o.Node == in.Node {
		return nil, Errorf(Invalid, "A replica of instance %s on its own node is of no use", o.ID)
	}
	room := Resources{DiskGiB: in.Resources().DiskGiB}
	if err := firstOf(s.accepts(o.Node, room), checkText("The note", o.Note)); err != nil { // the old one holds its room until it is gone
		return nil, err
	}
	s.dropReplica(in)
	in.Replica = &Replica{Node: o.Node, Epoch: in.newEpoch(), Of: in.Epoch, DiskGiB: room.DiskGiB,
		State: ReplicaBuilding, Since: s.t.meta.Time, Note: o.Note}
	s.saveInstance(in)
	return []string{string(o.ID)}, nil
}

// dropReplica lets the replica's node remove it.
func (s *State) dropReplica(in *Instance) {
	r := in.Replica
	if r == nil {
		return
	}
	in.Replica = nil
	through, keep := r.Epoch, uint64(0)
	if t, pending := s.t.tombstones.Get(nodeKey(r.Node, in.ID)); pending {
		through, keep = max(through, t.Epoch), t.Keep
	}
	s.entomb(in, r.Node, through, keep, r.room())
}

func (s *State) reportReplica(o *ReportReplica) ([]string, *Error) {
	old, ok := s.t.instances.Get(o.ID)
	if !ok {
		return nil, missingInstance(o.ID)
	}
	if err := firstOf(oneOf("The state of a replica", o.State, ReplicaCurrent, ReplicaStale), checkText("The note", o.Note)); err != nil {
		return nil, err
	}
	r := old.Replica
	switch {
	case old.Node != o.Node || old.Epoch != o.Epoch || r == nil || r.Epoch != o.Replica || r.Of != old.Epoch:
		return nil, Errorf(Stale, "Instance %s, or its replica, was changed in the meantime", o.ID)
	case old.givenUp(), old.Wanted == WantDeleted:
		return nil, Errorf(Stale, "Instance %s is no longer this node's", o.ID)
	case r.State == o.State:
		return []string{string(o.ID)}, nil
	case o.State == ReplicaCurrent && (r.State != ReplicaBuilding || !old.Mirrors()):
		return nil, Errorf(Stale, "The replica of instance %s is stale", o.ID)
	}
	in := old.Clone()
	s.setReplica(in, o.State, o.Note)
	s.saveInstance(in)
	return []string{string(o.ID)}, nil
}

func (s *State) setReplica(in *Instance, to ReplicaState, note string) {
	r := *in.Replica
	r.State, r.Since, r.Note = to, s.t.meta.Time, clip(note, maxText)
	in.Replica = &r
}

// ageReplica makes a replica stale in the entry in which something begins that the disk goes through without it.
func (s *State) ageReplica(in *Instance) {
	r := in.Replica
	if r == nil || r.State == ReplicaStale {
		return
	}
	switch {
	case in.Op != nil && in.Op.Kind != OpEvacuate:
		s.setReplica(in, ReplicaStale, "a "+string(in.Op.Kind)+" began")
	case in.Wanted == WantSaved:
		s.setReplica(in, ReplicaStale, "the guest's memory is on its node alone")
	case r.Of != in.Epoch:
		s.setReplica(in, ReplicaStale, "the instance has other disks")
	}
}

// promotes gives the replica that an evacuation to the node goes on from; nil: what is there is built anew. An instance that has
// one goes nowhere else, unless an operator names another node.
func (s *State) promotes(in *Instance, node NodeID) (*Replica, *Error) {
	r, m := in.CurrentReplica(), in.Op.Move
	if in.Op.Kind != OpEvacuate || r == nil {
		return nil, nil
	}
	if t, pending := s.t.tombstones.Get(nodeKey(r.Node, in.ID)); pending && t.Epoch >= r.Epoch && t.Keep != r.Epoch {
		return nil, nil
	}
	if r.Node == node {
		return r, nil
	}
	if m.Host == "" {
		return nil, Errorf(Invalid, "Instance %s goes where the replica of its disk is", in.ID)
	}
	return nil, nil
}

// withdrawReplicas forgets the replicas on a node that is removed.
func (s *State) withdrawReplicas(node NodeID) {
	for _, old := range slices.Collect(values(&s.t.instances)) {
		if old.Replica != nil && old.Replica.Node == node {
			in := old.Clone()
			in.Replica = nil
			s.saveInstance(in)
		}
	}
}
