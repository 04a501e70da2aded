package image

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// A list has what its query asks for, and nothing else.
func TestList_Filters(t *testing.T) {
	c := newCloud(t)
	c.active("demo", `{"name":"a","disk_format":"raw","container_format":"bare","tags":["x","y"],"os_distro":"debian","min_ram":64}`, "1")
	c.active("demo", `{"name":"b,c","disk_format":"aki","container_format":"aki","tags":["x"]}`, strings.Repeat("2", 100))
	b := c.queued("demo", `{"name":"d","protected":true}`)
	c.queued("demo", `{"name":"e","os_hidden":true}`)
	project := string(c.Projs["demo"])
	for query, want := range map[string]string{
		"":                              "d b,c a",
		"?name=a":                       "a",
		"?name=in:a,d":                  "d a",
		`?name=in:%22b,c%22,d`:          "d b,c",
		"?id=in:" + b + "," + b:         "d",
		"?status=queued":                "d",
		"?status=in:queued,active":      "d b,c a",
		"?disk_format=aki":              "b,c",
		"?container_format=in:bare,ovf": "a",
		"?tag=x":                        "b,c a",
		"?tag=x&tag=y":                  "a",
		"?os_distro=debian":             "a",
		"?os_distro=fedora":             "",
		"?size_min=50":                  "b,c",
		"?size_max=50":                  "a",
		"?size=1":                       "a",
		"?min_ram=64":                   "a",
		"?protected=True":               "d",
		"?protected=false":              "b,c a",
		"?os_hidden=True":               "e",
		"?os_hidden=false":              "d b,c a",
		"?owner=" + project:             "d b,c a",
		"?owner=nobody":                 "",
		"?checksum=c4ca4238a0b923820dcc509a6f75849b": "a",
		"?os_hash_algo=sha512":                       "b,c a",
		"?visibility=shared":                         "d b,c a",
		"?visibility=public":                         "",
		"?created_at=gt:2020-01-01T00:00:00Z":        "d b,c a",
		"?created_at=lt:2020-01-01":                  "",
		"?updated_at=gte:2020-01-01T00:00:00":        "d b,c a",
		"?created_at=2020-01-01T00:00:00Z":           "",
		"?sort_key=name&sort_dir=asc":                "a b,c d",
		"?sort=name:asc":                             "a b,c d",
		"?sort=name":                                 "d b,c a",
		"?sort=status:asc,name:asc":                  "a b,c d",
		"?sort_dir=asc":                              "a b,c d",
		"?sort_key=size&sort_dir=desc":               "b,c a d",
		"?limit=0":                                   "",
		"?limit=2":                                   "d b,c",
		"?os_glance_upload=x":                        "",
	} {
		if got := c.names("demo", query); got != want {
			t.Errorf("%s: %q instead of %q", query, got, want)
		}
	}
	for _, query := range []string{
		"limit=x", "limit=-1", "marker=nope", "sort_key=color", "sort_key=name&sort_dir=up", "sort=name:up", "sort=name&sort_key=name",
		"sort_key=name&sort_dir=asc&sort_dir=desc", "visibility=secret", "member_status=maybe", "protected=perhaps", "os_hidden=x",
		"size_min=x", "size_max=-1", "created_at=gt:yesterday", "created_at=x", "name=in:%22a", "name=in:%22a%22b", "name=in:a%22b",
	} {
		c.want(400, "GET", "/v2/images?"+query, "demo", "")
	}
}

