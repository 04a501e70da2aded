package cluster

import (
	"maps"
	"slices"
)

var rebuildTransition = transition{action: "rebuild", event: "rebuild_server", task: TaskRebuilding,
	from: []VMState{VMActive, VMStopped, VMError}, during: []TaskState{TaskNone}}

// rebuildInstance makes the instance's disks anew: its epoch goes up, and a tombstone tells its node to remove what was made
// for the one before.
func (s *State) rebuildInstance(o *RebuildInstance) ([]string, *Error) {
	old, err := s.permitted(o.ID, &rebuildTransition)
	if err != nil {
		return nil, err
	}
	if old.Op != nil {
		return nil, Errorf(Conflict, "Instance %s is in another operation", o.ID)
	}
	in := old.Clone()
	in.Spec.Image, in.Spec.Boot = o.Image, o.Boot
	o.Change.apply(&in.Spec)
	if err := firstOf(
		s.checkImageIs(o.Image),
		s.checkImageIs(o.Boot.Kernel),
		s.checkImageIs(o.Boot.Ramdisk),
		checkName("The instance's name", in.Spec.Name),
		checkText("The host name", in.Spec.Hostname),
		checkSpec(&in.Spec),
		s.checkMetadataQuota(in.Project, in.Spec.Metadata),
	); err != nil {
		return nil, err
	}
	if more := in.Resources().Sub(old.Resources()); more.DiskGiB > 0 {
		if err := s.accepts(in.Node, more); err != nil {
			return nil, err
		}
	}
	in.Images = s.bootImages(&in.Spec)
	through := max(in.Epoch, in.Epochs.Given)
	in.Epoch, in.Epochs.Disk = in.newEpoch(), 0
	in.Mode.Rescue = nil // there is nothing to be mended any more
	in.Generation++
	in.Status.Task, in.Status.Note, in.Status.Fault = TaskRebuilding, "", nil
	if in.Wanted != WantOff {
		in.Wanted = WantOn
	}
	s.entomb(in, in.Node, through, 0, Resources{})
	s.began(in, &rebuildTransition, o.By)
	s.saveInstance(in)
	return []string{string(in.ID)}, nil
}

func (c *SpecChange) apply(p *Spec) {
	set(&p.Name, c.Name)
	set(&p.Description, c.Description)
	set(&p.Hostname, c.Hostname)
	set(&p.Access, c.Access)
	set(&p.DiskConfig, c.DiskConfig)
	set(&p.KeyName, c.KeyName)
	set(&p.PublicKey, c.PublicKey)
	set(&p.UserData, c.UserData)
	set(&p.AdminPass, c.AdminPass)
	if c.Metadata != nil {
		p.Metadata = maps.Clone(*c.Metadata)
	}
}

var (
	rescueTransition = transition{action: "rescue", event: "compute_rescue_instance", task: TaskRescuing,
		from: []VMState{VMActive, VMStopped, VMError}, during: []TaskState{TaskNone}}
	unrescueTransition = transition{action: "unrescue", event: "compute_unrescue_instance", task: TaskUnrescuing,
		from: []VMState{VMRescued}, during: []TaskState{TaskNone}}
)

func (s *State) rescueInstance(o *RescueInstance) ([]string, *Error) {
	t := &rescueTransition
	if o.End {
		t = &unrescueTransition
	}
	old, err := s.permitted(o.ID, t)
	if err != nil {
		return nil, err
	}
	in := old.Clone()
	if o.End {
		in.Wanted, in.Mode.Rescue = WantOn, nil
	} else {
		boot, cmdline := Spec{Image: o.Image, Boot: BootSource{Kernel: o.Kernel, Ramdisk: o.Ramdisk}}, o.Cmdline
		if o.Image == "" {
			boot = Spec{Image: in.Spec.Image, Boot: in.Spec.Boot}
			cmdline = in.Spec.Boot.Properties["os_command_line"]
		}
		if err := firstOf(s.checkImageIs(boot.Image), s.checkImageIs(boot.Boot.Kernel), s.checkImageIs(boot.Boot.Ramdisk),
			checkText("The admin password", o.AdminPass), checkLines("The kernel's command line", cmdline, maxLongText)); err != nil {
			return nil, err
		}
		in.Mode.Rescue = &Rescue{Images: s.bootImages(&boot), Cmdline: cmdline, AdminPass: o.AdminPass}
		in.Wanted = WantOn
	}
	in.Generation++
	in.Boot++ // whatever runs now makes way
	in.Status.Task, in.Status.Note = t.task, ""
	s.began(in, t, o.By)
	s.saveInstance(in)
	return []string{string(in.ID)}, nil
}

var restoreTransition = transition{action: "restore", event: "compute_restore_instance", task: TaskRestoring,
	from: []VMState{VMSoftDeleted}, during: []TaskState{TaskNone}, unplaced: true}

