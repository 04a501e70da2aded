package compute_test

import (
	"encoding/base64"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/compute"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// A rebuild changes what it names, keeps the rest, and shows the server as its microversion has it.
func TestRebuild_ChangesWhatItNames(t *testing.T) {
	l := newLab(t)
	second := l.addImage("second", l.Projs["admin"], cluster.Public)
	id := l.server("admin", "s", object{"metadata": object{"keep": "me"}, "networks": []object{{"uuid": l.network}}})
	ports := l.instance(id).Ports
	// The recorded server had no addresses and no metadata.
	l.golden("381-server-rebuild#8", l.act("admin", "", id, object{"rebuild": object{"imageRef": l.image}}), "/server/addresses", "/server/metadata")
	if got := l.status(id); got != "REBUILD" {
		t.Errorf("status is %s", got)
	}
	l.obey(id)
	l.do("admin", "", "POST", "/os-keypairs", object{"keypair": object{"name": "k"}}).want(200)
	a := l.act("admin", "2.92", id, object{"rebuild": object{"imageRef": second, "name": "new", "adminPass": "secret", "description": "d",
		"key_name": "k", "user_data": base64.StdEncoding.EncodeToString([]byte("hi")), "hostname": "fresh", "accessIPv4": "10.0.0.9",
		"OS-DCF:diskConfig": "AUTO"}})
	// The recorded server had no user data and no key.
	l.golden("382-server-rebuild-mv2.92#8", a, "/server/user_data", "/server/key_name", "/server/addresses", "/server/security_groups",
		"/server/metadata")
	if a.text("server", "adminPass") != "secret" || a.text("server", "user_data") != "aGk=" || a.text("server", "key_name") != "k" ||
		!strings.HasSuffix(a.Header.Get("Location"), "/servers/"+string(id)) {
		t.Errorf("%s", a.body)
	}
	in := l.instance(id)
	p := in.Spec
	if p.Image != second || p.Name != "new" || p.Description != "d" || p.Hostname != "fresh" || p.PublicKey == "" || string(p.UserData) != "hi" ||
		p.Access[0] != "10.0.0.9" || p.DiskConfig != "AUTO" || p.Metadata["keep"] != "me" || len(in.Ports) != 1 || in.Ports[0] != ports[0] {
		t.Errorf("%+v", p)
	}
	l.obey(id)
	a = l.act("admin", "2.57", id, object{"rebuild": object{"imageRef": second, "key_name": nil, "user_data": nil, "metadata": object{}}}).want(202)
	if a.at("server", "user_data") != nil || a.at("server", "key_name") != nil || len(l.instance(id).Spec.Metadata) != 0 {
		t.Errorf("%s", a.body)
	}
}

// An image that the flavor is too small for, or that is not there yet, is no image to rebuild from.
func TestRebuild_FromAnImageThatDoesNotFitIsRefused(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", nil)
	large := l.addImage("large", l.Projs["admin"], cluster.Public)
	img, _ := l.Local().Image(large)
	img = img.Clone()
	img.Format.MinDiskGiB = 50
	l.Must(&cluster.PutImage{Image: *img})
	l.act("demo", "", id, object{"rebuild": object{"imageRef": large}}).fails(400, "Flavor's disk is too small for requested image.")
	private := l.addImage("private", l.Projs["other"], cluster.Private)
	l.act("demo", "", id, object{"rebuild": object{"imageRef": private}}).fails(400, "Cannot find image for rebuild")
	many := object{}
	for i := range 200 {
		many[itoa(i)] = "x"
	}
	l.act("demo", "", id, object{"rebuild": object{"imageRef": l.image, "metadata": many}}).fails(403, "")
}

// Rescue answers with a password and boots from the image that was named; unrescue brings the server back.
func TestRescue_GivesAPassword(t *testing.T) {
	l := newLab(t)
	second := l.addImage("second", l.Projs["admin"], cluster.Public)
	id := l.server("demo", "s", nil)
	l.golden("406-server-rescue", l.act("demo", "", id, object{"rescue": nil}))
	l.obey(id)
	if got := l.status(id); got != "RESCUE" {
		t.Errorf("status is %s", got)
	}
	l.golden("407-server-unrescue", l.act("demo", "", id, object{"unrescue": nil}))
	l.obey(id)
	a := l.act("demo", "", id, object{"rescue": object{"adminPass": "secret", "rescue_image_ref": second}}).want(200)
	in := l.instance(id)
	if a.text("adminPass") != "secret" || in.Mode.Rescue.AdminPass != "secret" || in.Mode.Rescue.Images[0].Image != second || in.Spec.Image != l.image {
		t.Errorf("%s: %+v", a.body, in.Mode.Rescue)
	}
}

// A snapshot is an image with the properties that Nova gives it, announced by a header first and by its ID later.
func TestCreateImage_MakesAnImageLikeNovas(t *testing.T) {
	l := newLab(t)
	img, _ := l.Local().Image(l.image)
	img = img.Clone()
	img.Properties = map[string]string{"hw_disk_bus": "virtio", "owner_specified.openstack.md5": "x", "image_type": "backup", "backup_type": "daily"}
	l.Must(&cluster.PutImage{Image: *img})
	id := l.server("demo", "s", nil)
	a := l.act("demo", "", id, object{"createImage": object{"name": "one", "metadata": object{"a": "b"}}})
	l.golden("743-raw-createImage-mv2.1-location", a)
	prefix := "http://cloud.example:8774/image/v2/images/"
	image, ok := l.Local().Image(cluster.ImageID(strings.TrimPrefix(a.Header.Get("Location"), prefix)))
	if !ok {
		t.Fatalf("location is %s", a.Header.Get("Location"))
	}
	want := map[string]string{"a": "b", "hw_disk_bus": "virtio", "image_type": "snapshot", "instance_uuid": string(id), "base_image_ref": string(l.image),
		"user_id": string(l.Users["demo"]), "owner_id": string(l.Projs["demo"]), "image_location": "snapshot", "image_state": "available"}
	for k, v := range want {
		if image.Properties[k] != v {
			t.Errorf("%s is %q instead of %q", k, image.Properties[k], v)
		}
	}
	if len(image.Properties) != len(want) || image.Name != "one" || image.Status != cluster.ImageSaving || image.Owner != l.Projs["demo"] ||
		image.Format.MinDiskGiB != 1 || image.Format.Container != "bare" || image.Visibility != cluster.Private {
		t.Errorf("%+v", image)
	}
	l.act("demo", "", id, object{"createImage": object{"name": "two"}}).fails(409, "Cannot 'createImage' instance "+string(id)+" while it is in task_state image_snapshot")
	l.carryOn(id, nil)
	l.golden("744-raw-createImage-mv2.45", l.act("demo", "2.45", id, object{"createImage": object{"name": "two"}}))
	l.carryOn(id, nil)
	l.do("admin", "", "PUT", "/os-quota-sets/"+string(l.Projs["demo"]), object{"quota_set": object{"metadata_items": 1}}).want(200)
	l.act("demo", "", id, object{"createImage": object{"name": "x", "metadata": object{"a": "b", "c": "d"}}}).fails(403, "Image metadata limit exceeded")
}

// Backups rotate: the oldest of a type goes when there are more than asked for.
func TestCreateBackup_Rotates(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", nil)
	backup := func(version, name, kind string, rotation any) *answer {
		a := l.act("demo", version, id, object{"createBackup": object{"name": name, "backup_type": kind, "rotation": rotation}})
		l.carryOn(id, nil)
		return a
	}
	a := backup("", "b1", "daily", "2")
	l.golden("624-libvirt-server-backup-create#5", a)
	if !strings.HasPrefix(a.Header.Get("Location"), "http://cloud.example:8774/compute/v2.1/images/") {
		t.Errorf("location is %s", a.Header.Get("Location"))
	}
	l.golden("480-novacli-backup#5", backup("2.92", "b2", "daily", "2"))
	l.golden("745-raw-createBackup-mv2.45", backup("2.45", "w1", "weekly", 1))
	backup("2.45", "b3", "daily", 2).want(202)
	names := map[string]bool{}
	for i := range l.Local().Images() {
		names[i.Name] = true
	}
	if names["b1"] || !names["b2"] || !names["b3"] || !names["w1"] {
		t.Errorf("images: %v", names)
	}
	if a := backup("2.45", "b4", "daily", 0).want(http.StatusAccepted); len(a.body) > 0 || a.Header.Get("Location") != "" {
		t.Errorf("%s", a.body)
	}
}

// A shelved server has no node and comes back where it is asked to.
func TestShelve_ComesBackWhereItIsAskedTo(t *testing.T) {
	l := newLab(t)
	other := l.addNode("node-2", "127.0.0.2")
	id := l.server("admin", "s", nil)
	shelve := func() {
		l.act("admin", "", id, object{"shelve": nil}).want(202)
		l.carryOn(id, nil)
	}
	l.golden("402-server-shelve", l.act("admin", "", id, object{"shelve": nil}))
	l.carryOn(id, nil)
	if got := l.status(id); got != "SHELVED_OFFLOADED" {
		t.Errorf("status is %s", got)
	}
	l.golden("403-server-show-shelved#4", l.do("admin", "", "GET", "/servers/"+string(id), nil))
	l.golden("642-libvirt-show-shelved#4", l.do("admin", "", "GET", "/servers/"+string(id), nil),
		"/server/security_groups", "/server/addresses", "/server/key_name")
	l.act("admin", "2.77", id, object{"unshelve": object{"availability_zone": "moon"}}).fails(400, "The requested availability zone is not available")
	l.act("admin", "2.91", id, object{"unshelve": object{"host": "nohost"}}).fails(400, "Compute host nohost could not be found.")
	l.golden("404-server-unshelve", l.act("admin", "", id, object{"unshelve": nil}))
	l.boot(id)
	shelve()
	l.golden("405-server-shelve-unshelve-az-mv2.91", l.act("admin", "2.92", id, object{"unshelve": object{"availability_zone": "nova"}}))
	if z := l.instance(id).Spec.Scheduling.Zone; z != "nova" {
		t.Errorf("zone is %q", z)
	}
	l.boot(id)
	shelve()
	l.act("admin", "2.91", id, object{"unshelve": object{"availability_zone": nil, "host": other.Name}}).want(202)
	if in := l.instance(id); in.Mode.Host != other.Name || in.Spec.Scheduling.Zone != "" {
		t.Errorf("host %q, zone %q", in.Mode.Host, in.Spec.Scheduling.Zone)
	}
	mine := l.server("demo", "mine", nil)
	l.act("demo", "", mine, object{"shelve": nil}).want(202)
	l.carryOn(mine, nil)
	l.act("demo", "2.91", mine, object{"unshelve": object{"host": other.Name}}).fails(403, "os_compute_api:os-shelve:unshelve_to_host")
}

// Where deletion is deferred, a deleted server can be restored, is not listed, and goes when it is forced to.
func TestDelete_DeferredCanBeRestored(t *testing.T) {
	l := newLab(t)
	router := chi.NewRouter()
	router.Mount(compute.Path, rest.Service{Name: "compute", Errors: rest.NovaErrors, Log: slog.New(slog.DiscardHandler)}.Wrap(compute.Router(compute.Config{
		Backend: l.Cloud, Verifier: l.Cloud, Liveness: l, DeferredDelete: time.Hour})))
	l.handler = router
	id := l.server("demo", "s", nil)
	path := "/servers/" + string(id)
	l.do("demo", "", "DELETE", path, nil).want(204)
	if got := l.status(id); got != "SOFT_DELETED" {
		t.Errorf("status is %s", got)
	}
	if n := l.do("demo", "", "GET", "/servers", nil).count("servers"); n != 0 {
		t.Errorf("%d servers are listed", n)
	}
	if n := l.do("admin", "", "GET", "/servers/detail?all_tenants=1&deleted=1", nil).count("servers"); n != 1 {
		t.Errorf("%d deleted servers are listed", n)
	}
	l.act("demo", "", id, object{"os-start": nil}).fails(409, "Cannot 'start' instance "+string(id)+" while it is in vm_state soft-delete")
	l.act("demo", "", id, object{"restore": nil}).want(202)
	l.obey(id)
	if got := l.status(id); got != "ACTIVE" {
		t.Errorf("status is %s", got)
	}
	l.do("demo", "", "DELETE", path, nil).want(204)
	l.act("demo", "", id, object{"forceDelete": nil}).want(202)
	if in := l.instance(id); in.Wanted != cluster.WantDeleted {
		t.Errorf("wanted is %s", in.Wanted)
	}
}
