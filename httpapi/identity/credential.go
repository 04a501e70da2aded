package identity

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

const (
	secretBytes    = 64
	shortestSecret = 12 // of those that clients choose: they are kept under a fast hash
	maxCredentials = 1000
)

// newCredential is an application credential as clients ask for it.
type newCredential struct {
	Name         *string           `json:"name"`
	Description  *string           `json:"description"`
	Secret       *string           `json:"secret"`
	Expires      *string           `json:"expires_at"`
	Roles        []roleRef         `json:"roles"`
	Unrestricted bool              `json:"unrestricted"`
	AccessRules  []json.RawMessage `json:"access_rules"`
}

type roleRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type credentialBody struct {
	ID           string     `json:"id"`
	Name         string     `json:"name"`
	Description  *string    `json:"description"`
	UserID       string     `json:"user_id"`
	ProjectID    string     `json:"project_id"`
	System       *string    `json:"system"`
	Expires      *string    `json:"expires_at"`
	Unrestricted bool       `json:"unrestricted"`
	Roles        []roleBody `json:"roles"`
	Secret       string     `json:"secret,omitempty"` // only in the reply to its creation
	Links        selfLink   `json:"links"`
}

func renderCredential(r *http.Request, view *cluster.View, c *cluster.Credential) credentialBody {
	b := credentialBody{
		ID: string(c.ID), Name: c.Name, Description: rest.OrNull(c.Description), UserID: string(c.User), ProjectID: string(c.Project),
		Expires: rest.OrNull(rest.Micros(c.Expires)), Unrestricted: c.Unrestricted, Roles: []roleBody{},
		Links: selfLink{v3URL(r) + "/application_credentials/" + string(c.ID)},
	}
	for _, id := range c.Roles {
		if role, ok := view.Role(id); ok {
			b.Roles = append(b.Roles, bareRole(role))
		}
	}
	return b
}

func (s *server) credentialRoutes(r chi.Router) {
	const path = "/users/{user}/application_credentials"
	r.Get(path, s.do(s.listCredentials))
	r.Post(path, s.do(s.createCredential))
	r.Get(path+"/{id}", s.do(s.showCredential))
	r.Head(path+"/{id}", s.do(s.showCredential))
	r.Delete(path+"/{id}", s.do(s.deleteCredential))
}

