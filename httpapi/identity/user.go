package identity

import (
	"encoding/json"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// userInput is a user as clients send it; nil is not sent.
type userInput struct {
	Name             *string        `json:"name"`
	Description      *string        `json:"description"`
	Email            *string        `json:"email"`
	Enabled          *bool          `json:"enabled"`
	Password         *string        `json:"password"`
	OriginalPassword *string        `json:"original_password"`
	DomainID         *string        `json:"domain_id"`
	DefaultProject   *string        `json:"default_project_id"`
	Options          map[string]any `json:"options"`

	extra map[string]string
}

type userEnvelope struct {
	User *userInput `json:"user"`
}

// UnmarshalJSON keeps the properties that have no field.
func (u *userInput) UnmarshalJSON(data []byte) error {
	type plain userInput
	if err := json.Unmarshal(data, (*plain)(u)); err != nil {
		return err
	}
	var err error
	u.extra, err = extras(data, "name", "description", "email", "enabled", "password", "original_password", "domain_id",
		"default_project_id", "options", "id", "links", "extra", "password_expires_at")
	return err
}

// decodeUser reads a user that a client sends.
func decodeUser(r *http.Request) (*userInput, error) {
	req, err := rest.Decode[userEnvelope](r)
	if err != nil {
		return nil, err
	}
	if req.User == nil {
		return nil, expecting("user", "request body")
	}
	return req.User, req.User.check()
}

// check refuses what no user can have. Options of a user promise protections that are not there, so none is taken.
func (u *userInput) check() error {
	if err := checkDomain(u.DomainID); err != nil {
		return err
	}
	for name := range u.Options {
		return cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute options. '%s' is not an option of a user", name)
	}
	if u.Name != nil {
		if err := checkName("user", *u.Name, maxName); err != nil {
			return err
		}
	}
	for field, text := range map[string]*string{"description": u.Description, "email": u.Email, "default_project_id": u.DefaultProject} {
		if text == nil {
			continue
		}
		if err := rest.CheckText(field, *text, 0, maxText); err != nil {
			return err
		}
	}
	return nil
}

// apply changes a record as the client wants; hash is of the password, if there is one.
func (u *userInput) apply(to *cluster.User, hash string, now cluster.Time) error {
	put(&to.Name, u.Name)
	put(&to.Description, u.Description)
	put(&to.Email, u.Email)
	if u.Enabled != nil {
		if to.Disabled = !*u.Enabled; to.Disabled {
			to.TokensSince = now + 1 // those of this very moment are void, too
		}
	}
	if u.DefaultProject != nil {
		to.DefaultProject = cluster.ProjectID(*u.DefaultProject)
	}
	if hash != "" {
		to.PasswordHash, to.PasswordSet = hash, now
	}
	var err error
	to.Extra, err = merge(to.Extra, u.extra)
	return err
}

// renderUser shows a user; extra also shows what Keystone counts as further properties by themselves, as replies to PATCH do.
func renderUser(r *http.Request, u *cluster.User, extra bool) map[string]any {
	more := map[string]any{}
	for k, v := range u.Extra {
		more[k] = v
	}
	if u.Email != "" {
		more["email"] = u.Email
	}
	if u.Description != "" {
		more["description"] = u.Description
	}
	b := map[string]any{}
	for k, v := range more {
		b[k] = v
	}
	b["id"], b["name"], b["domain_id"], b["enabled"] = u.ID, u.Name, cluster.DefaultDomainID, !u.Disabled
	if u.DefaultProject != "" {
		b["default_project_id"] = u.DefaultProject
	}
	b["password_expires_at"], b["options"] = nil, map[string]any{}
	b["links"] = selfLink{v3URL(r) + "/users/" + string(u.ID)}
	if extra {
		b["extra"] = more
	}
	return b
}

func (s *server) userRoutes(r chi.Router) {
	r.Get("/users", s.do(s.listUsers))
	r.Post("/users", s.do(s.createUser))
	r.Get("/users/{user}", s.do(s.showUser))
	r.Head("/users/{user}", s.do(s.showUser))
	r.Patch("/users/{user}", s.do(s.updateUser))
	r.Delete("/users/{user}", s.do(s.deleteUser))
	r.Get("/users/{user}/groups", s.do(s.listUserGroups))
	r.Get("/users/{user}/access_rules", s.do(s.listAccessRules))
}

func (s *server) listUsers(w http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "list_users"); err != nil {
		return err
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	f := filterOf(r)
	all := []map[string]any{}
	for u := range view.Users() {
		if f.named("name", u.Name) && f.flag("enabled", !u.Disabled) && f.is("domain_id", cluster.DefaultDomainID) {
			all = append(all, renderUser(r, u, false))
		}
	}
	return replyList(w, r, "users", all, idOf)
}

func (s *server) showUser(w http.ResponseWriter, r *http.Request) error {
	id := cluster.UserID(chi.URLParam(r, "user"))
	if err := requireSelfOrRead(r, id, "get_user"); err != nil {
		return err
	}
	return s.replyUser(w, r, id, http.StatusOK, false)
}

func (s *server) replyUser(w http.ResponseWriter, r *http.Request, id cluster.UserID, status int, extra bool) error {
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	u, ok := view.User(id)
	if !ok {
		return missing("user", string(id))
	}
	rest.Reply(w, status, map[string]any{"user": renderUser(r, u, extra)})
	return nil
}

// hashOf hashes the password of a request; "" when it has none.
func (s *server) hashOf(r *http.Request, password *string) (string, error) {
	if password == nil {
		return "", nil
	}
	return s.gate.hash(r.Context(), *password)
}

func (s *server) createUser(w http.ResponseWriter, r *http.Request) error {
	if err := requireAdmin(r, "create_user"); err != nil {
		return err
	}
	in, err := decodeUser(r)
	if err != nil {
		return err
	}
	if in.Name == nil {
		return expecting("name", "user")
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	hash, err := s.hashOf(r, in.Password)
	if err != nil {
		return err
	}
	u := cluster.User{ID: cluster.UserID(rest.NewHexID())}
	if err := in.apply(&u, hash, now(view)); err != nil {
		return err
	}
	res, err := rest.Change(r, s.backend, &cluster.PutUser{User: u})
	if err != nil {
		return err
	}
	return s.replyUser(w, r, cluster.UserID(made(res, string(u.ID))), http.StatusCreated, false)
}

func (s *server) updateUser(w http.ResponseWriter, r *http.Request) error {
	if err := requireAdmin(r, "update_user"); err != nil {
		return err
	}
	in, err := decodeUser(r)
	if err != nil {
		return err
	}
	hash, err := s.hashOf(r, in.Password)
	if err != nil {
		return err
	}
	id := cluster.UserID(chi.URLParam(r, "user"))
	_, err = rest.Update(r, s.backend, func(view *cluster.View) (cluster.Op, error) {
		u, ok := view.User(id)
		if !ok {
			return nil, missing("user", string(id))
		}
		changed := *u
		if err := in.apply(&changed, hash, now(view)); err != nil {
			return nil, err
		}
		return &cluster.PutUser{User: changed}, nil
	})
	if err != nil {
		return err
	}
	return s.replyUser(w, r, id, http.StatusOK, true)
}

func (s *server) deleteUser(w http.ResponseWriter, r *http.Request) error {
	if err := requireAdmin(r, "delete_user"); err != nil {
		return err
	}
	id := cluster.UserID(chi.URLParam(r, "user"))
	if _, err := rest.Change(r, s.backend, &cluster.DeleteUser{ID: id}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// changePassword lets users change their own password. Knowing the present one is all that it takes: no token is asked for.
func (s *server) changePassword(w http.ResponseWriter, r *http.Request) error {
	in, err := decodeUser(r)
	if err != nil {
		return err
	}
	if in.Password == nil || in.OriginalPassword == nil {
		return expecting("password and original_password", "user")
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	id := cluster.UserID(chi.URLParam(r, "user"))
	u, err := s.provePassword(r, view, &userRef{ID: string(id), Password: *in.OriginalPassword})
	if err != nil {
		return err
	}
	proved := u.PasswordHash
	hash, err := s.hashOf(r, in.Password)
	if err != nil {
		return err
	}
	_, err = rest.Update(r, s.backend, func(view *cluster.View) (cluster.Op, error) {
		u, ok := view.User(id)
		if !ok || u.PasswordHash != proved {
			return nil, refuse("the password was changed meanwhile")
		}
		changed := *u
		changed.PasswordHash, changed.PasswordSet = hash, now(view)
		return &cluster.PutUser{User: changed}, nil
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// listUserGroups lists the groups of a user: there are none.
func (s *server) listUserGroups(w http.ResponseWriter, r *http.Request) error {
	if err := requireSelfOrRead(r, cluster.UserID(chi.URLParam(r, "user")), "list_groups_for_user"); err != nil {
		return err
	}
	return replyList(w, r, "groups", nil, func(s string) string { return s })
}

// listAccessRules lists the access rules of a user's application credentials: none can be made.
func (s *server) listAccessRules(w http.ResponseWriter, r *http.Request) error {
	if err := requireSelfOrRead(r, cluster.UserID(chi.URLParam(r, "user")), "list_access_rules"); err != nil {
		return err
	}
	return replyList(w, r, "access_rules", nil, func(s string) string { return s })
}
