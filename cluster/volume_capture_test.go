package cluster

import (
	"encoding/json"
	"strings"
	"testing"
)

// bootedFrom makes a running instance that boots from a volume "root" and has another one, "data".
func (w *town) bootedFrom(id string) {
	w.t.Helper()
	o := create(id, first)
	o.Spec.Boot.Volume, o.Spec.Image = true, ""
	fresh := func(v string, boot bool) NewVolume {
		return NewVolume{New: &Volume{ID: VolumeID(v), SizeGiB: 1, Type: DefaultVolumeType}, Attachment: Attachment{ID: AttachmentID("a-" + v), Boot: boot}}
	}
	o.Items[0].Volumes = []NewVolume{fresh("root", true), fresh("data", false)}
	w.do(o)
	for _, v := range []string{"root", "data"} {
		w.made(v)
		w.guestSays(v, id, func(r *AttachmentReport) { r.Attached = true })
	}
	w.reports(id, func(r *InstanceReport) { r.Power = PowerRunning })
}

func captureVolumes(id, image string, what OperationKind) *CaptureVolumes {
	return &CaptureVolumes{ID: InstanceID(id), By: By{Project: home, User: root}, What: what,
		Image:     Image{ID: ImageID(image), Name: image, Visibility: Private, Properties: map[string]string{propInstance: id, propImageType: string(what), propBackupType: "daily"}},
		Snapshots: []NamedSnapshot{{"data", SnapshotID(image + "-data")}, {"root", SnapshotID(image + "-root")}}}
}

// copied says as its node that a snapshot is there, or why it is not.
func (w *town) copied(id, fault string) {
	w.t.Helper()
	n, ok := w.s.View().Snapshot(SnapshotID(id))
	if !ok {
		w.t.Fatalf("snapshot %s is not there", id)
	}
	r := SnapshotReport{ID: n.ID, Generation: n.Generation, Error: fault}
	if fault == "" {
		r.Format = "qcow2"
	}
	w.do(&ReportVolumes{Node: n.File.Node, Snapshots: []SnapshotReport{r}})
}

// A server that boots from a volume is saved. The image names a snapshot of each volume, the one to boot from first, and is active
// only when the last of them is there.
func TestCaptureVolumes_TheImageIsActiveWithItsLastSnapshot(t *testing.T) {
	w := newTown(t)
	w.bootedFrom("a")
	w.do(captureVolumes("a", "i", OpSnapshot))
	w.copied("i-data", "")
	if img, _ := w.s.View().Image("i"); img.Status != ImageSaving {
		t.Fatalf("the image is %s", img.Status)
	}
	w.copied("i-root", "")
	img, _ := w.s.View().Image("i")
	devices, ok := img.Mapping()
	if img.Status != ImageActive || !ok || len(devices) != 2 || devices[0].Snapshot != "i-root" || devices[1].Snapshot != "i-data" {
		t.Fatalf("got %+v", img)
	}
	if img.Properties[propRootDevice] != "/dev/vda" || img.Properties[propMappingV2] != "True" {
		t.Errorf("properties %v", img.Properties)
	}
	if got := w.actions("a"); !strings.Contains(got, "createImage: compute_snapshot_instance=Success") {
		t.Errorf("actions:\n%s", got)
	}
}

// One of the snapshots cannot be made. The image goes, and what was made for it.
func TestCaptureVolumes_FailsWhole(t *testing.T) {
	w := newTown(t)
	w.bootedFrom("a")
	w.do(captureVolumes("a", "i", OpSnapshot))
	w.copied("i-data", "")
	w.copied("i-root", "the disk is full")
	if _, ok := w.s.View().Image("i"); ok {
		t.Error("the image is there")
	}
	for _, id := range []SnapshotID{"i-data", "i-root"} {
		if n, ok := w.s.View().Snapshot(id); ok && !n.File.Remove {
			t.Errorf("snapshot %s stays", id)
		}
	}
}

// What cannot be captured as a whole is not captured at all.
func TestCaptureVolumes_AllOrNothing(t *testing.T) {
	w := newTown(t)
	w.active("plain")
	w.bootedFrom("a")
	w.refuse(captureVolumes("plain", "i", OpSnapshot), Invalid, "does not boot from a volume")
	w.refuse(captureVolumes("a", "i", OpShelve), Invalid, "no capture of volumes")
	few := captureVolumes("a", "i", OpSnapshot)
	few.Snapshots = few.Snapshots[:1]
	w.refuse(few, Stale, "other volumes")
	w.do(&PutQuota{Quota: Quota{Project: home, Limits: map[QuotaName]int64{QuotaSnapshots: 1}}})
	w.refuse(captureVolumes("a", "i", OpSnapshot), OverQuota, "SnapshotLimitExceeded")
	for range w.s.View().SnapshotsIn(home) {
		t.Error("a snapshot was made")
	}
	if u := w.s.View().Usage(home); u.Snapshots != 0 || u.GiB != 2 {
		t.Errorf("usage %+v", u)
	}
}

// Backups are made of which two are kept. The oldest one goes, with its snapshots, when the third is whole, and not before.
func TestCaptureVolumes_BackupsRotateWithTheirSnapshots(t *testing.T) {
	w := newTown(t)
	w.bootedFrom("a")
	for _, image := range []string{"b1", "b2", "b3"} {
		o := captureVolumes("a", image, OpBackup)
		o.Backup, o.Rotation = "daily", 2
		o.Image.Properties[propImageType] = "backup"
		w.do(o)
		if _, ok := w.s.View().Image("b1"); !ok {
			t.Fatal("the oldest one went before the newest was whole")
		}
		w.copied(image+"-data", "")
		w.copied(image+"-root", "")
	}
	if _, ok := w.s.View().Image("b1"); ok {
		t.Error("the oldest backup is there")
	}
	if n, _ := w.s.View().Snapshot("b1-root"); !n.File.Remove {
		t.Errorf("its snapshot stays: %+v", n)
	}
	if n, _ := w.s.View().Snapshot("b2-root"); n.File.Remove {
		t.Error("the snapshot of one that is kept goes")
	}
}

// An image without data is active only while it names what a server could boot from.
func TestPutImage_WithoutDataNeedsAMapping(t *testing.T) {
	w := newTown(t)
	w.bootedFrom("a")
	w.do(captureVolumes("a", "i", OpSnapshot))
	w.copied("i-data", "")
	w.copied("i-root", "")
	img, _ := w.s.View().Image("i")
	for _, text := range []string{"", "[]", "{", `[{"source_type":"snapshot"}]`} {
		c := img.Clone()
		c.Properties[propMapping] = text
		w.refuse(&PutImage{Image: *c}, Invalid, "without data")
	}
	c := img.Clone()
	c.Name = "other"
	w.do(&PutImage{Image: *c})
}

// Clients may write the property that names disks, so anything can be in it.
func FuzzMapping(f *testing.F) {
	for _, s := range []string{"", "[]", "null", `[{"boot_index":0,"source_type":"snapshot","destination_type":"volume","snapshot_id":"s","volume_size":1}]`,
		`[{"boot_index":null,"volume_size":null}]`, `[{"boot_index":"0"}]`, `{"a":1}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		i := Image{Properties: map[string]string{propMapping: text}}
		all, ok := i.Mapping()
		if !ok {
			return
		}
		if len(all) == 0 || len(all) > maxVolumesPerInstance {
			t.Fatalf("%d devices", len(all))
		}
		again, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		i.Properties[propMapping] = string(again)
		if _, ok := i.Mapping(); !ok {
			t.Fatalf("%q is not what %q was", again, text)
		}
	})
}