func (s *server) listCredentials(w http.ResponseWriter, r *http.Request) error {
	user := cluster.UserID(chi.URLParam(r, "user"))
	if err := requireSelfOrRead(r, user, "list_application_credentials"); err != nil {
		return err
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	f := filterOf(r)
	var all []credentialBody
	for c := range view.CredentialsOf(user) {
		if f.named("name", c.Name) {
			all = append(all, renderCredential(r, view, c))
		}
	}
	slices.SortFunc(all, func(a, b credentialBody) int { return cmp.Compare(a.ID, b.ID) })
	return replyList(w, r, "application_credentials", all, func(b credentialBody) string { return b.ID })
}

// credentialOf finds what a path names. Another user's is not there.
func credentialOf(r *http.Request, view *cluster.View) (*cluster.Credential, error) {
	id := chi.URLParam(r, "id")
	c, ok := view.Credential(cluster.CredentialID(id))
	if !ok || c.User != cluster.UserID(chi.URLParam(r, "user")) {
		return nil, missing("Application Credential", id)
	}
	return c, nil
}

func (s *server) showCredential(w http.ResponseWriter, r *http.Request) error {
	if err := requireSelfOrRead(r, cluster.UserID(chi.URLParam(r, "user")), "get_application_credential"); err != nil {
		return err
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	c, err := credentialOf(r, view)
	if err != nil {
		return err
	}
	rest.Reply(w, http.StatusOK, map[string]any{"application_credential": renderCredential(r, view, c)})
	return nil
}

// mayManage refuses tokens of application credentials that are not "unrestricted": such a credential may not make or remove
// others.
func (s *server) mayManage(r *http.Request, view *cluster.View) error {
	c, err := s.tokens.read(view, r.Header.Get(rest.TokenHeader))
	if err != nil {
		return err
	}
	if c.Cred == "" {
		return nil
	}
	if own, ok := view.Credential(c.Cred); ok && own.Unrestricted {
		return nil
	}
	return cluster.Errorf(cluster.Forbidden, "Using method 'application_credential' is not allowed for managing additional application credentials.")
}

func (s *server) createCredential(w http.ResponseWriter, r *http.Request) error {
	caller := rest.CallerFrom(r.Context())
	if caller.User.ID != cluster.UserID(chi.URLParam(r, "user")) || caller.Project == nil {
		return forbid("create_application_credential")
	}
	req, err := rest.Decode[struct {
		Credential *newCredential `json:"application_credential"`
	}](r)
	if err != nil {
		return err
	}
	if req.Credential == nil {
		return expecting("application_credential", "request body")
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	if err := s.mayManage(r, view); err != nil {
		return err
	}
	cred, secret, err := req.Credential.make(caller, now(view))
	if err != nil {
		return err
	}
	if count(view.CredentialsOf(caller.User.ID)) >= maxCredentials {
		return cluster.Errorf(cluster.OverQuota, "A user has at most %d application credentials.", maxCredentials)
	}
	res, err := rest.Change(r, s.backend, &cluster.PutCredential{Credential: *cred})
	if err != nil {
		return err
	}
	if view, err = rest.View(r, s.backend); err != nil {
		return err
	}
	stored, ok := view.Credential(cluster.CredentialID(made(res, string(cred.ID))))
	if !ok {
		return missing("Application Credential", string(cred.ID))
	}
	if stored.ID != cred.ID {
		// A repetition under the same key: the first reply held the secret, and nobody knows it any more.
		return cluster.Errorf(cluster.Conflict, "Application credential %s was made by an earlier request, and its secret was shown then.", stored.ID)
	}
	b := renderCredential(r, view, stored)
	b.Secret = secret
	rest.Reply(w, http.StatusCreated, map[string]any{"application_credential": b})
	return nil
}

// make builds the record that a client asks for, and the secret, which is kept nowhere.
func (n *newCredential) make(caller *rest.Caller, now cluster.Time) (c *cluster.Credential, secret string, err error) {
	switch {
	case n.Name == nil:
		return nil, "", expecting("name", "application_credential")
	case len(n.AccessRules) > 0:
		return nil, "", &rest.HTTPError{Status: http.StatusNotImplemented, Message: "This cloud does not enforce access rules, so it takes none."}
	}
	if err := checkName("application credential", *n.Name, maxName); err != nil {
		return nil, "", err
	}
	c = &cluster.Credential{
		ID: cluster.CredentialID(rest.NewHexID()), Name: *n.Name, User: caller.User.ID, Project: caller.Project.ID,
		Unrestricted: n.Unrestricted, Created: now,
	}
	put(&c.Description, n.Description)
	if err := rest.CheckText("description", c.Description, 0, maxText); err != nil {
		return nil, "", err
	}
	if c.Expires, err = n.expires(now); err != nil {
		return nil, "", err
	}
	if c.Roles, err = n.roles(caller); err != nil {
		return nil, "", err
	}
	if n.Secret != nil && *n.Secret != "" {
		secret = *n.Secret
		if len(secret) < shortestSecret || len(secret) > maxName {
			return nil, "", cluster.Errorf(cluster.Invalid, "A secret has %d to %d characters.", shortestSecret, maxName)
		}
	} else {
		var b [secretBytes]byte
		_, _ = rand.Read(b[:]) // never fails: crypto/rand stops the program instead
		secret = base64.RawURLEncoding.EncodeToString(b[:])
	}
	c.SecretHash = sha256.Sum256([]byte(secret))
	return c, secret, nil
}

// roles are those that the client names, or all that the caller has; nobody can hand on more than that.
func (n *newCredential) roles(caller *rest.Caller) ([]cluster.RoleID, error) {
	var ids []cluster.RoleID
	if len(n.Roles) == 0 {
		for _, role := range caller.Roles {
			ids = append(ids, role.ID)
		}
		return ids, nil
	}
	for _, ref := range n.Roles {
		i := slices.IndexFunc(caller.Roles, func(role *cluster.Role) bool {
			return string(role.ID) == ref.ID || ref.ID == "" && role.Name == ref.Name
		})
		if i < 0 {
			return nil, cluster.Errorf(cluster.Invalid, "Invalid application credential: Could not find role assignment with role: %s, user or group: "+
				"%s, project, domain, or system: %s.", cmp.Or(ref.ID, ref.Name), caller.User.ID, caller.ProjectID())
		}
		if !slices.Contains(ids, caller.Roles[i].ID) {
			ids = append(ids, caller.Roles[i].ID)
		}
	}
	return ids, nil
}

// expires reads the time of expiry; 0 is never.
func (n *newCredential) expires(now cluster.Time) (cluster.Time, error) {
	if n.Expires == nil {
		return 0, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		t, err := time.Parse(layout, *n.Expires)
		if err != nil {
			continue
		}
		if cluster.At(t) <= now {
			return 0, cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute expires_at. It is in the past")
		}
		return cluster.At(t), nil
	}
	return 0, cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute expires_at. It is no time like 2030-01-31T12:00:00.000000")
}

func (s *server) deleteCredential(w http.ResponseWriter, r *http.Request) error {
	if err := requireSelfOrAdmin(r, cluster.UserID(chi.URLParam(r, "user")), "delete_application_credential"); err != nil {
		return err
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	if err := s.mayManage(r, view); err != nil {
		return err
	}
	c, err := credentialOf(r, view)
	if err != nil {
		return err
	}
	if _, err := rest.Change(r, s.backend, &cluster.DeleteCredential{ID: c.ID}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
