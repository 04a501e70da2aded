package cluster

import "slices"

// captureVolumes makes snapshots of all volumes of an instance that boots from one, and an image that names them. All of it
// is done, or nothing.
func (s *State) captureVolumes(o *CaptureVolumes) ([]string, *Error) {
	t, ok := captures[o.What]
	if !ok || o.What == OpShelve {
		return nil, Errorf(Invalid, "There is no capture of volumes called %.20q", string(o.What))
	}
	old, err := s.permitted(o.ID, t)
	if err != nil {
		return nil, err
	}
	if err := s.checkCaptured(old, o); err != nil {
		return nil, err
	}
	img := *o.Image.Clone()
	img.Owner, img.Status, img.Data, img.Revision, img.Format = old.Project, ImageSaving, nil, 0, ImageFormat{}
	if img.Properties == nil {
		img.Properties = map[string]string{}
	}
	made, err := s.snapshotAll(old, o)
	if err == nil {
		setMapping(&img, s.mapping(old, made))
		err = checkImage(&img)
	}
	if err != nil {
		for _, n := range made {
			s.dropSnapshot(n)
		}
		return nil, err
	}
	img.Revision, img.Created, img.Updated = s.t.meta.Index, s.t.meta.Time, s.t.meta.Time
	s.putImage(&img)
	in := old.Clone()
	s.began(in, t, o.By)
	s.endActions(in, resultSuccess, "") // what is left is the volumes' own
	s.saveInstance(in)
	s.settleImage(made[0].For)
	return []string{string(in.ID), string(img.ID)}, nil
}

// checkCaptured judges a capture before anything is made for it.
func (s *State) checkCaptured(in *Instance, o *CaptureVolumes) *Error {
	if _, exists := s.t.images.Get(o.Image.ID); exists || in.Op != nil {
		return Errorf(Conflict, "Image %s exists already, or instance %s is in another operation", o.Image.ID, in.ID)
	}
	if !in.Spec.Boot.Volume {
		return Errorf(Invalid, "Instance %s does not boot from a volume", in.ID)
	}
	var have, named []VolumeID
	for _, v := range s.volumesOf(in.ID) {
		have = append(have, v.ID)
	}
	for _, n := range o.Snapshots {
		named = append(named, n.Volume)
	}
	slices.Sort(have)
	slices.Sort(named)
	if len(have) == 0 || !slices.Equal(have, named) {
		return Errorf(Stale, "Instance %s has other volumes now", in.ID)
	}
	return firstOf(
		checkText("The backup's type", o.Backup),
		checkAmount("The rotation", int64(o.Rotation), 0, maxAmount),
	)
}

// snapshotAll makes the snapshots. Those that were made before one is refused are given with the refusal.
func (s *State) snapshotAll(in *Instance, o *CaptureVolumes) ([]*VolumeSnapshot, *Error) {
	var made []*VolumeSnapshot
	purpose := &SnapshotPurpose{Image: o.Image.ID, Instance: in.ID}
	if o.What == OpBackup {
		purpose.Backup, purpose.Rotation, purpose.Rotates = o.Backup, o.Rotation, true
	}
	for i := range o.Snapshots {
		asked := VolumeSnapshot{ID: o.Snapshots[i].ID, Volume: o.Snapshots[i].Volume, Project: in.Project, User: o.By.User,
			Name: clip("snapshot for "+o.Image.Name, maxText), For: purpose}
		if _, err := s.createSnapshot(&CreateVolumeSnapshot{Snapshot: asked, Force: true}); err != nil {
			return made, err
		}
		n, _ := s.t.snapshots.Get(asked.ID)
		made = append(made, n)
	}
	return made, nil
}

// mapping says which snapshots a server made from the image gets as which disks: as the instance has them.
func (s *State) mapping(in *Instance, made []*VolumeSnapshot) []MappedDevice {
	var all []MappedDevice
	for _, n := range made {
		v, _ := s.t.volumes.Get(n.Volume)
		a, _ := v.AttachmentTo(in.ID)
		d := MappedDevice{Snapshot: n.ID, SizeGiB: n.SizeGiB, Device: a.Device, Tag: a.Tag, Type: n.Type,
			Delete: a.DeleteOnTermination, Source: "snapshot", Destination: "volume"}
		if a.Boot {
			d.Boot = new(int)
		}
		all = append(all, d)
	}
	slices.SortStableFunc(all, func(a, b MappedDevice) int { // the one to boot from first
		switch {
		case a.Boot != nil && b.Boot == nil:
			return -1
		case a.Boot == nil && b.Boot != nil:
			return 1
		}
		return 0
	})
	return all
}

// settleImage ends the making of an image of snapshots: it is active once all of them are there, and goes when one failed.
func (s *State) settleImage(p *SnapshotPurpose) {
	if p == nil {
		return
	}
	img, ok := s.t.images.Get(p.Image)
	if !ok || img.Status != ImageSaving || img.Data != nil {
		return
	}
	devices, _ := img.Mapping()
	for i := range devices {
		n, there := s.t.snapshots.Get(devices[i].Snapshot)
		switch {
		case !there || n.File.Remove || n.Status == SnapshotError:
			s.dropImage(img)
			s.dropSnapshotsOf(img)
			return
		case n.Status != SnapshotAvailable:
			return
		}
	}
	c := img.Clone()
	c.Status, c.Revision, c.Updated = ImageActive, s.t.meta.Index, s.t.meta.Time
	s.putImage(c)
	if in, ok := s.t.instances.Get(p.Instance); ok && p.Rotates {
		s.rotate(in, &Capture{Image: p.Image, Backup: p.Backup, Rotation: p.Rotation})
	}
}

// dropSnapshotsOf has the snapshots go that were made for an image, and nothing else.
func (s *State) dropSnapshotsOf(img *Image) {
	for _, n := range collect(resolved(&s.t.snapshotsIn, &s.t.snapshots, string(img.Owner)+sep)) {
		if n.For != nil && n.For.Image == img.ID && !n.File.Remove {
			s.endSnapshot(n)
		}
	}
}
