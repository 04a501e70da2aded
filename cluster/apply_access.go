package cluster

func (s *State) giveRole(o *PutAssignment) ([]string, *Error) {
	a := o.Assignment
	if _, ok := s.t.users.Get(a.User); !ok {
		return nil, missingUser(a.User)
	}
	if _, ok := s.t.roles.Get(a.Role); !ok {
		return nil, missingRole(a.Role)
	}
	if a.Project != "" {
		if err := s.checkProjectIs(a.Project); err != nil {
			return nil, err
		}
	}
	s.putAssignment(a)
	return []string{string(a.User)}, nil
}

func (s *State) takeRole(o *DeleteAssignment) ([]string, *Error) {
	a := o.Assignment
	if _, ok := s.t.assignments.Get(assignmentKey(a)); !ok {
		return nil, Errorf(NotFound, "Could not find role assignment with role: %s, user or group: %s, project, domain, or system: %s.",
			a.Role, a.User, a.Project)
	}
	if err := s.checkAdminStays(func(other Assignment) bool { return other == a }); err != nil {
		return nil, err
	}
	s.dropAssignment(a)
	if a.Project != "" {
		// An application credential never outlives the assignments that it was made from, as in Keystone.
		s.dropCredentials(func(c *Credential) bool { return c.User == a.User && c.Project == a.Project })
	}
	return []string{string(a.User)}, nil
}

// checkAdminStays refuses to take those assignments away when no enabled user would be left who is admin
// somewhere. Nobody could undo it.
func (s *State) checkAdminStays(taken func(Assignment) bool) *Error {
	admin, _ := s.t.roleByName.Get(RoleAdmin)
	had, has := false, false
	s.t.assignments.Scan(func(_ string, a Assignment) bool {
		u, ok := s.t.users.Get(a.User)
		if a.Role != admin || !ok || u.Disabled {
			return true
		}
		if taken(a) {
			had = true
			return true
		}
		has = true
		return false
	})
	if had && !has {
		return Errorf(Conflict, "The cluster would be left without an administrator")
	}
	return nil
}

func (s *State) dropAssignments(which func(Assignment) bool) {
	var list []Assignment
	s.t.assignments.Scan(func(_ string, a Assignment) bool {
		if which(a) {
			list = append(list, a)
		}
		return true
	})
	for _, a := range list {
		s.dropAssignment(a)
	}
}

func (s *State) dropCredentials(which func(*Credential) bool) {
	var list []*Credential
	s.t.credentials.Scan(func(_ CredentialID, c *Credential) bool {
		if which(c) {
			list = append(list, c)
		}
		return true
	})
	for _, c := range list {
		s.dropCredential(c)
	}
}

func (s *State) saveCredential(o *PutCredential) ([]string, *Error) {
	c := o.Credential
	old, exists := lookup(&s.t.credentials, c.ID)
	if err := firstOf(s.checkCredential(&c), revised("Application credential", string(c.ID), c.Revision, old.Revision, exists)); err != nil {
		return nil, err
	}
	if id, ok := s.t.credentialName.Get(key(string(c.User), c.Name)); ok && id != c.ID {
		return nil, Errorf(Conflict, "Conflict occurred attempting to store application_credential - Duplicate entry found with name %s.", c.Name)
	}
	if exists && (old.User != c.User || old.Project != c.Project) {
		return nil, Errorf(Invalid, "An application credential keeps its user and its project")
	}
	c.Created = firstTime(old.Created, s.t.meta.Time)
	c.Revision = s.t.meta.Index
	s.putCredential(&c)
	return []string{string(c.ID)}, nil
}

// firstTime gives the time that a record was made: what it was, or now.
func firstTime(old, now Time) Time {
	if old != 0 {
		return old
	}
	return now
}

func (s *State) checkCredential(c *Credential) *Error {
	if err := firstOf(
		checkID("Application credential", c.ID),
		checkName("The application credential's name", c.Name),
		checkLines("The application credential's description", c.Description, maxLongText),
		checkAmount("The number of roles", int64(len(c.Roles)), 1, maxListed),
		s.checkProjectIs(c.Project),
	); err != nil {
		return err
	}
	if _, ok := s.t.users.Get(c.User); !ok {
		return missingUser(c.User)
	}
	for _, r := range c.Roles {
		if _, ok := s.t.roles.Get(r); !ok {
			return missingRole(r)
		}
	}
	if c.SecretHash.IsZero() {
		return Errorf(Invalid, "An application credential needs the hash of its secret")
	}
	for range prefixed(&s.t.assignments, key(string(c.User), string(c.Project))+sep) {
		return nil
	}
	return Errorf(Forbidden, "User %s has no role in project %s", c.User, c.Project)
}

func (s *State) deleteCredential(o *DeleteCredential) ([]string, *Error) {
	c, ok := s.t.credentials.Get(o.ID)
	if !ok {
		return nil, Errorf(NotFound, "Could not find Application Credential: %s.", o.ID)
	}
	s.dropCredential(c)
	return []string{string(o.ID)}, nil
}

func (s *State) revokeToken(o *RevokeToken) ([]string, *Error) {
	r := o.Revocation
	if err := checkID("Token", r.Token); err != nil {
		return nil, err
	}
	for {
		_, id, ok := s.t.revokedUntil.Min()
		if !ok {
			break
		}
		old, _ := s.t.revocations.Get(id)
		if old.Expires >= s.t.meta.Time {
			break
		}
		s.dropRevocation(old)
	}
	if old, ok := s.t.revocations.Get(r.Token); ok {
		r.Expires = max(r.Expires, old.Expires)
	}
	if r.Expires < s.t.meta.Time {
		return []string{string(r.Token)}, nil // it is void by itself
	}
	s.putRevocation(&r)
	return []string{string(r.Token)}, nil
}
