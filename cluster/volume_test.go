package cluster

import (
	"strings"
	"testing"
)

// someVolume asks for an empty volume of a GiB.
func someVolume(id string) *CreateVolume {
	return &CreateVolume{Volume: Volume{ID: VolumeID(id), Project: home, User: root, Name: id, SizeGiB: 1, Type: DefaultVolumeType}}
}

func (w *town) volume(id string) *Volume {
	w.t.Helper()
	v, ok := w.s.View().Volume(VolumeID(id))
	if !ok {
		w.t.Fatalf("volume %s is not there", id)
	}
	return v
}

func (w *town) status(id string, want VolumeStatus) *Volume {
	w.t.Helper()
	v := w.volume(id)
	if v.Status != want {
		w.t.Fatalf("volume %s is %s (%s), want %s", id, v.Status, v.Fault, want)
	}
	return v
}

// made says as its node that a volume's file is there.
func (w *town) made(id string) {
	w.t.Helper()
	v := w.volume(id)
	w.do(&ReportVolumes{Node: v.File.Node, Volumes: []VolumeReport{{ID: v.ID, Generation: v.Generation, SizeGiB: v.SizeGiB}}})
}

func attach(volume, instance string) *AttachVolume {
	return &AttachVolume{Volume: VolumeID(volume), Attachment: Attachment{ID: AttachmentID("a-" + volume + instance), Instance: InstanceID(instance)}}
}

// guestSays reports an attachment as the instance's node.
func (w *town) guestSays(volume, instance string, change func(*AttachmentReport)) {
	w.t.Helper()
	in := w.instance(instance)
	r := AttachmentReport{Volume: VolumeID(volume), Instance: in.ID, Epoch: in.Epoch}
	change(&r)
	w.do(&ReportVolumes{Node: in.Node, Attachments: []AttachmentReport{r}})
}

// A volume is made, given to a running instance, taken back and deleted. Its file comes to be on the instance's node, and its record
// stays until that node has removed it.
func TestVolume_LivesFromCreateToDelete(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(someVolume("v"))
	if v := w.status("v", VolumeAvailable); v.File.Node != "" {
		t.Fatalf("an empty volume has a file on %s", v.File.Node)
	}
	before := w.instance("a").Generation
	w.do(attach("v", "a"))
	v := w.status("v", VolumeAttaching)
	if v.File.Node != first || v.Attachments[0].Device != "/dev/vdb" {
		t.Fatalf("got %+v", v)
	}
	if w.instance("a").Generation == before {
		t.Error("the instance's node is not told")
	}
	w.refuse(attach("v", "a"), Invalid, "already attached")
	w.refuse(&DeleteVolume{ID: "v"}, Invalid, "must be available")
	w.made("v")
	w.guestSays("v", "a", func(r *AttachmentReport) { r.Attached = true })
	w.status("v", VolumeInUse)
	if got := w.s.View().Allocated(first).DiskGiB; got != 5+1 {
		t.Errorf("%d GiB are allocated", got)
	}
	w.do(&DetachVolume{Volume: "v", Instance: "a"})
	w.status("v", VolumeDetaching)
	w.guestSays("v", "a", func(r *AttachmentReport) { r.Detached = true })
	w.status("v", VolumeAvailable)
	if got := w.actions("a"); !strings.Contains(got, "attach_volume: compute_attach_volume=Success") ||
		!strings.Contains(got, "detach_volume: compute_detach_volume=Success") {
		t.Errorf("actions:\n%s", got)
	}
	w.do(&DeleteVolume{ID: "v"})
	w.status("v", VolumeDeleting)
	w.do(&ReportVolumes{Node: first, Volumes: []VolumeReport{{ID: "v", Gone: true}}})
	if _, ok := w.s.View().Volume("v"); ok {
		t.Error("the volume is still there")
	}
	if u := w.s.View().Usage(home); u.Volumes != 0 || u.GiB != 0 {
		t.Errorf("usage %+v", u)
	}
}

// Two instances want the same volume. The second one is refused, unless the volume is for several.
func TestAttachVolume_OneInstanceOnlyUnlessForSeveral(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.active("b")
	w.do(someVolume("v"))
	w.do(attach("v", "a"))
	w.refuse(attach("v", "b"), Invalid, "must be 'available'")
	many := someVolume("m")
	many.Volume.Type = "local-multiattach"
	w.do(many)
	w.do(attach("m", "a"))
	w.do(attach("m", "b"))
	if n := len(w.volume("m").Attachments); n != 2 {
		t.Errorf("%d attachments", n)
	}
}

// A local volume with a file on one node cannot be given to an instance on another one.
func TestAttachVolume_LocalOnesStayOnTheirNode(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.active("a")
	w.do(create("b", "n2"))
	w.do(someVolume("v"))
	w.do(attach("v", "a"))
	w.made("v")
	w.do(&DetachVolume{Volume: "v", Instance: "a"})
	w.guestSays("v", "a", func(r *AttachmentReport) { r.Detached = true })
	w.refuse(attach("v", "b"), Conflict, "local volume")
}

