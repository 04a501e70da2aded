package image

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// What a client may not say about an image is refused with the reason, and nothing is made.
func TestCreate_BadInputIsRefused(t *testing.T) {
	long := strings.Repeat("x", 256)
	for body, want := range map[string]struct {
		status int
		says   string
	}{
		``:                                 {400, "None is not of type 'object'"},
		`{`:                                {400, "Malformed"},
		`[]`:                               {400, "not of type 'object'"},
		`null`:                             {400, "None is not of type 'object'"},
		`{"name":5}`:                       {400, "5 is not of type 'null', 'string'"},
		`{"name":"` + long + `"}`:          {400, "is too long"},
		`{"name":"a\u0000b"}`:              {400, "control character"},
		`{"id":"../../etc/passwd"}`:        {400, "'../../etc/passwd' does not match the pattern of a UUID"},
		`{"id":null}`:                      {400, "UUID"},
		`{"protected":"yes"}`:              {400, "'yes' is not of type 'boolean'"},
		`{"min_disk":"1"}`:                 {400, "'1' is not of type 'integer'"},
		`{"min_disk":1.5}`:                 {400, "1.5 is not of type 'integer'"},
		`{"min_ram":-1}`:                   {400, "-1 is not between 0 and"},
		`{"min_ram":99999999999999999999}`: {400, "not of type 'integer'"},
		`{"visibility":"secret"}`:          {400, "'secret' is not one of"},
		`{"visibility":null}`:              {400, "None is not of type"},
		`{"container_format":"box"}`:       {400, "'box' is not one of [None, 'ami'"},
		`{"tags":"one"}`:                   {400, "'one' is not of type 'array'"},
		`{"tags":[1]}`:                     {400, "not of type 'array' of strings"},
		`{"tags":["` + long + `"]}`:        {400, "too long"},
		`{"hw_disk_bus":5}`:                {400, "5 is not of type 'string'"},
		`{"hw_disk_bus":null}`:             {400, "None is not of type 'string'"},
		`{"":"x"}`:                         {400, "too short"},
		`{"a\u0000":"x"}`:                  {400, "control character"},
		`{"status":"active"}`:              {403, "Attribute 'status' is read-only."},
		`{"checksum":null}`:                {403, "Attribute 'checksum' is read-only."},
		`{"os_glance_upload":"x"}`:         {403, "Attribute 'os_glance_upload' is reserved."},
		`{"deleted":true}`:                 {403, "Attribute 'deleted' is reserved."},
		`{"locations":[]}`:                 {403, "It's not allowed to update locations"},
		`{"owner":"somebody"}`:             {403, "You are not permitted to create images owned by 'somebody'."},
		`{"a":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`: {400, "nests deeper"},
		`{"a":"` + strings.Repeat("x", rest.MaxBody) + `"}`:                     {413, "Larger than max_request_body_size"},
	} {
		c := newCloud(t)
		res := c.want(want.status, "POST", "/v2/images", "demo", body)
		if m, _ := res["message"].(string); !strings.Contains(m, want.says) {
			t.Errorf("%.60s: message %q does not say %q", body, m, want.says)
		}
		for i := range c.Local().Images() {
			t.Errorf("%.60s: made %+v", body, i)
		}
	}
}

// More tags and properties than Glance's quotas allow are 413.
func TestCreate_QuotasOfTagsAndProperties(t *testing.T) {
	c := newCloud(t)
	var tags, properties []string
	for n := range maxTags + 1 {
		tags, properties = append(tags, fmt.Sprintf(`"t%d"`, n)), append(properties, fmt.Sprintf(`"p%d":"x"`, n))
	}
	c.want(413, "POST", "/v2/images", "demo", `{"tags":[`+strings.Join(tags, ",")+`]}`)
	c.want(413, "POST", "/v2/images", "demo", `{`+strings.Join(properties, ",")+`}`)
	id := c.queued("demo", `{"tags":["t0",`+strings.Join(tags[:maxTags], ",")+`],`+strings.Join(properties[1:], ",")+`}`)
	if n := len(c.image(id).Tags); n != maxTags {
		t.Errorf("%d tags", n)
	}
	c.want(413, "PUT", "/v2/images/"+id+"/tags/more", "demo", "")
	c.want(413, "PATCH", "/v2/images/"+id, "demo", `[{"op":"add","path":"/more","value":"x"}]`, patchType...)
}

