package cluster

import "github.com/tidwall/btree"

// lookup finds a record, or gives an empty one in its place, whose revision is 0.
func lookup[K interface{ ~string }, V any](m *btree.Map[K, *V], id K) (*V, bool) {
	x, ok := m.Get(id)
	if !ok {
		x = new(V)
	}
	return x, ok
}

func (s *State) saveProject(o *PutProject) ([]string, *Error) {
	p := o.Project
	old, exists := lookup(&s.t.projects, p.ID)
	if err := firstOf(checkProject(&p), revised("Project", string(p.ID), p.Revision, old.Revision, exists)); err != nil {
		return nil, err
	}
	if id, ok := s.t.projectByName.Get(p.Name); ok && id != p.ID {
		return nil, Errorf(Conflict, "Conflict occurred attempting to store project - it is not permitted to have two projects "+
			"with either the same name or same id in the same domain: name is %s, project id %s.", p.Name, id)
	}
	p.Revision = s.t.meta.Index
	s.putProject(&p)
	return []string{string(p.ID)}, nil
}

func (s *State) deleteProject(o *DeleteProject) ([]string, *Error) {
	p, ok := s.t.projects.Get(o.ID)
	if !ok {
		return nil, missingProject(o.ID)
	}
	if u, _ := s.t.usage.Get(o.ID); u != (Usage{}) {
		return nil, Errorf(Conflict, "Project %s still owns %d instances, %d ports, %d subnets, %d networks and %d images",
			o.ID, u.Instances, u.Ports, u.Subnets, u.Networks, u.Images)
	}
	of := func(a Assignment) bool { return a.Project == o.ID }
	if err := s.checkAdminStays(of); err != nil {
		return nil, err
	}
	s.dropAssignments(of)
	s.dropCredentials(func(c *Credential) bool { return c.Project == o.ID })
	s.t.quotas.Delete(o.ID)
	s.dropUserQuotas(func(q *Quota) bool { return q.Project == o.ID })
	s.dropGroups(o.ID)
	s.dropProject(p)
	return []string{string(o.ID)}, nil
}

func missingProject(id ProjectID) *Error { return Errorf(NotFound, "Could not find project: %s.", id) }

// checkProjectIs refuses what is made for a project that is not there.
func (s *State) checkProjectIs(id ProjectID) *Error {
	if _, ok := s.t.projects.Get(id); !ok {
		return missingProject(id)
	}
	return nil
}

func (s *State) saveUser(o *PutUser) ([]string, *Error) {
	u := o.User
	old, exists := lookup(&s.t.users, u.ID)
	if err := firstOf(checkUser(&u), revised("User", string(u.ID), u.Revision, old.Revision, exists)); err != nil {
		return nil, err
	}
	if id, ok := s.t.userByName.Get(u.Name); ok && id != u.ID {
		return nil, Errorf(Conflict, "Conflict occurred attempting to store user - Duplicate entry found with name %s at domain ID %s.",
			u.Name, DefaultDomainID)
	}
	if exists && u.Disabled && !old.Disabled {
		if err := s.checkAdminStays(func(a Assignment) bool { return a.User == u.ID }); err != nil {
			return nil, err
		}
	}
	u.Revision = s.t.meta.Index
	s.putUser(&u)
	return []string{string(u.ID)}, nil
}

func (s *State) deleteUser(o *DeleteUser) ([]string, *Error) {
	u, ok := s.t.users.Get(o.ID)
	if !ok {
		return nil, missingUser(o.ID)
	}
	of := func(a Assignment) bool { return a.User == o.ID }
	if err := s.checkAdminStays(of); err != nil {
		return nil, err
	}
	s.dropAssignments(of)
	s.dropCredentials(func(c *Credential) bool { return c.User == o.ID })
	var pairs []*KeyPair
	for k := range prefixed(&s.t.keyPairs, string(o.ID)+sep) {
		pairs = append(pairs, k)
	}
	for _, k := range pairs {
		s.dropKeyPair(k)
	}
	s.dropUserQuotas(func(q *Quota) bool { return q.User == o.ID })
	s.dropUser(u)
	return []string{string(o.ID)}, nil
}

func missingUser(id UserID) *Error { return Errorf(NotFound, "Could not find user: %s.", id) }

func (s *State) saveRole(o *PutRole) ([]string, *Error) {
	r := o.Role
	old, exists := lookup(&s.t.roles, r.ID)
	if err := firstOf(checkRole(&r), revised("Role", string(r.ID), r.Revision, old.Revision, exists)); err != nil {
		return nil, err
	}
	if id, ok := s.t.roleByName.Get(r.Name); ok && id != r.ID {
		return nil, Errorf(Conflict, "Conflict occurred attempting to store role - Duplicate entry found with name %s.", r.Name)
	}
	if old.BuiltIn && r.Name != old.Name {
		return nil, Errorf(Forbidden, "The role %s is built in and keeps its name", old.Name)
	}
	r.BuiltIn, r.Revision = old.BuiltIn, s.t.meta.Index
	s.putRole(&r)
	return []string{string(r.ID)}, nil
}

func (s *State) deleteRole(o *DeleteRole) ([]string, *Error) {
	r, ok := s.t.roles.Get(o.ID)
	if !ok {
		return nil, missingRole(o.ID)
	}
	if r.BuiltIn {
		return nil, Errorf(Forbidden, "The role %s is built in and cannot be deleted", r.Name)
	}
	s.dropAssignments(func(a Assignment) bool { return a.Role == o.ID })
	s.dropRole(r)
	return []string{string(o.ID)}, nil
}

func missingRole(id RoleID) *Error { return Errorf(NotFound, "Could not find role: %s.", id) }

func checkProject(p *Project) *Error {
	return firstOf(
		checkID("Project", p.ID),
		checkName("The project's name", p.Name),
		checkLines("The project's description", p.Description, maxLongText),
		checkTexts("The project's tags", p.Tags, maxTags, maxText),
		checkMap("The project's properties", p.Extra, maxProperties, maxPropertyLen),
		checkAmount("The number of the project's options", int64(len(p.Options)), 0, maxProperties),
	)
}

func checkUser(u *User) *Error {
	return firstOf(
		checkID("User", u.ID),
		checkName("The user's name", u.Name),
		checkLines("The user's description", u.Description, maxLongText),
		checkText("The user's email", u.Email),
		checkOptionalID("Default project", u.DefaultProject),
		checkLines("The password hash", u.PasswordHash, maxPropertyLen),
		checkMap("The user's properties", u.Extra, maxProperties, maxPropertyLen),
	)
}

func checkRole(r *Role) *Error {
	return firstOf(
		checkID("Role", r.ID),
		checkName("The role's name", r.Name),
		checkLines("The role's description", r.Description, maxLongText),
	)
}
