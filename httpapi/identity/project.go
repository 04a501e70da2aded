package identity

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// projectInput is a project as clients send it; nil is not sent.
type projectInput struct {
	Name        *string        `json:"name"`
	Description *string        `json:"description"`
	Enabled     *bool          `json:"enabled"`
	DomainID    *string        `json:"domain_id"`
	ParentID    *string        `json:"parent_id"`
	IsDomain    *bool          `json:"is_domain"`
	Tags        *[]string      `json:"tags"`
	Options     map[string]any `json:"options"`

	extra map[string]string
}

type projectEnvelope struct {
	Project *projectInput `json:"project"`
}

// UnmarshalJSON keeps the properties that have no field.
func (p *projectInput) UnmarshalJSON(data []byte) error {
	type plain projectInput
	if err := json.Unmarshal(data, (*plain)(p)); err != nil {
		return err
	}
	var err error
	p.extra, err = extras(data, "name", "description", "enabled", "domain_id", "parent_id", "is_domain", "tags", "options", "id", "links", "extra")
	return err
}

// check refuses what no project can have.
func (p *projectInput) check() error {
	if err := checkDomain(p.DomainID); err != nil {
		return err
	}
	if p.ParentID != nil && *p.ParentID != cluster.DefaultDomainID {
		return cluster.Errorf(cluster.Invalid, "Projects have no parent but the default domain.")
	}
	if p.IsDomain != nil && *p.IsDomain {
		return cluster.Errorf(cluster.Invalid, "This cloud has one domain: a project cannot be one.")
	}
	for name := range p.Options {
		if _, ok := p.Options[name].(bool); name != immutable || !ok {
			return cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute options. '%s' is not an option of a project", name)
		}
	}
	if p.Name != nil {
		if err := checkName("project", *p.Name, maxProjectName); err != nil {
			return err
		}
	}
	if p.Tags != nil {
		if err := checkTags(*p.Tags); err != nil {
			return err
		}
	}
	if p.Description != nil {
		if err := rest.CheckText("description", *p.Description, 0, maxText); err != nil {
			return err
		}
	}
	return nil
}

// immutable is the option that protects a project from being changed.
const immutable = "immutable"

// apply changes a record as the client wants.
func (p *projectInput) apply(to *cluster.Project) error {
	put(&to.Name, p.Name)
	put(&to.Description, p.Description)
	if p.Enabled != nil {
		to.Disabled = !*p.Enabled
	}
	if p.Tags != nil {
		to.Tags = slices.Sorted(slices.Values(*p.Tags))
	}
	if p.Options != nil {
		to.Options = maps.Clone(p.Options)
	}
	var err error
	to.Extra, err = merge(to.Extra, p.extra)
	return err
}

// renderProject shows a project; extra also shows its further properties by themselves, as replies to PATCH do.
func renderProject(r *http.Request, p *cluster.Project, extra bool) map[string]any {
	b := map[string]any{}
	for k, v := range p.Extra {
		b[k] = v
	}
	b["id"], b["name"], b["domain_id"], b["description"] = p.ID, p.Name, cluster.DefaultDomainID, p.Description
	b["enabled"], b["parent_id"], b["is_domain"] = !p.Disabled, cluster.DefaultDomainID, false
	b["tags"], b["options"] = append([]string{}, p.Tags...), orEmpty(p.Options)
	b["links"] = selfLink{v3URL(r) + "/projects/" + string(p.ID)}
	if extra {
		b["extra"] = orEmpty(p.Extra)
	}
	return b
}

