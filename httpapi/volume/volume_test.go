package volume_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/resttest"
	"github.com/kilonova/kilonova/httpapi/volume"
)

// site is the service in front of a cloud.
type site struct {
	*resttest.Cloud
	t  *testing.T
	h  http.Handler
	id string // of what was made last
}

func newSite(t *testing.T) *site {
	c := resttest.NewCloud(t)
	s := rest.Service{Name: "volume", Errors: rest.NovaErrors, Log: slog.New(slog.DiscardHandler)}
	mux := http.NewServeMux()
	mux.Handle(volume.Path+"/", http.StripPrefix(volume.Path, s.Wrap(volume.Router(volume.Config{Backend: c, Verifier: c, Node: c.Node.ID}))))
	return &site{Cloud: c, t: t, h: mux}
}

// ask sends a request as "METHOD /path" below /volume/v3; ID stands for what was made last.
func (s *site) ask(token, what, body string, version ...string) *http.Response {
	s.t.Helper()
	method, path, _ := strings.Cut(what, " ")
	path = strings.ReplaceAll(path, "ID", s.id)
	r := httptest.NewRequest(method, "http://node-1:8774/volume/v3"+path, strings.NewReader(strings.ReplaceAll(body, "ID", s.id)))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set(rest.TokenHeader, token)
	}
	for _, v := range version {
		r.Header.Set("OpenStack-API-Version", "volume "+v)
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	return w.Result()
}

// get asks, wants a status, and gives the decoded body.
func (s *site) get(status int, token, what, body string, version ...string) map[string]any {
	s.t.Helper()
	res := s.ask(token, what, body, version...)
	data, _ := io.ReadAll(res.Body)
	if res.StatusCode != status {
		s.t.Fatalf("%s: %d instead of %d: %s", what, res.StatusCode, status, data)
	}
	var out map[string]any
	_ = json.Unmarshal(data, &out)
	for _, key := range []string{"volume", "snapshot"} {
		if m, ok := out[key].(map[string]any); ok && res.StatusCode == http.StatusAccepted {
			s.id, _ = m["id"].(string)
		}
	}
	return out
}

// says wants an error with words.
func (s *site) says(status int, token, what, body, words string, version ...string) {
	s.t.Helper()
	out := s.get(status, token, what, body, version...)
	if text := fmt.Sprint(out); !strings.Contains(text, words) {
		s.t.Errorf("%s: %s, want %q", what, text, words)
	}
}

// instance makes a server of the project demo on the only node.
func (s *site) instance() cluster.InstanceID {
	s.t.Helper()
	id := cluster.InstanceID(rest.NewUUID())
	s.Must(&cluster.CreateInstances{Request: "req", Project: s.Projs["demo"], User: s.Users["demo"],
		Spec:  cluster.Spec{Name: "vm", Flavor: cluster.Flavor{ID: "1", Name: "f", VCPUs: 1, MemoryMiB: 64, RxTxFactor: 1}},
		Items: []cluster.NewInstance{{ID: id, Name: "vm", Hostname: "vm", Node: s.Node.ID, Explanation: &cluster.Explanation{Node: s.Node.ID}}}})
	s.Must(&cluster.ReportInstances{Node: s.Node.ID, Reports: []cluster.InstanceReport{{ID: id, Generation: 1, Epoch: 1, Power: cluster.PowerRunning}}})
	return id
}

// nodeWorks does what the node would: every file is made, grown, removed, and every guest gets and loses its disks.
func (s *site) nodeWorks() {
	s.t.Helper()
	view := s.Local()
	r := &cluster.ReportVolumes{Node: s.Node.ID}
	for v := range view.VolumesOn(s.Node.ID) {
		r.Volumes = append(r.Volumes, cluster.VolumeReport{ID: v.ID, Generation: v.Generation, SizeGiB: v.SizeGiB, Gone: v.File.Remove, Uploaded: v.Upload != nil})
	}
	for n := range view.SnapshotsOn(s.Node.ID) {
		r.Snapshots = append(r.Snapshots, cluster.SnapshotReport{ID: n.ID, Generation: n.Generation, Format: "raw", Gone: n.File.Remove})
	}
	for v := range view.VolumesMoving() {
		for _, a := range v.Attachments {
			in, _ := view.Instance(a.Instance)
			r.Attachments = append(r.Attachments, cluster.AttachmentReport{Volume: v.ID, Instance: in.ID, Epoch: in.Epoch,
				Attached: a.State == cluster.Attaching, Detached: a.State == cluster.Detaching})
		}
	}
	s.Must(r)
}

