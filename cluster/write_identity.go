package cluster

func (s *State) putProject(p *Project) {
	var name string
	if old, ok := s.t.projects.Set(p.ID, p); ok {
		name = old.Name
	}
	reindex(&s.t.projectByName, name, p.Name, p.ID)
}

func (s *State) dropProject(p *Project) {
	s.t.projects.Delete(p.ID)
	reindex(&s.t.projectByName, p.Name, "", p.ID)
}

func (s *State) putUser(u *User) {
	var name string
	if old, ok := s.t.users.Set(u.ID, u); ok {
		name = old.Name
	}
	reindex(&s.t.userByName, name, u.Name, u.ID)
}

func (s *State) dropUser(u *User) {
	s.t.users.Delete(u.ID)
	reindex(&s.t.userByName, u.Name, "", u.ID)
}

func (s *State) putRole(r *Role) {
	var name string
	if old, ok := s.t.roles.Set(r.ID, r); ok {
		name = old.Name
	}
	reindex(&s.t.roleByName, name, r.Name, r.ID)
}

func (s *State) dropRole(r *Role) {
	s.t.roles.Delete(r.ID)
	reindex(&s.t.roleByName, r.Name, "", r.ID)
}

func assignmentKey(a Assignment) string {
	return key(string(a.User), string(a.Project), string(a.Role))
}

func (s *State) putAssignment(a Assignment)  { s.t.assignments.Set(assignmentKey(a), a) }
func (s *State) dropAssignment(a Assignment) { s.t.assignments.Delete(assignmentKey(a)) }

func (s *State) putCredential(c *Credential) {
	var name string
	if old, ok := s.t.credentials.Set(c.ID, c); ok {
		name = key(string(old.User), old.Name)
	}
	reindex(&s.t.credentialName, name, key(string(c.User), c.Name), c.ID)
}

func (s *State) dropCredential(c *Credential) {
	s.t.credentials.Delete(c.ID)
	reindex(&s.t.credentialName, key(string(c.User), c.Name), "", c.ID)
}

func revokedKey(r *Revocation) string { return key(sortable(uint64(r.Expires)), string(r.Token)) }

func (s *State) putRevocation(r *Revocation) {
	var until string
	if old, ok := s.t.revocations.Set(r.Token, r); ok {
		until = revokedKey(old)
	}
	reindex(&s.t.revokedUntil, until, revokedKey(r), r.Token)
}

func (s *State) dropRevocation(r *Revocation) {
	s.t.revocations.Delete(r.Token)
	reindex(&s.t.revokedUntil, revokedKey(r), "", r.Token)
}
