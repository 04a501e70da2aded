package compute

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// call is one request on its way through a handler. It belongs to the goroutine that serves it.
type call struct {
	*service
	w      http.ResponseWriter
	r      *http.Request
	caller *rest.Caller
	view   *cluster.View
	v      version
	links  links
}

// links are the two prefixes of Nova's links.
type links struct {
	self     string // https://host/compute/v2.1, and the project's ID when the client put it into the path
	bookmark string // the same without the version
}

// level is who may do something, as the policies of current Nova have it by default.
type level int

const (
	anyone level = iota // everybody with a token
	reader              // readers in a project, and administrators
	member
	admin
)

// route is one path of the API.
type route struct {
	method, path string
	rule         string // Nova's name for who may, without its prefix
	who          level
	since, until version // the microversions that have it; 0: from the oldest, to the newest
	do           func(*call) error
}

// serve makes the handler of a route. Every error leaves through here.
func (s *service) serve(rt route, legacy bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.handle(w, r, rt, legacy); err != nil {
			rest.NovaErrors.Fail(w, r, err)
		}
	})
}

func (s *service) handle(w http.ResponseWriter, r *http.Request, rt route, legacy bool) error {
	c := &call{service: s, w: w, r: r, caller: rest.CallerFrom(r.Context()), v: oldest}
	if !legacy {
		v, err := negotiate(w, r)
		if err != nil {
			return err
		}
		c.v = v
	}
	project, err := checkProject(r, c.caller)
	if err != nil {
		return err
	}
	base := rest.BaseURL(r)
	c.links = links{self: versionURL(base, legacy) + project, bookmark: base + Path + project}
	if !c.served(rt.since, rt.until) {
		return errNoResource
	}
	if err := c.allow(rt.rule, rt.who); err != nil {
		return err
	}
	if c.view, err = rest.View(r, s.Backend); err != nil {
		return err
	}
	return rt.do(c)
}

// served tells whether the request's microversion is in a range.
func (c *call) served(since, until version) bool {
	return c.v >= since && (until == 0 || c.v <= until)
}

// errNoResource is what a path, or an action, says that another microversion has.
var errNoResource = cluster.Errorf(cluster.NotFound, "The resource could not be found.")

// allow checks the policy rule of the given name. Its prefix is os_compute_api, unless it names another.
func (c *call) allow(rule string, who level) error {
	if c.may(who) {
		return nil
	}
	if !strings.HasPrefix(rule, "compute:") {
		rule = "os_compute_api:" + rule
	}
	return cluster.Errorf(cluster.Forbidden, "Policy doesn't allow %s to be performed.", rule)
}

func (c *call) may(who level) bool {
	switch who {
	case reader:
		return c.caller.Admin() || c.caller.Project != nil && c.caller.Has(cluster.RoleReader)
	case member:
		return c.caller.Admin() || c.caller.Project != nil && c.caller.Has(cluster.RoleMember)
	case admin:
		return c.caller.Admin()
	}
	return true
}

type projectKey struct{}

// projectIDs is what the first part of a path looks like that names the project, as old clients do.
var projectIDs = regexp.MustCompile(`^[0-9a-f]{32}$`)

// projectInPath takes the project out of paths that name it and remembers it; serve checks that it is the caller's.
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

// checkProject refuses a path that names a project other than the caller's. It returns what links must repeat.
func checkProject(r *http.Request, c *rest.Caller) (string, error) {
	id, ok := r.Context().Value(projectKey{}).(string)
	switch {
	case !ok:
		return "", nil
	case id != string(c.ProjectID()):
		return "", bad("Malformed request URL: URL's project_id '%s' doesn't match Context's project_id '%s'", id, c.ProjectID())
	}
	return "/" + id, nil
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

// param returns a part of the path, unescaped.
func (c *call) param(name string) string { return rest.Param(c.r, name) }

// first tells whether the request is not the repetition of an earlier one. What the earlier one made must not be
// held against a repetition: the state, which remembers it, answers instead.
func (c *call) first() bool { return !rest.Repeats(c.r, c.view) }

// send replies with what was written.
func (c *call) send(status int, j *writer) error {
	reply(c.w, status, j)
	return nil
}

// done replies without a body.
func (c *call) done(status int) error {
	c.w.WriteHeader(status)
	return nil
}

// change proposes an op; the view is then one that holds it.
func (c *call) change(op cluster.Op) (cluster.Result, error) {
	res, err := rest.Change(c.r, c.Backend, op)
	if err != nil {
		return res, err
	}
	c.view, err = rest.View(c.r, c.Backend)
	return res, err
}

// update is rest.Update for the handlers of a call.
func (c *call) update(decide func(*cluster.View) (cluster.Op, error)) error {
	if _, err := rest.Update(c.r, c.Backend, decide); err != nil {
		return err
	}
	var err error
	c.view, err = rest.View(c.r, c.Backend)
	return err
}
