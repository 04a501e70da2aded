package image

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// sees tells whether a caller may know that an image exists.
func sees(c *rest.Caller, i *cluster.Image) bool {
	if c.Admin() || owns(c, i) || i.Visibility == cluster.Public || i.Visibility == cluster.Community {
		return true
	}
	_, member := i.Members[string(c.ProjectID())]
	return member && i.Visibility == cluster.Shared
}

// owns tells whether an image belongs to the caller's project.
func owns(c *rest.Caller, i *cluster.Image) bool { return i.Owner != "" && i.Owner == c.ProjectID() }

// missing is the answer for an image that is not there and for one that the caller may not see.
func missing(id string) error {
	return cluster.Errorf(cluster.NotFound, "No image found with ID %s", id)
}

// denied is the refusal of a rule of Glance's policy.
func denied(rule string) error {
	return cluster.Errorf(cluster.Forbidden, "You are not authorized to complete %s action.", rule)
}

// find gives the image that the path names, if the caller may see it.
func find(r *http.Request, view *cluster.View) (*cluster.Image, error) {
	c, text := rest.CallerFrom(r.Context()), rest.Param(r, "id")
	id, ok := rest.CanonicalUUID(text)
	if !ok {
		return nil, missing(text)
	}
	i, ok := view.Image(cluster.ImageID(id))
	if !ok || !sees(c, i) {
		return nil, missing(text)
	}
	if err := c.RequireReader(); err != nil {
		return nil, err
	}
	return i, nil
}

// findOwn is find for what only members of the owning project, and administrators, may do.
func findOwn(r *http.Request, view *cluster.View, rule string) (*cluster.Image, error) {
	i, err := find(r, view)
	if err != nil {
		return nil, err
	}
	c := rest.CallerFrom(r.Context())
	if !c.Admin() && (!owns(c, i) || c.RequireMember() != nil) {
		return nil, denied(rule)
	}
	return i, nil
}

// update changes an image that the caller owns. change works on a copy; false from it leaves the image as it is.
func (s *server) update(r *http.Request, rule string, change func(*cluster.Image) (changed bool, err error)) error {
	_, err := rest.Update(r, s.Backend, func(view *cluster.View) (cluster.Op, error) {
		i, err := findOwn(r, view, rule)
		if err != nil {
			return nil, err
		}
		i = i.Clone()
		changed, err := change(i)
		if err != nil || !changed {
			return nil, err
		}
		return &cluster.PutImage{Image: *i}, nil
	})
	return err
}
