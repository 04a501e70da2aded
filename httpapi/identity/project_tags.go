package identity

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// The bounds of a project's tags, as in the Identity API reference.
const (
	maxTag  = 255
	maxTags = 80
)

func (s *server) projectTagRoutes(r chi.Router) {
	r.Get("/projects/{project}/tags", s.do(s.listTags))
	r.Put("/projects/{project}/tags", s.do(s.replaceTags))
	r.Delete("/projects/{project}/tags", s.do(s.clearTags))
	r.Get("/projects/{project}/tags/{tag}", s.do(s.showTag))
	r.Head("/projects/{project}/tags/{tag}", s.do(s.showTag))
	r.Put("/projects/{project}/tags/{tag}", s.do(s.addTag))
	r.Delete("/projects/{project}/tags/{tag}", s.do(s.removeTag))
}

// checkTags refuses what cannot be the tags of a project.
func checkTags(tags []string) error {
	if len(tags) > maxTags {
		return cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute tags. There are more than %d", maxTags)
	}
	for i, tag := range tags {
		if err := rest.CheckText("tags", tag, 1, maxTag); err != nil {
			return err
		}
		if strings.ContainsAny(tag, ",/") {
			return cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute tags. Value: %s. A tag has neither ',' nor '/'", tag)
		}
		if slices.Contains(tags[:i], tag) {
			return cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute tags. Value: %s. It is there twice", tag)
		}
	}
	return nil
}

// projectAndTag are what the path names.
func projectAndTag(r *http.Request) (cluster.ProjectID, string) {
	tag := chi.URLParam(r, "tag")
	if plain, err := url.PathUnescape(tag); err == nil {
		tag = plain
	}
	return cluster.ProjectID(chi.URLParam(r, "project")), tag
}

// tagsOf gives the tags of the project that the path names to those who may read them: its own users, and readers of all.
func (s *server) tagsOf(r *http.Request, action string) ([]string, error) {
	id, _ := projectAndTag(r)
	if rest.CallerFrom(r.Context()).ProjectID() != id {
		if err := requireRead(r, action); err != nil {
			return nil, err
		}
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return nil, err
	}
	p, ok := view.Project(id)
	if !ok {
		return nil, missing("project", string(id))
	}
	return p.Tags, nil
}

func (s *server) listTags(w http.ResponseWriter, r *http.Request) error {
	tags, err := s.tagsOf(r, "list_project_tags")
	if err != nil {
		return err
	}
	rest.Reply(w, http.StatusOK, map[string]any{"tags": append([]string{}, tags...), "links": links{Self: selfURL(r)}})
	return nil
}

func (s *server) showTag(w http.ResponseWriter, r *http.Request) error {
	tags, err := s.tagsOf(r, "get_project_tag")
	if err != nil {
		return err
	}
	if _, tag := projectAndTag(r); !slices.Contains(tags, tag) {
		return missing("project tag", tag)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// changeTags changes a copy of the tags of the project that the path names.
func (s *server) changeTags(r *http.Request, action string, change func([]string) ([]string, error)) error {
	if err := requireAdmin(r, action); err != nil {
		return err
	}
	id, _ := projectAndTag(r)
	return s.changeProject(r, id, false, func(p *cluster.Project) error {
		tags, err := change(slices.Clone(p.Tags))
		if err != nil {
			return err
		}
		slices.Sort(tags)
		p.Tags = tags
		return checkTags(tags)
	})
}

func (s *server) replaceTags(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.Decode[struct {
		Tags *[]string `json:"tags"`
	}](r)
	if err != nil {
		return err
	}
	if req.Tags == nil {
		return expecting("tags", "request body")
	}
	if err := s.changeTags(r, "update_project_tags", func([]string) ([]string, error) { return slices.Clone(*req.Tags), nil }); err != nil {
		return err
	}
	return s.listTags(w, r)
}

func (s *server) clearTags(w http.ResponseWriter, r *http.Request) error {
	if err := s.changeTags(r, "delete_project_tags", func([]string) ([]string, error) { return nil, nil }); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) addTag(w http.ResponseWriter, r *http.Request) error {
	_, tag := projectAndTag(r)
	err := s.changeTags(r, "create_project_tag", func(tags []string) ([]string, error) {
		if slices.Contains(tags, tag) {
			return tags, nil
		}
		return append(tags, tag), nil
	})
	if err != nil {
		return err
	}
	w.Header().Set("Location", selfURL(r))
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (s *server) removeTag(w http.ResponseWriter, r *http.Request) error {
	_, tag := projectAndTag(r)
	err := s.changeTags(r, "delete_project_tag", func(tags []string) ([]string, error) {
		i := slices.Index(tags, tag)
		if i < 0 {
			return nil, missing("project tag", tag)
		}
		return slices.Delete(tags, i, i+1), nil
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