// A client may choose the ID of its image. A second image of that ID is a conflict, a repeated request is not.
func TestCreate_ChosenID(t *testing.T) {
	c := newCloud(t)
	body := `{"id":"6BB5EE84-0000-4444-8888-AAAAAAAAAAAA","name":"x"}`
	const id = "6bb5ee84-0000-4444-8888-aaaaaaaaaaaa"
	for range 2 {
		if got := c.want(201, "POST", "/v2/images", "demo", body, rest.IdempotencyKeyHeader, "once")["id"]; got != id {
			t.Errorf("ID %v", got)
		}
	}
	res := c.want(409, "POST", "/v2/images", "demo", body)
	if m := res["message"].(string); !strings.HasPrefix(m, "Image ID "+id+" already exists!") {
		t.Errorf("message %q", m)
	}
	one := c.want(201, "POST", "/v2/images", "demo", `{"name":"y"}`, rest.IdempotencyKeyHeader, "twice")["id"]
	two := c.want(201, "POST", "/v2/images", "demo", `{"name":"y"}`, rest.IdempotencyKeyHeader, "twice")["id"]
	if one != two {
		t.Errorf("a repeated request made %v and %v", one, two)
	}
}

// Changes are applied one after the other, all or none.
func TestPatch_Operations(t *testing.T) {
	for change, want := range map[string]struct {
		status int
		says   string
	}{
		`[]`: {200, ""},
		`[{"op":"replace","path":"/name","value":null},{"op":"replace","path":"/os_distro","value":"debian"}]`: {200, ""},
		`[{"op":"add","path":"/a~1b~0c","value":"x"},{"op":"remove","path":"/a~1b~0c"}]`:                       {200, ""},
		`[{"op":"replace","path":"/min_disk","value":3},{"op":"replace","path":"/disk_format","value":"iso"}]`: {200, ""},
		`{}`:                             {400, "must be a JSON array of operation objects"},
		`[5]`:                            {400, "Operations must be JSON objects."},
		`[{}]`:                           {400, "Invalid operation: ``"},
		`[{"op":"move","path":"/name"}]`: {400, "Invalid operation: `move`"},
		`[{"op":"add","value":"x"}]`:     {400, "Unable to find 'path'"},
		`[{"op":"add","path":"/name"}]`:  {400, `requires a member named "value"`},
		`[{"op":"add","path":"name","value":"x"}]`:                           {400, "does not start with"},
		`[{"op":"add","path":"/a//b","value":"x"}]`:                          {400, "contains adjacent"},
		`[{"op":"add","path":"/a/","value":"x"}]`:                            {400, "ends with"},
		`[{"op":"add","path":"/a~2","value":"x"}]`:                           {400, "recognized escape sequence"},
		`[{"op":"add","path":"/tags/0","value":"x"}]`:                        {400, "Invalid JSON pointer for this resource"},
		`[{"op":"replace","path":"/nope","value":"x"}]`:                      {409, "Property nope does not exist."},
		`[{"op":"remove","path":"/nope"}]`:                                   {409, "Property nope does not exist."},
		`[{"op":"remove","path":"/name"}]`:                                   {403, "Property name may not be removed."},
		`[{"op":"replace","path":"/id","value":"x"}]`:                        {403, "Attribute 'id' is read-only."},
		`[{"op":"add","path":"/status","value":"active"}]`:                   {403, "Attribute 'status' is read-only."},
		`[{"op":"add","path":"/os_glance_upload","value":"x"}]`:              {403, "reserved"},
		`[{"op":"remove","path":"/os_glance_upload"}]`:                       {403, "reserved"},
		`[{"op":"add","path":"/locations/-","value":{}}]`:                    {403, "locations"},
		`[{"op":"replace","path":"/visibility","value":"public"}]`:           {403, "publicize_image"},
		`[{"op":"replace","path":"/owner","value":"somebody"}]`:              {403, "modify_image"},
		`[{"op":"replace","path":"/min_disk","value":"3"}]`:                  {400, "not of type 'integer'"},
		`[{"op":"add","path":"/x","value":"1"},{"op":"remove","path":"/y"}]`: {409, "Property y does not exist."},
	} {
		c := newCloud(t)
		id := c.queued("demo", rawImage)
		before := c.image(id)
		res := c.want(want.status, "PATCH", "/v2/images/"+id, "demo", change, patchType...)
		if m, _ := res["message"].(string); !strings.Contains(m, want.says) {
			t.Errorf("%s: message %q does not say %q", change, m, want.says)
		}
		if want.status != 200 && c.image(id) != before {
			t.Errorf("%s: changed the image", change)
		}
	}
}

