package cluster

import "fmt"

func (s *State) applyRecoveryOp(op Op) (ids []string, refusal *Error, known bool) {
	known = true
	switch o := op.(type) {
	case *RestoreCluster:
		ids, refusal = s.restoreCluster(o)
	case *ConfirmRestore:
		ids, refusal = s.confirmRestore(o)
	case *RecoverCluster:
		ids, refusal = s.recoverCluster(o)
	default:
		known = false
	}
	return ids, refusal, known
}

func (s *State) restoreCluster(o *RestoreCluster) ([]string, *Error) {
	old := s.t.authority
	switch {
	case old == nil:
		return nil, Errorf(NotFound, "There is no cluster yet")
	case o.From != old.ClusterID:
		return nil, Errorf(Stale, "The state is of cluster %s, not %s", old.ClusterID, o.From)
	case o.Authority.ClusterID == old.ClusterID:
		return nil, Errorf(Conflict, "The cluster %s is restored under another ID only", old.ClusterID)
	}
	if err := firstOf(checkAuthority(&o.Authority), checkNode(&o.Node), checkProject(&o.Project), checkUser(&o.Admin)); err != nil {
		return nil, err
	}
	if _, ok := s.t.nodes.Get(o.Node.ID); ok {
		return nil, Errorf(Conflict, "The node %s is of the former cluster", o.Node.ID)
	}
	if _, ok := s.t.roleByName.Get(RoleAdmin); !ok {
		return nil, Errorf(Invalid, "A cluster needs a role named %s", RoleAdmin)
	}
	now, index := s.t.meta.Time, s.t.meta.Index
	s.t.meta.Restored = &Restoration{From: o.From, Index: index, At: now}
	s.t.meta.Term = ""
	s.leaveFormerNodes()
	for _, t := range collect(values(&s.t.joinTokens)) {
		s.t.joinTokens.Delete(t.ID)
	}
	s.t.rotations.Clear() // of keys that are no longer in use
	for _, t := range collect(values(&s.t.consoleTokens)) {
		s.dropConsoleToken(t)
	}
	authority, node := o.Authority, o.Node
	authority.Revision, authority.Created = index, now
	s.t.authority = &authority
	s.t.meta.NodeCount++
	node.Revision, node.Number, node.Enrolled, node.Updated, node.Lost = index, s.t.meta.NodeCount, now, now, nil
	s.putNode(&node)
	s.admit(&o.Admin, &o.Project)
	return []string{string(node.ID)}, nil
}

// leaveFormerNodes removes every node, and with it what it alone had.
func (s *State) leaveFormerNodes() {
	for _, n := range collect(values(&s.t.nodes)) {
		s.withdrawOperations(n.ID)
		s.withdrawReplicas(n.ID)
		for _, in := range collect(resolved(&s.t.byNode, &s.t.instances, string(n.ID)+sep)) {
			if now, ok := s.t.instances.Get(in.ID); ok && now.Node == n.ID {
				s.leaveBehind(now, n)
			}
		}
		for _, t := range collect(prefixed(&s.t.tombstones, string(n.ID)+sep)) {
			s.dropTombstone(t)
		}
		s.withdrawImages(n.ID)
		s.withdrawHost(n.ID)
		s.removeVolumesFrom(n)
		s.dropNode(n)
		s.t.removed.Set(n.ID, removal{Node: n.ID, At: s.t.meta.Time})
	}
}

// leaveBehind takes an instance off a node of the former cluster. One that is made of shared volumes alone is put away in them, and may be
// brought back; of any other, something was on its node.
func (s *State) leaveBehind(in *Instance, n *Node) {
	if in.Wanted == WantDeleted || in.Mode.Reclaim != 0 || !in.Spec.Boot.Volume || s.t.tied(in) != "" || in.Op != nil {
		s.lose(in, n, false)
		if c, ok := s.t.instances.Get(in.ID); ok {
			c = c.Clone()
			c.Status.Fault.Message = fmt.Sprintf("It was on node %s of the cluster that this one was restored from.", n.Name)
			c.Mode.Reclaim = 0
			s.saveInstance(c)
		}
		return
	}
	c := in.Clone()
	s.endActions(c, resultError, fmt.Sprintf("The cluster that node %s was part of was restored from a backup.", n.Name))
	s.offload(c, "")
	s.saveInstance(c)
}

// admit gives the administrator a password, and every right.
func (s *State) admit(admin *User, project *Project) {
	u, p := *admin, *project
	if id, ok := s.t.projectByName.Get(project.Name); ok {
		had, _ := s.t.projects.Get(id)
		p = *had
		p.Disabled = false
	}
	p.Revision = s.t.meta.Index
	s.putProject(&p)
	if id, ok := s.t.userByName.Get(admin.Name); ok {
		had, _ := s.t.users.Get(id)
		u = *had
		u.PasswordHash, u.PasswordSet, u.Disabled = admin.PasswordHash, admin.PasswordSet, false
	}
	u.Revision = s.t.meta.Index
	s.putUser(&u)
	role, _ := s.t.roleByName.Get(RoleAdmin)
	s.putAssignment(Assignment{User: u.ID, Project: p.ID, Role: role})
	s.putAssignment(Assignment{User: u.ID, Role: role})
}

func (s *State) confirmRestore(o *ConfirmRestore) ([]string, *Error) {
	old := s.t.meta.Restored
	switch {
	case old == nil:
		return nil, Errorf(Conflict, "This cluster was not restored from a backup")
	case !old.Held():
		return nil, Errorf(Conflict, "That was confirmed already")
	}
	r := *old
	r.Confirmed, r.By = max(1, s.t.meta.Time), o.By.User
	s.t.meta.Restored = &r
	return []string{r.From}, nil
}