// The replies have the shapes that Cinder's have.
func TestShapes_AreCinders(t *testing.T) {
	g := resttest.LoadGoldens(t, "testdata/shapes.txt")
	s := newSite(t)
	p := "/" + string(s.Projs["admin"])
	check := func(name string, res *http.Response, ignore ...string) { t.Helper(); g.Check(t, name, res, ignore...) }
	check("037-error-401-cinder-no-token", s.ask("", "GET /volumes", ""))
	r := httptest.NewRecorder()
	s.h.ServeHTTP(r, httptest.NewRequest(http.MethodGet, "http://node-1:8774/volume/", nil))
	check("012-versions-cinder-root", r.Result())
	check("199-volume-create", s.ask("admin", "POST "+p+"/volumes", `{"volume": {"size": 1, "consistencygroup_id": null, "snapshot_id": null,
		"name": "labvol", "description": null, "volume_type": null, "availability_zone": null, "metadata": {}, "imageRef": null, "source_volid": null,
		"backup_id": null}}`))
	s.get(http.StatusAccepted, "admin", "POST /volumes", `{"volume": {"size": 1, "name": "labvol"}}`)
	s.get(http.StatusOK, "admin", "PUT /volumes/ID", `{"volume": {"name": "labvol"}}`)
	check("200-volume-show", s.ask("admin", "GET "+p+"/volumes/detail?all_tenants=1&name=labvol", ""), "/volumes/*/os-vol-host-attr:host")
	check("210-volume-set-name", s.ask("admin", "PUT "+p+"/volumes/ID", `{"volume": {"display_name": "labvol2"}}`))
	check("205-volume-create-from-image", s.ask("admin", "POST "+p+"/volumes/ID/action", `{"os-set_bootable": {"bootable": true}}`))
	check("203-volume-type-list", s.ask("admin", "GET "+p+"/types?is_public=None", ""), "/volume_types/*/extra_specs")
	check("204-volume-service-list", s.ask("admin", "GET "+p+"/os-services", ""))
	check("207-volume-snapshot-create", s.ask("admin", "POST "+p+"/snapshots", `{"snapshot": {"volume_id": "ID", "force": false, "name": "s", "description": null, "metadata": {}}}`))
	s.get(http.StatusAccepted, "admin", "POST /snapshots", `{"snapshot": {"volume_id": "ID"}}`)
	s.get(http.StatusOK, "admin", "PUT /snapshots/ID", `{"snapshot": {"name": "labsnap"}}`)
	check("208-volume-snapshot-list", s.ask("admin", "GET "+p+"/snapshots/detail", ""))
	check("209-volume-snapshot-delete", s.ask("admin", "DELETE "+p+"/snapshots/ID", ""))
	check("211-volume-quota", s.ask("admin", "GET "+p+"/os-quota-sets"+p+"/defaults", ""), "/quota_set/")
	check("213-error-404-volume-raw", s.ask("admin", "GET /volumes/11111111-2222-3333-4444-555555555555", ""))
	check("214-error-400-volume-badsize", s.ask("admin", "POST /volumes", `{"volume": {"size": -1}}`))
}

