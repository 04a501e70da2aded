package cluster

import "slices"

// Reboot kinds of SetPower, in Nova's words.
const (
	RebootSoft = "SOFT"
	RebootHard = "HARD"
)

// transition is one way to ask for another power state: what it is called, and in which states Nova allows it
// (OpenStack Compute API reference, preconditions of the server actions).
type transition struct {
	action, event string
	words         string // the action's name in refusals, where that is another
	from          []VMState
	during        []TaskState // nil: whatever else is being done
	task          TaskState
	wanted        Power
	unplaced      bool // it may have no node
}

var (
	startTransition = transition{
		action: actionStart, event: eventStart, wanted: WantOn, task: TaskPoweringOn,
		from: []VMState{VMStopped}, during: []TaskState{TaskNone},
	}
	stopTransition = transition{
		action: actionStop, event: eventStop, wanted: WantOff, task: TaskPoweringOff,
		from: []VMState{VMActive, VMError}, during: []TaskState{TaskNone},
	}
	softRebootTransition = transition{
		action: actionReboot, event: eventReboot, wanted: WantOn, task: TaskRebooting,
		from: []VMState{VMActive}, during: []TaskState{TaskNone},
	}
	hardRebootTransition = transition{
		action: actionReboot, event: eventReboot, wanted: WantOn, task: TaskRebootHard,
		from:   []VMState{VMActive, VMStopped, VMPaused, VMSuspended, VMError},
		during: []TaskState{TaskNone, TaskRebooting, TaskRebootHard, TaskSuspending, TaskResuming, TaskPausing, TaskUnpausing},
	}
)

// powerActions are those of SetPower that go by their name.
var powerActions = map[string]*transition{
	"pause": {
		action: "pause", event: "compute_pause_instance", wanted: WantPaused, task: TaskPausing,
		from: []VMState{VMActive}, during: []TaskState{TaskNone},
	},
	"unpause": {
		action: "unpause", event: "compute_unpause_instance", wanted: WantOn, task: TaskUnpausing,
		from: []VMState{VMPaused}, during: []TaskState{TaskNone},
	},
	"suspend": {
		action: "suspend", event: "compute_suspend_instance", wanted: WantSaved, task: TaskSuspending,
		from: []VMState{VMActive}, during: []TaskState{TaskNone},
	},
	"resume": {
		action: "resume", event: "compute_resume_instance", wanted: WantOn, task: TaskResuming,
		from: []VMState{VMSuspended}, during: []TaskState{TaskNone},
	},
}

// transition finds what the op asks for.
func (o *SetPower) transition() (*transition, *Error) {
	if o.Action != "" {
		if t, ok := powerActions[o.Action]; ok {
			return t, nil
		}
		return nil, Errorf(Invalid, "There is no change of power called %.20q", o.Action)
	}
	switch {
	case o.Wanted == WantOn && o.Reboot == "":
		return &startTransition, nil
	case o.Wanted == WantOff && o.Reboot == "":
		return &stopTransition, nil
	case o.Wanted == WantOn && o.Reboot == RebootSoft:
		return &softRebootTransition, nil
	case o.Wanted == WantOn && o.Reboot == RebootHard:
		return &hardRebootTransition, nil
	}
	return nil, Errorf(Invalid, "There is no change of power to %.20q with reboot %.20q", string(o.Wanted), o.Reboot)
}

func (s *State) setPower(o *SetPower) ([]string, *Error) {
	t, err := o.transition()
	if err != nil {
		return nil, err
	}
	old, err := s.permitted(o.ID, t)
	if err != nil {
		return nil, err
	}
	in := old.Clone()
	in.Wanted = t.wanted
	in.Generation++ // reports about what was wanted before say nothing about what is wanted now
	if o.Reboot != "" {
		in.Boot++
	}
	in.Status.Task, in.Status.Note = t.task, ""
	s.began(in, t, By{Request: o.Request, Project: o.Project, User: o.User})
	s.saveInstance(in)
	return []string{string(in.ID)}, nil
}

// permitted gives the instance, if what is asked is allowed in its state.
func (s *State) permitted(id InstanceID, t *transition) (*Instance, *Error) {
	in, ok := s.t.instances.Get(id)
	switch {
	case !ok:
		return nil, missingInstance(id)
	case !slices.Contains(t.from, in.Status.VM):
		return nil, Errorf(Conflict, "Cannot '%s' instance %s while it is in vm_state %s", t.name(), id, in.Status.VM)
	case t.during != nil && !slices.Contains(t.during, in.Status.Task):
		return nil, Errorf(Conflict, "Cannot '%s' instance %s while it is in task_state %s", t.name(), id, in.Status.Task)
	case in.Wanted == WantDeleted:
		return nil, Errorf(Conflict, "Instance %s is being deleted", id)
	case in.Node == "" && !t.unplaced:
		return nil, Errorf(Conflict, "Instance %s is not ready", id)
	}
	return in, nil
}

// name is the action's in refusals.
func (t *transition) name() string {
	if t.words != "" {
		return t.words
	}
	return t.action
}