// The older form of a change is understood, too.
func TestPatch_OldForm(t *testing.T) {
	c := newCloud(t)
	id := c.queued("demo", rawImage)
	old := []string{"Content-Type", patchOld}
	at := "/v2/images/" + id
	body := c.want(200, "PATCH", at, "demo", `[{"add":"/x","value":"1"},{"replace":"/name","value":"new"},{"remove":"/os_distro"}]`, old...)
	if body["x"] != "1" || body["name"] != "new" || body["os_distro"] != nil {
		t.Errorf("image: %v", body)
	}
	c.want(409, "PATCH", at, "demo", `[{"add":"/x","value":"2"}]`, old...)
	c.want(409, "PATCH", at, "demo", `[{"add":"/name","value":"2"}]`, old...)
	c.want(400, "PATCH", at, "demo", `[{"add":"/y","remove":"/x","value":"2"}]`, old...)
	c.want(400, "PATCH", at, "demo", `[{"value":"2"}]`, old...)
}

// The formats of bytes that are here already cannot be changed.
func TestPatch_FormatsOfAnActiveImageStay(t *testing.T) {
	c := newCloud(t)
	id := c.active("demo", rawImage, "data")
	res := c.want(403, "PATCH", "/v2/images/"+id, "demo", `[{"op":"replace","path":"/disk_format","value":"qcow2"}]`, patchType...)
	if m := res["message"].(string); !strings.HasPrefix(m, "Attribute disk_format can be only replaced for a queued image.") {
		t.Errorf("message %q", m)
	}
}

// Tags come and go one by one, whatever characters they have.
func TestTags_OneByOne(t *testing.T) {
	c := newCloud(t)
	id := c.queued("demo", `{}`)
	at := "/v2/images/" + id + "/tags/"
	for _, tag := range []string{"one", "a%2Fb", "x%20y", "one"} {
		c.want(204, "PUT", at+tag, "demo", "")
	}
	if tags := strings.Join(c.image(id).Tags, ","); tags != "one,a/b,x y" {
		t.Errorf("tags: %q", tags)
	}
	c.want(204, "DELETE", at+"a%2Fb", "demo", "")
	c.want(404, "DELETE", at+"a%2Fb", "demo", "")
	c.want(400, "PUT", at+strings.Repeat("x", 256), "demo", "")
	c.want(403, "PUT", at+"two", "viewer", "")
}

// What is in use or protected stays; what is deleted is gone for everybody.
func TestDelete_OnlyWhatMayGo(t *testing.T) {
	c := newCloud(t)
	id := c.active("demo", rawImage, "data")
	at := "/v2/images/" + id
	c.want(403, "DELETE", at, "viewer", "")
	c.want(404, "DELETE", at, "other", "")
	c.want(200, "PATCH", at, "demo", `[{"op":"replace","path":"/protected","value":true}]`, patchType...)
	c.want(403, "DELETE", at, "demo", "")
	c.want(403, "DELETE", at, "admin", "")
	c.want(200, "PATCH", at, "admin", `[{"op":"replace","path":"/protected","value":false}]`, patchType...)
	c.want(204, "DELETE", at, "demo", "")
	c.want(404, "DELETE", at, "demo", "")
	c.want(404, "GET", at, "admin", "")
}

// No body makes the decoder of changes panic, and what it lets through names a member.
func FuzzParsePatch(f *testing.F) {
	for _, s := range []string{
		`[{"op":"add","path":"/a~1b","value":1}]`, `[{"add":"/x","value":null}]`, `[{"op":"remove","path":"/~"}]`, `[null]`, `{}`, `[{"op":5}]`,
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, body string, old bool) {
		operations, err := parsePatch([]byte(body), old)
		for _, o := range operations {
			if err == nil && (o.name == "" || o.op == "") {
				t.Errorf("%q: %+v", body, o)
			}
			e := &edit{image: &cluster.Image{}, caller: &rest.Caller{}}
			_ = o.apply(e) // must not panic
		}
	})
}
