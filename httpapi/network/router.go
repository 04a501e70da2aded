package network

import (
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Path is where the service is mounted.
const Path = "/network"

// Liveness knows which nodes are alive.
type Liveness interface {
	// Liveness tells whether a node is up, and since when it is what it is.
	Liveness(id cluster.NodeID) (up bool, since time.Time)
}

// Config is what the service needs; all of it must be set.
type Config struct {
	Backend  rest.Backend
	Verifier rest.Verifier
	Liveness Liveness
}

type server struct{ Config }

// Router serves everything below Path, where it must be mounted, behind rest.RequestID.
func Router(c Config) http.Handler {
	s := &server{c}
	r := chi.NewRouter()
	r.NotFound(notFound)
	r.MethodNotAllowed(notFound)
	r.Get("/", s.versions)
	r.Get("/v2.0", s.resources)
	r.Get("/v2.0/", s.resources)
	r.Route("/v2.0/", func(r chi.Router) {
		r.Use(rest.Authenticate(c.Backend, c.Verifier, rest.NeutronErrors))
		s.networkRoutes(r)
		s.subnetRoutes(r)
		s.portRoutes(r)
		s.quotaRoutes(r)
		r.Get("/extensions", handle(http.StatusOK, s.listExtensions))
		r.Get("/extensions/{alias}", handle(http.StatusOK, s.showExtension))
		r.Get("/agents", handle(http.StatusOK, s.listAgents))
		r.Get("/availability_zones", handle(http.StatusOK, s.listZones))
	})
	return r
}

func notFound(w http.ResponseWriter, r *http.Request) {
	rest.NeutronErrors.Fail(w, r, cluster.Errorf(cluster.NotFound, "The resource could not be found."))
}

// handle turns what a handler returns into the reply. A nil body is 204.
func handle(status int, f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := f(r)
		switch {
		case err != nil:
			rest.NeutronErrors.Fail(w, r, err)
		case body == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			rest.Reply(w, status, body)
		}
	}
}

func (s *server) versions(w http.ResponseWriter, r *http.Request) {
	rest.Reply(w, http.StatusOK, map[string]any{"versions": []any{map[string]any{
		"id": "v2.0", "status": "CURRENT",
		"links": []rest.Link{{Rel: "self", Href: rest.BaseURL(r) + Path + "/v2.0/"}},
	}}})
}

func (s *server) resources(w http.ResponseWriter, r *http.Request) {
	var list []any
	for _, name := range []string{"network", "subnet", "port"} {
		list = append(list, map[string]any{
			"name": name, "collection": name + "s",
			"links": []rest.Link{{Rel: "self", Href: rest.BaseURL(r) + Path + "/v2.0/" + name + "s"}},
		})
	}
	rest.Reply(w, http.StatusOK, map[string]any{"resources": list})
}

// denied is the refusal of a rule that the caller's roles do not satisfy.
func denied(rule string) error {
	return &rest.HTTPError{Status: http.StatusForbidden, Code: cluster.Forbidden, Type: "PolicyNotAuthorized",
		Message: "rule:" + rule + " is disallowed by policy"}
}

// invalid is a refusal of a value, as Neutron's own checks word it.
func invalid(format string, args ...any) error {
	e := cluster.Errorf(cluster.Invalid, format, args...)
	return &rest.HTTPError{Status: http.StatusBadRequest, Code: e.Code, Type: "InvalidInput", Message: "Invalid input for operation: " + e.Message + "."}
}

// missing is the 404 of a kind of thing, for what is not there and for what the caller may not see.
func missing(kind, id string) error {
	return &rest.HTTPError{Status: http.StatusNotFound, Code: cluster.NotFound, Type: kind + "NotFound",
		Message: kind + " " + id + " could not be found."}
}

// typed gives a refusal of the state Neutron's name for it.
func typed(err error, types map[cluster.Code]string) error {
	code := cluster.CodeOf(err)
	name, ok := types[code]
	if err == nil || !ok {
		return err
	}
	return &rest.HTTPError{Status: statusOf(code), Code: code, Type: name, Message: err.Error()}
}

func statusOf(code cluster.Code) int {
	if code == cluster.NoRoom {
		return http.StatusConflict // no address is free
	}
	return rest.StatusOf(code)
}
