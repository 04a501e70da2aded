package network

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// tagsBody is the body of the tags resources.
type tagsBody struct {
	Tags []string `json:"tags"`
}

// readTags gives the tags of the thing in the path.
type readTags func(*http.Request, *rest.Caller) ([]string, error)

// changeTags changes them; change may be called again with newer ones.
type changeTags func(r *http.Request, c *rest.Caller, change func([]string) []string) error

// tagRoutes serves the tags of one kind of thing, below its collection.
func (s *server) tagRoutes(r chi.Router, collection string, read readTags, change changeTags) {
	all, one := collection+"/{id}/tags", collection+"/{id}/tags/{tag}"
	r.Get(all, handle(http.StatusOK, func(r *http.Request) (any, error) {
		tags, err := s.tags(r, read)
		return tagsBody{orEmpty(tags)}, err
	}))
	r.Put(all, handle(http.StatusOK, func(r *http.Request) (any, error) {
		c, err := mayAct(r)
		if err != nil {
			return nil, err
		}
		body, err := rest.DecodeStrict[tagsBody](r)
		if err != nil {
			return nil, err
		}
		wanted := slices.Compact(slices.Sorted(slices.Values(body.Tags)))
		return tagsBody{orEmpty(wanted)}, change(r, c, func([]string) []string { return wanted })
	}))
	r.Delete(all, handle(http.StatusNoContent, func(r *http.Request) (any, error) {
		c, err := mayAct(r)
		if err != nil {
			return nil, err
		}
		return nil, change(r, c, func([]string) []string { return nil })
	}))
	r.Get(one, handle(http.StatusNoContent, func(r *http.Request) (any, error) {
		tags, err := s.tags(r, read)
		if err == nil && !slices.Contains(tags, tagOf(r)) {
			err = noTag(r)
		}
		return nil, err
	}))
	r.Put(one, handle(http.StatusCreated, func(r *http.Request) (any, error) {
		c, err := mayAct(r)
		if err != nil {
			return nil, err
		}
		tag := tagOf(r)
		return struct{}{}, change(r, c, func(tags []string) []string {
			if slices.Contains(tags, tag) {
				return tags
			}
			return slices.Sorted(slices.Values(append(slices.Clone(tags), tag)))
		})
	}))
	r.Delete(one, handle(http.StatusNoContent, func(r *http.Request) (any, error) { return nil, s.removeTag(r, read, change) }))
}

func (s *server) removeTag(r *http.Request, read readTags, change changeTags) error {
	c, err := mayAct(r)
	if err != nil {
		return err
	}
	tag := tagOf(r)
	tags, err := read(r, c)
	if err != nil {
		return err
	}
	if !slices.Contains(tags, tag) {
		return noTag(r)
	}
	return change(r, c, func(tags []string) []string {
		return slices.DeleteFunc(slices.Clone(tags), func(t string) bool { return t == tag })
	})
}

func (s *server) tags(r *http.Request, read readTags) ([]string, error) {
	c := rest.CallerFrom(r.Context())
	if err := c.RequireReader(); err != nil {
		return nil, err
	}
	return read(r, c)
}

func mayAct(r *http.Request) (*rest.Caller, error) {
	c := rest.CallerFrom(r.Context())
	return c, c.RequireMember()
}

// tagOf is the tag of the path. The router leaves it escaped where it matched the escaped path.
func tagOf(r *http.Request) string {
	tag := chi.URLParam(r, "tag")
	if plain, err := url.PathUnescape(tag); err == nil && r.URL.RawPath != "" {
		return plain
	}
	return tag
}

func noTag(r *http.Request) error {
	return &rest.HTTPError{Status: http.StatusNotFound, Code: cluster.NotFound, Type: "TagNotFound",
		Message: "Tag " + clip(tagOf(r)) + " could not be found."}
}

// tagFilters are the query parameters that choose by tags. A value is a list with commas.
var tagFilters = map[string]func(have, want []string) bool{
	"tags":         hasAll,
	"tags-any":     hasAny,
	"not-tags":     func(have, want []string) bool { return !hasAll(have, want) },
	"not-tags-any": func(have, want []string) bool { return !hasAny(have, want) },
}

func hasAll(have, want []string) bool {
	return !slices.ContainsFunc(want, func(t string) bool { return !slices.Contains(have, t) })
}

func hasAny(have, want []string) bool {
	return slices.ContainsFunc(want, func(t string) bool { return slices.Contains(have, t) })
}

// tagged tells whether an item passes the filters by tags of a query.
func tagged(i item, q url.Values) bool {
	for key, passes := range tagFilters {
		for _, value := range q[key] {
			if value != "" && !passes(i.tags, strings.Split(value, ",")) {
				return false
			}
		}
	}
	return true
}
