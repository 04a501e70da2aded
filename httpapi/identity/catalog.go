package identity

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Region is the name of the only region.
const Region = "RegionOne"

// Service is an entry of the catalog. Its ID and those of its endpoints follow from its type, so that all nodes agree.
type Service struct {
	Type string // "compute"
	Name string // "nova": what clients know it as
	Path string // below the address of the node that was asked

	// PerProject says that the project's ID follows the path; tokens without a project see no endpoints then.
	PerProject bool
}

// DefaultCatalog is what every node serves. Image and network name no version, as their clients expect.
func DefaultCatalog() []Service {
	return []Service{
		{Type: "identity", Name: "keystone", Path: "/identity/v3/"},
		{Type: "compute", Name: "nova", Path: "/compute/v2.1"},
		{Type: "image", Name: "glance", Path: "/image"},
		{Type: "network", Name: "neutron", Path: "/network"},
		{Type: "volumev3", Name: "cinderv3", Path: "/volume/v3", PerProject: true},
		{Type: "block-storage", Name: "cinder", Path: "/volume/v3", PerProject: true},
	}
}

// interfaces are the ways to reach a service; here they are all the same.
var interfaces = []string{"admin", "internal", "public"}

func stableID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p + "\x00"))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (s Service) id() string { return stableID("service", s.Type) }

type catalogEndpoint struct {
	ID        string `json:"id"`
	Interface string `json:"interface"`
	RegionID  string `json:"region_id"`
	URL       string `json:"url"`
	Region    string `json:"region"`
}

type catalogEntry struct {
	Endpoints []catalogEndpoint `json:"endpoints"`
	ID        string            `json:"id"`
	Type      string            `json:"type"`
	Name      string            `json:"name"`
}

// catalogFor is the catalog as a token of that project, or of none, sees it.
func (s *server) catalogFor(r *http.Request, p *cluster.Project) []catalogEntry {
	all := make([]catalogEntry, 0, len(s.catalog))
	for _, svc := range s.catalog {
		entry := catalogEntry{Endpoints: []catalogEndpoint{}, ID: svc.id(), Type: svc.Type, Name: svc.Name}
		url := rest.BaseURL(r) + svc.Path
		if svc.PerProject && p != nil {
			url += "/" + string(p.ID)
		}
		for _, i := range interfaces {
			if svc.PerProject && p == nil {
				break
			}
			entry.Endpoints = append(entry.Endpoints, catalogEndpoint{
				ID: stableID("endpoint", svc.Type, i), Interface: i, RegionID: Region, URL: url, Region: Region,
			})
		}
		all = append(all, entry)
	}
	return all
}

const fixedCatalog = "The catalog is made by the cluster itself and cannot be changed."

func (s *server) catalogRoutes(r chi.Router) {
	r.Get("/services", s.do(s.listServices))
	r.Get("/services/{id}", s.do(s.showService))
	r.Get("/endpoints", s.do(s.listEndpoints))
	r.Get("/endpoints/{id}", s.do(s.showEndpoint))
	r.Get("/regions", s.do(s.listRegions))
	r.Get("/regions/{id}", s.do(s.showRegion))
	for _, what := range []string{"/services", "/endpoints", "/regions"} {
		r.Post(what, s.unsupported(fixedCatalog))
		r.Patch(what+"/{id}", s.unsupported(fixedCatalog))
		r.Delete(what+"/{id}", s.unsupported(fixedCatalog))
	}
}

func (s *server) authCatalog(w http.ResponseWriter, r *http.Request) error {
	c := rest.CallerFrom(r.Context())
	if c.Project == nil && !c.System {
		return forbid("get_auth_catalog")
	}
	rest.Reply(w, http.StatusOK, map[string]any{"catalog": s.catalogFor(r, c.Project), "links": map[string]string{"self": selfURL(r)}})
	return nil
}

type selfLink struct {
	Self string `json:"self"`
}

