package identity

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// domainRef is a domain as requests and replies name it.
type domainRef struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

var theDomain = domainRef{ID: cluster.DefaultDomainID, Name: cluster.DefaultDomainName}

// isDefault tells whether a request means the only domain. Names compare without case, as MySQL does for Keystone.
func (d *domainRef) isDefault() bool {
	if d == nil {
		return false
	}
	return d.ID == cluster.DefaultDomainID || d.ID == "" && strings.EqualFold(d.Name, cluster.DefaultDomainName)
}

// checkDomain refuses records for another domain.
func checkDomain(id *string) error {
	if id != nil && *id != cluster.DefaultDomainID {
		return missing("domain", *id)
	}
	return nil
}

type domainBody struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Description string         `json:"description"`
	Enabled     bool           `json:"enabled"`
	Tags        []string       `json:"tags"`
	Options     map[string]any `json:"options"`
	Links       selfLink       `json:"links"`
}

func renderDomain(r *http.Request) domainBody {
	return domainBody{
		ID: cluster.DefaultDomainID, Name: cluster.DefaultDomainName, Description: "The default domain", Enabled: true,
		Tags: []string{}, Options: map[string]any{}, Links: selfLink{v3URL(r) + "/domains/" + cluster.DefaultDomainID},
	}
}

func (s *server) domainRoutes(r chi.Router) {
	r.Get("/domains", s.do(s.listDomains))
	r.Get("/domains/{id}", s.do(s.showDomain))
	const one = "This cloud has one domain, which cannot be changed, and no others."
	r.Post("/domains", s.unsupported(one))
	r.Patch("/domains/{id}", s.unsupported(one))
	r.Delete("/domains/{id}", s.unsupported(one))

	r.Get("/groups", s.do(s.listGroups))
	r.Get("/groups/{id}", s.do(s.noGroup))
	r.Head("/groups/{id}", s.do(s.noGroup))
	r.Delete("/groups/{id}", s.do(s.noGroup))
	r.Patch("/groups/{id}", s.do(s.noGroup))
	r.Post("/groups", s.unsupported("This cloud has no groups. Give roles to users."))
}

func (s *server) listDomains(w http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "list_domains"); err != nil {
		return err
	}
	f := filterOf(r)
	var all []domainBody
	if f.named("name", cluster.DefaultDomainName) && f.flag("enabled", true) {
		all = append(all, renderDomain(r))
	}
	return replyList(w, r, "domains", all, func(b domainBody) string { return b.ID })
}

// showDomain lets everybody see the domain: everybody is in it.
func (s *server) showDomain(w http.ResponseWriter, r *http.Request) error {
	if id := chi.URLParam(r, "id"); id != cluster.DefaultDomainID {
		return missing("domain", id)
	}
	rest.Reply(w, http.StatusOK, map[string]any{"domain": renderDomain(r)})
	return nil
}

// authDomains lists the domains that the caller can get a token for: none, since roles are given in projects or the system.
func (s *server) authDomains(w http.ResponseWriter, r *http.Request) error {
	return replyList(w, r, "domains", nil, func(b domainBody) string { return b.ID })
}

func (s *server) listGroups(w http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "list_groups"); err != nil {
		return err
	}
	return replyList(w, r, "groups", nil, func(s string) string { return s })
}

func (s *server) noGroup(_ http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "get_group"); err != nil {
		return err
	}
	return missing("group", chi.URLParam(r, "id"))
}
