package image

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// waits checks that an image is as it was before any upload.
func (c *cloud) waits(id string) {
	c.t.Helper()
	i := c.image(id)
	if i.Status != cluster.ImageQueued || i.Data != nil || i.Properties[uploadTag] != "" {
		c.t.Errorf("image is %s with data %v and tag %q instead of waiting for an upload", i.Status, i.Data, i.Properties[uploadTag])
	}
	if n := len(c.store.blobs); n != 0 {
		c.t.Errorf("%d blobs stayed", n)
	}
}

// What came is what the record says, and what comes back.
func TestUpload_BytesComeBackWithTheirSums(t *testing.T) {
	c := newCloud(t)
	data := strings.Repeat("kilonova", 1000)
	id := c.active("demo", rawImage, data)
	body := c.want(200, "GET", "/v2/images/"+id, "demo", "")
	if body["status"] != "active" || body["size"] != 8000.0 || body["virtual_size"] != 8000.0 || body["os_hash_algo"] != "sha512" {
		t.Errorf("image: %v", body)
	}
	res := c.call("GET", "/v2/images/"+id+"/file", "demo", "")
	got, err := io.ReadAll(res.Body)
	if err != nil || string(got) != data {
		t.Errorf("downloaded %d bytes, %v", len(got), err)
	}
	sum := md5.Sum(got)
	if m := hex.EncodeToString(sum[:]); body["checksum"] != m || res.Header.Get("Content-Md5") != m {
		t.Errorf("checksum %v, Content-MD5 %s, is %s", body["checksum"], res.Header.Get("Content-Md5"), m)
	}
	if i := c.image(id); len(i.Data.Nodes) != 1 || i.Properties[uploadTag] != "" {
		t.Errorf("record: %+v", i)
	}
}

// header is a qcow2 header (version 2) whose backing file name has n bytes.
func header(n byte) string {
	h := make([]byte, 1<<17)
	copy(h, "QFI\xfb\x00\x00\x00\x02")
	h[15], h[19] = 0x68, n
	h[23] = 16          // cluster bits
	h[29] = 0x10        // virtual size 1 MiB
	h[39] = 1           // L1 entries
	h[45] = 1           // L1 table at 64 KiB
	h[53], h[59] = 1, 1 // refcount table
	copy(h[0x68:], "/etc/passwd")
	return string(h)
}

// An upload that is refused, for whatever reason, leaves the record waiting and nothing in the store.
func TestUpload_RefusedLeavesNothing(t *testing.T) {
	raw := `{"disk_format":"raw","container_format":"bare"}`
	for name, x := range map[string]struct {
		record, data string
		headers      []string
		prepare      func(*cloud)
		status       int
		says         string
	}{
		"a qcow2 that claims to be raw":       {record: raw, data: header(0), status: 400, says: "claims to be raw and is qcow2"},
		"a raw that claims to be qcow2":       {record: `{"disk_format":"qcow2","container_format":"bare"}`, data: "plain", status: 400, says: "claims to be qcow2"},
		"an empty qcow2":                      {record: `{"disk_format":"qcow2","container_format":"bare"}`, status: 400, says: "claims to be qcow2"},
		"a backing file":                      {record: `{"disk_format":"qcow2","container_format":"bare"}`, data: header(11), status: 400, says: "backing file"},
		"a format that cannot be looked into": {record: `{"disk_format":"ploop","container_format":"bare"}`, data: "x", status: 400, says: "not supported"},
		"a record without formats":            {record: `{}`, data: "x", status: 400, says: "Properties disk_format, container_format must be set prior to saving data."},
		"more than an image may have":         {record: raw, data: strings.Repeat("x", 1<<20+1), status: 413, says: "too large"},
		"another Content-MD5":                 {record: raw, data: "x", headers: []string{"Content-MD5", strings.Repeat("0", 32)}, status: 400, says: "corrupted"},
		"another sum than the client took": {
			record: `{"disk_format":"raw","container_format":"bare","owner_specified.openstack.sha256":"` + strings.Repeat("0", 64) + `"}`,
			data:   "x", status: 400, says: "corrupted",
		},
		"another kind of body": {record: raw, data: "x", headers: []string{"Content-Type", "text/plain"}, status: 415, says: "text/plain is not supported"},
		"a full disk":          {record: raw, data: "x", prepare: func(c *cloud) { c.store.full = true }, status: 413, says: "Image storage media is full: the disk of node-1 is full"},
		"too few nodes":        {record: raw, data: "x", prepare: func(c *cloud) { c.store.alone = true }, status: 503, says: "1 of 3 nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			if x.prepare != nil {
				x.prepare(c)
			}
			id := c.queued("demo", x.record)
			body := c.want(x.status, "PUT", "/v2/images/"+id+"/file", "demo", x.data, append(append([]string{}, octets...), x.headers...)...)
			if m, _ := body["message"].(string); !strings.Contains(m, x.says) {
				t.Errorf("message %q does not say %q", m, x.says)
			}
			if len(c.store.blobs) > 0 && x.status != 503 && x.says != "corrupted" {
				t.Errorf("%d blobs stayed", len(c.store.blobs))
			}
			c.store.forget() // what was copied too seldom, or sums wrong, is swept by the node
			c.waits(id)
		})
	}
}

