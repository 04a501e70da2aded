package cluster

import "fmt"

func (s *State) initCluster(o *InitCluster) ([]string, *Error) {
	if s.t.authority != nil {
		return nil, Errorf(Conflict, "The cluster %s is there already", s.t.authority.ClusterID)
	}
	if err := firstOf(checkAuthority(&o.Authority), checkNode(&o.Node), checkProject(&o.Project), checkUser(&o.Admin)); err != nil {
		return nil, err
	}
	admin := -1
	for i := range o.Roles {
		if err := checkRole(&o.Roles[i]); err != nil {
			return nil, err
		}
		if o.Roles[i].Name == RoleAdmin {
			admin = i
		}
	}
	if admin < 0 {
		return nil, Errorf(Invalid, "A cluster needs a role named %s", RoleAdmin)
	}

	now, index := s.t.meta.Time, s.t.meta.Index
	authority, node, project, user := o.Authority, o.Node, o.Project, o.Admin
	authority.Revision, authority.Created = index, now
	s.t.authority = &authority
	s.t.meta.NodeCount++
	node.Revision, node.Number, node.Enrolled, node.Updated = index, s.t.meta.NodeCount, now, now
	s.putNode(&node)
	for _, r := range o.Roles {
		r.Revision, r.BuiltIn = index, true
		s.putRole(&r)
	}
	project.Revision, user.Revision = index, index
	s.putProject(&project)
	s.putUser(&user)
	role := o.Roles[admin].ID
	s.putAssignment(Assignment{User: user.ID, Project: project.ID, Role: role})
	s.putAssignment(Assignment{User: user.ID, Role: role})
	return []string{string(node.ID)}, nil
}

func (s *State) replaceAuthority(o *PutAuthority) ([]string, *Error) {
	old := s.t.authority
	if old == nil {
		return nil, Errorf(NotFound, "There is no cluster yet")
	}
	if o.Authority.Revision != old.Revision {
		return nil, Errorf(Stale, "The cluster's authority was changed in the meantime")
	}
	if err := checkAuthority(&o.Authority); err != nil {
		return nil, err
	}
	if o.Authority.ClusterID != old.ClusterID {
		return nil, Errorf(Invalid, "The ID of a cluster cannot be changed")
	}
	a := o.Authority
	a.Revision, a.Created = s.t.meta.Index, old.Created
	s.t.authority = &a
	return []string{a.ClusterID}, nil
}

func (s *State) enrolNode(o *EnrolNode) ([]string, *Error) {
	if err := checkNode(&o.Node); err != nil {
		return nil, err
	}
	token, ok := s.t.joinTokens.Get(o.Token)
	if !ok || token.Hash != o.Secret {
		return nil, Errorf(Unauthorized, "The join token is not known to this cluster")
	}
	if token.expired(s.t.meta.Time) {
		return nil, Errorf(Forbidden, "The join token has expired")
	}
	if o.Authority != 0 && o.Authority != s.t.authority.Revision {
		return nil, Errorf(Stale, "The cluster's authority was changed in the meantime")
	}
	if _, gone := s.t.removed.Get(o.Node.ID); gone {
		return nil, Errorf(Conflict, "The node %s was removed from the cluster and may not come back; enrol it anew with an empty data directory", o.Node.ID)
	}
	if old, ok := s.t.nodes.Get(o.Node.ID); ok {
		return s.enrolAgain(old, o)
	}
	if token.Uses <= 0 {
		return nil, Errorf(Forbidden, "The join token is used up")
	}
	if err := s.checkNodeUnique(&o.Node); err != nil {
		return nil, err
	}
	used := *token
	used.Uses--
	used.Revision = s.t.meta.Index
	s.t.joinTokens.Set(used.ID, &used)

	n := o.Node
	n.Lost = nil
	s.t.meta.NodeCount++
	n.Number = s.t.meta.NodeCount
	n.Token, n.Revision = o.Token, s.t.meta.Index
	n.Enrolled, n.Updated = s.t.meta.Time, s.t.meta.Time
	if n.Zone == "" {
		n.Zone = token.Zone
	}
	s.putNode(&n)
	return []string{string(n.ID)}, nil
}

// enrolAgain answers a machine that repeats its enrolment because the answer to the first was lost. It must
// show the token and the key of the first time.
func (s *State) enrolAgain(old *Node, o *EnrolNode) ([]string, *Error) {
	n := &o.Node
	if old.Token != o.Token || old.Key != n.Key || old.Name != n.Name || old.Address != n.Address {
		return nil, Errorf(Conflict, "The node %s is in the cluster already", n.ID)
	}
	return []string{string(n.ID)}, nil
}

