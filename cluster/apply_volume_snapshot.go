package cluster

import (
	"maps"
	"slices"
)

func missingSnapshot(id SnapshotID) *Error { return missing("Snapshot", string(id)) }

func (s *State) createSnapshot(o *CreateVolumeSnapshot) ([]string, *Error) {
	n := o.Snapshot.Clone()
	v, ok := s.t.volumes.Get(n.Volume)
	if !ok || v.Project != n.Project {
		return nil, missingVolume(n.Volume)
	}
	if _, exists := s.t.snapshots.Get(n.ID); exists {
		return nil, Errorf(Conflict, "Snapshot %s exists already", n.ID)
	}
	if err := firstOf(checkSnapshot(n), checkID("User", n.User), checkID("Project", n.Project)); err != nil {
		return nil, err
	}
	switch {
	case v.Status != VolumeAvailable && (v.Status != VolumeInUse || !o.Force):
		return nil, invalidVolume("Volume %s status must be available, but current status is: %s.", v.ID, v.Status)
	case v.Traits.Encrypted && len(v.Attachments) > 0:
		return nil, invalidVolume("An encrypted volume is copied only while nothing has it attached.")
	}
	u, _ := s.t.usage.Get(n.Project)
	if s.exceeds(n.Project, QuotaSnapshots, u.Snapshots, 1) {
		return nil, Errorf(OverQuota, "SnapshotLimitExceeded: Maximum number of snapshots allowed (%d) exceeded", s.limit(n.Project, QuotaSnapshots))
	}
	if err := s.checkGigabytes(n.Project, v.SizeGiB); err != nil {
		return nil, err
	}
	n.Revision, n.Generation, n.Times = s.t.meta.Index, 1, VolumeTimes{Created: s.t.meta.Time}
	n.SizeGiB, n.Type, n.Secret, n.Bootable = v.SizeGiB, v.Type, v.Secret, v.Traits.Bootable
	n.ImageMeta = maps.Clone(v.ImageMetadata)
	n.File, n.Source, n.Fault = SnapshotFile{Shared: v.Shared()}, nil, ""
	n.Status = SnapshotAvailable
	if v.File.SizeGiB == 0 {
		n.Source = v.Source
		s.putSnapshot(n)
		return []string{string(n.ID)}, nil
	}
	if node, ok := s.t.nodes.Get(v.File.Node); ok {
		if err := s.checkDisk(node, v.Shared(), v.SizeGiB); err != nil {
			return nil, err
		}
	}
	n.File.Node, n.Status = v.File.Node, SnapshotCreating
	s.putSnapshot(n)
	return []string{string(n.ID)}, nil
}

func checkSnapshot(n *VolumeSnapshot) *Error {
	return firstOf(
		checkID("Snapshot", n.ID),
		checkText("The snapshot's name", n.Name),
		checkLines("The snapshot's description", n.Description, maxText),
		checkMap("The snapshot's metadata", n.Metadata, maxListed, maxText),
	)
}

func (s *State) updateSnapshot(o *UpdateVolumeSnapshot) ([]string, *Error) {
	old, ok := s.t.snapshots.Get(o.ID)
	if !ok {
		return nil, missingSnapshot(o.ID)
	}
	if o.Revision != 0 && o.Revision != old.Revision {
		return nil, Errorf(Stale, "Snapshot %s was changed in the meantime", o.ID)
	}
	n := old.Clone()
	set(&n.Name, o.Name)
	set(&n.Description, o.Description)
	if o.Metadata != nil {
		n.Metadata = maps.Clone(*o.Metadata)
	}
	if o.Status != "" {
		if err := oneOf("Snapshot status", o.Status, SnapshotCreating, SnapshotAvailable, SnapshotDeleting, SnapshotError, SnapshotErrorDeleting); err != nil {
			return nil, err
		}
		if old.File.Remove {
			return nil, Errorf(Invalid, "Invalid snapshot: Snapshot %s is being deleted by its node.", o.ID)
		}
		n.Status = o.Status
		n.Generation++
	}
	if err := checkSnapshot(n); err != nil {
		return nil, err
	}
	s.saveSnapshot(n)
	s.settleImage(n.For)
	return []string{string(n.ID)}, nil
}

func (s *State) deleteSnapshot(o *DeleteVolumeSnapshot) ([]string, *Error) {
	n, ok := s.t.snapshots.Get(o.ID)
	if !ok {
		return nil, missingSnapshot(o.ID)
	}
	fit := []SnapshotStatus{SnapshotAvailable, SnapshotError, SnapshotErrorDeleting, SnapshotDeleting}
	switch {
	case !o.Force && !slices.Contains(fit, n.Status):
		return nil, Errorf(Invalid, "Invalid snapshot: Snapshot status must be available or error, but current status is: %s.", n.Status)
	case s.t.isCopied("", n.ID):
		return nil, Errorf(Invalid, "Invalid snapshot: Snapshot %s is being copied to a volume.", n.ID)
	}
	s.endSnapshot(n)
	return []string{string(o.ID)}, nil
}

// endSnapshot has a snapshot go, as endVolume does a volume.
func (s *State) endSnapshot(n *VolumeSnapshot) {
	if n.File.Node == "" && (n.File.Format == "" || !n.Shared()) {
		s.dropSnapshot(n)
		s.settleImage(n.For)
		return
	}
	c := n.Clone()
	if c.File.Node == "" {
		c.File.Node = s.tender()
	}
	c.File.Remove, c.Status, c.Fault = true, SnapshotDeleting, ""
	c.Generation++
	s.saveSnapshot(c)
	s.settleImage(c.For)
}
