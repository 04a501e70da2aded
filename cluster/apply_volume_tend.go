package cluster

// maxTended is how many volumes and snapshots change hands in one command.
const maxTended = 256

// TendVolumes gives what is to be done in the shared directory to another node, because the one that tends it does not answer. Each
// change of hands raises the generation of what is handed over, so whatever the old tender says or does later is known to be late.
// Volumes and snapshots that are not From's any more, or whose bytes a guest on some other node than To has, are left as they are. It
// returns the IDs of those that changed hands.
type TendVolumes struct {
	From      NodeID       `json:"from"`
	To        NodeID       `json:"to"` // Conflict when it does not have the directory
	Volumes   []VolumeID   `json:"volumes,omitempty"`
	Snapshots []SnapshotID `json:"snapshots,omitempty"`
}

// Kind of the op.
func (*TendVolumes) Kind() Kind { return KindTendVolumes }

func (s *State) tendVolumes(o *TendVolumes) ([]string, *Error) {
	n, ok := s.t.nodes.Get(o.To)
	switch {
	case !ok:
		return nil, missing("Node", string(o.To))
	case o.From == o.To:
		return nil, Errorf(Invalid, "A node takes nothing over from itself")
	case !hasShare(n):
		return nil, Errorf(Conflict, "The node %s does not have the directory for shared volumes", n.Name)
	}
	if err := checkAmount("The number of volumes and snapshots", int64(len(o.Volumes)+len(o.Snapshots)), 1, maxTended); err != nil {
		return nil, err
	}
	var changed []string
	for _, id := range o.Volumes {
		v, ok := s.t.volumes.Get(id)
		if !ok || !v.Shared() || v.File.Node != o.From || !s.t.mayTend(o.To, s.t.volumeUsers(v)) {
			continue
		}
		c := v.Clone()
		c.File.Node, c.File.Progress = o.To, 0
		c.Generation++
		s.saveVolume(c)
		changed = append(changed, string(id))
	}
	for _, id := range o.Snapshots {
		n, ok := s.t.snapshots.Get(id)
		if !ok || !n.Shared() || n.File.Node != o.From || !s.t.mayTend(o.To, s.t.snapshotUsers(n)) {
			continue
		}
		c := n.Clone()
		c.File.Node = o.To
		c.Generation++
		s.saveSnapshot(c)
		changed = append(changed, string(id))
	}
	return changed, nil
}

// mayTend tells whether a node can do what is to be done to files that guests on those nodes have open.
func (t *tables) mayTend(to NodeID, users []NodeID) bool {
	for _, user := range users {
		if user != to {
			return false
		}
	}
	return true
}

// volumeUsers are the nodes whose guests have a volume, or the one that it is being copied from.
func (t *tables) volumeUsers(v *Volume) []NodeID {
	users := t.attachedOn(v)
	if v.File.SizeGiB == 0 && v.Source.Copies() && v.Source.Snapshot == "" {
		if original, ok := t.volumes.Get(v.Source.Volume); ok {
			users = append(users, t.attachedOn(original)...)
		}
	}
	return users
}

// snapshotUsers are the nodes whose guests have the volume that a snapshot is being made of.
func (t *tables) snapshotUsers(n *VolumeSnapshot) []NodeID {
	if v, ok := t.volumes.Get(n.Volume); ok && n.File.Format == "" {
		return t.attachedOn(v)
	}
	return nil
}

func (t *tables) attachedOn(v *Volume) []NodeID {
	var nodes []NodeID
	for i := range v.Attachments {
		if in, ok := t.instances.Get(v.Attachments[i].Instance); ok && in.Node != "" {
			nodes = append(nodes, in.Node)
		} else if !ok {
			nodes = append(nodes, "") // it is gone, and its node has not said so: nobody knows what has the file open
		}
	}
	return nodes
}

// Stranded lists, by the node that can do it, what is to be done to shared volumes and snapshots that a node tends which does not answer.
// Whichever of helpers has a guest with the volume does it, else the first. It is what TendVolumes would take over.
func (v *View) Stranded(on NodeID, helpers []NodeID) []*TendVolumes {
	var all []*TendVolumes
	of := func(users []NodeID) *TendVolumes {
		for _, to := range helpers {
			if to == on || !v.t.mayTend(to, users) {
				continue
			}
			for _, o := range all {
				if o.To == to && len(o.Volumes)+len(o.Snapshots) < maxTended {
					return o
				}
			}
			all = append(all, &TendVolumes{From: on, To: to})
			return all[len(all)-1]
		}
		return nil
	}
	for vol := range v.VolumesOn(on) {
		if !vol.Shared() || !vol.underWay() {
			continue
		}
		if o := of(v.t.volumeUsers(vol)); o != nil {
			o.Volumes = append(o.Volumes, vol.ID)
		}
	}
	for n := range v.SnapshotsOn(on) {
		if !n.Shared() || n.Status != SnapshotCreating && n.Status != SnapshotDeleting {
			continue
		}
		if o := of(v.t.snapshotUsers(n)); o != nil {
			o.Snapshots = append(o.Snapshots, n.ID)
		}
	}
	return all
}

// underWay tells whether something is to be done to the volume's file.
func (v *Volume) underWay() bool {
	switch v.Status {
	case VolumeCreating, VolumeExtending, VolumeUploading, VolumeDeleting:
		return true
	}
	return v.File.SizeGiB == 0 && len(v.Attachments) > 0
}
