package compute

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Path is where a Router is mounted. Links in its answers begin with it.
const Path = "/compute"

// Console reads what guests write to their serial consoles.
type Console interface {
	// Console returns the last lines of an instance's console log, all that is kept when lines is negative,
	// from whichever node has it. Code Unavailable when that node does not answer, NotFound when there is no
	// log yet.
	Console(ctx context.Context, in *cluster.Instance, lines int) (string, error)
}

// Liveness knows which nodes are alive.
type Liveness interface {
	// Liveness tells whether a node is up, and since when it is what it is; a zero time when that is not known.
	Liveness(id cluster.NodeID) (up bool, since time.Time)

	// Unheard tells whether this node started only just now and has not heard of the other yet, so that its silence means nothing.
	Unheard(id cluster.NodeID) bool
}

// Config is what the service needs. Backend and Verifier must be set.
type Config struct {
	Backend  rest.Backend
	Verifier rest.Verifier
	Console  Console          // nil: console logs are not offered
	Liveness Liveness         // nil: every node counts as up
	Inside   Inside           // nil: nothing that needs to look into instances is offered
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: slog's default

	// DeferredDelete is how long a deleted server may be restored, as Nova's reclaim_instance_interval; 0: not at all.
	DeferredDelete time.Duration

	// ConsoleURL gives the address of a console on the node that has the given base URL; nil: consoles are not offered.
	ConsoleURL func(base string, kind cluster.ConsoleKind, token string) string

	// ConsoleLife is how long a console token lives, and a session with it; 0: DefaultConsoleLife.
	ConsoleLife time.Duration
}

// service is the handlers' receiver. It is not changed after Router made it.
type service struct {
	Config
	keyGen chan struct{} // holds a token while a key pair is generated
}

// Router serves everything below Path, where it must be mounted, inside a rest.Service.
func Router(c Config) http.Handler {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.ConsoleLife == 0 {
		c.ConsoleLife = DefaultConsoleLife
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	s := &service{Config: c, keyGen: make(chan struct{}, 1)}
	r := chi.NewRouter()
	r.NotFound(rest.NotFoundPage)
	r.MethodNotAllowed(rest.NotFoundPage) // Nova's answer to a wrong method is 404 too
	r.Get("/", s.listVersions)
	r.Mount("/v2.1", s.tree(false))
	r.Mount("/v2", s.tree(true))
	return r
}

// tree serves one version of the API. The legacy one is microversion 2.1 that does not speak of versions.
func (s *service) tree(legacy bool) http.Handler {
	authenticated := chi.NewRouter()
	authenticated.Use(rest.Authenticate(s.Backend, s.Verifier, rest.NovaErrors), projectInPath)
	authenticated.NotFound(rest.NotFoundPage)
	authenticated.MethodNotAllowed(rest.NotFoundPage)
	for _, rt := range routes() {
		authenticated.Method(rt.method, rt.path, s.serve(rt, legacy))
	}
	r := chi.NewRouter()
	show := func(w http.ResponseWriter, r *http.Request) { s.showVersion(w, r, legacy) }
	r.Get("/", show)
	r.Mount("/", authenticated)
	return r
}

// answers tells whether a node is up, where something is refused because of it. Unavailable: nobody here can know yet.
func (s *service) answers(n *cluster.Node) (bool, error) {
	up, _ := s.up(n)
	if !up && !n.Service.ForcedDown && s.Liveness.Unheard(n.ID) {
		return false, cluster.Errorf(cluster.Unavailable, "The node that was asked has just started and has not heard of %s yet: try again", n.Name)
	}
	return up, nil
}

// up tells whether a node is alive, and since when.
func (s *service) up(n *cluster.Node) (bool, time.Time) {
	switch {
	case n.Service.ForcedDown:
		return false, time.Time{}
	case s.Liveness == nil:
		return true, time.Time{}
	}
	return s.Liveness.Liveness(n.ID)
}
