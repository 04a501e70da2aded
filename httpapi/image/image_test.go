package image

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/resttest"
)

// memory is a Store and a Replicator that keeps everything in memory, and fails on demand.
type memory struct {
	nodes []cluster.NodeID // that every blob is on

	mu       sync.Mutex
	blobs    map[cluster.Hash][]byte
	full     bool   // Import finds no room
	alone    bool   // Replicate finds no other node
	torn     bool   // what Open gives ends in an error
	imported func() // called when the bytes have come
}

func (m *memory) Import(ctx context.Context, r io.Reader, size, limit int64, check func(io.ReaderAt, int64) error) (Blob, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case m.full:
		return Blob{}, cluster.Errorf(cluster.NoRoom, "the disk of node-1 is full")
	case err != nil:
		return Blob{}, err
	case int64(len(data)) > limit:
		return Blob{}, tooLarge(limit)
	case size >= 0 && int64(len(data)) < size:
		return Blob{}, io.ErrUnexpectedEOF
	}
	if m.imported != nil {
		m.imported()
	}
	if err := ctx.Err(); err != nil {
		return Blob{}, err
	}
	if err := check(bytes.NewReader(data), int64(len(data))); err != nil {
		return Blob{}, err
	}
	one, two, five := md5.Sum(data), sha256.Sum256(data), sha512.Sum512(data)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[two] = data
	return Blob{Root: two, Size: int64(len(data)), MD5: hex.EncodeToString(one[:]), SHA256: hex.EncodeToString(two[:]), SHA512: hex.EncodeToString(five[:])}, nil
}

// forget loses every blob.
func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.blobs)
}

// broken gives some bytes and then an error.
type broken struct{ *bytes.Reader }

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off > 0 {
		return 0, io.ErrClosedPipe
	}
	return b.Reader.ReadAt(p[:1], 0)
}

func (m *memory) Open(_ context.Context, d *cluster.ImageData) (*io.SectionReader, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.blobs[d.Root]
	switch {
	case !ok:
		return nil, cluster.Errorf(cluster.Unavailable, "No node that has the image answers.")
	case m.torn:
		return io.NewSectionReader(broken{bytes.NewReader(data)}, 0, int64(len(data))), nil
	}
	return io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))), nil
}

func (m *memory) Replicate(context.Context, cluster.Hash) ([]cluster.NodeID, error) {
	if m.alone {
		return nil, cluster.Errorf(cluster.Unavailable, "the image could be copied to 1 of 3 nodes only")
	}
	return append([]cluster.NodeID(nil), m.nodes...), nil
}

// cloud is a cloud with its image service.
type cloud struct {
	*resttest.Cloud
	t       testing.TB
	store   *memory
	server  *server
	handler http.Handler
}

func newCloud(t testing.TB) *cloud {
	c := &cloud{Cloud: resttest.NewCloud(t), t: t, store: &memory{blobs: map[cluster.Hash][]byte{}}}
	c.store.nodes = []cluster.NodeID{c.Node.ID}
	c.server = newServer(Config{Backend: c.Cloud, Verifier: c.Cloud, Node: c.Node.ID, Store: c.store, Copies: c.store, MaxBytes: 1 << 20})
	r := chi.NewRouter()
	r.Mount(Path, c.server.router())
	c.handler = rest.Service{Name: "image", Errors: rest.GlanceErrors, Log: slog.New(slog.DiscardHandler)}.Wrap(r)
	return c
}

// call sends a request; headers are pairs of names and values. Without an Accept among them, JSON is asked for.
func (c *cloud) call(method, path, token, body string, headers ...string) *http.Response {
	req := httptest.NewRequest(method, "http://node-1:8774"+Path+path, strings.NewReader(body))
	req.Header.Set("Accept", "application/json")
	if token != "" {
		req.Header.Set(rest.TokenHeader, token)
	}
	for n := 0; n+1 < len(headers); n += 2 {
		req.Header.Set(headers[n], headers[n+1])
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, req)
	return w.Result()
}

// want sends a request, checks the status and decodes the body.
func (c *cloud) want(status int, method, path, token, body string, headers ...string) map[string]any {
	c.t.Helper()
	res := c.call(method, path, token, body, headers...)
	data, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if res.StatusCode != status {
		c.t.Fatalf("%s %s: status %d instead of %d: %s", method, path, res.StatusCode, status, data)
	}
	var v map[string]any
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(data, &v); err != nil {
			c.t.Fatalf("%s %s: %v: %s", method, path, err, data)
		}
	}
	return v
}

// queued makes a record and gives its ID.
func (c *cloud) queued(token, body string) string {
	c.t.Helper()
	return c.want(http.StatusCreated, "POST", "/v2/images", token, body)["id"].(string)
}

var octets = []string{"Content-Type", "application/octet-stream"}

// active makes a record with bytes and gives its ID.
func (c *cloud) active(token, body, data string) string {
	c.t.Helper()
	id := c.queued(token, body)
	c.want(http.StatusNoContent, "PUT", "/v2/images/"+id+"/file", token, data, octets...)
	return id
}

// image is a record as the state has it.
func (c *cloud) image(id string) *cluster.Image {
	c.t.Helper()
	i, ok := c.Local().Image(cluster.ImageID(id))
	if !ok {
		c.t.Fatalf("image %s is gone", id)
	}
	return i
}

// names lists what a query gives.
func (c *cloud) names(token, query string) string {
	c.t.Helper()
	var names []string
	for _, i := range c.want(http.StatusOK, "GET", "/v2/images"+query, token, "")["images"].([]any) {
		name, _ := i.(map[string]any)["name"].(string)
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

const rawImage = `{"name":"labimg","disk_format":"raw","container_format":"bare","os_distro":"lab","tags":["one"],` +
	`"owner_specified.openstack.md5":"","owner_specified.openstack.sha256":"","owner_specified.openstack.object":"images/labimg"}`

// patchType is what openstacksdk sends its changes as.
var patchType = []string{"Content-Type", patchNew}