// Following "next" from page to page shows every image once.
func TestList_PagesShowEverythingOnce(t *testing.T) {
	c := newCloud(t)
	for n := range 30 {
		c.queued("demo", fmt.Sprintf(`{"name":"i%02d"}`, n))
	}
	if n := len(strings.Fields(c.names("demo", ""))); n != defaultPage {
		t.Errorf("a page has %d images when the client does not say", n)
	}
	var seen []string
	for path := "/v2/images?limit=7&sort=name:asc"; path != ""; {
		body := c.want(200, "GET", path, "demo", "")
		for _, i := range body["images"].([]any) {
			seen = append(seen, i.(map[string]any)["name"].(string))
		}
		if body["first"] != "/v2/images?limit=7&sort=name%3Aasc" {
			t.Fatalf("first: %v", body["first"])
		}
		path, _ = body["next"].(string)
	}
	if len(seen) != 30 || !slices.IsSorted(seen) || len(slices.Compact(seen)) != 30 {
		t.Errorf("saw %v", seen)
	}
}

// Who sees which image, listed and one by one. Another project's private image is not there at all.
func TestVisibility_WhoSeesWhat(t *testing.T) {
	c := newCloud(t)
	ids := map[string]string{}
	for _, v := range visibilities {
		ids[v] = c.queued("admin", `{"name":"`+v+`","visibility":"`+v+`","owner":"`+string(c.Projs["demo"])+`"}`)
	}
	for _, x := range []struct{ token, query, want string }{
		{"demo", "", "shared private public community"},
		{"viewer", "", "shared private public community"},
		{"admin", "", "shared private public community"},
		{"other", "", "public"},
		{"other", "?visibility=community", "community"},
		{"other", "?visibility=all", "public community"},
		{"other", "?visibility=private", ""},
		{"demo", "?visibility=private", "private"},
		{"other", "?visibility=shared&member_status=all", ""},
	} {
		if got := c.names(x.token, x.query); got != x.want {
			t.Errorf("%s %s: %q instead of %q", x.token, x.query, got, x.want)
		}
	}
	for v, status := range map[string]int{"public": 200, "community": 200, "shared": 404, "private": 404} {
		c.want(status, "GET", "/v2/images/"+ids[v], "other", "")
		c.want(map[int]int{200: 403, 404: 404}[status], "PATCH", "/v2/images/"+ids[v], "other", `[]`, patchType...)
		c.want(map[int]int{200: 403, 404: 404}[status], "PUT", "/v2/images/"+ids[v]+"/file", "other", "x", octets...)
		c.want(403, "PATCH", "/v2/images/"+ids[v], "viewer", `[]`, patchType...)
	}
	c.want(403, "POST", "/v2/images", "viewer", `{}`)
	given := c.want(200, "PATCH", "/v2/images/"+ids["private"], "admin", `[{"op":"replace","path":"/owner","value":"`+string(c.Projs["other"])+`"}]`, patchType...)
	if given["owner"] != string(c.Projs["other"]) {
		t.Errorf("owner: %v", given["owner"])
	}
	c.want(404, "GET", "/v2/images/"+ids["private"], "demo", "")
}

