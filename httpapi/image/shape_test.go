package image

import (
	"io"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/httpapi/rest/resttest"
)

// The life of an image, as the openstack client lives it, has replies of the same status, headers and shape as those of a
// real Glance. Import methods are not served, so nothing announces them.
func TestReplies_HaveGlancesShapes(t *testing.T) {
	c, g := newCloud(t), resttest.LoadGoldens(t, "testdata/shapes.txt")
	const importHeader = "OpenStack-image-import-methods"
	for _, golden := range g {
		for n, h := range golden.Headers {
			if h == importHeader {
				golden.Headers = append(golden.Headers[:n], golden.Headers[n+1:]...)
				break
			}
		}
	}
	g.Check(t, "007-versions-glance-root", c.call("GET", "/", "", ""))
	g.Check(t, "008-versions-glance-versions", c.call("GET", "/versions", "", ""))
	g.Check(t, "009-versions-glance-v2", c.call("GET", "/v2/", "", ""))
	g.Check(t, "035-error-401-glance-no-token", c.call("GET", "/v2/images", "", ""))

	made := g.Check(t, "086-image-create-upload#3", c.call("POST", "/v2/images", "demo", rawImage)).(map[string]any)
	id := made["id"].(string)
	at := "/v2/images/" + id
	if res := c.call("POST", "/v2/images", "demo", rawImage); !strings.HasPrefix(res.Header.Get("Location"), "http://node-1:8774/image/v2/images/") {
		t.Errorf("Location: %q", res.Header.Get("Location"))
	}
	g.Check(t, "118-image-download-queued-204", c.call("GET", at+"/file", "demo", ""))
	g.Check(t, "086-image-create-upload#4", c.call("PUT", at+"/file", "demo", strings.Repeat("x", 70000), octets...))
	g.Check(t, "088-image-create-record-only-queued", c.call("POST", "/v2/images", "demo", `{"name":"labimg-queued","disk_format":"raw","container_format":"bare"}`))
	empty := c.queued("demo", `{"disk_format":"raw","container_format":"bare"}`)
	g.Check(t, "089-image-create-no-file-empty-stdin#4", c.call("PUT", "/v2/images/"+empty+"/file", "demo", "", octets...))
	c.want(204, "DELETE", "/v2/images/"+c.another("demo", "labimg", id), "demo", "")

	list := g.Check(t, "092-image-list-filters#3", c.call("GET", "/v2/images?limit=5&name=labimg", "demo", "")).(map[string]any)
	if list["first"] != "/v2/images?limit=5&name=labimg" || list["next"] != nil {
		t.Errorf("links of a list: %v %v", list["first"], list["next"])
	}
	g.Check(t, "093-image-show#3", c.call("GET", "/v2/images/labimg", "demo", "", "Accept", "*/*"))
	g.Check(t, "120-error-404-image-cli#4", c.call("GET", "/v2/images?name=no-such-image", "demo", ""))
	g.Check(t, "120-error-404-image-cli#5", c.call("GET", "/v2/images?os_hidden=True", "demo", ""))
	g.Check(t, "119-error-404-image", c.call("GET", "/v2/images/11111111-2222-3333-4444-555555555555", "demo", ""))

	set := func(golden, body string) {
		t.Helper()
		g.Check(t, golden, c.call("PATCH", at, "demo", body, append(patchType, "Accept", "")...))
	}
	set("095-image-set-property#5", `[{"op":"add","path":"/hw_disk_bus","value":"virtio"},{"op":"add","path":"/name","value":"labimg2"}]`)
	set("096-image-unset-property#5", `[{"op":"remove","path":"/hw_disk_bus"}]`)
	set("097-image-set-tag#5", `[{"op":"add","path":"/tags","value":["two","one"]}]`)
	c.want(200, "PATCH", at, "demo", `[{"op":"add","path":"/protected","value":true}]`, patchType...)
	g.Check(t, "100-error-403-image-delete-protected#5", c.call("DELETE", at, "demo", "", "Accept", "*/*"))
	c.want(200, "PATCH", at, "demo", `[{"op":"add","path":"/protected","value":false}]`, patchType...)
	set("111-image-patch-raw", `[{"op":"add","path":"/foo","value":"bar"}]`)
	res := c.call("PATCH", at, "demo", `[]`, "Content-Type", "application/json")
	if accept := res.Header.Get("Accept-Patch"); accept != patchOld+", "+patchNew {
		t.Errorf("Accept-Patch: %q", accept)
	}
	g.Check(t, "722-image-patch-wrong-content-type-415-full", res)

	g.Check(t, "098-image-save-download#5", c.call("GET", at+"/file", "demo", "", "Accept", "*/*"))
	part := c.call("GET", at+"/file", "demo", "", "Range", "bytes=0-9")
	g.Check(t, "117-image-download-head-range", part)
	g.Check(t, "108-image-upload-again-409", c.call("PUT", at+"/file", "demo", "abc", octets...))
	g.Check(t, "102-image-members-list", c.call("GET", at+"/members", "demo", ""))
	g.Check(t, "104-image-add-project#8", c.call("POST", at+"/members", "demo", `{"member":"admin"}`))
	g.Check(t, "105-image-member-list#5", c.call("GET", at+"/members", "demo", ""))
	g.Check(t, "106-image-deactivate#5", c.call("POST", at+"/actions/deactivate", "demo", "", "Accept", "*/*"))
	g.Check(t, "107-image-activate#5", c.call("POST", at+"/actions/reactivate", "demo", "", "Accept", "*/*"))
	g.Check(t, "122-image-delete#5", c.call("DELETE", at, "demo", "", "Accept", "*/*"))
}