// until waits for an image to be in a status, but not for ever.
func (c *cloud) until(id string, status cluster.ImageStatus) {
	for deadline := time.Now().Add(5 * time.Second); c.image(id).Status != status && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// A client that goes away in the middle of its upload finds the image waiting when it comes back.
func TestUpload_ClientThatGoesAwayCanUploadAgain(t *testing.T) {
	c := newCloud(t)
	id := c.queued("demo", rawImage)
	srv := httptest.NewServer(c.handler)
	defer srv.Close()
	pr, pw := io.Pipe()
	req, err := http.NewRequest("PUT", srv.URL+Path+"/v2/images/"+id+"/file", pr)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 100
	req.Header.Set("Content-Type", octets[1])
	req.Header.Set(rest.TokenHeader, "demo")
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = pw.Write([]byte("half of it"))
		c.until(id, cluster.ImageSaving)
		pw.CloseWithError(errors.New("unplugged"))
	})
	if res, err := http.DefaultClient.Do(req); err == nil {
		res.Body.Close()
		t.Errorf("an upload of half an image: %s", res.Status)
	}
	wg.Wait()
	c.until(id, cluster.ImageQueued)
	c.waits(id)
	c.want(204, "PUT", "/v2/images/"+id+"/file", "demo", "all of it", octets...)
}

// A client that stays connected and sends nothing does not keep the image for ever.
func TestUpload_StalledOneIsEnded(t *testing.T) {
	c := newCloud(t)
	c.server.stall = 20 * time.Millisecond
	id := c.queued("demo", rawImage)
	srv := httptest.NewServer(c.handler)
	defer srv.Close()
	pr, pw := io.Pipe()
	defer pw.Close()
	req, err := http.NewRequest("PUT", srv.URL+Path+"/v2/images/"+id+"/file", pr)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 100
	req.Header.Set("Content-Type", octets[1])
	req.Header.Set(rest.TokenHeader, "demo")
	if res, err := http.DefaultClient.Do(req); err == nil {
		res.Body.Close()
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("status %s", res.Status)
		}
	}
	c.waits(id)
}

// While an upload goes on, a second one is refused, and changes of the record do no harm to the first.
func TestUpload_OneAtATime(t *testing.T) {
	c := newCloud(t)
	id := c.queued("demo", rawImage)
	at := "/v2/images/" + id
	c.store.imported = func() {
		if i := c.image(id); i.Status != cluster.ImageSaving {
			t.Errorf("status %s during the upload", i.Status)
		}
		body := c.want(409, "PUT", at+"/file", "demo", "second", octets...)
		if m := body["message"].(string); !strings.HasPrefix(m, "Image status transition from saving to saving is not allowed") {
			t.Errorf("message %q", m)
		}
		c.want(204, "GET", at+"/file", "demo", "")
		shown := c.want(200, "PATCH", at, "demo", `[{"op":"add","path":"/name","value":"renamed"}]`, patchType...)
		for name := range shown {
			if strings.HasPrefix(name, reserved) {
				t.Errorf("%s is shown", name)
			}
		}
	}
	c.want(204, "PUT", at+"/file", "demo", "first", octets...)
	if i := c.image(id); i.Status != cluster.ImageActive || i.Name != "renamed" || i.Data.Size != 5 {
		t.Errorf("record: %+v", i)
	}
}

// Who deletes an image during its upload gets what they want, and the uploader is told.
func TestUpload_DeletedMeanwhileIsGone(t *testing.T) {
	c := newCloud(t)
	id := c.queued("demo", rawImage)
	c.store.imported = func() { c.want(204, "DELETE", "/v2/images/"+id, "demo", "") }
	c.want(410, "PUT", "/v2/images/"+id+"/file", "demo", "data", octets...)
	c.want(404, "GET", "/v2/images/"+id, "demo", "")
}

