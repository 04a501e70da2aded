package cluster

func (s *State) reportVolumes(o *ReportVolumes) ([]string, *Error) {
	if _, ok := s.t.nodes.Get(o.Node); !ok {
		return nil, missing("Node", string(o.Node))
	}
	n := len(o.Volumes) + len(o.Snapshots) + len(o.Attachments)
	if err := checkAmount("The number of reports", int64(n), 0, maxReports); err != nil {
		return nil, err
	}
	for i := range o.Volumes {
		s.volumeSaid(o.Node, &o.Volumes[i])
	}
	for i := range o.Snapshots {
		s.snapshotSaid(o.Node, &o.Snapshots[i])
	}
	for i := range o.Attachments {
		s.attachmentSaid(o.Node, &o.Attachments[i])
	}
	return nil, nil
}

func (s *State) volumeSaid(node NodeID, r *VolumeReport) {
	old, ok := s.t.volumes.Get(r.ID)
	if !ok || old.File.Node != node {
		return
	}
	if r.Gone {
		if old.File.Remove {
			s.dropVolume(old)
		}
		return
	}
	v := old.Clone()
	if r.SizeGiB > v.File.SizeGiB && !v.File.Remove {
		// However old the report: the file has that size now, and never becomes smaller.
		v.File.SizeGiB, v.File.Progress = r.SizeGiB, 0
		v.SizeGiB = max(v.SizeGiB, r.SizeGiB)
		v.proceed()
		if v.File.SizeGiB == v.SizeGiB {
			s.extended(v, resultSuccess, "")
		}
	}
	if r.Generation == v.Generation {
		v.hear(r)
		if v.Status == VolumeErrorExtending {
			s.extended(v, resultError, v.Fault)
		}
	}
	if v.File != old.File || v.Status != old.Status || v.Fault != old.Fault || v.Upload != old.Upload {
		s.saveVolume(v)
	}
}

// proceed sets the status that follows from what a volume has, unless somebody or a fault said otherwise.
func (v *Volume) proceed() {
	switch v.Status {
	case VolumeDeleting, VolumeError, VolumeErrorDeleting, VolumeErrorExtending, VolumeMaintenance, VolumeReserved:
		return
	}
	v.Status = v.flow()
}

// hear takes in what a node says about what it was asked last.
func (v *Volume) hear(r *VolumeReport) {
	why := clip(r.Error, maxText)
	switch {
	case r.Uploaded:
		v.Upload, v.Fault, v.File.Progress = nil, why, 0
		v.proceed()
	case why == "":
		v.File.Progress = min(max(r.Progress, 0), 100)
	case v.File.Remove:
		v.Status, v.Fault = VolumeErrorDeleting, why
	case v.File.SizeGiB == 0:
		v.Status, v.Fault = VolumeError, why
	case v.File.SizeGiB < v.SizeGiB:
		v.Status, v.Fault = VolumeErrorExtending, why
	default:
		v.Fault = why
	}
}

func (s *State) snapshotSaid(node NodeID, r *SnapshotReport) {
	old, ok := s.t.snapshots.Get(r.ID)
	if !ok || old.File.Node != node {
		return
	}
	if r.Gone {
		if old.File.Remove {
			s.dropSnapshot(old)
			s.settleImage(old.For)
		}
		return
	}
	if r.Generation != old.Generation {
		return
	}
	n := old.Clone()
	switch {
	case r.Error != "" && n.File.Remove:
		n.Status, n.Fault = SnapshotErrorDeleting, clip(r.Error, maxText)
	case r.Error != "":
		n.Status, n.Fault = SnapshotError, clip(r.Error, maxText)
	case oneOf("", r.Format, "raw", "qcow2") == nil && !n.File.Remove && n.File.Format == "":
		n.File.Format, n.Status, n.Fault = r.Format, SnapshotAvailable, ""
	default:
		return
	}
	s.saveSnapshot(n)
	s.settleImage(n.For)
}

// attachmentSaid takes in what the node of an instance says about one of its volumes.
func (s *State) attachmentSaid(node NodeID, r *AttachmentReport) {
	v, ok := s.t.volumes.Get(r.Volume)
	if !ok {
		return
	}
	a, ok := v.AttachmentTo(r.Instance)
	in, there := s.t.instances.Get(r.Instance)
	if !ok || !there || in.Node != node || in.Epoch != r.Epoch {
		return
	}
	switch {
	case a.State == Attaching && r.Attached:
		s.setAttachment(v, in, Attached, "")
		s.endActions(in, resultSuccess, "")
	case a.State == Attaching && r.Error != "" && !a.Boot && in.Status.VM != VMBuilding:
		c := s.unbindVolume(v, in.ID).Clone()
		c.Fault = clip(r.Error, maxText)
		s.saveVolume(c)
		s.changeDomain(in)
		s.endActions(in, resultError, clip(r.Error, maxText))
	case a.State == Detaching && r.Detached:
		s.unbindVolume(v, in.ID)
		s.endActions(in, resultSuccess, "")
	case a.State == Detaching && r.Error != "":
		s.setAttachment(v, in, Attached, clip(r.Error, maxText))
		s.changeDomain(in)
		s.endActions(in, resultError, clip(r.Error, maxText))
	}
}

// builtWith has a new instance, whose domain is there, have the volumes that it was made with: the domain was not defined without them.
// Those whose file could not be made are the exception, and their node says so.
func (s *State) builtWith(in *Instance) {
	for _, v := range s.volumesOf(in.ID) {
		if a, _ := v.AttachmentTo(in.ID); a.State == Attaching && a.At == in.Times.Created && v.File.SizeGiB > 0 {
			s.setAttachment(v, in, Attached, "")
		}
	}
}

func (s *State) setAttachment(v *Volume, in *Instance, to AttachmentState, fault string) {
	c := v.Clone()
	a, _ := c.AttachmentTo(in.ID)
	a.State, a.At = to, s.t.meta.Time
	c.Fault = fault
	c.proceed()
	s.saveVolume(c)
}

// changeDomain has an instance's node look at its domain again: it is wanted otherwise than a moment ago.
func (s *State) changeDomain(in *Instance) {
	c := in.Clone()
	c.Generation++
	s.saveInstance(c)
}

// extended ends what the instances that have a volume say of its growth.
func (s *State) extended(v *Volume, result, details string) {
	for i := range v.Attachments {
		in, ok := s.t.instances.Get(v.Attachments[i].Instance)
		if !ok {
			continue
		}
		if a := s.lastAction(in.ID); a != nil && a.Kind == actionExtendVolume {
			s.endActions(in, result, details)
		}
	}
}
