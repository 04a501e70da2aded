package image

import (
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Path is where the service is mounted.
const Path = "/image"

// MaxBytes is how large an image may be when the configuration does not say: 1 TiB, as in Glance.
const MaxBytes = 1 << 40

// Blob is an image's bytes, as they were stored.
type Blob struct {
	Root   cluster.Hash // of the manifest
	Size   int64        // bytes
	MD5    string       // of all the bytes, in hexadecimal, as are the others
	SHA256 string
	SHA512 string
}

// Store keeps the bytes of images.
type Store interface {
	// Import stores all that r gives. A size other than -1 says how many bytes have to come. Before they become an
	// image, check reads them; its refusal is returned. Code TooLarge when more than max bytes come, Invalid when fewer
	// than size do, NoRoom when the disk is full. After an error nothing is left.
	Import(ctx context.Context, r io.Reader, size, max int64, check func(io.ReaderAt, int64) error) (Blob, error)

	// Open gives the bytes of an image that has data, from here or from the nodes that have them, each verified. It reads
	// until ctx ends. Code Unavailable when no node gives them.
	Open(ctx context.Context, data *cluster.ImageData) (*io.SectionReader, error)
}

// Replicator copies what was imported to other nodes.
type Replicator interface {
	// Replicate copies a blob that is on this node to as many others as an image needs, and returns all that have it.
	// Code Unavailable when there are too few.
	Replicate(ctx context.Context, root cluster.Hash) ([]cluster.NodeID, error)
}

// Config is what the service needs; everything but MaxBytes must be set.
type Config struct {
	Backend  rest.Backend
	Verifier rest.Verifier
	Node     cluster.NodeID // this one
	Store    Store
	Copies   Replicator
	MaxBytes int64 // that an image may have; 0: the constant of that name
}

// server is the handlers' receiver.
type server struct {
	Config
	now   func() time.Time
	stall time.Duration // how long an upload may send nothing

	mu      sync.Mutex
	running map[string]bool // tags of the uploads that this process serves
}

// Router serves everything below Path, where it must be mounted, behind rest.RequestID.
func Router(c Config) http.Handler { return newServer(c).router() }

func newServer(c Config) *server {
	if c.MaxBytes <= 0 {
		c.MaxBytes = MaxBytes
	}
	return &server{Config: c, now: time.Now, stall: maxStall, running: map[string]bool{}}
}

func (s *server) router() http.Handler {
	r := chi.NewRouter()
	r.NotFound(rest.NotFoundPage)
	r.MethodNotAllowed(rest.NotFoundPage)
	serve(r, "/", methods{"GET": versions(http.StatusMultipleChoices)})
	serve(r, "/versions", methods{"GET": versions(http.StatusOK)})
	serve(r, "/versions/", methods{"GET": versions(http.StatusOK)})
	v2 := chi.NewRouter()
	v2.Use(rest.Authenticate(s.Backend, s.Verifier, rest.GlanceErrors))
	v2.NotFound(rest.NotFoundPage)
	serve(v2, "/images", methods{"GET": s.list, "POST": s.create})
	serve(v2, "/images/{id}", methods{"GET": s.show, "PATCH": s.patch, "DELETE": s.remove})
	serve(v2, "/images/{id}/file", methods{"GET": s.download, "PUT": s.upload})
	serve(v2, "/images/{id}/actions/deactivate", methods{"POST": s.deactivate})
	serve(v2, "/images/{id}/actions/reactivate", methods{"POST": s.reactivate})
	serve(v2, "/images/{id}/tags/{tag}", methods{"PUT": s.addTag, "DELETE": s.removeTag})
	serve(v2, "/images/{id}/members", methods{"GET": s.listMembers, "POST": s.addMember})
	serve(v2, "/images/{id}/members/{member}", methods{"GET": s.showMember, "PUT": s.changeMember, "DELETE": s.removeMember})
	serve(v2, "/schemas/{name}", methods{"GET": showSchema})
	serve(v2, "/info/import", methods{"GET": importMethods})
	serve(v2, "/info/stores", methods{"GET": noStores})
	r.Mount("/v2", v2)
	return r
}

// handler replies itself, or gives the error to reply with.
type handler func(w http.ResponseWriter, r *http.Request) error

type methods map[string]handler

// serve routes a path. Other methods than those given are 405 and say which there are, as Glance does.
func serve(r chi.Router, path string, by methods) {
	allow := strings.Join(slices.Sorted(maps.Keys(by)), ", ")
	r.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		rest.GlanceErrors.Fail(w, r, &rest.HTTPError{Status: http.StatusMethodNotAllowed, Code: cluster.Invalid,
			Message: "The method " + r.Method + " is not allowed for this resource."})
	})
	for method, h := range by {
		r.Method(method, path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				rest.GlanceErrors.Fail(w, r, err)
			}
		}))
	}
}

// noContent is Glance's reply to a change that shows nothing.
func noContent(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(http.StatusNoContent)
}

// minorVersions are the versions of the API whose resources are served, newest first.
var minorVersions = []string{"v2.15", "v2.9", "v2.7", "v2.6", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0"}

func versions(status int) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var list []any
		for i, id := range minorVersions {
			state := "SUPPORTED"
			if i == 0 {
				state = "CURRENT"
			}
			list = append(list, map[string]any{
				"id": id, "status": state, "links": []rest.Link{{Rel: "self", Href: rest.BaseURL(r) + Path + "/v2/"}},
			})
		}
		rest.Reply(w, status, map[string]any{"versions": list})
		return nil
	}
}