func orEmpty[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

func idOf(b map[string]any) string {
	switch id := b["id"].(type) {
	case cluster.ProjectID:
		return string(id)
	case cluster.UserID:
		return string(id)
	default:
		return ""
	}
}

func (s *server) projectRoutes(r chi.Router) {
	r.Get("/projects", s.do(s.listProjects))
	r.Post("/projects", s.do(s.createProject))
	r.Get("/projects/{project}", s.do(s.showProject))
	r.Head("/projects/{project}", s.do(s.showProject))
	r.Patch("/projects/{project}", s.do(s.updateProject))
	r.Delete("/projects/{project}", s.do(s.deleteProject))
	r.Get("/users/{user}/projects", s.do(s.listUserProjects))
}

func (s *server) listProjects(w http.ResponseWriter, r *http.Request) error {
	if err := requireRead(r, "list_projects"); err != nil {
		return err
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	f := filterOf(r)
	all := []map[string]any{}
	for p := range view.Projects() {
		if f.named("name", p.Name) && f.flag("enabled", !p.Disabled) && f.is("domain_id", cluster.DefaultDomainID) &&
			f.is("parent_id", cluster.DefaultDomainID) && !f.asked("is_domain") && tagged(f, p.Tags) {
			all = append(all, renderProject(r, p, false))
		}
	}
	return replyList(w, r, "projects", all, idOf)
}

func (s *server) showProject(w http.ResponseWriter, r *http.Request) error {
	id := cluster.ProjectID(chi.URLParam(r, "project"))
	if rest.CallerFrom(r.Context()).ProjectID() != id {
		if err := requireRead(r, "get_project"); err != nil {
			return err
		}
	}
	return s.replyProject(w, r, id, http.StatusOK, false)
}

func (s *server) replyProject(w http.ResponseWriter, r *http.Request, id cluster.ProjectID, status int, extra bool) error {
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	p, ok := view.Project(id)
	if !ok {
		return missing("project", string(id))
	}
	rest.Reply(w, status, map[string]any{"project": renderProject(r, p, extra)})
	return nil
}

func (s *server) createProject(w http.ResponseWriter, r *http.Request) error {
	if err := requireAdmin(r, "create_project"); err != nil {
		return err
	}
	req, err := rest.Decode[projectEnvelope](r)
	if err != nil {
		return err
	}
	if req.Project == nil {
		return expecting("project", "request body")
	}
	if req.Project.Name == nil {
		return expecting("name", "project")
	}
	p := cluster.Project{ID: cluster.ProjectID(rest.NewHexID())}
	if err := req.Project.check(); err != nil {
		return err
	}
	if err := req.Project.apply(&p); err != nil {
		return err
	}
	res, err := rest.Change(r, s.backend, &cluster.PutProject{Project: p})
	if err != nil {
		return err
	}
	return s.replyProject(w, r, cluster.ProjectID(made(res, string(p.ID))), http.StatusCreated, false)
}

func (s *server) updateProject(w http.ResponseWriter, r *http.Request) error {
	if err := requireAdmin(r, "update_project"); err != nil {
		return err
	}
	req, err := rest.Decode[projectEnvelope](r)
	if err != nil {
		return err
	}
	if req.Project == nil {
		return expecting("project", "request body")
	}
	if err := req.Project.check(); err != nil {
		return err
	}
	id := cluster.ProjectID(chi.URLParam(r, "project"))
	unlocks := req.Project.Options != nil && req.Project.Options[immutable] != true
	if err := s.changeProject(r, id, unlocks, req.Project.apply); err != nil {
		return err
	}
	return s.replyProject(w, r, id, http.StatusOK, true)
}

// changeProject changes a project, unless its options forbid that and the change does not lift them.
func (s *server) changeProject(r *http.Request, id cluster.ProjectID, unlocks bool, change func(*cluster.Project) error) error {
	_, err := rest.Update(r, s.backend, func(view *cluster.View) (cluster.Op, error) {
		p, ok := view.Project(id)
		if !ok {
			return nil, missing("project", string(id))
		}
		if p.Options[immutable] == true && !unlocks {
			return nil, cluster.Errorf(cluster.Forbidden, "Cannot modify immutable resource project %s.", id)
		}
		changed := *p
		if err := change(&changed); err != nil {
			return nil, err
		}
		return &cluster.PutProject{Project: changed}, nil
	})
	return err
}

func (s *server) deleteProject(w http.ResponseWriter, r *http.Request) error {
	if err := requireAdmin(r, "delete_project"); err != nil {
		return err
	}
	id := cluster.ProjectID(chi.URLParam(r, "project"))
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	p, ok := view.Project(id)
	if ok && p.Options[immutable] == true {
		return cluster.Errorf(cluster.Forbidden, "Cannot delete immutable resource project %s.", id)
	}
	if _, err := rest.Change(r, s.backend, &cluster.DeleteProject{ID: id}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// projectsOf lists the enabled projects in which a user has a role.
func projectsOf(view *cluster.View, u cluster.UserID) []*cluster.Project {
	var all []*cluster.Project
	for a := range view.AssignmentsOf(u) {
		if p, ok := view.Project(a.Project); ok && !p.Disabled && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

func (s *server) listUserProjects(w http.ResponseWriter, r *http.Request) error {
	id := cluster.UserID(chi.URLParam(r, "user"))
	if err := requireSelfOrRead(r, id, "list_user_projects"); err != nil {
		return err
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	if _, ok := view.User(id); !ok {
		return missing("user", string(id))
	}
	return s.replyProjects(w, r, projectsOf(view, id))
}

// authProjects lists the projects that the caller can get a token for.
func (s *server) authProjects(w http.ResponseWriter, r *http.Request) error {
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	return s.replyProjects(w, r, projectsOf(view, rest.CallerFrom(r.Context()).User.ID))
}

func (s *server) replyProjects(w http.ResponseWriter, r *http.Request, projects []*cluster.Project) error {
	f := filterOf(r)
	all := []map[string]any{}
	for _, p := range projects {
		if f.named("name", p.Name) {
			all = append(all, renderProject(r, p, false))
		}
	}
	return replyList(w, r, "projects", all, idOf)
}

// authSystem says whether the caller can get a token for the system.
func (s *server) authSystem(w http.ResponseWriter, r *http.Request) error {
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	system := []map[string]bool{}
	if len(assigned(view, rest.CallerFrom(r.Context()).User.ID, "")) > 0 {
		system = append(system, map[string]bool{"all": true})
	}
	rest.Reply(w, http.StatusOK, map[string]any{"system": system, "links": map[string]string{"self": selfURL(r)}})
	return nil
}