func (s *State) restoreInstance(o *RestoreInstance) ([]string, *Error) {
	old, err := s.permitted(o.ID, &restoreTransition)
	if err != nil {
		return nil, err
	}
	in := old.Clone()
	in.Mode.Reclaim, in.Wanted = 0, WantOn
	in.Generation++
	in.Boot++
	in.Status.Task = TaskRestoring
	s.began(in, &restoreTransition, o.By)
	s.saveInstance(in)
	return []string{string(in.ID)}, nil
}

// softDelete takes an instance out of use for a while, after which it is deleted for good.
func (s *State) softDelete(in *Instance, reclaim Time, by asked) {
	s.begin(in, "softDelete", by, "compute_soft_delete_instance")
	in.Mode.Reclaim, in.Wanted = reclaim, WantOff
	in.Generation++
	in.Status.VM, in.Status.Task, in.Status.Note = VMSoftDeleted, TaskNone, ""
	s.saveInstance(in)
}

const resetByHand = "The state was reset by an administrator."

func (s *State) resetInstance(o *ResetInstance) ([]string, *Error) {
	old, ok := s.t.instances.Get(o.ID)
	switch {
	case !ok:
		return nil, missingInstance(o.ID)
	case old.Wanted == WantDeleted:
		return nil, Errorf(Conflict, "Instance %s is being deleted", o.ID)
	case old.Node == "" && o.State == VMActive && !old.Mode.away():
		return nil, Errorf(Conflict, "Instance %s is on no node", o.ID)
	case old.Op != nil && old.Op.Step == StepMigrating:
		return nil, Errorf(Conflict, "Instance %s is being migrated: abort that first", o.ID)
	case old.Op != nil && old.Op.Step == StepAsking:
		return nil, Errorf(Conflict, "Instance %s was being migrated: its destination has not said yet whether it has it", o.ID)
	}
	if err := oneOf("The state", o.State, VMActive, VMError); err != nil {
		return nil, err
	}
	in := old.Clone()
	if in.Op != nil {
		s.failOperation(in, resetByHand)
	}
	s.endActions(in, resultError, resetByHand)
	in.Status.Task, in.Status.Note = TaskNone, ""
	in.Status.VM, in.Status.Fault = o.State, nil
	in.Mode.Reclaim, in.Mode.Error = 0, o.State == VMError
	if in.Node == "" && o.State == VMActive {
		in.Status.VM = VMOffloaded
	}
	if o.State == VMError {
		in.Status.Fault = &Fault{Code: faultCode, Message: resetByHand, Created: s.t.meta.Time}
	}
	s.saveInstance(in)
	return []string{string(in.ID)}, nil
}

var (
	attachPortTransition = transition{action: "attach_interface", event: "compute_attach_interface",
		from: []VMState{VMActive, VMPaused, VMStopped}, during: []TaskState{TaskNone}}
	detachPortTransition = transition{action: "detach_interface", event: "compute_detach_interface",
		from: []VMState{VMActive, VMPaused, VMStopped}, during: []TaskState{TaskNone}}
)

func (s *State) attachPort(o *AttachPort) ([]string, *Error) {
	old, err := s.permitted(o.ID, &attachPortTransition)
	if err != nil {
		return nil, err
	}
	if (o.Port.New == nil) == (o.Port.Existing == "") {
		return nil, Errorf(Invalid, "A port to attach is either an existing one or a new one")
	}
	if o.Port.New != nil {
		if err := checkPort(o.Port.New); err != nil {
			return nil, err
		}
	}
	if len(old.Ports) >= maxPortsPerInstance {
		return nil, Errorf(OverQuota, "Instance %s has %d ports already", o.ID, len(old.Ports))
	}
	in := old.Clone()
	var undo undoPorts
	if err := s.attach(in, &o.Port, &undo); err != nil {
		undo.run(s)
		return nil, err
	}
	in.Generation++
	s.began(in, &attachPortTransition, o.By)
	s.endActions(in, resultSuccess, "")
	s.saveInstance(in)
	return []string{string(in.Ports[len(in.Ports)-1])}, nil
}

func (s *State) detachPort(o *DetachPort) ([]string, *Error) {
	old, err := s.permitted(o.ID, &detachPortTransition)
	if err != nil {
		return nil, err
	}
	at := slices.Index(old.Ports, o.Port)
	if at < 0 {
		return nil, Errorf(NotFound, "Port %s is not attached to instance %s", o.Port, o.ID)
	}
	in := old.Clone()
	in.Ports = slices.Delete(in.Ports, at, at+1)
	in.Generation++
	gone := *in
	gone.Ports = []PortID{o.Port}
	s.releasePorts(&gone)
	s.began(in, &detachPortTransition, o.By)
	s.endActions(in, resultSuccess, "")
	s.saveInstance(in)
	return []string{string(o.Port)}, nil
}
