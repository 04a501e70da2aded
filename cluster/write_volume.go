package cluster

import (
	"slices"

	"github.com/tidwall/btree"
)

// volumeTables are the volume service's.
type volumeTables struct {
	volumes     btree.Map[VolumeID, *Volume]
	volumesIn   btree.Map[string, VolumeID] // project, newest first, ID; and the same under "" for all projects
	volumesOn   btree.Map[string, VolumeID] // node, ID; those that no node has under ""
	volumesOf   btree.Map[string, VolumeID] // instance, number of the attachment
	moving      btree.Map[string, VolumeID] // instance, volume: of attachments that are not settled
	snapshots   btree.Map[SnapshotID, *VolumeSnapshot]
	snapshotsIn btree.Map[string, SnapshotID] // as volumesIn
	snapshotsOn btree.Map[string, SnapshotID] // node, ID
	snapshotsOf btree.Map[string, SnapshotID] // volume, ID
	volumeTypes btree.Map[string, *VolumeType]
	typeByName  btree.Map[string, string] // to the ID
}

func (c *volumeTables) share(t *volumeTables) {
	c.volumes = *t.volumes.Copy()
	c.volumesIn = *t.volumesIn.Copy()
	c.volumesOn = *t.volumesOn.Copy()
	c.volumesOf = *t.volumesOf.Copy()
	c.moving = *t.moving.Copy()
	c.snapshots = *t.snapshots.Copy()
	c.snapshotsIn = *t.snapshotsIn.Copy()
	c.snapshotsOn = *t.snapshotsOn.Copy()
	c.snapshotsOf = *t.snapshotsOf.Copy()
	c.volumeTypes = *t.volumeTypes.Copy()
	c.typeByName = *t.typeByName.Copy()
}

// bornKey sorts what a project has newest first, then by ID downwards, as projectKey does instances.
func bornKey(p ProjectID, created Time, id string) string {
	return key(string(p), sortable(^uint64(created)), invert(id))
}

func attachmentKey(a *Attachment) string { return key(string(a.Instance), sortable(uint64(a.Number))) }

// taken is the room that a volume takes on the node of its file. What is shared takes none of a node's own.
func (v *Volume) taken() Resources {
	if v.Shared() || v.File.Node == "" {
		return Resources{}
	}
	return Resources{DiskGiB: max(v.SizeGiB, v.File.SizeGiB)}
}

// putVolume stores a volume. Its ID, project and time of creation never change.
func (s *State) putVolume(v *Volume) {
	old, had := s.t.volumes.Get(v.ID)
	if had {
		s.unindexVolume(old)
	}
	s.t.volumes.Set(v.ID, v)
	s.t.volumesIn.Set(bornKey(v.Project, v.Times.Created, string(v.ID)), v.ID)
	s.t.volumesIn.Set(bornKey("", v.Times.Created, string(v.ID)), v.ID)
	s.t.volumesOn.Set(key(string(v.File.Node), string(v.ID)), v.ID)
	for i := range v.Attachments {
		s.t.volumesOf.Set(attachmentKey(&v.Attachments[i]), v.ID)
		if v.Attachments[i].State != Attached {
			s.t.moving.Set(key(string(v.Attachments[i].Instance), string(v.ID)), v.ID)
		}
	}
	s.use(v.Project, Usage{Volumes: 1, GiB: v.SizeGiB})
	s.allocate(v.File.Node, v.taken())
}

func (s *State) dropVolume(v *Volume) {
	s.t.volumes.Delete(v.ID)
	s.unindexVolume(v)
}

func (s *State) unindexVolume(v *Volume) {
	s.t.volumesIn.Delete(bornKey(v.Project, v.Times.Created, string(v.ID)))
	s.t.volumesIn.Delete(bornKey("", v.Times.Created, string(v.ID)))
	s.t.volumesOn.Delete(key(string(v.File.Node), string(v.ID)))
	for i := range v.Attachments {
		s.t.volumesOf.Delete(attachmentKey(&v.Attachments[i]))
		s.t.moving.Delete(key(string(v.Attachments[i].Instance), string(v.ID)))
	}
	s.use(v.Project, Usage{Volumes: -1, GiB: -v.SizeGiB})
	s.allocate(v.File.Node, Resources{}.Sub(v.taken()))
}

// saveVolume stores a changed volume.
func (s *State) saveVolume(v *Volume) {
	v.Revision, v.Times.Updated = s.t.meta.Index, s.t.meta.Time
	s.putVolume(v)
}

// taken is the room that a snapshot takes on the node of its file.
func (n *VolumeSnapshot) taken() Resources {
	if n.Shared() || n.File.Node == "" {
		return Resources{}
	}
	return Resources{DiskGiB: n.SizeGiB}
}

func (s *State) putSnapshot(n *VolumeSnapshot) {
	if old, had := s.t.snapshots.Get(n.ID); had {
		s.dropSnapshot(old)
	}
	s.t.snapshots.Set(n.ID, n)
	s.t.snapshotsIn.Set(bornKey(n.Project, n.Times.Created, string(n.ID)), n.ID)
	s.t.snapshotsIn.Set(bornKey("", n.Times.Created, string(n.ID)), n.ID)
	s.t.snapshotsOn.Set(key(string(n.File.Node), string(n.ID)), n.ID)
	s.t.snapshotsOf.Set(key(string(n.Volume), string(n.ID)), n.ID)
	s.use(n.Project, Usage{Snapshots: 1, GiB: n.SizeGiB})
	s.allocate(n.File.Node, n.taken())
}

func (s *State) dropSnapshot(n *VolumeSnapshot) {
	s.t.snapshots.Delete(n.ID)
	s.t.snapshotsIn.Delete(bornKey(n.Project, n.Times.Created, string(n.ID)))
	s.t.snapshotsIn.Delete(bornKey("", n.Times.Created, string(n.ID)))
	s.t.snapshotsOn.Delete(key(string(n.File.Node), string(n.ID)))
	s.t.snapshotsOf.Delete(key(string(n.Volume), string(n.ID)))
	s.use(n.Project, Usage{Snapshots: -1, GiB: -n.SizeGiB})
	s.allocate(n.File.Node, Resources{}.Sub(n.taken()))
}

func (s *State) saveSnapshot(n *VolumeSnapshot) {
	n.Revision, n.Times.Updated = s.t.meta.Index, s.t.meta.Time
	s.putSnapshot(n)
}

// volumesOf gives an instance's volumes, in the order in which they were attached. Unlike the view's it may be written through.
func (s *State) volumesOf(id InstanceID) []*Volume {
	return slices.Collect(resolved(&s.t.volumesOf, &s.t.volumes, string(id)+sep))
}
