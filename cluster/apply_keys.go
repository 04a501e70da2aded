package cluster

import (
	"slices"
	"strings"
)

func (s *State) applyKeysOp(op Op) (ids []string, refusal *Error, known bool) {
	known = true
	switch o := op.(type) {
	case *BeginRotation:
		ids, refusal = s.beginRotation(o)
	case *ConfirmKeys:
		ids, refusal = s.confirmKeys(o)
	case *AdvanceRotation:
		ids, refusal = s.advanceRotation(o)
	default:
		known = false
	}
	return ids, refusal, known
}

func (s *State) beginRotation(o *BeginRotation) ([]string, *Error) {
	if s.t.authority == nil {
		return nil, Errorf(NotFound, "There is no cluster yet")
	}
	if old, ok := s.t.rotations.Get(o.Keys); ok && old.UnderWay() {
		return nil, Errorf(Conflict, "A rotation of the %s key is under way already", o.Keys)
	}
	if o.Keep < 0 || o.Keep > MaxKeep {
		return nil, Errorf(Invalid, "An old key is kept for %v at most, not %v", MaxKeep, o.Keep)
	}
	a := *s.t.authority
	switch o.Keys {
	case KeysGossip:
		if n := len(o.GossipKey); n == 0 || n > maxKeyBytes || o.Authority != nil {
			return nil, Errorf(Invalid, "The new gossip key is missing or too long")
		}
		if slices.ContainsFunc(a.GossipKeys, func(k []byte) bool { return string(k) == string(o.GossipKey) }) {
			return nil, Errorf(Invalid, "The new gossip key is the old one")
		}
		a.GossipKeys = append(slices.Clone(a.GossipKeys[:min(1, len(a.GossipKeys))]), o.GossipKey)
	case KeysAuthority:
		if err := checkPair(o.Authority); err != nil || len(o.GossipKey) > 0 {
			return nil, Errorf(Invalid, "The new authority is missing or too long")
		}
		a.Other = o.Authority
	default:
		return nil, Errorf(Invalid, "There are no keys called %.80q", string(o.Keys))
	}
	s.putAuthority(&a)
	s.putRotation(&Rotation{Keys: o.Keys, Step: KeysAdded, Since: s.t.meta.Index, Begun: s.t.meta.Time, Keep: o.Keep})
	return []string{string(o.Keys)}, nil
}

func checkPair(p *AuthorityPair) *Error {
	if p == nil || len(p.Cert) == 0 || len(p.Key) == 0 || len(p.Cert)+len(p.Key) > maxKeyBytes {
		return Errorf(Invalid, "The new authority is missing or too long")
	}
	return nil
}

// rotation finds the step that a command is about.
func (s *State) rotation(k Keyset, since uint64) (*Rotation, *Error) {
	r, ok := s.t.rotations.Get(k)
	switch {
	case !ok:
		return nil, Errorf(NotFound, "The %.80s key was never rotated", string(k))
	case !r.UnderWay() || r.Since != since:
		return nil, Errorf(Stale, "The rotation of the %s key went on in the meantime", k)
	}
	return r, nil
}

func (s *State) confirmKeys(o *ConfirmKeys) ([]string, *Error) {
	if _, ok := s.t.nodes.Get(o.Node); !ok {
		return nil, missing("Node", string(o.Node))
	}
	old, err := s.rotation(o.Keys, o.Since)
	if err != nil {
		return nil, err
	}
	r := *old
	if at, has := slices.BinarySearch(r.Confirmed, o.Node); !has {
		r.Confirmed = slices.Insert(slices.Clone(r.Confirmed), at, o.Node)
	}
	s.turn(&r)
	return []string{string(o.Node)}, nil
}

func (s *State) advanceRotation(o *AdvanceRotation) ([]string, *Error) {
	old, err := s.rotation(o.Keys, o.Since)
	if err != nil {
		return nil, err
	}
	if o.Force && o.Keys == KeysAuthority {
		return nil, Errorf(Conflict, "A node that does not know the new authority would never be let in again: wait for it, or remove it from the cluster")
	}
	r := *old
	var late []string
	for n := range s.t.awaited(old) {
		late = append(late, n.Name)
		if at, has := slices.BinarySearch(r.Without, n.ID); o.Force && !has {
			r.Without = slices.Insert(slices.Clone(r.Without), at, n.ID)
		}
	}
	switch {
	case len(late) > 0 && !o.Force:
		slices.Sort(late)
		return nil, Errorf(Conflict, "The rotation of the %s key waits for %s", o.Keys, strings.Join(late[:min(len(late), maxLate)], ", "))
	case !s.t.ripe(&r, s.t.meta.Time):
		return nil, Errorf(Conflict, "The old %s key is kept until %s", o.Keys, r.Begun.Add(r.Keep).Std().UTC().Format("2006-01-02 15:04:05 MST"))
	}
	s.turn(&r)
	return []string{string(o.Keys)}, nil
}

// maxLate bounds how many nodes a refusal names.
const maxLate = 10

// turn stores a rotation, and ends as many of its steps as nothing is missing of.
func (s *State) turn(r *Rotation) {
	for s.t.ripe(r, s.t.meta.Time) {
		a := *s.t.authority
		switch {
		case r.Step == KeysAdded:
			r.Step = KeysUsed
			a.swap(r.Keys)
		default:
			r.Step, r.Ended, r.Without = KeysDone, s.t.meta.Time, nil
			a.shed(r.Keys)
		}
		r.Since, r.Confirmed = s.t.meta.Index, nil
		s.putAuthority(&a)
	}
	s.putRotation(r)
}

// turnAll looks at every rotation again, after a node was removed.
func (s *State) turnAll() {
	for _, r := range slices.Collect(values(&s.t.rotations)) {
		if s.t.ripe(r, s.t.meta.Time) {
			next := *r
			s.turn(&next)
		}
	}
}

// swap makes the new key the one that is used.
func (a *Authority) swap(k Keyset) {
	if k == KeysGossip {
		a.GossipKeys = slices.Clone(a.GossipKeys)
		slices.Reverse(a.GossipKeys)
		return
	}
	former := &AuthorityPair{Cert: a.CACert, Key: a.CAKey}
	a.CACert, a.CAKey, a.Other = a.Other.Cert, a.Other.Key, former
}

// shed drops the old key.
func (a *Authority) shed(k Keyset) {
	if k == KeysGossip {
		a.GossipKeys = a.GossipKeys[:1:1]
		return
	}
	a.Other = nil
}
