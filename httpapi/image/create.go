package image

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// create makes a record, which waits for its bytes.
func (s *server) create(w http.ResponseWriter, r *http.Request) error {
	body, err := rest.Decode[map[string]json.RawMessage](r)
	if err != nil {
		return err
	}
	c := rest.CallerFrom(r.Context())
	if err := c.RequireMember(); err != nil {
		return denied("add_image")
	}
	e := &edit{caller: c, isNew: true, image: &cluster.Image{
		ID: cluster.ImageID(rest.NewUUID()), Owner: c.ProjectID(), Status: cluster.ImageQueued, Visibility: cluster.Shared,
	}}
	for _, name := range slices.Sorted(maps.Keys(body)) {
		if err := e.set(name, body[name]); err != nil {
			return err
		}
	}
	if err := e.check(); err != nil {
		return err
	}
	res, err := rest.Change(r, s.Backend, &cluster.PutImage{Image: *e.image})
	if cluster.CodeOf(err) == cluster.Conflict && body["id"] != nil {
		return cluster.Errorf(cluster.Conflict, "Image ID %s already exists!", e.image.ID)
	}
	if err != nil {
		return err
	}
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return err
	}
	id := cluster.ImageID(res.IDs[0]) // not what was proposed, when the client repeats itself
	i, ok := view.Image(id)
	if !ok {
		return missing(string(id))
	}
	w.Header().Set("Location", rest.BaseURL(r)+Path+imagePath(id))
	rest.Reply(w, http.StatusCreated, render(i))
	return nil
}
