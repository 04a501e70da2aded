package volume

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// Path is where the service is mounted.
const Path = "/volume"

// Liveness knows which nodes are alive.
type Liveness interface {
	// Liveness tells whether a node is up, and since when it is what it is.
	Liveness(id cluster.NodeID) (up bool, since time.Time)
}

// Config is what the service needs. Backend, Verifier and Node must be set.
type Config struct {
	Backend  rest.Backend
	Verifier rest.Verifier
	Node     cluster.NodeID // this one: it makes images of volumes that are on no node yet
	Liveness Liveness       // nil: every node counts as up
}

type server struct{ Config }

// Router serves everything below Path, where it must be mounted, inside a rest.Service.
func Router(c Config) http.Handler {
	s := &server{c}
	r := chi.NewRouter()
	r.NotFound(notServed)
	r.MethodNotAllowed(notServed)
	r.Get("/", versions(http.StatusMultipleChoices))
	r.Get("/v3", versions(http.StatusOK))
	v3 := chi.NewRouter()
	v3.Use(anyoneReads(versions(http.StatusOK)))
	v3.Use(rest.Authenticate(c.Backend, c.Verifier, rest.NovaErrors), projectInPath)
	v3.NotFound(notServed)
	v3.MethodNotAllowed(notServed)
	for _, rt := range routes() {
		v3.Method(rt.method, rt.path, s.serve(rt.do))
	}
	r.Mount("/v3", v3)
	return r
}

func notServed(w http.ResponseWriter, r *http.Request) {
	rest.NovaErrors.Fail(w, r, cluster.Errorf(cluster.NotFound, "The resource could not be found."))
}

type route struct {
	method, path string
	do           func(*call) error
}

// call is one request to the service.
type call struct {
	*server
	w       http.ResponseWriter
	r       *http.Request
	caller  *rest.Caller
	view    *cluster.View
	v       version
	project string // with a slash before it, when the path names the project: links repeat it
}

var projectIDs = regexp.MustCompile(`^[0-9a-f]{32}$`)

type projectKey struct{}

// anyoneReads answers for the root of a router, which needs no token.
func anyoneReads(root http.HandlerFunc) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Trim(chi.RouteContext(r.Context()).RoutePath, "/") == "" {
				root(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// projectInPath takes the project's ID, which older clients put before everything else, off the path.
func projectInPath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rctx := chi.RouteContext(r.Context())
		id, path, ok := strings.Cut(strings.TrimPrefix(rctx.RoutePath, "/"), "/")
		if ok && projectIDs.MatchString(id) {
			rctx.RoutePath = "/" + path
			r = r.WithContext(context.WithValue(r.Context(), projectKey{}, id))
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) serve(do func(*call) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{server: s, w: w, r: r, caller: rest.CallerFrom(r.Context())}
		if err := c.run(do); err != nil {
			rest.NovaErrors.Fail(w, r, inCinder(err))
		}
	}
}

func (c *call) run(do func(*call) error) error {
	var err error
	if c.v, err = negotiate(c.w, c.r); err != nil {
		return err
	}
	if id, ok := c.r.Context().Value(projectKey{}).(string); ok {
		if id != string(c.caller.ProjectID()) && !c.caller.Admin() {
			return bad("Malformed request url")
		}
		c.project = "/" + id
	}
	if c.view, err = rest.View(c.r, c.Backend); err != nil {
		return err
	}
	if err := c.caller.RequireReader(); err != nil {
		return err
	}
	reads := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead
	if !reads {
		if err := c.caller.RequireMember(); err != nil {
			return err
		}
	}
	return do(c)
}

// inCinder gives a refusal the status that Cinder has for it where it differs from Nova: a quota that is used up is 413.
func inCinder(err error) error {
	var e *cluster.Error
	if errors.As(err, &e) && e.Code == cluster.OverQuota {
		return &rest.HTTPError{Status: http.StatusRequestEntityTooLarge, Code: e.Code, Message: e.Message}
	}
	return err
}

func bad(format string, args ...any) error { return cluster.Errorf(cluster.Invalid, format, args...) }

func missing(what, id string) error {
	return cluster.Errorf(cluster.NotFound, "%s %s could not be found.", what, clip(id))
}

// unsupported is what there is none of.
func unsupported(what string) error {
	return &rest.HTTPError{Status: http.StatusNotImplemented, Code: cluster.Invalid, Message: "The requested functionality is not supported: " + what + "."}
}

func (c *call) admin(rule string) error {
	if c.caller.Admin() {
		return nil
	}
	return cluster.Errorf(cluster.Forbidden, "Policy doesn't allow %s to be performed.", rule)
}

func (c *call) reply(status int, body any) error {
	rest.Reply(c.w, status, body)
	return nil
}

// done is a reply without a body. Cinder says what type the body would have all the same.
func (c *call) done(status int) error {
	media := "application/json"
	if c.r.Method == http.MethodDelete {
		media = "text/html; charset=UTF-8"
	}
	c.w.Header().Set("Content-Type", media)
	c.w.WriteHeader(status)
	return nil
}

// param is a part of the path, unescaped.
func (c *call) param(name string) string { return rest.Param(c.r, name) }

// change proposes an op; what the call reads afterwards holds it.
func (c *call) change(op cluster.Op) (cluster.Result, error) {
	res, err := rest.Change(c.r, c.Backend, op)
	if err != nil {
		return res, err
	}
	c.view, err = rest.View(c.r, c.Backend)
	return res, err
}

// update changes something that is there, deciding anew when it was changed meanwhile.
func (c *call) update(decide func(*cluster.View) (cluster.Op, error)) error {
	if _, err := rest.Update(c.r, c.Backend, decide); err != nil {
		return err
	}
	var err error
	c.view, err = rest.View(c.r, c.Backend)
	return err
}

// decode reads a body that must be as the schema says, into a type that may then trust it.
func decode[T any](c *call, s *schema.Schema) (T, error) {
	var v T
	raw, err := rest.Decode[json.RawMessage](c.r)
	if err != nil {
		return v, err
	}
	return schema.Into[T](raw, s)
}

// link is an address below the service's own, with the project when the request named it.
func (c *call) link(path string) string { return rest.BaseURL(c.r) + Path + "/v3" + c.project + path }

func (c *call) links(path string) []rest.Link {
	return []rest.Link{{Rel: "self", Href: c.link(path)}, {Rel: "bookmark", Href: rest.BaseURL(c.r) + Path + c.project + path}}
}

// stamp shows a time as Cinder does: with microseconds and no zone; null when there is none.
func stamp(t cluster.Time) *string { return rest.OrNull(rest.Micros(t)) }
