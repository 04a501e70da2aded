package compute_test

import (
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// Clients from before 2.36 read images here. They see what the image service shows them, in Nova's words.
func TestImages_AreShownToOldClients(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", nil)
	made := l.act("demo", "", id, object{"createImage": object{"name": "snap"}}).want(202).Header.Get("Location")
	path := "/images/" + made[strings.LastIndexByte(made, '/')+1:]
	saving := l.do("demo", "", "GET", path, nil).want(200)
	if saving.text("image", "status") != "SAVING" || saving.text("image", "server", "id") != string(id) || saving.at("image", "progress") != 50.0 {
		t.Errorf("%s", saving.body)
	}
	l.carryOn(id, nil)
	if got := l.do("demo", "", "GET", path, nil).text("image", "status"); got != "ACTIVE" {
		t.Errorf("status is %s", got)
	}
	l.addImage("theirs", l.Projs["other"], cluster.Private)
	for query, n := range map[string]int{"": 2, "?name=snap": 1, "?type=snapshot": 1, "?status=SAVING": 0, "?status=active": 2, "?limit=1": 1,
		"?server=http://x/servers/" + string(id): 1, "?server=" + nobody: 0, "?changes-since=2200-01-01T00:00:00Z": 0, "?property-image_type=snapshot": 1} {
		for _, kind := range []string{"/images", "/images/detail"} {
			if got := l.do("demo", "", "GET", kind+query, nil).want(200).count("images"); got != n {
				t.Errorf("%s%s: %d images", kind, query, got)
			}
		}
	}
	l.do("demo", "2.36", "GET", "/images", nil).want(404)
	l.do("demo", "", "GET", "/images?changes-since=x", nil).fails(400, "x")
	l.do("demo", "", "GET", "/images/"+nobody, nil).fails(404, "Image not found.")
	l.do("other", "", "GET", path, nil).fails(404, "Image not found.")
	l.do("demo", "", "DELETE", "/images/"+string(l.image), nil).fails(403, "Not authorized for image")
	l.do("viewer", "", "DELETE", path, nil).fails(403, "os-image-proxy")
	l.do("demo", "", "DELETE", path, nil).want(204)
	l.do("demo", "", "GET", path, nil).fails(404, "Image not found.")
}

// Their metadata is the image's properties, which its owner may change.
func TestImages_MetadataAreProperties(t *testing.T) {
	l := newLab(t)
	id := l.addImage("mine", l.Projs["demo"], cluster.Private)
	path := "/images/" + string(id) + "/metadata"
	l.do("demo", "", "PUT", path, object{"metadata": object{"a": "1", "b": "2"}}).want(200)
	a := l.do("demo", "", "POST", path, object{"metadata": object{"b": "3"}}).want(200)
	if a.text("metadata", "a") != "1" || a.text("metadata", "b") != "3" {
		t.Errorf("%s", a.body)
	}
	l.do("demo", "", "PUT", path+"/c", object{"meta": object{"c": "4"}}).want(200)
	l.do("demo", "", "PUT", path+"/c", object{"meta": object{"d": "4"}}).fails(400, "mismatch")
	if got := l.do("demo", "", "GET", path+"/c", nil).want(200).text("meta", "c"); got != "4" {
		t.Errorf("c is %s", got)
	}
	l.do("demo", "", "DELETE", path+"/a", nil).want(204)
	l.do("demo", "", "DELETE", path+"/a", nil).fails(404, "Metadata item was not found")
	if got := string(l.do("demo", "2.38", "GET", path, nil).want(200).body); got != `{"metadata":{"b":"3","c":"4"}}` {
		t.Errorf("%s", got)
	}
	l.do("demo", "2.39", "GET", path, nil).want(404)
	l.do("demo", "", "PUT", "/images/"+string(l.image)+"/metadata", object{"metadata": object{}}).fails(403, "Not authorized")
	l.do("admin", "", "PUT", "/os-quota-sets/"+string(l.Projs["demo"]), object{"quota_set": object{"metadata_items": 2}}).want(200)
	l.do("demo", "", "POST", path, object{"metadata": object{"z": "1"}}).fails(403, "Image metadata limit exceeded")
}
