package cluster

import "pgregory.net/rapid"

// drawVolumeOp makes, gives, takes, copies and removes volumes of a property test.
func drawVolumeOp(t *rapid.T, v *View) Op {
	id := pick(t, "volume", "v1", "v2", "v3", "v4")
	instance := pick(t, "instance", InstanceID("a"), "b", "c", "d")
	snapshot := pick(t, "snapshot", SnapshotID("s1"), "s2")
	switch rapid.IntRange(0, 13).Draw(t, "volume op") {
	case 0, 1:
		return drawNewVolume(t, id)
	case 2:
		return &DeleteVolume{ID: VolumeID(id), Force: rapid.Bool().Draw(t, "force"), Cascade: rapid.Bool().Draw(t, "cascade")}
	case 3:
		return &ExtendVolume{ID: VolumeID(id), SizeGiB: rapid.Int64Range(1, 90).Draw(t, "size"), InUse: rapid.Bool().Draw(t, "in use")}
	case 4, 5:
		return &AttachVolume{Volume: VolumeID(id), Attachment: Attachment{ID: AttachmentID(id + string(instance)), Instance: instance,
			DeleteOnTermination: rapid.Bool().Draw(t, "goes")}}
	case 6:
		return &DetachVolume{Volume: VolumeID(id), Instance: instance}
	case 7:
		return &CreateVolumeSnapshot{Force: rapid.Bool().Draw(t, "force"),
			Snapshot: VolumeSnapshot{ID: snapshot, Volume: VolumeID(id), Project: home, User: root}}
	case 8:
		return &DeleteVolumeSnapshot{ID: snapshot, Force: rapid.Bool().Draw(t, "force")}
	case 9:
		o := &CaptureVolumes{ID: instance, What: pick(t, "what", OpSnapshot, OpBackup), Image: Image{ID: "mapped", Name: "mapped", Visibility: Private}}
		for vol := range v.VolumesOf(instance) {
			o.Snapshots = append(o.Snapshots, NamedSnapshot{Volume: vol.ID, ID: SnapshotID("m-" + string(vol.ID))})
		}
		return o
	case 12:
		return &TendVolumes{From: pick(t, "from", first, "n2"), To: pick(t, "to", first, "n2", "n3"), Volumes: []VolumeID{VolumeID(id), "v1"},
			Snapshots: []SnapshotID{snapshot}}
	}
	if rapid.Bool().Draw(t, "about types") {
		return drawTypeOp(t, v)
	}
	return drawVolumeReport(t, v)
}

func drawNewVolume(t *rapid.T, id string) *CreateVolume {
	o := someVolume(id)
	o.Volume.Type = pick(t, "type", DefaultVolumeType, "local-multiattach", "shared", "t1")
	o.Volume.SizeGiB = rapid.Int64Range(1, 40).Draw(t, "size")
	switch rapid.IntRange(0, 3).Draw(t, "source") {
	case 0:
		o.Volume.Source = &VolumeSource{Volume: pick(t, "original", VolumeID("v1"), "v2")}
	case 1:
		o.Volume.Source = &VolumeSource{Snapshot: pick(t, "original snapshot", SnapshotID("s1"), "s2")}
	case 2:
		o.Volume.Source = &VolumeSource{Image: disk}
	}
	return o
}

// drawVolumeReport says that something became of what is wanted on a node, or that it could not.
func drawVolumeReport(t *rapid.T, v *View) Op {
	node := pick(t, "node", first, NodeID("n2"))
	why := pick(t, "error", "", "", "", "broken")
	r := &ReportVolumes{Node: node}
	for vol := range v.VolumesOn(node) {
		one := VolumeReport{ID: vol.ID, Generation: vol.Generation, Gone: vol.File.Remove || rapid.Bool().Draw(t, "gone"), Error: why}
		if why == "" {
			one.SizeGiB = vol.SizeGiB
		}
		r.Volumes = append(r.Volumes, one)
	}
	for s := range v.SnapshotsOn(node) {
		one := SnapshotReport{ID: s.ID, Generation: s.Generation, Gone: s.File.Remove, Error: why}
		if why == "" {
			one.Format = "raw"
		}
		r.Snapshots = append(r.Snapshots, one)
	}
	for in := range v.InstancesOn(node) {
		for vol, a := range v.VolumesOf(in.ID) {
			r.Attachments = append(r.Attachments, AttachmentReport{Volume: vol.ID, Instance: in.ID, Epoch: in.Epoch,
				Attached: a.State == Attaching && why == "", Detached: a.State == Detaching && why == "", Error: why})
		}
	}
	return r
}

// volumeRoom adds up what volumes and snapshots take on each node, and holds what they promise against a dumb look at all of them.
func volumeRoom(t *rapid.T, after *View, room map[NodeID]Resources) {
	var volumes, gib int64
	for v := range after.Volumes() {
		volumes++
		gib += v.SizeGiB
		if len(v.Attachments) > 1 && !v.Traits.Multiattach {
			t.Fatalf("volume %s has %d attachments", v.ID, len(v.Attachments))
		}
		if v.File.Node != "" && !v.Shared() {
			room[v.File.Node] = room[v.File.Node].Add(Resources{DiskGiB: v.SizeGiB})
		}
	}
	for s := range after.SnapshotsIn("") {
		gib += s.SizeGiB
		if s.File.Node != "" && !s.Shared() {
			room[s.File.Node] = room[s.File.Node].Add(Resources{DiskGiB: s.SizeGiB})
		}
	}
	if u := after.Usage(home); u.Volumes != volumes || u.GiB != gib {
		t.Fatalf("usage is %+v with %d volumes and %d GiB", u, volumes, gib)
	}
}

// drawNewVolumes gives a new instance no disk, an existing volume or a new one.
func drawNewVolumes(t *rapid.T, id string) []NewVolume {
	a := Attachment{ID: AttachmentID("at-" + id), DeleteOnTermination: rapid.Bool().Draw(t, "goes")}
	switch rapid.IntRange(0, 4).Draw(t, "volumes") {
	case 0:
		return []NewVolume{{Existing: pick(t, "existing volume", VolumeID("v1"), "v2"), Attachment: a}}
	case 1:
		return []NewVolume{{New: &drawNewVolume(t, pick(t, "new volume", "v3", "v4")).Volume, Attachment: a}}
	}
	return nil
}

// drawTypeOp makes, changes and removes a volume type, and gives it to a volume.
func drawTypeOp(t *rapid.T, v *View) Op {
	if rapid.Bool().Draw(t, "retype") {
		return &UpdateVolume{ID: pick(t, "volume", VolumeID("v1"), "v2"), Type: pick(t, "type", DefaultVolumeType, "local-multiattach", "shared", "t1")}
	}
	if rapid.IntRange(0, 3).Draw(t, "type goes") == 0 {
		return &DeleteVolumeType{ID: "t1"}
	}
	o := &PutVolumeType{Type: VolumeType{ID: "t1", Name: pick(t, "name", "gold", "silver"), Specs: map[string]string{}}}
	if old, ok := v.VolumeType("t1"); ok {
		o.Type.Revision = old.Revision
	}
	if rapid.Bool().Draw(t, "shared") {
		o.Type.Specs[SpecBackend] = BackendShared
	}
	return o
}
