package cluster

import "iter"

// Volume finds a volume by ID.
func (v *View) Volume(id VolumeID) (*Volume, bool) { return v.t.volumes.Get(id) }

// Volumes yields every volume, by ID.
func (v *View) Volumes() iter.Seq[*Volume] { return values(&v.t.volumes) }

// VolumesIn yields the volumes of a project, newest first; those of all projects when it is empty.
func (v *View) VolumesIn(p ProjectID) iter.Seq[*Volume] {
	return resolved(&v.t.volumesIn, &v.t.volumes, string(p)+sep)
}

// VolumesOn yields the volumes whose file a node has, makes or tends, by ID.
func (v *View) VolumesOn(id NodeID) iter.Seq[*Volume] {
	return resolved(&v.t.volumesOn, &v.t.volumes, string(id)+sep)
}

// VolumesOf yields the volumes of an instance with their attachments, in the order in which they were attached.
func (v *View) VolumesOf(id InstanceID) iter.Seq2[*Volume, *Attachment] {
	return func(yield func(*Volume, *Attachment) bool) {
		for vol := range resolved(&v.t.volumesOf, &v.t.volumes, string(id)+sep) {
			if a, ok := vol.AttachmentTo(id); ok && !yield(vol, a) {
				return
			}
		}
	}
}

// VolumesMoving yields the volumes that some instance is getting or losing; one with several such instances comes several times.
func (v *View) VolumesMoving() iter.Seq[*Volume] { return resolved(&v.t.moving, &v.t.volumes, "") }

// Snapshot finds a volume snapshot by ID.
func (v *View) Snapshot(id SnapshotID) (*VolumeSnapshot, bool) { return v.t.snapshots.Get(id) }

// SnapshotsIn yields the volume snapshots of a project, newest first; those of all projects when it is empty.
func (v *View) SnapshotsIn(p ProjectID) iter.Seq[*VolumeSnapshot] {
	return resolved(&v.t.snapshotsIn, &v.t.snapshots, string(p)+sep)
}

// SnapshotsOn yields the snapshots whose file a node has, makes or tends, by ID.
func (v *View) SnapshotsOn(id NodeID) iter.Seq[*VolumeSnapshot] {
	return resolved(&v.t.snapshotsOn, &v.t.snapshots, string(id)+sep)
}

// SnapshotsOf yields the snapshots of a volume, by ID.
func (v *View) SnapshotsOf(id VolumeID) iter.Seq[*VolumeSnapshot] {
	return resolved(&v.t.snapshotsOf, &v.t.snapshots, string(id)+sep)
}

// VolumeCopied tells whether the file of a volume is being copied, and so must neither change nor go.
func (v *View) VolumeCopied(id VolumeID) bool { return v.t.isCopied(id, "") }

// SnapshotCopied tells the same of a snapshot's.
func (v *View) SnapshotCopied(id SnapshotID) bool { return v.t.isCopied("", id) }

// VolumeNeeds is what the volumes of an instance ask of its node.
type VolumeNeeds struct {
	Node    NodeID // only there: it has the file of a volume that is not shared; "": any node will do
	Shared  bool   // the node must have the directory for shared volumes
	DiskGiB int64  // room for the volumes whose file will be made there
	Split   bool   // no node will do: the volumes are on several
}

func (n *VolumeNeeds) add(v *Volume) {
	switch {
	case v.Shared():
		n.Shared = true
	case v.File.Node == "":
		n.DiskGiB += v.SizeGiB
	case n.Node == "" || n.Node == v.File.Node:
		n.Node = v.File.Node
	default:
		n.Split = true
	}
}

// VolumeNeeds tells what the volumes that an instance has ask of its node.
func (v *View) VolumeNeeds(id InstanceID) VolumeNeeds { return v.t.volumeNeeds(id) }

// NewVolumeNeeds tells what the volumes of a new instance ask of its node.
func (v *View) NewVolumeNeeds(volumes []NewVolume) VolumeNeeds {
	var n VolumeNeeds
	for i := range volumes {
		nv := &volumes[i]
		if nv.New == nil {
			if vol, ok := v.t.volumes.Get(nv.Existing); ok {
				n.add(vol)
			}
			continue
		}
		made := *nv.New
		if t, ok := v.t.volumeType(made.Type); ok {
			made.Traits.Shared = t.Shared()
		}
		if v.t.resolveSource(&made) == nil {
			n.add(&made)
		}
	}
	return n
}

func (t *tables) volumeNeeds(id InstanceID) VolumeNeeds {
	var n VolumeNeeds
	for vol := range resolved(&t.volumesOf, &t.volumes, string(id)+sep) {
		n.add(vol)
	}
	return n
}
