package httpapi

import (
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/httpapi/rest"
)

// Config is what the node serves. A handler that is nil is not served.
type Config struct {
	Identity http.Handler // Keystone v3, under /identity
	Compute  http.Handler // Nova v2.1, under /compute
	Image    http.Handler // Glance v2, under /image
	Network  http.Handler // Neutron v2.0, under /network
	Volume   http.Handler // Cinder v3, under /volume
	Cluster  http.Handler // our own, under /cluster
	Console  http.Handler // websockets and their page, under /console

	Metrics http.Handler // /metrics
	Health  http.Handler // /readyz and /healthz: can the cluster be used through this node? nil: always

	Log      *slog.Logger  // nil: slog's default
	Observer rest.Observer // nil: nobody is told of requests
	Crowd    *rest.Crowd   // lets requests in; nil: all are, at once
}

// mount is a service and where it is.
type mount struct {
	path    string
	handler http.Handler
	service rest.Service
	version string // path of its newest version, for the index
}

func (c Config) mounts() []mount {
	service := func(name string, errs rest.Errors) rest.Service {
		return rest.Service{Name: name, Errors: errs, Log: c.Log, Observer: c.Observer, Crowd: c.Crowd}
	}
	all := []mount{
		{"/identity", c.Identity, service("identity", rest.KeystoneErrors), "/v3"},
		{"/compute", c.Compute, service("compute", rest.NovaErrors), "/v2.1"},
		{"/image", c.Image, service("image", rest.GlanceErrors), "/v2"},
		{"/network", c.Network, service("network", rest.NeutronErrors), "/v2.0"},
		{"/volume", c.Volume, service("volume", rest.NovaErrors), "/v3"},
		{"/cluster", c.Cluster, service("cluster", rest.KeystoneErrors), "/v1"},
	}
	served := all[:0]
	for _, m := range all {
		if m.handler != nil {
			served = append(served, m)
		}
	}
	return served
}

// New gives the router of everything that a node serves to clients.
func New(c Config) http.Handler {
	r := chi.NewRouter()
	mounts := c.mounts()
	for _, m := range mounts {
		r.Mount(m.path, m.service.Wrap(m.handler))
	}
	if c.Console != nil {
		service := rest.Service{Name: "console", Errors: rest.NovaErrors, Log: c.Log, Observer: c.Observer}
		r.Mount("/console", service.Wrap(c.Console))
	}
	if c.Metrics != nil {
		r.Method(http.MethodGet, "/metrics", rest.Probes(c.Crowd, c.Metrics))
	}
	if c.Health == nil {
		c.Health = http.HandlerFunc(alive)
	}
	ready := rest.Probes(c.Crowd, c.Health)
	for _, path := range []string{"/healthz", "/readyz"} {
		r.Method(http.MethodGet, path, ready)
		r.Method(http.MethodHead, path, ready)
	}
	r.Get("/livez", alive)
	r.Head("/livez", alive)
	r.Get("/", index(mounts))
	r.NotFound(rest.NotFoundPage)
	r.MethodNotAllowed(rest.NotFoundPage)
	return r
}

// alive answers as long as the process does, whatever the cluster is like.
func alive(w http.ResponseWriter, _ *http.Request) {
	rest.Reply(w, http.StatusOK, map[string]string{"status": "ok"})
}

// index tells people and programs that found the address what is there.
func index(mounts []mount) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		services := map[string]string{}
		for _, m := range mounts {
			services[m.service.Name] = rest.BaseURL(r) + m.path + m.version
		}
		rest.Reply(w, http.StatusOK, map[string]any{"name": "kilonova", "services": services})
	}
}
