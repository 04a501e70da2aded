package identity

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// roleInput is a role as clients send it; nil is not sent.
type roleInput struct {
	Name        *string        `json:"name"`
	Description *string        `json:"description"`
	DomainID    *string        `json:"domain_id"`
	Options     map[string]any `json:"options"`
}

func decodeRole(r *http.Request) (*roleInput, error) {
	req, err := rest.Decode[struct {
		Role *roleInput `json:"role"`
	}](r)
	if err != nil {
		return nil, err
	}
	in := req.Role
	switch {
	case in == nil:
		return nil, expecting("role", "request body")
	case in.DomainID != nil:
		return nil, cluster.Errorf(cluster.Invalid, "This cloud has no roles of a domain.")
	}
	for name := range in.Options {
		return nil, cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute options. '%s' is not an option of a role", name)
	}
	if in.Name != nil {
		if err := checkName("role", *in.Name, maxName); err != nil {
			return nil, err
		}
	}
	if in.Description != nil {
		return in, rest.CheckText("description", *in.Description, 0, maxText)
	}
	return in, nil
}

type roleBody struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	DomainID    *string        `json:"domain_id"`
	Description *string        `json:"description"`
	Options     map[string]any `json:"options"`
	Links       *selfLink      `json:"links,omitempty"` // not within an application credential
}

func renderRole(r *http.Request, role *cluster.Role) roleBody {
	b := bareRole(role)
	b.Links = &selfLink{v3URL(r) + "/roles/" + string(role.ID)}
	return b
}

func bareRole(role *cluster.Role) roleBody {
	b := roleBody{ID: string(role.ID), Name: role.Name, Description: rest.OrNull(role.Description), Options: map[string]any{}}
	if role.BuiltIn {
		b.Options[immutable] = true
	}
	return b
}

func (s *server) roleRoutes(r chi.Router) {
	r.Get("/roles", s.do(s.listRoles))
	r.Post("/roles", s.do(s.createRole))
	r.Get("/roles/{role}", s.do(s.showRole))
	r.Head("/roles/{role}", s.do(s.showRole))
	r.Patch("/roles/{role}", s.do(s.updateRole))
	r.Delete("/roles/{role}", s.do(s.deleteRole))
	r.Get("/roles/{role}/implies", s.do(s.listImplied))
	r.Get("/role_inferences", s.do(s.listInferences))
	const fixed = "What roles imply cannot be changed: admin implies member, and member implies reader."
	r.Put("/roles/{role}/implies/{implied}", s.unsupported(fixed))
	r.Delete("/roles/{role}/implies/{implied}", s.unsupported(fixed))
}

func (s *server) listRoles(w http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "list_roles"); err != nil {
		return err
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	f := filterOf(r)
	var all []roleBody
	for role := range view.Roles() {
		if f.named("name", role.Name) && (!f.q.Has("domain_id") || f.q.Get("domain_id") == "") {
			all = append(all, renderRole(r, role))
		}
	}
	return replyList(w, r, "roles", all, func(b roleBody) string { return b.ID })
}

func (s *server) showRole(w http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "get_role"); err != nil {
		return err
	}
	return s.replyRole(w, r, cluster.RoleID(chi.URLParam(r, "role")), http.StatusOK)
}

func (s *server) replyRole(w http.ResponseWriter, r *http.Request, id cluster.RoleID, status int) error {
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	role, ok := view.Role(id)
	if !ok {
		return missing("role", string(id))
	}
	rest.Reply(w, status, map[string]any{"role": renderRole(r, role)})
	return nil
}

func (s *server) createRole(w http.ResponseWriter, r *http.Request) error {
	if err := requireAdmin(r, "create_role"); err != nil {
		return err
	}
	in, err := decodeRole(r)
	if err != nil {
		return err
	}
	if in.Name == nil {
		return expecting("name", "role")
	}
	role := cluster.Role{ID: cluster.RoleID(rest.NewHexID()), Name: *in.Name}
	put(&role.Description, in.Description)
	res, err := rest.Change(r, s.backend, &cluster.PutRole{Role: role})
	if err != nil {
		return err
	}
	return s.replyRole(w, r, cluster.RoleID(made(res, string(role.ID))), http.StatusCreated)
}

func (s *server) updateRole(w http.ResponseWriter, r *http.Request) error {
	if err := requireAdmin(r, "update_role"); err != nil {
		return err
	}
	in, err := decodeRole(r)
	if err != nil {
		return err
	}
	id := cluster.RoleID(chi.URLParam(r, "role"))
	_, err = rest.Update(r, s.backend, func(view *cluster.View) (cluster.Op, error) {
		role, ok := view.Role(id)
		if !ok {
			return nil, missing("role", string(id))
		}
		if role.BuiltIn {
			return nil, cluster.Errorf(cluster.Forbidden, "Cannot modify immutable resource role %s.", id)
		}
		changed := *role
		put(&changed.Name, in.Name)
		put(&changed.Description, in.Description)
		return &cluster.PutRole{Role: changed}, nil
	})
	if err != nil {
		return err
	}
	return s.replyRole(w, r, id, http.StatusOK)
}

func (s *server) deleteRole(w http.ResponseWriter, r *http.Request) error {
	if err := requireAdmin(r, "delete_role"); err != nil {
		return err
	}
	id := cluster.RoleID(chi.URLParam(r, "role"))
	if _, err := rest.Change(r, s.backend, &cluster.DeleteRole{ID: id}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type linkedRole struct {
	ID    string   `json:"id"`
	Name  string   `json:"name"`
	Links selfLink `json:"links"`
}

type inference struct {
	Prior   linkedRole   `json:"prior_role"`
	Implies []linkedRole `json:"implies"`
}

// inferenceOf gives what a role implies directly; nil when nothing.
func inferenceOf(r *http.Request, view *cluster.View, role *cluster.Role) *inference {
	link := func(role *cluster.Role) linkedRole {
		return linkedRole{string(role.ID), role.Name, selfLink{v3URL(r) + "/roles/" + string(role.ID)}}
	}
	next, ok := view.RoleNamed(implied[role.Name])
	if !role.BuiltIn || !ok {
		return nil
	}
	return &inference{Prior: link(role), Implies: []linkedRole{link(next)}}
}

func (s *server) listImplied(w http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "list_implied_roles"); err != nil {
		return err
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	id := chi.URLParam(r, "role")
	role, ok := view.Role(cluster.RoleID(id))
	if !ok {
		return missing("role", id)
	}
	i := inferenceOf(r, view, role)
	if i == nil {
		i = &inference{Prior: linkedRole{id, role.Name, selfLink{v3URL(r) + "/roles/" + id}}, Implies: []linkedRole{}}
	}
	rest.Reply(w, http.StatusOK, map[string]any{"role_inference": i, "links": selfLink{selfURL(r)}})
	return nil
}

func (s *server) listInferences(w http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "list_role_inference_rules"); err != nil {
		return err
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	all := []*inference{}
	for role := range view.Roles() {
		if i := inferenceOf(r, view, role); i != nil {
			all = append(all, i)
		}
	}
	rest.Reply(w, http.StatusOK, map[string]any{"role_inferences": all, "links": selfLink{selfURL(r)}})
	return nil
}