// another gives another image of that name than the one given.
func (c *cloud) another(token, name, not string) string {
	for _, i := range c.want(200, "GET", "/v2/images?name="+name, token, "")["images"].([]any) {
		if id := i.(map[string]any)["id"].(string); id != not {
			return id
		}
	}
	c.t.Fatalf("there is no second image %s", name)
	return ""
}

// What clients ask about the service, and what it refuses, looks like Glance's, too.
func TestReplies_OfWhatIsNotAnImage(t *testing.T) {
	c, g := newCloud(t), resttest.LoadGoldens(t, "testdata/shapes.txt")
	g.Check(t, "113-image-schemas-image", c.call("GET", "/v2/schemas/image", "demo", ""),
		"/properties/cinder_encryption_key", "/properties/locations/items/properties/validation_data")
	g.Check(t, "114-image-schemas-images", c.call("GET", "/v2/schemas/images", "demo", ""),
		"/properties/images/items/properties/cinder_encryption_key", "/properties/images/items/properties/locations/items/properties/validation_data")
	c.want(200, "GET", "/v2/schemas/member", "demo", "")
	c.want(200, "GET", "/v2/schemas/members", "demo", "")
	c.want(404, "GET", "/v2/schemas/nope", "demo", "")
	g.Check(t, "115-image-info-import", c.call("GET", "/v2/info/import", "demo", ""))
	g.Check(t, "116-image-info-stores", c.call("GET", "/v2/info/stores", "demo", ""))
	bad := g.Check(t, "109-image-create-bad-field-400", c.call("POST", "/v2/images", "demo", `{"name":"x","disk_format":"nope","container_format":"bare"}`)).(map[string]any)
	if m := bad["message"].(string); !strings.HasPrefix(m, "Provided object does not match schema 'image': 'nope' is not one of [None, 'ami', ") {
		t.Errorf("message: %s", m)
	}
	readonly := g.Check(t, "110-image-create-readonly-field-403", c.call("POST", "/v2/images", "demo", `{"name":"x","size":5}`)).(map[string]any)
	if readonly["message"] != "Attribute 'size' is read-only.<br /><br />\n\n\n" {
		t.Errorf("message: %q", readonly["message"])
	}
	public := g.Check(t, "121-error-403-image-public-as-member", c.call("POST", "/v2/images", "demo", `{"name":"x","visibility":"public"}`)).(map[string]any)
	if public["message"] != "You are not authorized to complete publicize_image action.<br /><br />\n\n\n" {
		t.Errorf("message: %q", public["message"])
	}
	res := c.call("DELETE", "/v2/images", "demo", "")
	if res.StatusCode != 405 || res.Header.Get("Allow") != "GET, POST" {
		t.Errorf("wrong method: %d %q", res.StatusCode, res.Header.Get("Allow"))
	}
	if res := c.call("GET", "/v2/metadefs/namespaces", "demo", ""); res.StatusCode != 404 {
		t.Errorf("unknown path: %d", res.StatusCode)
	}
	if b, _ := io.ReadAll(c.call("GET", "/v2/images/x<y>", "demo", "", "Accept", "text/html").Body); strings.Contains(string(b), "<y>") {
		t.Errorf("markup comes back: %s", b)
	}
}