// A user makes a volume, gives it to a server, makes it larger, copies it, and takes all back again.
func TestVolume_LivesThroughTheAPI(t *testing.T) {
	s := newSite(t)
	in := s.instance()
	s.get(http.StatusAccepted, "demo", "POST /volumes", `{"volume": {"size": "2", "name": " data ", "metadata": {"a": "b"}}}`)
	vol := s.id
	s.get(http.StatusAccepted, "demo", "POST /volumes/ID/action", `{"os-attach": {"instance_uuid": "`+string(in)+`", "mountpoint": "/dev/vdc"}}`)
	s.nodeWorks()
	s.nodeWorks()
	v := s.get(http.StatusOK, "demo", "GET /volumes/ID", "")["volume"].(map[string]any)
	if v["status"] != "in-use" || v["name"] != "data" || len(v["attachments"].([]any)) != 1 {
		t.Fatalf("got %v", v)
	}
	s.says(http.StatusBadRequest, "demo", "DELETE /volumes/ID", "", "must be available or error")
	s.says(http.StatusBadRequest, "demo", "POST /volumes/ID/action", `{"os-extend": {"new_size": 3}}`, "must be 'available'")
	s.get(http.StatusAccepted, "demo", "POST /volumes/ID/action", `{"os-extend": {"new_size": 3}}`, "3.42")
	s.nodeWorks()
	s.says(http.StatusBadRequest, "demo", "POST /snapshots", `{"snapshot": {"volume_id": "ID"}}`, "must be available")
	s.get(http.StatusAccepted, "demo", "POST /snapshots", `{"snapshot": {"volume_id": "ID", "force": true}}`)
	snap := s.id
	s.nodeWorks()
	s.get(http.StatusAccepted, "demo", "POST /volumes", `{"volume": {"snapshot_id": "ID"}}`)
	s.nodeWorks()
	if v := s.get(http.StatusOK, "demo", "GET /volumes/ID", "")["volume"].(map[string]any); v["size"] != 3.0 || v["status"] != "available" {
		t.Errorf("got %v", v)
	}
	s.get(http.StatusAccepted, "demo", "DELETE /snapshots/"+snap, "")
	s.get(http.StatusOK, "demo", "GET /attachments/detail", "", "3.27")
	s.id = vol
	s.get(http.StatusAccepted, "demo", "POST /volumes/ID/action", `{"os-detach": {}}`)
	s.nodeWorks()
	s.get(http.StatusAccepted, "demo", "DELETE /volumes/ID", "")
	s.nodeWorks()
	s.get(http.StatusNotFound, "demo", "GET /volumes/ID", "")
}

// An image becomes a volume, and the volume an image. Nobody else sees either.
func TestVolume_FromAnImageAndBack(t *testing.T) {
	s := newSite(t)
	img := cluster.ImageID(rest.NewUUID())
	s.Must(&cluster.PutImage{Image: cluster.Image{ID: img, Owner: s.Projs["demo"], Name: "deb", Status: cluster.ImageActive, Visibility: cluster.Private,
		Format: cluster.ImageFormat{Disk: "qcow2", Container: "bare"}, Properties: map[string]string{"hw_disk_bus": "scsi"},
		Data: &cluster.ImageData{Root: cluster.Hash{1}, Size: 9, VirtualSize: 2 << 30, Nodes: []cluster.NodeID{s.Node.ID}}}})
	s.says(http.StatusBadRequest, "other", "POST /volumes", `{"volume": {"size": 2, "imageRef": "`+string(img)+`"}}`, "image")
	s.says(http.StatusBadRequest, "demo", "POST /volumes", `{"volume": {"size": 1, "imageRef": "`+string(img)+`"}}`, "smaller than")
	s.get(http.StatusAccepted, "demo", "POST /volumes", `{"volume": {"size": 2, "imageRef": "`+string(img)+`"}}`)
	v := s.get(http.StatusOK, "demo", "GET /volumes/ID", "")["volume"].(map[string]any)
	meta, _ := v["volume_image_metadata"].(map[string]any)
	if v["bootable"] != "true" || meta["hw_disk_bus"] != "scsi" || meta["image_id"] != string(img) {
		t.Errorf("got %v", v)
	}
	s.get(http.StatusNotFound, "other", "GET /volumes/ID", "")
	s.get(http.StatusForbidden, "viewer", "DELETE /volumes/ID", "")
	out := s.get(http.StatusAccepted, "demo", "POST /volumes/ID/action", `{"os-volume_upload_image": {"image_name": "copy", "disk_format": "qcow2"}}`)
	up := out["os-volume_upload_image"].(map[string]any)
	made, ok := s.Local().Image(cluster.ImageID(up["image_id"].(string)))
	if !ok || made.Status != cluster.ImageSaving || made.Properties["hw_disk_bus"] != "scsi" || made.Properties["image_id"] != "" {
		t.Errorf("got %+v", made)
	}
	s.nodeWorks()
	s.nodeWorks()
	if v := s.get(http.StatusOK, "demo", "GET /volumes/ID", "")["volume"].(map[string]any); v["status"] != "available" {
		t.Errorf("got %v", v["status"])
	}
}