// An instance with two disks is made; the leader's node has no room, so it waits and is placed later. Deleting it takes the volume
// that shall go with it along and keeps the other one.
func TestCreateInstances_GivesVolumesAllOrNothing(t *testing.T) {
	w := newTown(t)
	w.do(someVolume("keep"))
	o := create("a", "")
	o.Spec.Image, o.Spec.Boot.Volume = "", true
	boot := someVolume("boot").Volume
	boot.Source = &VolumeSource{Image: disk}
	o.Items[0].Volumes = []NewVolume{
		{New: &boot, Attachment: Attachment{ID: "a1", Boot: true, DeleteOnTermination: true}},
		{Existing: "keep", Attachment: Attachment{ID: "a2"}},
	}
	bad := *o
	bad.Items = []NewInstance{o.Items[0]}
	bad.Items[0].Volumes = append(bad.Items[0].Volumes[:2:2], NewVolume{Existing: "none", Attachment: Attachment{ID: "a3"}})
	w.refuse(&bad, Invalid, "failed to get volume none")
	w.do(o)
	in := w.instance("a")
	w.do(&PlaceInstance{ID: "a", Generation: in.Generation, Epoch: in.Epoch, Node: first})
	var order []string
	for v, a := range w.s.View().VolumesOf("a") {
		order = append(order, string(v.ID)+" "+a.Device+" "+string(v.File.Node))
	}
	if got := strings.Join(order, ", "); got != "boot /dev/vda n1, keep /dev/vdb n1" {
		t.Errorf("volumes: %s", got)
	}
	w.made("boot")
	w.made("keep")
	w.do(&DeleteInstance{ID: "a"})
	w.do(&ForgetInstance{ID: "a"})
	w.status("keep", VolumeAttaching) // its node may still run the domain
	tomb, _ := w.s.View().Tombstone(first, "a")
	w.do(&ReportInstances{Node: first, Reports: []InstanceReport{{ID: "a", Epoch: tomb.Epoch, Gone: true}}})
	w.status("keep", VolumeAvailable)
	w.status("boot", VolumeDeleting)
}

// A volume grows, is copied, and is refused what it has no room or no quota for.
func TestVolume_GrowsAndIsCopied(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(someVolume("v"))
	w.do(attach("v", "a"))
	w.made("v")
	w.guestSays("v", "a", func(r *AttachmentReport) { r.Attached = true })
	w.refuse(&ExtendVolume{ID: "v", SizeGiB: 2}, Invalid, "must be 'available'")
	w.do(&ExtendVolume{ID: "v", SizeGiB: 2, InUse: true})
	w.status("v", VolumeExtending)
	w.made("v")
	w.status("v", VolumeInUse)
	w.refuse(&ExtendVolume{ID: "v", SizeGiB: 2000, InUse: true}, OverQuota, "gigabytes quota")
	w.refuse(&ExtendVolume{ID: "v", SizeGiB: 999, InUse: true}, NoRoom, "no room")

	snap := &CreateVolumeSnapshot{Snapshot: VolumeSnapshot{ID: "s", Project: home, User: root, Volume: "v"}}
	w.refuse(snap, Invalid, "must be available")
	snap.Force = true
	w.do(snap)
	early := someVolume("c")
	early.Volume.SizeGiB, early.Volume.Source = 2, &VolumeSource{Snapshot: "s"}
	w.refuse(early, Invalid, "'available'")
	n, _ := w.s.View().Snapshot("s")
	w.do(&ReportVolumes{Node: first, Snapshots: []SnapshotReport{{ID: "s", Generation: n.Generation, Format: "qcow2"}}})
	small := someVolume("c")
	small.Volume.Source = &VolumeSource{Snapshot: "s"}
	w.refuse(small, Invalid, "cannot be smaller")
	w.do(early)
	if v := w.status("c", VolumeCreating); v.File.Node != first {
		t.Errorf("the copy is made on %s", v.File.Node)
	}
	w.refuse(&DeleteVolumeSnapshot{ID: "s"}, Invalid, "being copied")
	w.made("c")
	w.do(&DeleteVolumeSnapshot{ID: "s"})
	w.do(&ReportVolumes{Node: first, Snapshots: []SnapshotReport{{ID: "s", Gone: true}}})
	if _, ok := w.s.View().Snapshot("s"); ok {
		t.Error("the snapshot is still there")
	}
}