// checkNodeUnique refuses a name or an address that belongs to another node.
func (s *State) checkNodeUnique(n *Node) *Error {
	if id, ok := s.t.nodeByName.Get(n.Name); ok && id != n.ID {
		return Errorf(Conflict, "The name %s belongs to the node %s", n.Name, id)
	}
	if id, ok := s.t.nodeByAddress.Get(n.Address); ok && id != n.ID {
		return Errorf(Conflict, "The address %s belongs to the node %s", n.Address, id)
	}
	return nil
}

func (s *State) updateNode(o *UpdateNode) ([]string, *Error) {
	old, ok := s.t.nodes.Get(o.Node.ID)
	if !ok {
		return nil, missing("Node", string(o.Node.ID))
	}
	if err := checkNode(&o.Node); err != nil {
		return nil, err
	}
	n := o.Node
	n.Address = old.Address // see RelocateNode
	if err := s.checkNodeUnique(&n); err != nil {
		return nil, err
	}
	n.Number, n.Zone, n.Voter, n.Witness, n.Service = old.Number, old.Zone, old.Voter, old.Witness, old.Service
	n.Token, n.Key, n.Enrolled, n.Lost = old.Token, old.Key, old.Enrolled, old.Lost
	n.Revision, n.Updated = s.t.meta.Index, s.t.meta.Time
	s.putNode(&n)
	s.heardOf(n.ID)
	return []string{string(n.ID)}, nil
}

func (s *State) setNodeService(o *SetNodeService) ([]string, *Error) {
	old, ok := s.t.nodes.Get(o.ID)
	if !ok {
		return nil, missing("Node", string(o.ID))
	}
	if err := checkLines("The reason", o.Service.Reason, maxText); err != nil {
		return nil, err
	}
	if o.Revision != 0 && o.Revision != old.Revision {
		return nil, Errorf(Stale, "The node %s was changed in the meantime", old.Name)
	}
	n := old.Clone()
	n.Service = o.Service
	n.Revision, n.Updated = s.t.meta.Index, s.t.meta.Time
	s.putNode(n)
	return []string{string(n.ID)}, nil
}

func (s *State) removeNode(o *RemoveNode) ([]string, *Error) {
	n, ok := s.t.nodes.Get(o.ID)
	if !ok {
		return nil, missing("Node", string(o.ID))
	}
	if s.t.nodes.Len() == 1 {
		return nil, Errorf(Conflict, "The node %s is the last one of the cluster", n.Name)
	}
	var placed []*Instance
	for in := range resolved(&s.t.byNode, &s.t.instances, string(o.ID)+sep) {
		placed = append(placed, in)
	}
	if len(placed) > 0 && !o.Force {
		return nil, Errorf(Conflict, "The node %s has %d instances; move or delete them first", n.Name, len(placed))
	}
	if lost := s.countVolumesOn(o.ID); lost > 0 && !o.Force {
		return nil, Errorf(Conflict, "The node %s has %d volumes and snapshots, which would be lost with it", n.Name, lost)
	}
	if o.Copies {
		if err := s.heedCopies(o, n, placed); err != nil {
			return nil, err
		}
	}
	s.withdrawOperations(o.ID)
	s.withdrawReplicas(o.ID)
	var graves []*Tombstone
	for t := range prefixed(&s.t.tombstones, string(o.ID)+sep) {
		graves = append(graves, t)
	}
	for _, t := range graves {
		s.dropTombstone(t)
	}
	for _, in := range placed {
		if now, _ := s.t.instances.Get(in.ID); now.Node == o.ID {
			s.lose(now, n, o.Copies)
		}
	}
	s.withdrawImages(o.ID)
	s.withdrawHost(o.ID)
	s.removeVolumesFrom(n)
	s.dropNode(n)
	s.t.removed.Set(o.ID, removal{Node: o.ID, At: s.t.meta.Time})
	s.turnAll()
	return []string{string(o.ID)}, nil
}

// lose takes an instance off a node that is removed: one that was being deleted is gone, any other is in error, and
// says why it is not started elsewhere.
func (s *State) lose(in *Instance, n *Node, copies bool) {
	if in.Wanted == WantDeleted {
		s.bury(in)
		return
	}
	c := in.Clone()
	c.Node = ""
	c.Epoch, c.Epochs.Disk = c.newEpoch(), 0
	c.Generation++
	why := fmt.Sprintf("The node %s was removed from the cluster.", n.Name)
	if alone := s.t.tied(in); copies && alone != "" {
		why = clip(fmt.Sprintf("The node %s was removed from the cluster: %s.", n.Name, alone), maxText)
	}
	c.Status = Status{VM: VMError, Fault: &Fault{Code: faultCode, Message: why, Created: s.t.meta.Time}}
	s.endActions(c, resultError, why)
	s.saveInstance(c)
}
