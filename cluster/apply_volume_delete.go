package cluster

import "slices"

// deletable are the statuses in which Cinder deletes a volume.
var deletable = []VolumeStatus{VolumeAvailable, VolumeError, VolumeErrorDeleting, VolumeErrorExtending, VolumeDeleting}

func (s *State) deleteVolume(o *DeleteVolume) ([]string, *Error) {
	v, ok := s.t.volumes.Get(o.ID)
	if !ok {
		return nil, missingVolume(o.ID)
	}
	var snapshots []*VolumeSnapshot
	for n := range resolved(&s.t.snapshotsOf, &s.t.snapshots, string(o.ID)+sep) {
		if !n.File.Remove {
			snapshots = append(snapshots, n)
		}
	}
	blocked := len(snapshots) > 0 && !o.Cascade && !v.File.Remove
	switch {
	case len(v.Attachments) > 0 || blocked || !o.Force && !slices.Contains(deletable, v.Status):
		return nil, invalidVolume("Volume status must be available or error or error_restoring or error_extending or error_managing and must " +
			"not be migrating, attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated from snapshots after " +
			"volume transfer.")
	case s.t.isCopied(v.ID, ""):
		return nil, invalidVolume("Volume %s is being copied to another one.", v.ID)
	}
	for _, n := range snapshots {
		if s.t.isCopied("", n.ID) {
			return nil, Errorf(Invalid, "Invalid snapshot: Snapshot %s is being copied to a volume.", n.ID)
		}
	}
	for _, n := range snapshots {
		s.endSnapshot(n)
	}
	s.endVolume(v)
	return []string{string(o.ID)}, nil
}

func (s *State) hasSnapshots(id VolumeID) bool {
	for n := range resolved(&s.t.snapshotsOf, &s.t.snapshots, string(id)+sep) {
		if !n.File.Remove {
			return true
		}
	}
	return false
}

// isCopied tells whether the file of a volume, or of a snapshot, is being copied to a new volume or snapshot.
func (t *tables) isCopied(id VolumeID, snapshot SnapshotID) bool {
	var node NodeID
	shared := false
	if v, ok := t.volumes.Get(id); ok {
		node, shared = v.File.Node, v.Shared()
		for n := range resolved(&t.snapshotsOf, &t.snapshots, string(id)+sep) {
			if n.Status == SnapshotCreating && n.File.Format == "" {
				return true
			}
		}
	} else if n, ok := t.snapshots.Get(snapshot); ok {
		node, shared = n.File.Node, n.Shared()
	}
	if !shared {
		return node != "" && t.isCopiedOn(node, id, snapshot)
	}
	for n := range values(&t.nodes) { // whoever tends the copy
		if hasShare(n) && t.isCopiedOn(n.ID, id, snapshot) {
			return true
		}
	}
	return false
}

func (t *tables) isCopiedOn(node NodeID, id VolumeID, snapshot SnapshotID) bool {
	for v := range resolved(&t.volumesOn, &t.volumes, string(node)+sep) {
		making := v.Source.Copies() && v.File.SizeGiB == 0 && !v.File.Remove && v.Fault == ""
		if making && v.Source.Volume == id && v.Source.Snapshot == snapshot {
			return true
		}
	}
	return false
}

// endVolume has a volume go: at once when nothing of it is anywhere, else when its node has removed the file. Asked for
// again, the node tries again.
func (s *State) endVolume(v *Volume) {
	if v.File.Node == "" && (v.File.SizeGiB == 0 || !v.Shared()) {
		s.dropVolume(v)
		return
	}
	c := v.Clone()
	if c.File.Node == "" {
		c.File.Node = s.tender()
	}
	c.File.Remove, c.Status, c.Upload, c.Fault = true, VolumeDeleting, nil, ""
	c.Generation++
	s.saveVolume(c)
}

// tender is a node that can do what a shared volume needs done; "" when there is none.
func (s *State) tender() NodeID {
	for n := range values(&s.t.nodes) {
		if hasShare(n) && n.Host.Ready {
			return n.ID
		}
	}
	return ""
}

// removeVolumesFrom takes a node that is removed from what is known of volumes and snapshots. What was only there is lost.
func (s *State) removeVolumesFrom(n *Node) {
	for _, v := range collect(resolved(&s.t.volumesOn, &s.t.volumes, string(n.ID)+sep)) {
		c := v.Clone()
		switch {
		case v.Shared():
			if c.File.Node = s.tender(); c.File.Node == n.ID {
				c.File.Node = ""
			}
		case v.File.Remove:
			s.dropVolume(v)
			continue
		default:
			c.File, c.Upload = VolumeFile{}, nil
			c.Status, c.Fault = VolumeError, "The node "+n.Name+", which had the volume, was removed from the cluster."
		}
		c.Generation++
		s.saveVolume(c)
	}
	for _, old := range collect(resolved(&s.t.snapshotsOn, &s.t.snapshots, string(n.ID)+sep)) {
		c := old.Clone()
		switch {
		case old.Shared():
			if c.File.Node = s.tender(); c.File.Node == n.ID {
				c.File.Node = ""
			}
		case old.File.Remove:
			s.dropSnapshot(old)
			continue
		default:
			c.File.Node, c.File.Format = "", ""
			c.Status, c.Fault = SnapshotError, "The node "+n.Name+", which had the snapshot, was removed from the cluster."
		}
		c.Generation++
		s.saveSnapshot(c)
		s.settleImage(c.For)
	}
}

// countVolumesOn counts what would be lost with a node.
func (s *State) countVolumesOn(id NodeID) (n int) {
	for v := range resolved(&s.t.volumesOn, &s.t.volumes, string(id)+sep) {
		if !v.Shared() && !v.File.Remove {
			n++
		}
	}
	for snap := range resolved(&s.t.snapshotsOn, &s.t.snapshots, string(id)+sep) {
		if !snap.Shared() && !snap.File.Remove {
			n++
		}
	}
	return n
}

// collect takes a sequence down before the table that it reads is changed.
func collect[T any](seq func(func(T) bool)) []T { return slices.Collect(seq) }