// A node dies for good and is removed by force. What was only there is lost, and says so; a shared volume is not.
func TestRemoveNode_LosesLocalVolumesOnly(t *testing.T) {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	for _, id := range []NodeID{first, "n2"} {
		n, _ := w.s.View().Node(id)
		c := n.Clone()
		c.Host.Traits = []string{TraitSharedVolumes}
		w.do(&UpdateNode{Node: *c})
	}
	w.do(create("b", "n2"))
	w.do(someVolume("local"))
	shared := someVolume("shared")
	shared.Volume.Type = "shared"
	w.do(shared)
	for _, v := range []string{"local", "shared"} {
		w.do(attach(v, "b"))
		w.made(v)
	}
	w.refuse(&RemoveNode{ID: "n2"}, Conflict, "instances")
	w.do(&RemoveNode{ID: "n2", Force: true})
	if v := w.status("local", VolumeError); v.File != (VolumeFile{}) || v.Fault == "" {
		t.Errorf("got %+v", v)
	}
	if v := w.volume("shared"); v.File.Node != first || v.File.SizeGiB != 1 {
		t.Errorf("got %+v", v.File)
	}
	w.do(&DeleteInstance{ID: "b"})
	w.status("shared", VolumeAvailable)
	w.do(&DeleteVolume{ID: "local"})
	if _, ok := w.s.View().Volume("local"); ok {
		t.Error("nothing is left of it, and its record stays")
	}
}

// Volumes that cannot be are refused, whoever asks.
func TestCreateVolume_BadInputIsRefused(t *testing.T) {
	w := newTown(t)
	for words, change := range map[string]func(*Volume){
		"size must be":  func(v *Volume) { v.SizeGiB = 0 },
		"16384":         func(v *Volume) { v.SizeGiB = 1 << 20 },
		"Volume type":   func(v *Volume) { v.Type = "gold" },
		"passphrase":    func(v *Volume) { v.Type = "local-encrypted" },
		"Image":         func(v *Volume) { v.Source = &VolumeSource{Image: "none"} },
		"Snapshot none": func(v *Volume) { v.Source = &VolumeSource{Snapshot: "none"} },
		"Volume none":   func(v *Volume) { v.Source = &VolumeSource{Volume: "none"} },
		"control":       func(v *Volume) { v.Name = "\x00" },
		"ID":            func(v *Volume) { v.ID = "../x" },
	} {
		o := someVolume("v")
		change(&o.Volume)
		code := Invalid
		if strings.Contains(words, "type") || strings.Contains(words, "none") || words == "Image" {
			code = NotFound
		}
		w.refuse(o, code, words)
	}
	for i := range 10 {
		w.do(someVolume("v" + letter(i)))
	}
	w.refuse(someVolume("x"), OverQuota, "VolumeLimitExceeded")
}

// Somebody wants copies of an encrypted volume that a guest has. What the hypervisor would copy is what the guest sees, which is not
// encrypted, so they have to wait until nothing has the volume.
func TestVolume_EncryptedOnesAreCopiedOnlyWhileNothingHasThem(t *testing.T) {
	w := newTown(t)
	w.active("a")
	secret := someVolume("v")
	secret.Volume.Type, secret.Volume.Secret = "local-encrypted", []byte("secret")
	w.do(secret)
	w.do(attach("v", "a"))
	w.made("v")
	w.guestSays("v", "a", func(r *AttachmentReport) { r.Attached = true })
	clone := someVolume("c")
	clone.Volume.Type, clone.Volume.Secret, clone.Volume.Source = "local-encrypted", []byte("secret"), &VolumeSource{Volume: "v"}
	w.refuse(clone, Invalid, "only while nothing has it attached")
	w.refuse(&CreateVolumeSnapshot{Force: true, Snapshot: VolumeSnapshot{ID: "s", Project: home, User: root, Volume: "v"}}, Invalid, "only while nothing")
	w.do(&DetachVolume{Volume: "v", Instance: "a"})
	w.guestSays("v", "a", func(r *AttachmentReport) { r.Detached = true })
	w.do(clone)
}

// A server that is made with volumes has them from the moment that it is active: whoever sees that may make an image of it at once.
func TestCreateInstances_ActiveMeansThatItHasItsVolumes(t *testing.T) {
	w := newTown(t)
	o := create("a", first)
	o.Spec.Boot.Volume = true
	o.Items[0].Volumes = []NewVolume{{New: &someVolume("v").Volume, Attachment: Attachment{ID: "at", Boot: true}},
		{New: &someVolume("broken").Volume, Attachment: Attachment{ID: "at2"}}}
	w.do(o)
	w.made("v")
	w.status("v", VolumeAttaching)
	w.do(attachOther(w, "late", "a"))
	w.made("late")
	w.reports("a", func(r *InstanceReport) { r.Power = PowerRunning })
	if in := w.instance("a"); in.Status.VM != VMActive {
		t.Fatalf("it is %s", in.Status.VM)
	}
	w.status("v", VolumeInUse)
	w.status("broken", VolumeAttaching)
	w.status("late", VolumeAttaching)
}

// attachOther makes a volume and asks for an instance to have it.
func attachOther(w *town, volume, instance string) *AttachVolume {
	w.do(someVolume(volume))
	return attach(volume, instance)
}
