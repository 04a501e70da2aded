package cluster

import (
	"maps"
	"slices"
)

// saveInstance stores a changed instance.
func (s *State) saveInstance(in *Instance) {
	s.ageReplica(in)
	in.Revision, in.Times.Updated = s.t.meta.Index, s.t.meta.Time
	s.putInstance(in)
}

func missingInstance(id InstanceID) *Error {
	return Errorf(NotFound, "Instance %s could not be found.", id)
}

func (s *State) placeInstance(o *PlaceInstance) ([]string, *Error) {
	old, ok := s.t.instances.Get(o.ID)
	if !ok {
		return nil, missingInstance(o.ID)
	}
	if old.Generation != o.Generation || old.Epoch != o.Epoch {
		return nil, Errorf(Stale, "Instance %s was changed in the meantime", o.ID)
	}
	if !old.WaitsForNode() {
		return nil, Errorf(Conflict, "Instance %s does not wait for a node", o.ID)
	}
	if err := checkExplanation(&o.Explanation); err != nil {
		return nil, err
	}
	in := old.Clone()
	in.Placement = &o.Explanation
	if o.Node == "" {
		s.beginEvent(in, eventSchedule)
		s.strand(in)
	} else {
		if err := firstOf(s.accepts(o.Node, in.Resources()), s.groupAdmits(in, o.Node), s.volumesAccept(in, o.Node)); err != nil {
			return nil, err
		}
		s.settle(in, o.Node)
		s.beginEvent(in, eventBuild)
	}
	s.saveInstance(in)
	return []string{string(in.ID)}, nil
}

func (s *State) updateInstance(o *UpdateInstance) ([]string, *Error) {
	old, ok := s.t.instances.Get(o.ID)
	if !ok {
		return nil, missingInstance(o.ID)
	}
	if o.Revision != 0 && o.Revision != old.Revision {
		return nil, Errorf(Stale, "Instance %s was changed in the meantime", o.ID)
	}
	in := old.Clone()
	p := &in.Spec
	set(&p.Name, o.Name)
	set(&p.Description, o.Description)
	set(&p.Hostname, o.Hostname)
	set(&p.Access, o.Access)
	set(&p.DiskConfig, o.DiskConfig)
	set(&p.Locked, o.Locked)
	set(&p.LockReason, o.LockReason)
	if o.Metadata != nil {
		p.Metadata = maps.Clone(*o.Metadata)
	}
	if o.Tags != nil {
		p.Tags = slices.Clone(*o.Tags)
	}
	if err := firstOf(
		checkName("The instance's name", p.Name),
		checkText("The host name", p.Hostname),
		checkSpec(p),
		s.checkMoreMetadata(in.Project, p.Metadata, old.Spec.Metadata),
	); err != nil {
		return nil, err
	}
	if o.By != nil && o.Locked != nil {
		kind := actionLock
		if p.Locked == "" {
			kind = actionUnlock
		}
		s.mention(in, kind, asked{request: o.By.Request, project: o.By.Project, user: o.By.User})
	}
	s.saveInstance(in)
	return []string{string(in.ID)}, nil
}

// set changes a field when there is something to change it to.
func set[T any](field *T, to *T) {
	if to != nil {
		*field = *to
	}
}

func (s *State) deleteInstance(o *DeleteInstance) ([]string, *Error) {
	old, ok := s.t.instances.Get(o.ID)
	if !ok {
		return nil, missingInstance(o.ID)
	}
	if old.Wanted == WantDeleted {
		return []string{string(o.ID)}, nil
	}
	if o.Due && (old.Mode.Reclaim == 0 || old.Mode.Reclaim > s.t.meta.Time) {
		return nil, Errorf(Stale, "Instance %s is not to be reclaimed now", o.ID)
	}
	in := old.Clone()
	by := asked{request: o.Request, project: o.Project, user: o.User}
	if o.Reclaim != 0 && in.Node != "" && in.Mode.Reclaim == 0 && in.Status.VM != VMBuilding && in.Status.VM != VMError && !in.stranded() {
		s.interrupt(in, "The instance was deleted.")
		s.softDelete(in, o.Reclaim, by)
		return []string{string(o.ID)}, nil
	}
	if in.Node != "" {
		s.entombEverywhere(in)
	}
	s.dropReplica(in)
	s.dropOperation(in)
	in.Wanted = WantDeleted
	in.Generation++
	in.Status.Task, in.Status.Note, in.Status.Progress = TaskDeleting, "", 0
	s.begin(in, actionDelete, by, eventTerminate)
	s.saveInstance(in)
	if in.Node == "" {
		s.bury(in)
	}
	return []string{string(o.ID)}, nil
}

func (s *State) forgetInstance(o *ForgetInstance) ([]string, *Error) {
	in, ok := s.t.instances.Get(o.ID)
	if !ok {
		return nil, missingInstance(o.ID)
	}
	if in.Wanted != WantDeleted {
		return nil, Errorf(Conflict, "Instance %s is not being deleted", o.ID)
	}
	s.bury(in)
	return []string{string(o.ID)}, nil
}

// bury makes an instance that was being deleted a record of one that is gone. What it keeps is what listings
// of deleted servers show: no user data, no keys, no password.
func (s *State) bury(in *Instance) {
	s.endActions(in, resultSuccess, "")
	s.releasePorts(in)
	if i, ok := s.t.images.Get(in.Mode.Shelved); ok && !i.Protected {
		s.dropImage(i) // nobody can unshelve it any more
	}
	s.dropInstance(in)
	s.releaseVolumes(in.ID)
	now := s.t.meta.Time
	c := in.Clone()
	c.Revision, c.Times.Updated, c.Times.Terminated = s.t.meta.Index, now, now
	c.Deleted, c.Ports, c.Op, c.Mode, c.Replica = true, nil, nil, Mode{}, nil
	c.Spec.UserData, c.Spec.PublicKey, c.Spec.AdminPass = nil, "", ""
	c.Status = Status{VM: VMDeleted, Fault: in.Status.Fault}
	s.putDeleted(c)
}
