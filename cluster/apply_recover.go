package cluster

import "slices"

func (s *State) recoverCluster(o *RecoverCluster) ([]string, *Error) {
	if err := checkID("Recovery", o.ID); err != nil {
		return nil, err
	}
	if _, ok := s.t.nodes.Get(o.Leader); !ok {
		return nil, missing("Node", string(o.Leader))
	}
	if slices.Contains(o.Lost, o.Leader) {
		return nil, Errorf(Invalid, "The node %s cannot give itself up", o.Leader)
	}
	if last := s.t.meta.Recovered; last != nil && last.ID == o.ID {
		return []string{o.ID}, nil
	}
	s.t.meta.Recovered = &Recovery{ID: o.ID, At: s.t.meta.Time, Node: o.Leader, Lost: slices.Clone(o.Lost)}
	s.t.meta.Term = "" // what an earlier leader meant to do is void
	for _, id := range o.Lost {
		s.t.removed.Set(id, removal{Node: id, At: s.t.meta.Time})
		if old, ok := s.t.nodes.Get(id); ok { // its record stays: what it ran is found another place as if it were lost
			n := old.Clone()
			n.Revision, n.Updated = s.t.meta.Index, s.t.meta.Time
			s.putNode(n)
		}
	}
	return []string{o.ID}, nil
}

// expelled tells whether a node that the state has a record of was given up: such a one is removed, and its instances are not.
func (s *State) expelled(id NodeID) bool { _, gone := s.t.removed.Get(id); return gone }