// saving leaves an image as an upload leaves it whose node died.
func (c *cloud) saving(node cluster.NodeID) string {
	id := c.queued("demo", `{"disk_format":"raw","container_format":"bare"}`)
	i := c.image(id).Clone()
	i.Status, i.Properties = cluster.ImageSaving, map[string]string{uploadTag: string(node) + " " + rest.NewUUID()}
	c.Must(&cluster.PutImage{Image: *i})
	return id
}

// An upload whose process died is taken over: at once when it was this node's, or that of a node that was removed, and after
// a while when it was another node's. Who was taken for dead can no longer finish.
func TestUpload_DeadOneIsTakenOver(t *testing.T) {
	c := newCloud(t)
	const join = cluster.TokenID("0123456789abcdef")
	c.Must(&cluster.PutJoinToken{Token: cluster.JoinToken{ID: join, Hash: cluster.Hash{1}, Uses: 1, Expires: cluster.At(time.Now().Add(time.Hour))}})
	own := c.saving(c.Node.ID)
	c.want(204, "PUT", "/v2/images/"+own+"/file", "demo", "data", octets...)
	removed := c.saving(cluster.NodeID(rest.NewUUID()))
	c.want(204, "PUT", "/v2/images/"+removed+"/file", "demo", "data", octets...)

	other := c.Node
	other.ID, other.Name, other.Address = cluster.NodeID(rest.NewUUID()), "node-2", "127.0.0.2"
	c.Must(&cluster.EnrolNode{Node: other, Token: join, Secret: cluster.Hash{1}})
	silent := c.saving(other.ID)
	c.want(409, "PUT", "/v2/images/"+silent+"/file", "demo", "data", octets...)
	before := c.image(silent)
	dead := &uploadClaim{s: c.server, tag: before.Properties[uploadTag], image: before}
	c.server.now = func() time.Time { return time.Now().Add(staleAfter + time.Minute) }
	c.want(204, "PUT", "/v2/images/"+silent+"/file", "demo", "data", octets...)
	if err := dead.finish(t.Context(), &cluster.ImageData{Root: cluster.Hash{1}, Size: 1}); cluster.CodeOf(err) != cluster.Conflict {
		t.Errorf("the dead upload finished: %v", err)
	}
	if err := dead.touch(t.Context()); err == nil {
		t.Error("the dead upload goes on")
	}
	if err := dead.giveUp(t.Context()); err != nil || c.image(silent).Status != cluster.ImageActive {
		t.Errorf("the dead upload gave up: %v; image is %s", err, c.image(silent).Status)
	}
}

// A long upload says that it goes on, so nobody takes it for dead.
func TestUpload_LongOneStaysAlive(t *testing.T) {
	c := newCloud(t)
	id := c.queued("demo", rawImage)
	u, err := c.server.claim(t.Context(), cluster.ImageID(id))
	if err != nil {
		t.Fatal(err)
	}
	before := c.image(id).Updated
	if err := u.touch(t.Context()); err != nil || c.image(id).Updated <= before {
		t.Errorf("touch: %v, updated %v", err, c.image(id).Updated-before)
	}
	c.LoseQuorum(true)
	if err := u.touch(t.Context()); err != nil {
		t.Errorf("without a quorum nobody else can take it, but: %v", err)
	}
	c.LoseQuorum(false)
	ctx, stop := u.keepAlive(t.Context())
	stop()
	if ctx.Err() == nil {
		t.Error("keepAlive goes on")
	}
}

// Without a quorum an upload is not acknowledged, and the image can be uploaded once there is one.
func TestUpload_WithoutQuorumIsUnknown(t *testing.T) {
	c := newCloud(t)
	id := c.queued("demo", rawImage)
	c.store.imported = func() { c.LoseQuorum(true) }
	c.want(503, "PUT", "/v2/images/"+id+"/file", "demo", "data", octets...)
	c.LoseQuorum(false)
	c.store.imported = nil
	c.want(204, "PUT", "/v2/images/"+id+"/file", "demo", "data", octets...)
}

// Some formats can be kept although servers do not boot from them, and three-part images have no size of their own.
func TestUpload_PartsOfAmazonsImages(t *testing.T) {
	c := newCloud(t)
	kernel := c.active("demo", `{"disk_format":"aki","container_format":"aki"}`, "\x7fELF kernel")
	i := c.want(200, "GET", "/v2/images/"+kernel, "demo", "")
	if i["virtual_size"] != nil || i["size"] != 11.0 {
		t.Errorf("kernel: %v", i)
	}
	c.want(201, "POST", "/v2/images", "demo", `{"disk_format":"ami","container_format":"ami","kernel_id":"`+kernel+`","ramdisk_id":null}`)
	c.want(400, "POST", "/v2/images", "demo", `{"kernel_id":"vmlinuz"}`)
}