// An encrypted volume has a key that no reply holds.
func TestVolume_EncryptedOnesHideTheirKeys(t *testing.T) {
	s := newSite(t)
	s.get(http.StatusAccepted, "demo", "POST /volumes", `{"volume": {"size": 1, "volume_type": "local-encrypted"}}`)
	v, _ := s.Local().Volume(cluster.VolumeID(s.id))
	if len(v.Secret) < 32 {
		t.Fatalf("the key has %d bytes", len(v.Secret))
	}
	for _, path := range []string{"/volumes/ID", "/volumes/detail", "/volumes/ID/encryption"} {
		res := s.ask("admin", "GET "+path, "", "3.70")
		data, _ := io.ReadAll(res.Body)
		if strings.Contains(string(data), string(v.Secret)) {
			t.Errorf("%s shows the key", path)
		}
	}
	s.says(http.StatusBadRequest, "demo", "POST /volumes/ID/action", `{"os-volume_upload_image": {"image_name": "copy"}}`, "unencrypted")
}

// Lists are filtered, sorted and cut as clients ask.
func TestList_FiltersSortsAndPages(t *testing.T) {
	s := newSite(t)
	for i, name := range []string{"b", "a", "c"} {
		s.get(http.StatusAccepted, "demo", "POST /volumes", fmt.Sprintf(`{"volume": {"size": %d, "name": %q, "metadata": {"k": %q}}}`, i+1, name, name))
	}
	names := func(query string, version ...string) string {
		t.Helper()
		var all []string
		for _, v := range s.get(http.StatusOK, "demo", "GET /volumes/detail?"+query, "", version...)["volumes"].([]any) {
			all = append(all, v.(map[string]any)["name"].(string))
		}
		return strings.Join(all, "")
	}
	for query, want := range map[string]string{
		"": "cab", "name=a": "a", "status=error": "", "sort=name:asc": "abc", "sort_key=size&sort_dir=asc": "bac", "limit=2": "ca", "offset=1": "ab",
		"metadata=%7B%27k%27%3A+%27a%27%7D": "a", "bootable=True": "", "bootable=0": "cab", "limit=0": "", "nonsense=1": "cab",
	} {
		if got := names(query); got != want {
			t.Errorf("%q gives %q, want %q", query, got, want)
		}
	}
	page := s.get(http.StatusOK, "demo", "GET /volumes?limit=1", "")
	if page["volumes_links"] == nil {
		t.Error("no link to the next page")
	}
	if page := s.get(http.StatusOK, "demo", "GET /volumes?with_count=true", "", "3.45"); page["count"] != 3.0 {
		t.Errorf("got %v", page["count"])
	}
	if all := s.get(http.StatusOK, "other", "GET /volumes?all_tenants=1", "")["volumes"].([]any); len(all) != 0 {
		t.Error("another project sees them")
	}
	if all := s.get(http.StatusOK, "admin", "GET /volumes?all_tenants=1", "")["volumes"].([]any); len(all) != 3 {
		t.Errorf("an administrator sees %d", len(all))
	}
	if sum := s.get(http.StatusOK, "demo", "GET /volumes/summary", "", "3.12")["volume-summary"].(map[string]any); sum["total_size"] != 6.0 {
		t.Errorf("got %v", sum)
	}
	s.get(http.StatusNotFound, "demo", "GET /volumes?marker=none", "")
	s.get(http.StatusBadRequest, "demo", "GET /volumes?sort_key=nothing", "")
}

