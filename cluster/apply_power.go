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
	from          []VMState
	during        []TaskState
	task          TaskState
	wanted        Power
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
		from:   []VMState{VMActive, VMStopped, VMPaused, VMError},
		during: []TaskState{TaskNone, TaskRebooting, TaskRebootHard},
	}
)

// transition finds what the op asks for.
func (o *SetPower) transition() (*transition, *Error) {
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
	old, ok := s.t.instances.Get(o.ID)
	if !ok {
		return nil, missingInstance(o.ID)
	}
	switch {
	case !slices.Contains(t.from, old.Status.VM):
		return nil, Errorf(Conflict, "Cannot '%s' instance %s while it is in vm_state %s", t.action, o.ID, old.Status.VM)
	case !slices.Contains(t.during, old.Status.Task):
		return nil, Errorf(Conflict, "Cannot '%s' instance %s while it is in task_state %s", t.action, o.ID, old.Status.Task)
	case old.Node == "":
		return nil, Errorf(Conflict, "Instance %s is not ready", o.ID)
	}
	in := old.Clone()
	in.Wanted = t.wanted
	in.Generation++ // reports about what was wanted before say nothing about what is wanted now
	if o.Reboot != "" {
		in.Boot++
	}
	in.Status.Task, in.Status.Note = t.task, ""
	s.begin(in, t.action, asked{request: o.Request, project: o.Project, user: o.User}, t.event)
	s.saveInstance(in)
	return []string{string(in.ID)}, nil
}
