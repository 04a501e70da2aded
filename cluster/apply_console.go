package cluster

func (s *State) applyConsoleOp(op Op) (ids []string, refusal *Error, known bool) {
	known = true
	switch o := op.(type) {
	case *AddConsoleToken:
		ids, refusal = s.addConsoleToken(o)
	case *UseConsoleToken:
		ids, refusal = s.useConsoleToken(o)
	case *RecordAction:
		ids, refusal = s.recordAction(o)
	default:
		known = false
	}
	return ids, refusal, known
}

func (s *State) addConsoleToken(o *AddConsoleToken) ([]string, *Error) {
	t := o.Token
	if err := firstOf(
		checkID("Instance", t.Instance),
		checkID("User", t.User),
		checkOptionalID("Project", t.Project),
		checkText("The token that was asked with", string(t.Asked)),
		oneOf("Console type", t.Kind, ConsoleNoVNC, ConsoleSerial),
	); err != nil {
		return nil, err
	}
	if t.Hash.IsZero() {
		return nil, Errorf(Invalid, "A console token needs the hash of its secret")
	}
	if o.Life <= 0 || o.Life > MaxConsoleLife {
		return nil, Errorf(Invalid, "The life of a console token must be above 0 and at most %s, not %s", MaxConsoleLife, o.Life)
	}
	in, ok := s.t.instances.Get(t.Instance)
	if !ok {
		return nil, Errorf(NotFound, "Instance %s could not be found.", t.Instance)
	}
	if in.Node == "" || in.Wanted == WantDeleted {
		return nil, Errorf(Conflict, "Instance %s is not ready", in.ID)
	}
	if _, ok := s.t.consoleTokens.Get(consoleKey(t.Hash)); ok {
		return nil, Errorf(Conflict, "The console token exists already")
	}
	t.Epoch, t.Created, t.Expires, t.Used = in.Epoch, s.t.meta.Time, s.t.meta.Time.Add(o.Life), false
	s.forgetConsoleTokens()
	s.makeRoomForConsole(in.ID)
	s.putConsoleToken(&t)
	return []string{t.Hash.String()}, nil
}

// forgetConsoleTokens drops those whose time is over.
func (s *State) forgetConsoleTokens() {
	for {
		_, k, ok := s.t.consoleUntil.Min()
		if !ok {
			return
		}
		t, _ := s.t.consoleTokens.Get(k)
		if !t.expired(s.t.meta.Time) {
			return
		}
		s.dropConsoleToken(t)
	}
}

// makeRoomForConsole drops an instance's oldest token when there are as many as there may be.
func (s *State) makeRoomForConsole(id InstanceID) {
	n := 0
	var oldest *ConsoleToken
	for t := range resolved(&s.t.consoleOf, &s.t.consoleTokens, string(id)+sep) {
		if n++; oldest == nil {
			oldest = t
		}
	}
	if n >= maxConsoleTokens {
		s.dropConsoleToken(oldest)
	}
}

func (s *State) useConsoleToken(o *UseConsoleToken) ([]string, *Error) {
	t, ok := s.t.consoleTokens.Get(consoleKey(o.Hash))
	switch {
	case !ok, t.expired(s.t.meta.Time):
		return nil, errConsoleToken
	case t.Used:
		return nil, Errorf(Unauthorized, "The console token was used already: ask for a new one.")
	}
	if err := s.t.consoleAllowed(t); err != nil {
		return nil, err
	}
	c := *t
	c.Used = true
	s.putConsoleToken(&c)
	return []string{o.Hash.String()}, nil
}

var errConsoleToken = Errorf(Unauthorized, "The console token is not valid, or its time is over: ask for a new one.")

func (t *ConsoleToken) expired(now Time) bool { return now >= t.Expires }

// consoleAllowed tells whether what a token was given for still holds.
func (t *tables) consoleAllowed(c *ConsoleToken) *Error {
	in, ok := t.instances.Get(c.Instance)
	switch {
	case !ok || in.Wanted == WantDeleted:
		return Errorf(NotFound, "Instance %s could not be found.", c.Instance)
	case in.Epoch != c.Epoch || in.Node == "":
		return Errorf(Conflict, "Instance %s is on another node now: ask for a new console token.", c.Instance)
	case in.Wanted == WantOff || in.Status.Power != PowerRunning && in.Status.Power != PowerPaused:
		return Errorf(Conflict, "Instance %s is not running.", c.Instance)
	case !t.mayLook(c, in):
		return Errorf(Forbidden, "Who asked for the console of instance %s has no access to it any more.", c.Instance)
	}
	return nil
}

// mayLook tells whether the user who asked for a token would be given one now.
func (t *tables) mayLook(c *ConsoleToken, in *Instance) bool {
	u, ok := t.users.Get(c.User)
	if !ok || u.Disabled || u.PasswordSet > c.Created {
		return false
	}
	if _, revoked := t.revocations.Get(c.Asked); revoked && c.Asked != "" {
		return false
	}
	if c.Project != "" {
		if p, ok := t.projects.Get(c.Project); !ok || p.Disabled {
			return false
		}
	}
	for a := range prefixed(&t.assignments, key(string(c.User), string(c.Project))+sep) {
		r, ok := t.roles.Get(a.Role)
		if ok && (r.Name == RoleAdmin || r.Name == RoleMember && c.Project == in.Project) {
			return true
		}
	}
	return false
}

func (s *State) recordAction(o *RecordAction) ([]string, *Error) {
	if err := firstOf(
		checkText("The request", o.Request),
		checkOptionalID("Project", o.Project),
		checkID("User", o.User),
		checkName("The action", o.Action),
		checkName("The event", o.Event),
		checkLines("The failure", o.Failure, maxPropertyLen),
	); err != nil {
		return nil, err
	}
	in, ok := s.t.instances.Get(o.Instance)
	switch {
	case !ok:
		return nil, Errorf(NotFound, "Instance %s could not be found.", o.Instance)
	case in.Status.Task != TaskNone:
		return nil, Errorf(Conflict, "Cannot '%s' instance %s while it is in task_state %s", o.Action, in.ID, in.Status.Task)
	}
	s.begin(in, o.Action, asked{o.Request, o.Project, o.User}, o.Event)
	result := resultSuccess
	if o.Failure != "" {
		result = resultError
	}
	s.endActions(in, result, o.Failure)
	return []string{string(in.ID)}, nil
}
