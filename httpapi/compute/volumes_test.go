package compute_test

import (
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// volume makes a volume in a project.
func (l *lab) volume(project, kind string, source *cluster.VolumeSource) cluster.VolumeID {
	l.t.Helper()
	id := cluster.VolumeID(rest.NewUUID())
	l.Must(&cluster.CreateVolume{Volume: cluster.Volume{ID: id, Project: l.Projs[project], User: l.Users["demo"], Name: "v", SizeGiB: 9, Type: kind, Source: source}})
	return id
}

// settle says as the node that files are made, and that guests have what they shall have.
func (l *lab) settle() {
	l.t.Helper()
	view := l.Local()
	r := &cluster.ReportVolumes{Node: l.Node.ID}
	for v := range view.VolumesOn(l.Node.ID) {
		r.Volumes = append(r.Volumes, cluster.VolumeReport{ID: v.ID, Generation: v.Generation, SizeGiB: v.SizeGiB})
	}
	for v := range view.VolumesMoving() {
		for _, a := range v.Attachments {
			if in, ok := view.Instance(a.Instance); ok {
				r.Attachments = append(r.Attachments, cluster.AttachmentReport{Volume: v.ID, Instance: in.ID, Epoch: in.Epoch,
					Attached: a.State == cluster.Attaching, Detached: a.State == cluster.Detaching})
			}
		}
	}
	l.Must(r)
}

// A volume is attached to a running server and detached from it, in the shapes of Nova at each microversion.
func TestVolumes_AreAttachedAndDetached(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", nil)
	v := l.volume("demo", "local", nil)
	path := "/servers/" + string(id) + "/os-volume_attachments"
	made := l.do("demo", "2.89", "POST", path, object{"volumeAttachment": object{"volumeId": v, "device": nil}}).want(200)
	if got := made.text("volumeAttachment", "device"); got != "/dev/vdb" {
		t.Errorf("device %s", got)
	}
	l.settle()
	if got := l.do("demo", "2.1", "GET", path, nil).want(200).text("volumeAttachments", 0, "id"); got != string(v) {
		t.Errorf("id %s", got)
	}
	if got := l.do("demo", "2.92", "GET", path+"/"+string(v), nil).want(200).text("volumeAttachment", "attachment_id"); got == "" {
		t.Error("no attachment_id")
	}
	if n := l.do("demo", "2.92", "GET", "/servers/"+string(id), nil).want(200).count("server", "os-extended-volumes:volumes_attached"); n != 1 {
		t.Errorf("%d volumes", n)
	}
	l.do("demo", "2.85", "PUT", path+"/"+string(v), object{"volumeAttachment": object{"volumeId": v, "delete_on_termination": true}}).want(202)
	if rec, _ := l.Local().Volume(v); !rec.Attachments[0].DeleteOnTermination {
		t.Error("it does not go with its server")
	}
	l.do("demo", "2.89", "POST", path, object{"volumeAttachment": object{"volumeId": v}}).fails(400, "already attached")
	l.do("demo", "2.89", "DELETE", path+"/"+string(v), nil).want(202)
	if n := l.do("demo", "2.1", "GET", path, nil).want(200).count("volumeAttachments"); n != 1 {
		t.Errorf("%d volumes while the guest has not let go of it", n)
	}
	l.settle()
	if n := l.do("demo", "2.1", "GET", path, nil).want(200).count("volumeAttachments"); n != 0 {
		t.Errorf("%d volumes after that", n)
	}
	l.do("demo", "2.89", "DELETE", path+"/"+string(v), nil).fails(404, "is not attached to volume")
	if rec, _ := l.Local().Volume(v); rec.Status != cluster.VolumeAvailable {
		t.Errorf("status %s", rec.Status)
	}
}

// Another volume is not put in the place of one that a server has. The reasons that Nova has, too, come first.
func TestVolumes_AreNotSwapped(t *testing.T) {
	l := newLab(t)
	id, second := l.server("demo", "s", nil), l.server("demo", "t", nil)
	v, other := l.volume("demo", "local-multiattach", nil), l.volume("demo", "local", nil)
	swap := func(token string, with any) *answer {
		return l.do(token, "", "PUT", "/servers/"+string(id)+"/os-volume_attachments/"+string(v), object{"volumeAttachment": object{"volumeId": with}})
	}
	l.do("demo", "2.60", "POST", "/servers/"+string(id)+"/os-volume_attachments", object{"volumeAttachment": object{"volumeId": v}}).want(200)
	swap("demo", other).fails(403, "os-volumes-attachments:swap")
	swap("admin", nobody).fails(400, "could not be found")
	swap("admin", other).fails(501, "not supported")
	l.do("demo", "2.60", "POST", "/servers/"+string(second)+"/os-volume_attachments", object{"volumeAttachment": object{"volumeId": v}}).want(200)
	swap("admin", other).fails(400, "more than one read/write attachment")
	l.act("admin", "", id, object{"suspend": nil}).want(202)
	l.obey(id)
	swap("admin", other).fails(409, "Cannot 'swap_volume' instance "+string(id)+" while it is in vm_state suspended")
}

// What cannot be attached is refused, in Nova's words.
func TestVolumes_BadAttachmentsAreRefused(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", nil)
	path := "/servers/" + string(id) + "/os-volume_attachments"
	theirs := l.volume("other", "local", nil)
	many := l.volume("demo", "local-multiattach", nil)
	for _, c := range []struct {
		version string
		body    object
		status  int
		says    string
	}{
		{"", object{"volumeId": nobody}, 404, "could not be found"},
		{"", object{"volumeId": theirs}, 404, "could not be found"},
		{"", object{"volumeId": "x"}, 400, "volumeId"},
		{"", object{}, 400, "'volumeId' is a required property"},
		{"", object{"volumeId": nobody, "tag": "x"}, 400, "('tag' was unexpected)"},
		{"2.59", object{"volumeId": many}, 400, "2.60"},
	} {
		l.do("demo", c.version, "POST", path, object{"volumeAttachment": c.body}).fails(c.status, c.says)
	}
	l.do("other", "", "GET", path, nil).fails(404, "could not be found")
	l.act("demo", "", id, object{"lock": nil}).want(202)
	l.do("other", "", "POST", path, object{"volumeAttachment": object{"volumeId": many}}).fails(404, "could not be found")
}

// A server is made with a new volume to boot from and an existing one beside it. It has no image, and takes no room for a root disk.
func TestCreate_FromVolumes(t *testing.T) {
	l := newLab(t)
	v := l.volume("demo", "local", nil)
	id := l.server("demo", "s", object{"imageRef": "", "block_device_mapping_v2": []object{
		{"uuid": v, "source_type": "volume", "destination_type": "volume"},
		{"uuid": l.image, "boot_index": "0", "source_type": "image", "destination_type": "volume", "volume_size": 20, "delete_on_termination": true},
	}})
	in, _ := l.Local().Instance(id)
	if in.Spec.Image != "" || !in.Spec.Boot.Volume || in.Resources().DiskGiB != 0 {
		t.Errorf("got %+v", in.Spec)
	}
	var order []bool
	for _, a := range l.Local().VolumesOf(id) {
		order = append(order, a.Boot)
	}
	if len(order) != 2 || !order[0] || order[1] {
		t.Errorf("boots from %v", order)
	}
	if got := l.do("demo", "", "GET", "/servers/"+string(id), nil).want(200).text("server", "image"); got != "" {
		t.Errorf("image %q", got)
	}
	for says, devices := range map[string][]object{
		"non-zero size":           {{"uuid": l.image, "boot_index": 0, "source_type": "image", "destination_type": "volume"}},
		"combination":             {{"uuid": l.image, "boot_index": 0, "source_type": "image"}, {"boot_index": 0, "source_type": "blank", "destination_type": "volume"}},
		"failed to get volume":    {{"uuid": nobody, "boot_index": 0, "source_type": "volume", "destination_type": "volume"}},
		"failed to get snapshot":  {{"uuid": nobody, "boot_index": 0, "source_type": "snapshot", "destination_type": "volume"}},
		"is not bootable":         {{"uuid": v, "boot_index": 0, "source_type": "volume", "destination_type": "volume"}},
		"Missing imageRef":        {{"source_type": "blank", "destination_type": "volume", "volume_size": 1}},
		"(source: 'blank', dest:": {{"source_type": "blank", "destination_type": "volume"}},
	} {
		l.do("demo", "2.92", "POST", "/servers", object{"server": object{"name": "x", "flavorRef": nano, "networks": "none",
			"block_device_mapping_v2": devices}}).fails(400, says)
	}
}

// A server boots from a volume and is saved. The image names a snapshot of the volume; a server is made of it as of any image, and boots
// from a new volume that is a copy of the snapshot. Nova says in the reply what there is: a location, and later the image's ID.
func TestCreateImage_OfVolumesMakesServersAgain(t *testing.T) {
	l := newLab(t)
	v := l.volume("demo", "local", nil)
	yes := true
	l.Must(&cluster.UpdateVolume{ID: v, Bootable: &yes})
	id := string(l.create("demo", "s", object{"imageRef": "", "block_device_mapping_v2": []object{
		{"uuid": v, "source_type": "volume", "destination_type": "volume", "boot_index": 0}}}))
	l.settle()
	l.boot(cluster.InstanceID(id))
	l.settle()
	image := l.do("demo", "2.90", "POST", "/servers/"+id+"/action", object{"createImage": object{"name": "saved"}}).want(202).text("image_id")
	view := l.Local()
	img, ok := view.Image(cluster.ImageID(image))
	if !ok || img.Status != cluster.ImageSaving || img.Properties["base_image_ref"] != "" || img.Properties["bdm_v2"] != "True" {
		t.Fatalf("got %+v", img)
	}
	r := &cluster.ReportVolumes{Node: l.Node.ID}
	for n := range view.SnapshotsOf(v) {
		r.Snapshots = append(r.Snapshots, cluster.SnapshotReport{ID: n.ID, Generation: n.Generation, Format: "qcow2"})
	}
	l.Must(r)
	l.do("demo", "2.90", "POST", "/servers/"+id+"/action", object{"rebuild": object{"imageRef": image}}).fails(400, "")
	again := l.create("demo", "t", object{"imageRef": image})
	found := 0
	for vol, a := range l.Local().VolumesOf(again) {
		found++
		if vol.Source == nil || vol.Source.Snapshot == "" || !a.Boot || vol.SizeGiB != 9 {
			t.Errorf("volume %+v, attachment %+v", vol, a)
		}
	}
	if found != 1 {
		t.Errorf("%d volumes", found)
	}
}
