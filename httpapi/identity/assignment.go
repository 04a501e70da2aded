package identity

import (
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

func (s *server) assignmentRoutes(r chi.Router) {
	r.Get("/role_assignments", s.do(s.listAssignments))
	for _, scope := range []string{"/projects/{project}", "/system"} {
		r.Get(scope+"/users/{user}/roles", s.do(s.listGrants))
		r.Get(scope+"/users/{user}/roles/{role}", s.do(s.checkGrant))
		r.Head(scope+"/users/{user}/roles/{role}", s.do(s.checkGrant))
		r.Put(scope+"/users/{user}/roles/{role}", s.do(s.createGrant))
		r.Delete(scope+"/users/{user}/roles/{role}", s.do(s.revokeGrant))
	}
	const none = "Roles are given to users, in projects or in the system."
	for _, scope := range []string{"/projects/{project}/groups/{group}", "/domains/{domain}/users/{user}", "/domains/{domain}/groups/{group}", "/system/groups/{group}"} {
		r.Get(scope+"/roles", s.do(s.listNoGrants))
		r.Put(scope+"/roles/{role}", s.unsupported(none))
		r.Delete(scope+"/roles/{role}", s.unsupported(none))
	}
}

// grantOf reads the assignment that a path names, and checks that there are such things.
func (s *server) grantOf(r *http.Request) (cluster.Assignment, *cluster.View, error) {
	a := cluster.Assignment{
		User: cluster.UserID(chi.URLParam(r, "user")), Project: cluster.ProjectID(chi.URLParam(r, "project")), Role: cluster.RoleID(chi.URLParam(r, "role")),
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return a, nil, err
	}
	if _, ok := view.User(a.User); !ok {
		return a, nil, missing("user", string(a.User))
	}
	if _, ok := view.Project(a.Project); a.Project != "" && !ok {
		return a, nil, missing("project", string(a.Project))
	}
	if _, ok := view.Role(a.Role); a.Role != "" && !ok {
		return a, nil, missing("role", string(a.Role))
	}
	return a, view, nil
}

func (s *server) listGrants(w http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "list_grants"); err != nil {
		return err
	}
	a, view, err := s.grantOf(r)
	if err != nil {
		return err
	}
	var all []roleBody
	for _, role := range assigned(view, a.User, a.Project) {
		all = append(all, renderRole(r, role))
	}
	return replyList(w, r, "roles", all, func(b roleBody) string { return b.ID })
}

func (s *server) listNoGrants(w http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "list_grants"); err != nil {
		return err
	}
	return replyList(w, r, "roles", nil, func(b roleBody) string { return b.ID })
}

func noGrant(a cluster.Assignment) error {
	where := string(a.Project)
	if where == "" {
		where = "system"
	}
	return cluster.Errorf(cluster.NotFound, "Could not find role assignment with role: %s, user or group: %s, project, domain, or system: %s.",
		a.Role, a.User, where)
}

func (s *server) checkGrant(w http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "check_grant"); err != nil {
		return err
	}
	a, view, err := s.grantOf(r)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(assigned(view, a.User, a.Project), func(role *cluster.Role) bool { return role.ID == a.Role }) {
		return noGrant(a)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) createGrant(w http.ResponseWriter, r *http.Request) error {
	if err := requireAdmin(r, "create_grant"); err != nil {
		return err
	}
	a, _, err := s.grantOf(r)
	if err != nil {
		return err
	}
	if _, err := rest.Change(r, s.backend, &cluster.PutAssignment{Assignment: a}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) revokeGrant(w http.ResponseWriter, r *http.Request) error {
	if err := requireAdmin(r, "revoke_grant"); err != nil {
		return err
	}
	a, _, err := s.grantOf(r)
	if err != nil {
		return err
	}
	if _, err := rest.Change(r, s.backend, &cluster.DeleteAssignment{Assignment: a}); err != nil {
		if cluster.CodeOf(err) == cluster.NotFound {
			return noGrant(a)
		}
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// named is something that an assignment refers to; the name is there when the client asked for names.
type named struct {
	ID     string     `json:"id"`
	Name   string     `json:"name,omitempty"`
	Domain *domainRef `json:"domain,omitempty"`
}

type assignmentScope struct {
	Project *named          `json:"project,omitempty"`
	System  map[string]bool `json:"system,omitempty"`
}

type assignmentBody struct {
	Links map[string]string `json:"links"`
	Scope assignmentScope   `json:"scope"`
	User  named             `json:"user"`
	Role  named             `json:"role"`
}

// wanted tells whether an assignment is what a query asks for.
func wanted(f filter, a cluster.Assignment) bool {
	if f.q.Has("group.id") || f.q.Has("scope.domain.id") {
		return false
	}
	system := f.q.Has("scope.system")
	return f.is("user.id", string(a.User)) && f.is("role.id", string(a.Role)) && f.is("scope.project.id", string(a.Project)) &&
		(!system || a.Project == "")
}

// listAssignments lists who has which role where. Callers who may not look at everything see what they have themselves.
func (s *server) listAssignments(w http.ResponseWriter, r *http.Request) error {
	f := filterOf(r)
	if own := string(rest.CallerFrom(r.Context()).User.ID); !f.q.Has("user.id") || f.q.Get("user.id") != own {
		if err := requireRead(r, "list_role_assignments"); err != nil {
			return err
		}
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	var all []assignmentBody
	for a := range view.Assignments() {
		for _, role := range s.rolesOf(f, view, a) {
			one := cluster.Assignment{User: a.User, Project: a.Project, Role: role.ID}
			b, ok := renderAssignment(r, view, one, f.asked("include_names"))
			if ok && wanted(f, one) && !slices.ContainsFunc(all, func(x assignmentBody) bool { return x.Links["assignment"] == b.Links["assignment"] }) {
				all = append(all, b)
			}
		}
	}
	return replyList(w, r, "role_assignments", all, func(b assignmentBody) string { return b.Links["assignment"] })
}

// rolesOf gives the role of an assignment, and those that it implies when the query asks for what is effective.
func (s *server) rolesOf(f filter, view *cluster.View, a cluster.Assignment) []*cluster.Role {
	role, ok := view.Role(a.Role)
	switch {
	case !ok:
		return nil
	case f.asked("effective"):
		return expand(view, []*cluster.Role{role})
	default:
		return []*cluster.Role{role}
	}
}

func renderAssignment(r *http.Request, view *cluster.View, a cluster.Assignment, names bool) (assignmentBody, bool) {
	u, okUser := view.User(a.User)
	role, okRole := view.Role(a.Role)
	p, okProject := view.Project(a.Project)
	if !okUser || !okRole || a.Project != "" && !okProject {
		return assignmentBody{}, false
	}
	b := assignmentBody{User: named{ID: string(u.ID)}, Role: named{ID: string(role.ID)}}
	where := "/system"
	if a.Project == "" {
		b.Scope.System = map[string]bool{"all": true}
	} else {
		where = "/projects/" + string(p.ID)
		b.Scope.Project = &named{ID: string(p.ID)}
	}
	if names {
		b.User.Name, b.User.Domain, b.Role.Name = u.Name, &theDomain, role.Name
		if b.Scope.Project != nil {
			b.Scope.Project.Name, b.Scope.Project.Domain = p.Name, &theDomain
		}
	}
	b.Links = map[string]string{"assignment": v3URL(r) + where + "/users/" + string(u.ID) + "/roles/" + string(role.ID)}
	return b, true
}
