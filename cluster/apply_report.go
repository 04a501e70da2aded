package cluster

func (s *State) reportInstances(o *ReportInstances) ([]string, *Error) {
	if _, ok := s.t.nodes.Get(o.Node); !ok {
		return nil, missing("Node", string(o.Node))
	}
	if err := checkAmount("The number of reports", int64(len(o.Reports)), 0, maxReports); err != nil {
		return nil, err
	}
	s.heardOf(o.Node)
	var changed []string
	for i := range o.Reports {
		if s.report(o.Node, &o.Reports[i]) {
			changed = append(changed, string(o.Reports[i].ID))
		}
	}
	return changed, nil
}

// report takes one report and tells whether it changed anything.
func (s *State) report(node NodeID, r *InstanceReport) bool {
	if r.Gone {
		return s.removed(node, r)
	}
	in, ok := s.t.instances.Get(r.ID)
	if !ok || in.Node != node {
		return false
	}
	v := judge(in, r, s.t.meta.Time)
	if !v.changed {
		return false
	}
	c := in.Clone()
	c.Status, c.Wanted = v.status, v.wanted
	if v.wanted != in.Wanted {
		c.Generation++
	}
	if v.status.VM == VMActive && c.Times.Launched == 0 {
		c.Times.Launched = s.t.meta.Time
	}
	if v.status.VM == VMActive && v.result == resultSuccess && c.Mode.away() {
		s.unshelved(c)
	}
	switch {
	case v.advance:
		s.advance(c)
	case in.Op != nil && v.result != "":
		s.failOperation(c, v.why)
	case v.result != "":
		s.endActions(c, v.result, v.why)
	}
	s.saveInstance(c)
	if in.Status.VM == VMBuilding && c.Status.VM == VMActive {
		s.builtWith(c)
	}
	return true
}

// removed settles the tombstone of what a node says it has removed.
func (s *State) removed(node NodeID, r *InstanceReport) bool {
	t, ok := s.t.tombstones.Get(nodeKey(node, r.ID))
	if !ok || t.Epoch != r.Epoch {
		return false
	}
	s.dropTombstone(t)
	in, ok := s.t.instances.Get(r.ID)
	if ok && in.Wanted == WantDeleted && in.Node == node {
		s.bury(in)
	}
	return true
}

// verdict is what a report means for an instance.
type verdict struct {
	changed     bool
	status      Status
	wanted      Power
	result, why string // how what was under way ended; "": it did not
	advance     bool   // the step of the operation is done
}

// ReportChanges tells whether a report of the instance's own node, at that instant of the state, would change
// anything about it. A node that asks first keeps the log free of reports that say nothing new. A report of
// removal is not judged by it: it is due as long as there is a tombstone.
func ReportChanges(in *Instance, r InstanceReport) bool { return judge(in, &r, 0).changed }

// judge decides what a report means. It is pure. A report of another epoch is about another life of the
// instance, and one of another generation about what was wanted before: both mean nothing.
func judge(in *Instance, r *InstanceReport, now Time) verdict {
	v := verdict{status: in.Status, wanted: in.Wanted}
	if r.Epoch != in.Epoch || r.Generation != in.Generation {
		return v
	}
	v.status.Power = r.Power.known()
	v.status.Note = clip(r.Step, maxText)
	switch {
	case in.Wanted == WantDeleted:
		if r.Error != "" {
			v.status.Note = clip(r.Error, maxText)
		}
	case in.Op != nil:
		if r.Step == "" {
			v.status.Note = in.Status.Note // it is of whoever carries the step out
		}
		v.during(in, r)
	case in.Mode.Error:
		// An administrator's word stands until something is asked of the instance.
	case r.Error != "":
		v.fail(r, now)
	case in.as(r):
		if in.Wanted == WantOn {
			v.status.Boot = r.Boot
		}
		v.reach(in.resting())
	case in.Wanted != WantOff && off(r.Power) && (in.Status.Task == TaskNone || in.Wanted != WantOn):
		// The guest powered itself off, or lost its memory with its host. It stays off, as Nova's periodic power
		// sync would have it.
		if in.Status.VM != VMBuilding && in.Status.VM != VMError {
			v.wanted = WantOff
			v.reach(in.without())
		}
	}
	v.changed = v.status != in.Status || v.wanted != in.Wanted || v.advance
	return v
}

// off tells whether a domain in that state has neither a running guest nor its memory.
func off(p PowerState) bool { return p == PowerShutdown || p == PowerCrashed }

// as tells whether a report says that the domain is as the instance is wanted.
func (i *Instance) as(r *InstanceReport) bool {
	switch i.Wanted {
	case WantOn:
		return r.Power == PowerRunning && r.Boot >= i.Boot
	case WantOff:
		return off(r.Power)
	case WantPaused:
		return r.Power == PowerPaused
	case WantSaved:
		return r.Power == PowerSuspended
	}
	return false
}

// during judges a report of an instance with an operation under way: some steps end with a power state, and to the others
// power means nothing.
func (v *verdict) during(in *Instance, r *InstanceReport) {
	switch in.Op.Step {
	case StepStopping:
		v.advance = off(r.Power)
	case StepFinishing, StepReverting:
		v.advance = in.as(r)
		if v.advance && in.Wanted == WantOn {
			v.status.Boot = r.Boot
		}
	default:
		return
	}
	if r.Error != "" && !v.advance {
		v.result, v.why = resultError, clip(r.Error, maxText)
	}
}

// reach ends what was under way with success. An instance in error that its node brought to what is wanted
// after all is well again.
func (v *verdict) reach(vm VMState) {
	v.status.VM, v.status.Task = vm, TaskNone
	v.status.Fault, v.status.Progress = nil, 0
	v.result = resultSuccess
}

// fail puts the instance in error. Its node goes on trying.
func (v *verdict) fail(r *InstanceReport, now Time) {
	message, details := clip(r.Error, maxText), clip(r.Detail, maxPropertyLen)
	v.status.VM, v.status.Task, v.status.Note = VMError, TaskNone, ""
	v.result, v.why = resultError, message
	if f := v.status.Fault; f == nil || f.Message != message || f.Details != details {
		v.status.Fault = &Fault{Code: faultCode, Message: message, Details: details, Created: now}
	}
}

// clip makes a text that a node sent fit the state: at most n characters, valid UTF-8, no control characters
// but line ends and tabs.
func clip(s string, n int) string {
	if checkLines("", s, n) == nil {
		return s
	}
	b := make([]rune, 0, n)
	for _, r := range s { // what is not UTF-8 comes as U+FFFD
		if len(b) == n {
			break
		}
		if checkLines("", string(r), 1) != nil {
			r = ' '
		}
		b = append(b, r)
	}
	return string(b)
}

// known takes a number that is none of Nova's power states for PowerNoState.
func (p PowerState) known() PowerState {
	switch p {
	case PowerRunning, PowerPaused, PowerShutdown, PowerCrashed, PowerSuspended:
		return p
	}
	return PowerNoState
}
