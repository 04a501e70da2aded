package clusterapi

import (
	"context"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Path is where the API is.
const Path = "/cluster/v1"

// Config is what the service needs; all of it must be set.
type Config struct {
	Backend  rest.Backend
	Verifier rest.Verifier
	Self     cluster.NodeID
	Version  string
	Members  Members
	Minter   Minter
	Placer   Placer
	Keysmith Keysmith

	Recoverer Recoverer
}

// Members knows what is not in the state: who is there and what part they have in Raft.
type Members interface {
	// Members tells of every node that is in the state, in Raft, or heard of.
	Members() map[cluster.NodeID]Member
}

// Member is what is known of a node at the moment.
type Member struct {
	Leader    bool
	Voter     bool
	InRaft    bool
	Up        bool
	SilentFor time.Duration // of a node that is not up; 0: not known
}

// Minter makes join tokens.
type Minter interface {
	// Mint commits a token for so many machines and returns its text, which holds the secret.
	Mint(ctx context.Context, uses int, life time.Duration, zone string) (text string, t cluster.JoinToken, err error)
}

// Placer explains placements.
type Placer interface {
	// Explain says where an instance would go if it were placed now.
	Explain(in *cluster.Instance) cluster.Explanation

	// WithoutNode says where the instances would go that are started elsewhere when a node dies; "": no node has room.
	WithoutNode(node cluster.NodeID) map[cluster.InstanceID]cluster.NodeID

	// NoPlaceForCopy says why no other node can take the copy of an instance's disk now; "" when one can.
	NoPlaceForCopy(in *cluster.Instance) (why string)

	// Reserve says for the loss of how many nodes room is kept, and whether it is there.
	Reserve() (nodes int, kept bool)
}

type server struct {
	Config
	by func(*http.Request) cluster.By // who asks
}

// Router serves the API to administrators. It expects to be mounted at /cluster, behind rest.RequestID.
func Router(c Config) http.Handler {
	return (&server{c, caller}).router(rest.Authenticate(c.Backend, c.Verifier, rest.NovaErrors), administrators)
}

// LocalRouter serves the API, with its whole path, to whoever can open the socket.
func LocalRouter(c Config) http.Handler {
	r := chi.NewRouter()
	r.Use(rest.RequestID("cluster"), rest.Recover(rest.NovaErrors))
	s := &server{c, local}
	r.Get(Path+"/backup", s.backup)
	r.Get(Path+"/recovery", handle(s.planRecovery))
	r.Post(Path+"/recovery", handle(s.recover))
	r.Mount("/cluster", s.router())
	return r
}

// caller is who proved to be somebody.
func caller(r *http.Request) cluster.By {
	c := rest.CallerFrom(r.Context())
	return cluster.By{Request: c.RequestID, User: c.User.ID, Project: c.ProjectID()}
}

// local is whoever can open the socket.
func local(r *http.Request) cluster.By { return cluster.By{Request: rest.RequestIDOf(r)} }

// administrators lets nobody else through.
func administrators(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := rest.CallerFrom(r.Context()).RequireAdmin(); err != nil {
			rest.NovaErrors.Fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) router(guards ...func(http.Handler) http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Use(guards...)
	r.NotFound(rest.NotFoundPage)
	r.MethodNotAllowed(rest.NotFoundPage)
	r.Route("/v1", func(r chi.Router) {
		r.Get("/", handle(s.show))
		r.Get("/state", handle(s.showState))
		r.Get("/nodes", handle(s.listNodes))
		r.Get("/nodes/{node}", handle(s.showNode))
		r.Post("/nodes/{node}/drain", handle(s.drain(true)))
		r.Post("/nodes/{node}/undrain", handle(s.drain(false)))
		r.Post("/nodes/{node}/confirm-dead", handle(s.confirmDead))
		r.Delete("/nodes/{node}", handle(s.removeNode))
		r.Get("/nodes/{node}/removal", handle(s.removal))
		r.Get("/settings", handle(s.showSettings))
		r.Put("/settings", handle(s.changeSettings))
		r.Get("/check", handle(s.check))
		r.Get("/keys", handle(s.listKeys))
		r.Post("/keys/{keys}/rotate", handle(s.rotateKeys))
		r.Post("/confirm-restore", handle(s.confirmRestore))
		r.Get("/tokens", handle(s.listTokens))
		r.Post("/tokens", reply(http.StatusCreated, s.createToken))
		r.Delete("/tokens/{token}", handle(s.deleteToken))
		r.Get("/instances/{instance}/placement", handle(s.placement))
		r.Get("/instances/{instance}/replica", handle(s.replica))
	})
	return r
}

// handle turns what a handler returns into the reply. A nil body is 204.
func handle(f func(*http.Request) (any, error)) http.HandlerFunc { return reply(http.StatusOK, f) }

// reply is handle with another status for a body.
func reply(status int, f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := f(r)
		switch {
		case err != nil:
			rest.NovaErrors.Fail(w, r, err)
		case body == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			rest.Reply(w, status, body)
		}
	}
}
