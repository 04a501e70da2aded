package cluster

func nodeKey(n NodeID, i InstanceID) string { return key(string(n), string(i)) }

// putInstance stores an instance. Its ID, project and time of creation never change.
func (s *State) putInstance(in *Instance) {
	s.t.feed.note(s.t.meta.Index, in.ID)
	old, had := s.t.instances.Set(in.ID, in)
	if !had {
		s.t.byProject.Set(projectKey(in.Project, in), in.ID)
		s.t.byProject.Set(projectKey("", in), in.ID)
		s.t.byNode.Set(nodeKey(in.Node, in.ID), in.ID)
	} else if old.Node != in.Node {
		s.t.byNode.Delete(nodeKey(old.Node, old.ID))
		s.t.byNode.Set(nodeKey(in.Node, in.ID), in.ID)
	}
	s.underWay(old, in)
	s.account(old, in)
	s.enlist(old, in)
	s.accountUser(old, in)
}

// underWay keeps the index of instances with an operation, and the record of their moves.
func (s *State) underWay(old, in *Instance) {
	if in != nil && in.Op != nil {
		s.t.operations.Set(string(in.ID), in.ID)
	} else if old != nil && old.Op != nil {
		s.t.operations.Delete(string(old.ID))
	}
}

func (s *State) dropInstance(in *Instance) {
	s.t.feed.note(s.t.meta.Index, in.ID)
	s.t.instances.Delete(in.ID)
	s.t.byProject.Delete(projectKey(in.Project, in))
	s.t.byProject.Delete(projectKey("", in))
	s.t.byNode.Delete(nodeKey(in.Node, in.ID))
	s.underWay(in, nil)
	s.account(in, nil)
	s.enlist(in, nil)
	s.accountUser(in, nil)
}

// claim is room that is taken on a node.
type claim struct {
	node NodeID
	Resources
}

// claims are the rooms that an instance takes: on its own node, on the other one of a move, and on that of its replica.
func (i *Instance) claims() (c [3]claim) {
	if i.holdsRoom() {
		c[0] = claim{i.Node, i.Resources()}
	}
	if node, r := i.held(); node != "" {
		c[1] = claim{node, r}
	}
	if i.Replica != nil {
		c[2] = claim{i.Replica.Node, i.Replica.room()}
	}
	return c
}

// charged is what an instance takes of quotas. Between two flavors that is the larger of both: it may end with either.
func (i *Instance) charged() Resources {
	r := i.Resources()
	if i.Op != nil && i.Op.Move != nil {
		r = r.most(i.Spec.resourcesAs(&i.Op.Move.Was)).most(i.Spec.resourcesAs(&i.Op.Move.Flavor))
	}
	return r
}

// account moves what an instance takes from how it was to how it is; nil: not there.
func (s *State) account(old, in *Instance) {
	var before, after [3]claim
	if old != nil {
		before = old.claims()
	}
	if in != nil {
		after = in.claims()
	}
	if old != nil && in != nil && before == after && old.charged() == in.charged() {
		return
	}
	if old != nil {
		s.use(old.Project, Usage{Instances: -1, Resources: Resources{}.Sub(old.charged())})
	}
	if in != nil {
		s.use(in.Project, Usage{Instances: 1, Resources: in.charged()})
	}
	for i := range before {
		if before[i].node != "" {
			s.allocate(before[i].node, Resources{}.Sub(before[i].Resources))
		}
		if after[i].node != "" {
			s.allocate(after[i].node, after[i].Resources)
		}
	}
}

// allocate adds to what is promised of a node. A node that promised nothing has no entry.
func (s *State) allocate(id NodeID, more Resources) {
	if id == "" {
		return
	}
	s.t.nodeFeed.note(s.t.meta.Index, id)
	r, _ := s.t.allocated.Get(id)
	if r = r.Add(more); r == (Resources{}) {
		s.t.allocated.Delete(id)
		return
	}
	s.t.allocated.Set(id, r)
}

func (s *State) putTombstone(t *Tombstone) {
	s.t.feed.note(s.t.meta.Index, t.Instance)
	old, had := s.t.tombstones.Set(nodeKey(t.Node, t.Instance), t)
	if had {
		s.allocate(old.Node, Resources{}.Sub(old.Resources))
	}
	s.allocate(t.Node, t.Resources)
}

func (s *State) dropTombstone(t *Tombstone) {
	s.t.feed.note(s.t.meta.Index, t.Instance)
	s.t.tombstones.Delete(nodeKey(t.Node, t.Instance))
	s.allocate(t.Node, Resources{}.Sub(t.Resources))
	if in, ok := s.t.instances.Get(t.Instance); ok && in.Mode.Await == t.Node {
		c := in.Clone()
		c.Mode.Await = ""
		s.saveInstance(c)
	}
	s.releaseVolumes(t.Instance)
}

func deletedKey(in *Instance) string {
	return key(sortable(uint64(in.Times.Terminated)), string(in.ID))
}

func (s *State) putDeleted(in *Instance) {
	s.t.deleted.Set(deletedKey(in), in)
	s.t.deletedID.Set(in.ID, deletedKey(in))
}

// dropDeleted removes what is left of an instance that is gone: its record and its actions.
func (s *State) dropDeleted(in *Instance) {
	s.t.deleted.Delete(deletedKey(in))
	s.t.deletedID.Delete(in.ID)
	for _, a := range s.actionsOf(in.ID) {
		s.t.actions.Delete(actionKey(a))
	}
}

func actionKey(a *Action) string {
	return key(string(a.Instance), sortable(uint64(a.Number)))
}

func (s *State) putAction(a *Action) { s.t.actions.Set(actionKey(a), a) }

// actionsOf gives the actions of an instance, oldest first.
func (s *State) actionsOf(id InstanceID) []*Action {
	var all []*Action
	for a := range prefixed(&s.t.actions, string(id)+sep) {
		all = append(all, a)
	}
	return all
}

func requestKey(o *outcome) string { return key(sortable(uint64(o.Time)), string(o.ID)) }

func (s *State) putRequest(o *outcome) {
	s.t.requests.Set(o.ID, o)
	s.t.requestByTime.Set(requestKey(o), o.ID)
}

func (s *State) dropRequest(o *outcome) {
	s.t.requests.Delete(o.ID)
	s.t.requestByTime.Delete(requestKey(o))
}

func migrationKey(m *Migration) string { return sortable(uint64(m.Number)) }

func (s *State) putMigration(m *Migration) { s.t.migrations.Set(migrationKey(m), m) }
