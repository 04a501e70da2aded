package cluster

import "testing"

// sharing makes a town of two nodes that share a directory.
func sharing(t *testing.T) *town {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	for _, id := range []NodeID{first, "n2"} {
		n, _ := w.s.View().Node(id)
		c := n.Clone()
		c.Host.Traits = []string{TraitSharedVolumes}
		w.do(&UpdateNode{Node: *c})
	}
	return w
}

// shared makes a shared volume whose file is there, tended by the node of an instance that had it once.
func (w *town) shared(id, on string) {
	o := someVolume(id)
	o.Volume.Type = "shared"
	w.do(o)
	w.do(attach(id, on))
	w.made(id)
	w.guestSays(id, on, func(r *AttachmentReport) { r.Attached = true })
	w.do(&DetachVolume{Volume: VolumeID(id), Instance: InstanceID(on)})
	w.guestSays(id, on, func(r *AttachmentReport) { r.Detached = true })
	w.status(id, VolumeAvailable)
}

// The node that tends shared volumes falls silent while one grows, one is to go, and a snapshot is being made. Another node takes all that
// over. What the old one says from then on, it says too late.
func TestTendVolumes_FromASilentNode(t *testing.T) {
	w := sharing(t)
	w.active("a")
	for _, id := range []string{"grows", "goes", "kept", "idle"} {
		w.shared(id, "a")
	}
	w.do(&ExtendVolume{ID: "grows", SizeGiB: 2})
	w.do(&DeleteVolume{ID: "goes"})
	w.do(&CreateVolumeSnapshot{Snapshot: VolumeSnapshot{ID: "s", Volume: "kept", Project: home, User: root}})
	before := w.volume("grows")
	all := w.s.View().Stranded(first, []NodeID{first, "n2"})
	if len(all) != 1 || all[0].To != "n2" || len(all[0].Volumes) != 2 || len(all[0].Snapshots) != 1 {
		t.Fatalf("stranded is %+v", all)
	}
	if r := w.do(all[0]); len(r.IDs) != 3 {
		t.Errorf("it took over %v", r.IDs)
	}
	if v := w.volume("grows"); v.File.Node != "n2" || v.Generation <= before.Generation {
		t.Errorf("got %+v", v)
	}
	w.do(&ReportVolumes{Node: first, Volumes: []VolumeReport{{ID: "grows", Generation: before.Generation, SizeGiB: 2}, {ID: "goes", Gone: true}},
		Snapshots: []SnapshotReport{{ID: "s", Generation: 1, Format: "qcow2"}}})
	w.status("grows", VolumeExtending)
	w.status("goes", VolumeDeleting)
	if n, _ := w.s.View().Snapshot("s"); n.Status != SnapshotCreating || n.File.Node != "n2" {
		t.Errorf("got %+v", n)
	}
	if r := w.do(all[0]); len(r.IDs) != 0 {
		t.Errorf("a second time it took over %v", r.IDs)
	}
	w.do(&ReportVolumes{Node: "n2", Volumes: []VolumeReport{{ID: "goes", Gone: true}}})
	if _, there := w.s.View().Volume("goes"); there {
		t.Error("the new tender's word does not count")
	}
	if v := w.volume("idle"); v.File.Node != first {
		t.Errorf("one that nothing is to be done to went to %s", v.File.Node)
	}
}

// A guest on the silent node may have the volume open: nobody else touches its file.
func TestTendVolumes_NotWhileAGuestMayHaveIt(t *testing.T) {
	w := sharing(t)
	w.active("a")
	w.shared("v", "a")
	w.do(attach("v", "a"))
	w.guestSays("v", "a", func(r *AttachmentReport) { r.Attached = true })
	w.do(&CreateVolumeSnapshot{Force: true, Snapshot: VolumeSnapshot{ID: "s", Volume: "v", Project: home, User: root}})
	copied := someVolume("copy")
	copied.Volume.Type, copied.Volume.Source = "shared", &VolumeSource{Volume: "v"}
	w.do(copied)
	w.do(&ExtendVolume{ID: "v", SizeGiB: 2, InUse: true})
	if all := w.s.View().Stranded(first, []NodeID{"n2"}); len(all) != 0 {
		t.Errorf("stranded is %+v", all[0])
	}
	if r := w.do(&TendVolumes{From: first, To: "n2", Volumes: []VolumeID{"v", "copy"}, Snapshots: []SnapshotID{"s"}}); len(r.IDs) != 0 {
		t.Errorf("it took over %v", r.IDs)
	}
}

func TestTendVolumes_BadInputIsRefused(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.refuse(&TendVolumes{From: first, To: "none", Volumes: []VolumeID{"v"}}, NotFound, "Node none")
	w.refuse(&TendVolumes{From: first, To: first, Volumes: []VolumeID{"v"}}, Invalid, "from itself")
	w.refuse(&TendVolumes{From: first, To: "n2", Volumes: []VolumeID{"v"}}, Conflict, "does not have the directory")
	shares := sharing(t)
	shares.refuse(&TendVolumes{From: first, To: "n2"}, Invalid, "number of volumes")
	shares.refuse(&TendVolumes{From: first, To: "n2", Volumes: make([]VolumeID, maxTended+1)}, Invalid, "number of volumes")
	shares.do(someVolume("local"))
	shares.do(&TendVolumes{From: first, To: "n2", Volumes: []VolumeID{"none", "local"}, Snapshots: []SnapshotID{"none"}})
}
