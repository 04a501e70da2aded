package cluster

import (
	"slices"

	"github.com/tidwall/btree"
)

// maxAggregates bounds the aggregates of a cluster: each change looks at what all of them say.
const maxAggregates = 1024

// aggregateTables is aggregates, and the nodes in them.
type aggregateTables struct {
	aggregates      btree.Map[string, *Aggregate] // number
	aggregateByName btree.Map[string, string]     // name -> number
	aggregatesOf    btree.Map[string, string]     // node, number -> number
}

func (c *aggregateTables) share(t *aggregateTables) {
	c.aggregates = *t.aggregates.Copy()
	c.aggregateByName = *t.aggregateByName.Copy()
	c.aggregatesOf = *t.aggregatesOf.Copy()
}

func (s *State) saveAggregate(o *PutAggregate) ([]string, *Error) {
	a := o.Aggregate
	old, exists := lookup(&s.t.aggregates, sortable(uint64(a.Number)))
	if err := firstOf(
		checkID("Aggregate", a.ID),
		checkName("The aggregate's name", a.Name),
		checkMap("The aggregate's metadata", a.Metadata, maxProperties, maxText),
		s.checkHosts(&a),
	); err != nil {
		return nil, err
	}
	if a.Number != 0 || a.Revision != 0 {
		if err := revised("Aggregate", decimal(a.Number), max(1, a.Revision), old.Revision, exists); err != nil {
			return nil, err
		}
	} else if s.t.aggregates.Len() >= maxAggregates {
		return nil, Errorf(OverQuota, "There are %d aggregates already", maxAggregates)
	}
	if number, ok := s.t.aggregateByName.Get(a.Name); ok && number != sortable(uint64(a.Number)) {
		return nil, Errorf(Conflict, "Aggregate %s already exists.", a.Name)
	}
	if why := s.t.zoneConflict(&a); why != "" {
		return nil, Errorf(Conflict, "Cannot update aggregate %d. Reason: %s.", a.Number, why)
	}
	now := s.t.meta.Time
	if !exists {
		s.t.meta.AggregateCount++
		a.Number, a.Created, a.Updated = s.t.meta.AggregateCount, now, 0
	} else {
		a.ID, a.Created, a.Updated = old.ID, old.Created, now
	}
	a.Revision = s.t.meta.Index
	s.putAggregate(&a)
	s.t.meta.AggregateIndex = s.t.meta.Index
	return []string{decimal(a.Number)}, nil
}

// checkHosts refuses hosts that are not there, or twice.
func (s *State) checkHosts(a *Aggregate) *Error {
	seen := make(map[NodeID]bool, len(a.Hosts))
	for _, id := range a.Hosts {
		if _, ok := s.t.nodes.Get(id); !ok {
			return missing("Compute host", clip(string(id), maxID))
		}
		if seen[id] {
			return Errorf(Conflict, "Aggregate %d already has host %s.", a.Number, id)
		}
		seen[id] = true
	}
	return nil
}

func (s *State) deleteAggregate(o *DeleteAggregate) ([]string, *Error) {
	a, ok := s.t.aggregates.Get(sortable(uint64(o.Number)))
	if !ok {
		return nil, missing("Aggregate", decimal(o.Number))
	}
	if len(a.Hosts) > 0 {
		return nil, Errorf(Conflict, "Cannot remove aggregate %d. Reason: Host aggregate is not empty.", o.Number)
	}
	s.t.aggregates.Delete(sortable(uint64(a.Number)))
	s.t.aggregateByName.Delete(a.Name)
	s.t.meta.AggregateIndex = s.t.meta.Index
	return []string{decimal(a.Number)}, nil
}

func (s *State) putAggregate(a *Aggregate) {
	number := sortable(uint64(a.Number))
	old, had := s.t.aggregates.Set(number, a)
	var name string
	if had {
		name = old.Name
		for _, id := range old.Hosts {
			s.t.aggregatesOf.Delete(key(string(id), number))
		}
	}
	reindex(&s.t.aggregateByName, name, a.Name, number)
	for _, id := range a.Hosts {
		s.t.aggregatesOf.Set(key(string(id), number), number)
	}
}

// withdrawHost takes a node that is removed out of its aggregates.
func (s *State) withdrawHost(id NodeID) {
	var in []*Aggregate
	for a := range resolved(&s.t.aggregatesOf, &s.t.aggregates, string(id)+sep) {
		in = append(in, a)
	}
	for _, old := range in {
		a := old.Clone()
		a.Hosts = slices.DeleteFunc(a.Hosts, func(h NodeID) bool { return h == id })
		a.Revision, a.Updated = s.t.meta.Index, s.t.meta.Time
		s.putAggregate(a)
		s.t.meta.AggregateIndex = s.t.meta.Index
	}
}