// Metadata is shown, added to, replaced and taken away.
func TestMetadata_OfVolumesAndSnapshots(t *testing.T) {
	s := newSite(t)
	s.get(http.StatusAccepted, "demo", "POST /volumes", `{"volume": {"size": 1}}`)
	vol := s.id
	s.get(http.StatusAccepted, "demo", "POST /snapshots", `{"snapshot": {"volume_id": "ID"}}`)
	for kind, id := range map[string]string{"volumes": vol, "snapshots": s.id} {
		s.id = id
		path := "/" + kind + "/ID/metadata"
		s.get(http.StatusOK, "demo", "POST "+path, `{"metadata": {"a": "1", "b": "2"}}`)
		s.get(http.StatusOK, "demo", "PUT "+path+"/a", `{"meta": {"a": "3"}}`)
		s.get(http.StatusBadRequest, "demo", "PUT "+path+"/a", `{"meta": {"b": "3"}}`)
		s.get(http.StatusOK, "demo", "DELETE "+path+"/b", "")
		s.get(http.StatusNotFound, "demo", "GET "+path+"/b", "")
		if got := fmt.Sprint(s.get(http.StatusOK, "demo", "GET "+path, "")); got != "map[metadata:map[a:3]]" {
			t.Errorf("%s: %s", kind, got)
		}
		s.get(http.StatusOK, "demo", "PUT "+path, `{"metadata": {"z": "9"}}`)
		if got := fmt.Sprint(s.get(http.StatusOK, "demo", "GET "+path+"/z", "")); got != "map[meta:map[z:9]]" {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

// Quotas bound volumes, and administrators set them.
func TestQuotas_BoundAndAreSet(t *testing.T) {
	s := newSite(t)
	demo := string(s.Projs["demo"])
	s.get(http.StatusForbidden, "demo", "PUT /os-quota-sets/"+demo, `{"quota_set": {"volumes": 1}}`)
	s.get(http.StatusOK, "admin", "PUT /os-quota-sets/"+demo, `{"quota_set": {"tenant_id": "`+demo+`", "volumes": 1, "gigabytes": "5"}}`)
	s.says(http.StatusRequestEntityTooLarge, "demo", "POST /volumes", `{"volume": {"size": 6}}`, "gigabytes quota")
	s.get(http.StatusAccepted, "demo", "POST /volumes", `{"volume": {"size": 1}}`)
	s.says(http.StatusRequestEntityTooLarge, "demo", "POST /volumes", `{"volume": {"size": 1}}`, "VolumeLimitExceeded")
	set := s.get(http.StatusOK, "demo", "GET /os-quota-sets/"+demo+"?usage=True", "")["quota_set"].(map[string]any)
	if got := fmt.Sprint(set["volumes"]); got != "map[allocated:0 in_use:1 limit:1 reserved:0]" {
		t.Errorf("got %s", got)
	}
	s.get(http.StatusForbidden, "other", "GET /os-quota-sets/"+demo, "")
	s.get(http.StatusOK, "demo", "GET /limits", "")
	s.get(http.StatusOK, "admin", "DELETE /os-quota-sets/"+demo, "")
	s.get(http.StatusBadRequest, "admin", "PUT /os-quota-sets/"+demo, `{"quota_set": {"nonsense": 1}}`)
	s.get(http.StatusBadRequest, "admin", "PUT /os-quota-sets/"+demo, `{"quota_set": {"tenant_id": 5, "volumes": 1}}`)
}

// What is malformed, or what there is none of, is refused in words, whatever it is.
func TestBadInput_IsRefused(t *testing.T) {
	s := newSite(t)
	s.get(http.StatusAccepted, "demo", "POST /volumes", `{"volume": {"size": 1}}`)
	for _, x := range []struct {
		what, body string
		status     int
	}{
		{"POST /volumes", `{`, 400}, {"POST /volumes", `{"volume": 1}`, 400}, {"POST /volumes", `{"volume": {}}`, 400},
		{"POST /volumes", `{"volume": {"size": 1, "volume_type": "gold"}}`, 404}, {"POST /volumes", `{"volume": {"size": 1, "snapshot_id": "ID"}}`, 404},
		{"POST /volumes", `{"volume": {"size": 1, "source_volid": "none"}}`, 404}, {"POST /volumes", `{"volume": {"size": 1, "backup_id": "x"}}`, 501},
		{"POST /volumes", `{"volume": {"size": 1, "availability_zone": "mars"}}`, 400}, {"POST /volumes", `{"volume": {"size": 1, "metadata": {"a": 1}}}`, 400},
		{"POST /volumes", `{"volume": {"size": 1, "source_volid": "ID", "imageRef": "ID"}}`, 400}, {"POST /volumes", `{"volume": {"size": 20000}}`, 400},
		{"PUT /volumes/ID", `{"volume": {}}`, 400}, {"POST /volumes/ID/action", `{}`, 400}, {"POST /volumes/ID/action", `{"os-nothing": {}}`, 400},
		{"POST /volumes/ID/action", `{"os-extend": {"new_size": 1}}`, 400}, {"POST /volumes/ID/action", `{"os-retype": {}}`, 400},
		{"POST /volumes/ID/action", `{"os-reset_status": {"status": "error"}}`, 403}, {"POST /volumes/ID/action", `{"os-force_delete": {}}`, 403},
		{"POST /volumes/ID/action", `{"os-detach": {"attachment_id": "x"}}`, 400}, {"POST /volumes/ID/action", `{"os-attach": {"instance_uuid": "x"}}`, 400},
		{"POST /volumes/ID/action", `{"os-volume_upload_image": {"image_name": "x", "disk_format": "vmdk"}}`, 400},
		{"POST /volumes/ID/action", `{"os-set_bootable": {"bootable": "maybe"}}`, 400},
		{"POST /backups", `{"backup": {}}`, 501}, {"GET /backups/x", ``, 404}, {"GET /nowhere", ``, 404}, {"POST /types", `{}`, 403},
		{"POST /snapshots", `{"snapshot": {"volume_id": "none"}}`, 404}, {"GET /attachments", ``, 404},
	} {
		s.get(x.status, "demo", x.what, x.body)
	}
	if res := s.ask("demo", "GET /volumes", "", "3.999"); res.StatusCode != http.StatusNotAcceptable {
		t.Errorf("a version that is not served: %d", res.StatusCode)
	}
	if res := s.ask("demo", "GET /volumes", "", "x"); res.StatusCode != http.StatusBadRequest {
		t.Errorf("a version that is none: %d", res.StatusCode)
	}
	s.LoseQuorum(true)
	if res := s.ask("demo", "POST /volumes", `{"volume": {"size": 1}}`); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without a quorum: %d", res.StatusCode)
	}
}

// An administrator sets a status by hand; "deleting" set so lets no node remove anything.
func TestResetStatus_RemovesNothing(t *testing.T) {
	s := newSite(t)
	in := s.instance()
	s.get(http.StatusAccepted, "demo", "POST /volumes", `{"volume": {"size": 1}}`)
	s.get(http.StatusAccepted, "demo", "POST /volumes/ID/action", `{"os-attach": {"instance_uuid": "`+string(in)+`"}}`)
	s.nodeWorks()
	for _, status := range []string{"error", "deleting", "maintenance", "in-use"} {
		s.get(http.StatusAccepted, "admin", "POST /volumes/ID/action", `{"os-reset_status": {"status": "`+status+`"}}`)
		s.nodeWorks()
		if v := s.get(http.StatusOK, "demo", "GET /volumes/ID", "")["volume"].(map[string]any); v["status"] != status {
			t.Errorf("%v instead of %s", v["status"], status)
		}
	}
}
