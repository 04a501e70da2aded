package identity

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// subjectHeader carries the token that a request is about, or the one that was made.
const subjectHeader = "X-Subject-Token"

type tokenUser struct {
	Domain          domainRef `json:"domain"`
	ID              string    `json:"id"`
	Name            string    `json:"name"`
	PasswordExpires *string   `json:"password_expires_at"`
}

type tokenProject struct {
	Domain domainRef `json:"domain"`
	ID     string    `json:"id"`
	Name   string    `json:"name"`
}

type tokenRole struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type tokenCredential struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Restricted bool   `json:"restricted"`
}

// tokenBody is a token as the API shows it. Fields that are absent in an unscoped one are pointers or may be nil.
type tokenBody struct {
	Methods    []string          `json:"methods"`
	User       tokenUser         `json:"user"`
	AuditIDs   []cluster.TokenID `json:"audit_ids"`
	Expires    string            `json:"expires_at"`
	Issued     string            `json:"issued_at"`
	Project    *tokenProject     `json:"project,omitempty"`
	IsDomain   *bool             `json:"is_domain,omitempty"`
	Roles      []tokenRole       `json:"roles,omitempty"`
	System     map[string]bool   `json:"system,omitempty"`
	Catalog    []catalogEntry    `json:"catalog,omitempty"`
	Credential *tokenCredential  `json:"application_credential,omitempty"`
}

func (s *server) renderToken(r *http.Request, c *claims, h *holding) tokenBody {
	b := tokenBody{
		Methods:  c.Methods,
		User:     tokenUser{Domain: theDomain, ID: string(h.user.ID), Name: h.user.Name},
		AuditIDs: c.shownAudit(), Expires: rest.Keystone(c.Expires), Issued: rest.Keystone(c.Issued),
	}
	if h.project != nil {
		no := false
		b.Project, b.IsDomain = &tokenProject{Domain: theDomain, ID: string(h.project.ID), Name: h.project.Name}, &no
	}
	if c.System {
		b.System = map[string]bool{"all": true}
	}
	for _, role := range h.shown {
		b.Roles = append(b.Roles, tokenRole{string(role.ID), role.Name})
	}
	if (h.project != nil || c.System) && !r.URL.Query().Has("nocatalog") {
		b.Catalog = s.catalogFor(r, h.project)
	}
	if h.cred != nil {
		b.Credential = &tokenCredential{ID: string(h.cred.ID), Name: h.cred.Name, Restricted: !h.cred.Unrestricted}
	}
	return b
}

// subject reads the token that a request is about, and lets only its holder, readers of everything and administrators
// have to do with it.
func (s *server) subject(r *http.Request, action string) (*claims, *holding, error) {
	view, err := rest.View(r, s.backend)
	if err != nil {
		return nil, nil, err
	}
	text := r.Header.Get(subjectHeader)
	c, err := s.tokens.read(view, text)
	if err != nil {
		return nil, nil, cluster.Errorf(cluster.NotFound, "Could not recognize the token")
	}
	h, err := hold(view, c, now(view))
	if err != nil {
		return nil, nil, cluster.Errorf(cluster.NotFound, "Failed to validate token")
	}
	if action == "revoke_token" {
		return c, h, requireSelfOrAdmin(r, c.User, action)
	}
	return c, h, requireSelfOrRead(r, c.User, action)
}

func (s *server) validateToken(w http.ResponseWriter, r *http.Request) error {
	c, h, err := s.subject(r, "validate_token")
	if err != nil {
		return err
	}
	w.Header().Set(subjectHeader, r.Header.Get(subjectHeader))
	rest.Reply(w, http.StatusOK, map[string]any{"token": s.renderToken(r, c, h)})
	return nil
}

// revokeToken makes a token void, and with it all that were made from it.
func (s *server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	c, _, err := s.subject(r, "revoke_token")
	if err != nil {
		return err
	}
	if _, err := rest.Change(r, s.backend, &cluster.RevokeToken{Revocation: cluster.Revocation{Token: c.id(), Expires: c.Expires}}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
