package node

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/image"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/resttest"
	"github.com/kilonova/kilonova/virt/image/chunk"
)

// deaf is a peer that does not answer.
type deaf struct{ asked atomic.Int32 }

func (d *deaf) Chunk(context.Context, cluster.Hash) (io.ReadCloser, error) {
	d.asked.Add(1)
	return nil, errors.New("connection refused")
}

// liar is a peer that gives other bytes than it was asked for.
type liar struct{}

func (liar) Chunk(context.Context, cluster.Hash) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("lies")), nil
}

// testStore makes an imageStore of a node that knows its peers by name.
func testStore(t *testing.T, peers map[cluster.NodeID]chunk.Source) *imageStore {
	t.Helper()
	store, err := chunk.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return &imageStore{self: "here", store: store, log: slog.New(slog.DiscardHandler), peer: func(id cluster.NodeID) chunk.Source { return peers[id] }}
}

func anything(io.ReaderAt, int64) error { return nil }

// noise gives n bytes, different in every chunk.
func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16) ^ byte(i>>22)*31
	}
	return b
}

// A node that has nothing of an image gives it all the same: through it, from the peers, whichever of them is well.
func TestImageStore_BytesPassThroughFromPeers(t *testing.T) {
	peers := map[cluster.NodeID]chunk.Source{"liar": liar{}}
	silent := &deaf{}
	peers["deaf"] = silent
	there := testStore(t, nil)
	peers["there"] = there.store
	data := append(noise(2*chunk.Size+1000), make([]byte, chunk.Size)...)
	blob, err := there.Import(t.Context(), bytes.NewReader(data), int64(len(data)), 0, anything)
	if err != nil {
		t.Fatal(err)
	}
	here := testStore(t, peers)
	d := &cluster.ImageData{Root: blob.Root, Size: blob.Size, Nodes: []cluster.NodeID{"deaf", "here", "liar", "there"}}
	r, err := here.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := silent.asked.Load(); n > 1 {
		t.Errorf("a peer that does not answer was asked %d times while others do", n)
	}
	if here.store.Has(blob.Root) {
		t.Error("what passed through stayed")
	}
	d.Nodes = []cluster.NodeID{"deaf", "liar"}
	if _, err := here.Open(t.Context(), d); cluster.CodeOf(err) != cluster.Unavailable {
		t.Errorf("no node has it: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	d.Nodes = []cluster.NodeID{"there"}
	if r, err = here.Open(ctx, d); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("read after the end of the request: %v", err)
	}
}

// What Import refuses has the code that the image service goes by, and nothing of it can be opened.
func TestImageStore_RefusedLeavesNothing(t *testing.T) {
	s := testStore(t, nil)
	refusal := cluster.Errorf(cluster.Invalid, "it lies")
	for name, x := range map[string]struct {
		size, limit int64
		check       func(io.ReaderAt, int64) error
		code        cluster.Code
	}{
		"too large":   {-1, 10, anything, cluster.TooLarge},
		"truncated":   {5000, 0, anything, cluster.Invalid},
		"not allowed": {1000, 0, func(io.ReaderAt, int64) error { return refusal }, cluster.Invalid},
	} {
		if _, err := s.Import(t.Context(), bytes.NewReader(noise(1000)), x.size, x.limit, x.check); cluster.CodeOf(err) != x.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if swept, err := s.sweepOnce(t.Context(), resttest.NewCloud(t).Local(), 0); err != nil || swept.Files != 0 {
		t.Errorf("something stayed: %+v %v", swept, err)
	}
}

// The check sees all the bytes, before they are an image.
func TestImageStore_CheckReadsWhatCame(t *testing.T) {
	s := testStore(t, nil)
	data := noise(chunk.Size + 10)
	_, err := s.Import(t.Context(), bytes.NewReader(data), -1, 0, func(r io.ReaderAt, size int64) error {
		got := make([]byte, size)
		if _, err := r.ReadAt(got, 0); err != nil {
			return err
		}
		if !bytes.Equal(got, data) {
			return errors.New("other bytes")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Sweeping removes what no image needs, once it is old enough, and nothing else.
func TestImageStore_SweepKeepsWhatImagesNeed(t *testing.T) {
	s, c := testStore(t, nil), resttest.NewCloud(t)
	var roots []cluster.Hash
	for n := range 2 {
		blob, err := s.Import(t.Context(), strings.NewReader(fmt.Sprint("image ", n)), -1, 0, anything)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, blob.Root)
	}
	c.Must(&cluster.PutImage{Image: cluster.Image{
		ID: cluster.ImageID(rest.NewUUID()), Status: cluster.ImageActive, Visibility: cluster.Shared,
		Data: &cluster.ImageData{Root: roots[0], Size: 7, Nodes: []cluster.NodeID{c.Node.ID}},
	}})
	if swept, err := s.sweepOnce(t.Context(), c.Local(), time.Hour); err != nil || swept.Files != 0 {
		t.Errorf("young chunks were removed: %+v %v", swept, err)
	}
	if swept, err := s.sweepOnce(t.Context(), c.Local(), 0); err != nil || swept.Files != 2 { // a chunk and its manifest
		t.Errorf("swept %+v, %v", swept, err)
	}
	if !s.store.Complete(roots[0]) || s.store.Complete(roots[1]) {
		t.Error("the wrong image was removed")
	}
}

// An image is deleted while an instance that was made from it lives on. Its bytes stay as long as the instance does: after a reboot of the host
// the instance is started from them. Then the bytes and the file that its disk lay on go.
func TestImageStore_SweepKeepsWhatInstancesLieOn(t *testing.T) {
	s, c := testStore(t, nil), resttest.NewCloud(t)
	s.self = c.Node.ID
	s.blobs = newBlobs(s.self, s.store, nil, c.Local, s.log)
	blob, err := s.Import(t.Context(), strings.NewReader("image"), -1, 0, anything)
	if err != nil {
		t.Fatal(err)
	}
	img := cluster.ImageID(rest.NewUUID())
	data := &cluster.ImageData{Root: blob.Root, Size: blob.Size, Nodes: []cluster.NodeID{c.Node.ID}}
	c.Must(&cluster.PutImage{Image: cluster.Image{ID: img, Status: cluster.ImageActive, Visibility: cluster.Public, Data: data,
		Format: cluster.ImageFormat{Disk: "raw", Container: "bare"}}})
	id := cluster.InstanceID(rest.NewUUID())
	c.Must(&cluster.CreateInstances{Request: "req-1", Project: c.Projs["admin"], User: c.Users["admin"],
		Spec:  cluster.Spec{Image: img, Flavor: cluster.Flavor{ID: "1", Name: "tiny", VCPUs: 1, MemoryMiB: 64, DiskGiB: 1}},
		Items: []cluster.NewInstance{{ID: id, Name: "web", Hostname: "web", Node: c.Node.ID, Explanation: &cluster.Explanation{Node: c.Node.ID}}}})
	boot := cluster.BootImage{Part: cluster.BootDisk, Image: img, Root: blob.Root, Format: "raw"}
	if err := s.blobs.Prepare(t.Context(), boot, func(string) {}); err != nil {
		t.Fatal(err)
	}
	c.Must(&cluster.ReportInstances{Node: c.Node.ID, Reports: []cluster.InstanceReport{{ID: id, Generation: 1, Epoch: 1, Power: cluster.PowerRunning}}})
	c.Must(&cluster.DeleteImage{ID: img})
	if swept, err := s.sweepOnce(t.Context(), c.Local(), 0); err != nil || swept.Files != 0 {
		t.Errorf("under an instance, swept %+v, %v", swept, err)
	}
	c.Must(&cluster.DeleteInstance{ID: id, Request: "req-2"})
	if swept, err := s.sweepOnce(t.Context(), c.Local(), 0); err != nil || swept.Files != 0 {
		t.Errorf("while its disk is being removed, swept %+v, %v", swept, err)
	}
	if _, _, ok := s.blobs.Base(boot); !ok {
		t.Error("the file under the disk went before the disk")
	}
	c.Must(&cluster.ReportInstances{Node: c.Node.ID, Reports: []cluster.InstanceReport{{ID: id, Epoch: 1, Gone: true}}})
	if swept, err := s.sweepOnce(t.Context(), c.Local(), 0); err != nil || swept.Files != 3 { // a chunk, its manifest, and the file
		t.Errorf("when it is gone, swept %+v, %v", swept, err)
	}
	if _, _, ok := s.blobs.Base(boot); ok {
		t.Error("a file that is gone is still counted on")
	}
}

// An instance is being mended from another image, which its owner deletes. It stays for as long as the instance boots from it.
func TestImageStore_SweepKeepsWhatInstancesAreRescuedFrom(t *testing.T) {
	s, c := testStore(t, nil), resttest.NewCloud(t)
	s.self = c.Node.ID
	s.blobs = newBlobs(s.self, s.store, nil, c.Local, s.log)
	made := func(content string) (cluster.ImageID, cluster.BootImage) {
		blob, err := s.Import(t.Context(), strings.NewReader(content), -1, 0, anything)
		if err != nil {
			t.Fatal(err)
		}
		id := cluster.ImageID(rest.NewUUID())
		c.Must(&cluster.PutImage{Image: cluster.Image{ID: id, Status: cluster.ImageActive, Visibility: cluster.Public,
			Data:   &cluster.ImageData{Root: blob.Root, Size: blob.Size, Nodes: []cluster.NodeID{c.Node.ID}},
			Format: cluster.ImageFormat{Disk: "raw", Container: "bare"}}})
		boot := cluster.BootImage{Part: cluster.BootDisk, Image: id, Root: blob.Root, Format: "raw"}
		if err := s.blobs.Prepare(t.Context(), boot, func(string) {}); err != nil {
			t.Fatal(err)
		}
		return id, boot
	}
	img, _ := made("image")
	tools, rescue := made("tools")
	id := cluster.InstanceID(rest.NewUUID())
	c.Must(&cluster.CreateInstances{Request: "req-1", Project: c.Projs["admin"], User: c.Users["admin"],
		Spec:  cluster.Spec{Image: img, Flavor: cluster.Flavor{ID: "1", Name: "tiny", VCPUs: 1, MemoryMiB: 64, DiskGiB: 1}},
		Items: []cluster.NewInstance{{ID: id, Name: "web", Hostname: "web", Node: c.Node.ID, Explanation: &cluster.Explanation{Node: c.Node.ID}}}})
	c.Must(&cluster.ReportInstances{Node: c.Node.ID, Reports: []cluster.InstanceReport{{ID: id, Generation: 1, Epoch: 1, Power: cluster.PowerRunning}}})
	c.Must(&cluster.RescueInstance{ID: id, Image: tools})
	c.Must(&cluster.DeleteImage{ID: tools})
	swept, err := s.sweepOnce(t.Context(), c.Local(), 0)
	if _, _, ok := s.blobs.Base(rescue); err != nil || swept.Files != 0 || !ok {
		t.Errorf("swept %+v, %v; the file under the rescue disk is there: %v", swept, err, ok)
	}
}

// repeating gives size bytes: the same block over and over.
type repeating struct {
	block []byte
	size  int64
	at    int64
}

func (r *repeating) Read(p []byte) (int, error) {
	if r.at == r.size {
		return 0, io.EOF
	}
	n := copy(p, r.block[r.at%int64(len(r.block)):])
	n = int(min(int64(n), r.size-r.at))
	r.at += int64(n)
	return n, nil
}

// one copies nothing: this node is the cluster.
type one struct{ id cluster.NodeID }

func (o one) Replicate(context.Context, cluster.Hash) ([]cluster.NodeID, error) {
	return []cluster.NodeID{o.id}, nil
}

// An image of 256 MiB goes in and comes out over HTTP, and the node's memory does not grow with it.
func TestImageStore_LargeUploadNeedsLittleMemory(t *testing.T) {
	const size, most = 256 << 20, 64 << 20
	c, s := resttest.NewCloud(t), testStore(t, nil)
	api := image.Router(image.Config{Backend: c, Verifier: c, Node: c.Node.ID, Store: s, Copies: one{c.Node.ID}})
	srv := httptest.NewServer(rest.Service{Name: "image", Errors: rest.GlanceErrors, Log: slog.New(slog.DiscardHandler)}.Wrap(http.StripPrefix(image.Path, api)))
	defer srv.Close()
	do := func(method, path, contentType string, body io.Reader) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+image.Path+path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		req.Header.Set(rest.TokenHeader, "demo")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	id := rest.NewUUID()
	do("POST", "/v2/images", "application/json", strings.NewReader(`{"id":"`+id+`","disk_format":"raw","container_format":"bare"}`)).Body.Close()

	// What earlier tests left counts, too, and lets the heap grow by its double.
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	peak, stop := watchHeap(t)
	block := noise(8 << 20)
	up := do("PUT", "/v2/images/"+id+"/file", "application/octet-stream", &repeating{block: block, size: size})
	up.Body.Close()
	down := do("GET", "/v2/images/"+id+"/file", "", nil)
	sum := md5.New()
	n, err := io.Copy(sum, down.Body)
	down.Body.Close()
	stop()
	if up.StatusCode != 204 || down.StatusCode != 200 || n != size || err != nil {
		t.Fatalf("upload %s, download %s of %d bytes, %v", up.Status, down.Status, n, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != down.Header.Get("Content-Md5") {
		t.Errorf("checksum %s, Content-MD5 %s", got, down.Header.Get("Content-Md5"))
	}
	if grown := int64(peak.Load()) - int64(before.HeapInuse); grown > most {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	} else {
		t.Logf("the heap grew by %d MiB", grown>>20)
	}
}

// watchHeap notes the largest heap until stop is called.
func watchHeap(t *testing.T) (peak *atomic.Uint64, stop func()) {
	t.Helper()
	peak, done, ended := new(atomic.Uint64), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			peak.Store(max(peak.Load(), now.HeapInuse))
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return peak, func() { close(done); <-ended }
}