type serviceBody struct {
	Name    string   `json:"name"`
	ID      string   `json:"id"`
	Type    string   `json:"type"`
	Enabled bool     `json:"enabled"`
	Links   selfLink `json:"links"`
}

func renderService(r *http.Request, s Service) serviceBody {
	return serviceBody{Name: s.Name, ID: s.id(), Type: s.Type, Enabled: true, Links: selfLink{v3URL(r) + "/services/" + s.id()}}
}

func (s *server) listServices(w http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "list_services"); err != nil {
		return err
	}
	f := filterOf(r)
	var all []serviceBody
	for _, svc := range s.catalog {
		if f.is("type", svc.Type) && f.named("name", svc.Name) {
			all = append(all, renderService(r, svc))
		}
	}
	slices.SortFunc(all, func(a, b serviceBody) int { return cmp.Compare(a.ID, b.ID) })
	return replyList(w, r, "services", all, func(b serviceBody) string { return b.ID })
}

func (s *server) showService(w http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "get_service"); err != nil {
		return err
	}
	id := chi.URLParam(r, "id")
	for _, svc := range s.catalog {
		if svc.id() == id {
			rest.Reply(w, http.StatusOK, map[string]any{"service": renderService(r, svc)})
			return nil
		}
	}
	return missing("service", id)
}

type endpointBody struct {
	ID        string   `json:"id"`
	Interface string   `json:"interface"`
	RegionID  string   `json:"region_id"`
	ServiceID string   `json:"service_id"`
	URL       string   `json:"url"`
	Enabled   bool     `json:"enabled"`
	Region    string   `json:"region"`
	Links     selfLink `json:"links"`
}

// endpoints lists all endpoints, by ID.
func (s *server) endpoints(r *http.Request) []endpointBody {
	var all []endpointBody
	for _, svc := range s.catalog {
		url := rest.BaseURL(r) + svc.Path
		if svc.PerProject {
			url += "/%(project_id)s"
		}
		for _, i := range interfaces {
			id := stableID("endpoint", svc.Type, i)
			all = append(all, endpointBody{
				ID: id, Interface: i, RegionID: Region, ServiceID: svc.id(), URL: url, Enabled: true, Region: Region,
				Links: selfLink{v3URL(r) + "/endpoints/" + id},
			})
		}
	}
	slices.SortFunc(all, func(a, b endpointBody) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func (s *server) listEndpoints(w http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "list_endpoints"); err != nil {
		return err
	}
	f := filterOf(r)
	all := slices.DeleteFunc(s.endpoints(r), func(e endpointBody) bool {
		return !f.is("interface", e.Interface) || !f.is("service_id", e.ServiceID) || !f.is("region_id", e.RegionID)
	})
	return replyList(w, r, "endpoints", all, func(b endpointBody) string { return b.ID })
}

func (s *server) showEndpoint(w http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "get_endpoint"); err != nil {
		return err
	}
	id := chi.URLParam(r, "id")
	for _, e := range s.endpoints(r) {
		if e.ID == id {
			rest.Reply(w, http.StatusOK, map[string]any{"endpoint": e})
			return nil
		}
	}
	return missing("endpoint", id)
}

type regionBody struct {
	ID          string   `json:"id"`
	Description string   `json:"description"`
	Parent      *string  `json:"parent_region_id"`
	Links       selfLink `json:"links"`
}

func renderRegion(r *http.Request) regionBody {
	return regionBody{ID: Region, Links: selfLink{v3URL(r) + "/regions/" + Region}}
}

func (s *server) listRegions(w http.ResponseWriter, r *http.Request) error {
	var all []regionBody
	if !filterOf(r).q.Has("parent_region_id") {
		all = append(all, renderRegion(r))
	}
	return replyList(w, r, "regions", all, func(b regionBody) string { return b.ID })
}

func (s *server) showRegion(w http.ResponseWriter, r *http.Request) error {
	if id := chi.URLParam(r, "id"); id != Region {
		return missing("region", id)
	}
	rest.Reply(w, http.StatusOK, map[string]any{"region": renderRegion(r)})
	return nil
}