// A shared image is seen by its members, and listed for them once they accept it. Only they decide that.
func TestMembers_ShareAnImage(t *testing.T) {
	c := newCloud(t)
	id := c.queued("demo", `{"name":"s"}`)
	at, other := "/v2/images/"+id, string(c.Projs["other"])
	c.want(404, "GET", at, "other", "")
	if m := c.want(200, "POST", at+"/members", "demo", `{"member":"`+other+`"}`); m["status"] != "pending" || m["member_id"] != other {
		t.Errorf("member: %v", m)
	}
	c.want(409, "POST", at+"/members", "demo", `{"member":"`+other+`"}`)
	c.want(400, "POST", at+"/members", "demo", `{}`)
	c.want(400, "POST", at+"/members", "demo", `{"member":5}`)
	c.want(403, "POST", at+"/members", "other", `{"member":"x"}`)
	c.want(200, "GET", at, "other", "")
	if got := c.names("other", "") + c.names("other", "?visibility=shared&member_status=pending"); got != "s" {
		t.Errorf("listed before it is accepted: %q", got)
	}
	c.want(403, "PUT", at+"/members/"+other, "demo", `{"status":"accepted"}`)
	c.want(400, "PUT", at+"/members/"+other, "other", `{"status":"perhaps"}`)
	if m := c.want(200, "PUT", at+"/members/"+other, "other", `{"status":"accepted"}`); m["status"] != "accepted" {
		t.Errorf("member: %v", m)
	}
	if got := c.names("other", ""); got != "s" {
		t.Errorf("listed: %q", got)
	}
	c.want(200, "POST", at+"/members", "demo", `{"member":"third"}`)
	if n := len(c.want(200, "GET", at+"/members", "other", "")["members"].([]any)); n != 1 {
		t.Errorf("a member sees %d members", n)
	}
	c.want(404, "GET", at+"/members/third", "other", "")
	c.want(404, "GET", at+"/members/fourth", "demo", "")
	c.want(200, "GET", at+"/members/third", "demo", "")
	c.want(403, "DELETE", at+"/members/third", "other", "")
	c.want(204, "DELETE", at+"/members/"+other, "demo", "")
	c.want(404, "DELETE", at+"/members/"+other, "demo", "")
	c.want(404, "GET", at, "other", "")
	c.want(200, "PATCH", at, "demo", `[{"op":"replace","path":"/visibility","value":"private"}]`, patchType...)
	for _, x := range [][2]string{{"GET", ""}, {"POST", `{"member":"x"}`}} {
		c.want(403, x[0], at+"/members", "demo", x[1])
	}
}

// No list of a filter makes its reader panic or give a text with its quotes.
// An image that names snapshots instead of having bytes has none, which is not to be unsure how many: its size is 0, as Glance has it of
// the images of servers that boot from volumes. One that waits for its bytes has no size yet.
func TestList_SizesOfImagesWithoutBytes(t *testing.T) {
	c := newCloud(t)
	waiting := c.queued("demo", `{"name":"waiting"}`)
	names := c.image(waiting).Clone()
	names.ID, names.Revision, names.Name, names.Status = cluster.ImageID(rest.NewUUID()), 0, "names", cluster.ImageActive
	names.Properties = map[string]string{"block_device_mapping": `[{"source_type":"snapshot","destination_type":"volume","boot_index":0}]`}
	c.Must(&cluster.PutImage{Image: *names})
	if i := c.want(200, "GET", "/v2/images/"+waiting, "demo", ""); i["size"] != nil || i["checksum"] != nil {
		t.Errorf("one that waits has size %v and checksum %v", i["size"], i["checksum"])
	}
	i := c.want(200, "GET", "/v2/images/"+string(names.ID), "demo", "")
	if i["size"] != 0.0 || i["checksum"] != "d41d8cd98f00b204e9800998ecf8427e" || i["os_hash_algo"] != "sha512" || i["virtual_size"] != nil {
		t.Errorf("one that names snapshots is %v", i)
	}
	for query, want := range map[string]string{"size_max=0": "names", "size_min=0": "names", "checksum=d41d8cd98f00b204e9800998ecf8427e": "names"} {
		if got := c.names("demo", "?"+query); strings.TrimSpace(got) != want {
			t.Errorf("%s lists %q", query, got)
		}
	}
	if r := c.call("GET", "/v2/images/"+string(names.ID)+"/file", "demo", ""); r.StatusCode != 204 {
		t.Errorf("its bytes: status %d", r.StatusCode)
	}
}

func FuzzSplitList(f *testing.F) {
	for _, s := range []string{`a,b`, `"a,b",c`, `"a\"b"`, `"`, `""`, ``, `a"b`, `"a"b`, `,`, `"\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := splitList(s)
		if err == nil && len(list) == 0 {
			t.Errorf("%q: no texts", s)
		}
		if _, err := chosen(nil, url.Values{"name": {"in:" + s}, "created_at": {s}, "size_min": {s}}); err == nil && s == "" {
			t.Error("an empty time is one")
		}
	})
}
