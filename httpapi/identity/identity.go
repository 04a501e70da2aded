package identity

import (
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Config is what the service needs.
type Config struct {
	Backend rest.Backend
	Tokens  *Tokens
	Catalog []Service // nil: DefaultCatalog
}

// server serves Keystone's API.
type server struct {
	backend rest.Backend
	tokens  *Tokens
	catalog []Service
	gate    *gate
	limiter *limiter
}

// Router gives the service. It expects to be mounted at /identity in a chi router, behind rest.RequestID.
func Router(c Config) http.Handler {
	s := &server{backend: c.Backend, tokens: c.Tokens, catalog: c.Catalog, gate: newGate(), limiter: newLimiter()}
	if s.catalog == nil {
		s.catalog = DefaultCatalog()
	}
	r := chi.NewRouter()
	r.Use(vary)
	r.NotFound(notFound)
	r.MethodNotAllowed(methodNotAllowed)
	r.Get("/", versions)
	r.Route("/v3", func(r chi.Router) {
		r.NotFound(notFound)
		r.MethodNotAllowed(methodNotAllowed)
		r.Get("/", version)
		r.Post("/auth/tokens", s.do(s.login))
		r.Post("/users/{user}/password", s.do(s.changePassword))
		r.Group(s.authenticated)
	})
	return r
}

// authenticated are the routes that need a token.
func (s *server) authenticated(r chi.Router) {
	r.Use(rest.Authenticate(s.backend, s.tokens, rest.KeystoneErrors))
	r.Get("/auth/tokens", s.do(s.validateToken))
	r.Head("/auth/tokens", s.do(s.validateToken))
	r.Delete("/auth/tokens", s.do(s.revokeToken))
	r.Get("/auth/catalog", s.do(s.authCatalog))
	r.Get("/auth/projects", s.do(s.authProjects))
	r.Get("/auth/domains", s.do(s.authDomains))
	r.Get("/auth/system", s.do(s.authSystem))
	s.catalogRoutes(r)
	s.domainRoutes(r)
	s.projectRoutes(r)
	s.projectTagRoutes(r)
	s.userRoutes(r)
	s.credentialRoutes(r)
	s.roleRoutes(r)
	s.assignmentRoutes(r)
}

// do turns a handler that may fail into one that replies with its error.
func (s *server) do(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			if cluster.CodeOf(err) == cluster.Unauthorized {
				rest.Log(r).Info("authentication refused", "why", err, "from", r.RemoteAddr)
			}
			rest.KeystoneErrors.Fail(w, r, err)
		}
	}
}

// unsupported answers requests to make or change what a cluster has only one or none of.
func (s *server) unsupported(what string) http.HandlerFunc {
	return s.do(func(http.ResponseWriter, *http.Request) error {
		return &rest.HTTPError{Status: http.StatusNotImplemented, Message: what}
	})
}

// vary says that replies depend on the token, as Keystone does for its caches.
func vary(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", rest.TokenHeader)
		next.ServeHTTP(w, r)
	})
}

const pageHead = "<!doctype html>\n<html lang=en>\n<title>"

// notFound is Keystone's page for a path that it does not have.
func notFound(w http.ResponseWriter, _ *http.Request) {
	page(w, http.StatusNotFound, "The requested URL was not found on the server. If you entered the URL manually please check your "+
		"spelling and try again.")
}

// methodNotAllowed is Keystone's page for a method that a path does not have.
func methodNotAllowed(w http.ResponseWriter, _ *http.Request) {
	page(w, http.StatusMethodNotAllowed, "The method is not allowed for the requested URL.")
}

func page(w http.ResponseWriter, status int, text string) {
	title := http.StatusText(status)
	rest.ReplyHTML(w, status, pageHead+itoa(status)+" "+title+"</title>\n<h1>"+title+"</h1>\n<p>"+text+"</p>\n")
}

// versionUpdated is the date that Keystone gives for API version 3.14.
const versionUpdated = "2020-04-07T00:00:00Z"

func v3URL(r *http.Request) string { return rest.BaseURL(r) + "/identity/v3" }

func versionBody(r *http.Request) map[string]any {
	return map[string]any{
		"id": "v3.14", "status": "stable", "updated": versionUpdated,
		"links":       []rest.Link{{Rel: "self", Href: v3URL(r) + "/"}},
		"media-types": []map[string]string{{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}},
	}
}

// versions lists the versions that there are; Keystone says it with 300 Multiple Choices.
func versions(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", v3URL(r)+"/")
	rest.Reply(w, http.StatusMultipleChoices, map[string]any{"versions": map[string]any{"values": []any{versionBody(r)}}})
}

func version(w http.ResponseWriter, r *http.Request) {
	rest.Reply(w, http.StatusOK, map[string]any{"version": versionBody(r)})
}

// now is the time for what this request changes. It is never before the newest change in the view: were this node's
// clock behind another one's, a token could seem older than the password that it was got with.
func now(view *cluster.View) cluster.Time { return max(cluster.At(time.Now()), view.Time()) }
