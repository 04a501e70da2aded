package cluster

import "slices"

// Nova's names of what is done to an instance, and of the steps that its clients look for.
const (
	actionCreate = "create"
	actionDelete = "delete"
	actionStart  = "start"
	actionStop   = "stop"
	actionReboot = "reboot"
	actionLock   = "lock"
	actionUnlock = "unlock"

	eventSchedule  = "conductor_schedule_and_build_instances"
	eventBuild     = "compute__do_build_and_run_instance"
	eventTerminate = "compute_terminate_instance"
	eventStart     = "compute_start_instance"
	eventStop      = "compute_stop_instance"
	eventReboot    = "compute_reboot_instance"

	resultSuccess = "Success"
	resultError   = "Error"
)

// asked says who asked for an action.
type asked struct {
	request string
	project ProjectID
	user    UserID
}

// begin records that an action on an instance begins. What was still under way is over: nobody waits for it.
// With an event, its first step begins too.
func (s *State) begin(in *Instance, kind string, by asked, event string) {
	s.endActions(in, resultError, "superseded by "+kind)
	a := s.newAction(in, kind, by)
	if event != "" {
		a.Events = []Event{{Name: event, Node: in.Node, Started: s.t.meta.Time, Number: 1}}
	}
	s.keepAction(in, a)
}

// mention records an action that is over at once and has no steps. What is under way goes on.
func (s *State) mention(in *Instance, kind string, by asked) {
	s.keepAction(in, s.newAction(in, kind, by))
}

// instant tells whether an action is one of those that mention records.
func (a *Action) instant() bool { return a.Kind == actionLock || a.Kind == actionUnlock }

func (s *State) newAction(in *Instance, kind string, by asked) *Action {
	s.t.meta.ActionCount++
	return &Action{
		Instance: in.ID, Request: by.request, Kind: kind, Project: by.project, User: by.user,
		Started: s.t.meta.Time, Updated: s.t.meta.Time, Number: s.t.meta.ActionCount,
	}
}

// keepAction stores a new action, and forgets the oldest beyond those that are kept.
func (s *State) keepAction(in *Instance, a *Action) {
	s.putAction(a)
	if all := s.actionsOf(in.ID); len(all) > maxActions {
		for _, old := range all[:len(all)-maxActions] {
			s.t.actions.Delete(actionKey(old))
		}
	}
}

// beginEvent records the next step of the action that is under way. The one before it is done.
func (s *State) beginEvent(in *Instance, name string) {
	a := s.lastAction(in.ID)
	if a == nil || len(a.Events) >= maxEvents {
		return
	}
	c := *a
	c.Events = slices.Clone(a.Events)
	if n := len(c.Events); n > 0 && c.Events[n-1].Finished == 0 {
		c.Events[n-1].Finished, c.Events[n-1].Result = s.t.meta.Time, resultSuccess
	}
	c.Events = append(c.Events, Event{
		Name: name, Node: in.Node, Started: s.t.meta.Time, Number: int64(len(a.Events)) + 1,
	})
	c.Updated = s.t.meta.Time
	s.putAction(&c)
}

// endActions finishes what is under way on an instance. Only the newest action with steps can be: begin ends those before.
func (s *State) endActions(in *Instance, result, details string) {
	a := s.lastAction(in.ID)
	if a == nil || len(a.Events) == 0 || a.Events[len(a.Events)-1].Finished != 0 {
		return
	}
	c := *a
	c.Events = slices.Clone(a.Events)
	e := &c.Events[len(c.Events)-1]
	e.Finished, e.Result = s.t.meta.Time, result
	c.Updated = s.t.meta.Time
	if result == resultError {
		e.Details = details
		c.Message = resultError // as Nova says it; the details are in the event
	}
	s.putAction(&c)
}

// lastAction gives the newest action of an instance that has steps, or nil.
func (s *State) lastAction(id InstanceID) *Action {
	var last *Action
	s.t.actions.Descend(string(id)+sep+"g", func(_ string, a *Action) bool { // 'g' is above every hexadecimal digit
		if a.Instance == id && !a.instant() {
			last = a
		}
		return a.Instance == id && a.instant()
	})
	return last
}
