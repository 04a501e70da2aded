package compute

import (
	"net/http"
	"slices"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

func (c *call) listTags() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	return c.sendTags(in)
}

func (c *call) sendTags(in *cluster.Instance) error {
	var j writer
	j.open('{').key("tags").strings(in.Spec.Tags).close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) replaceTags() error {
	body, err := decode[struct {
		Tags []string `json:"tags"`
	}](c, schema.Wrap("tags", schemaTags))
	if err != nil {
		return err
	}
	if _, err := c.changeTags("update tags", func([]string) ([]string, error) { return body.Tags, nil }); err != nil {
		return err
	}
	return c.listTags()
}

func (c *call) clearTags() error {
	if _, err := c.changeTags("delete tags", func([]string) ([]string, error) { return nil, nil }); err != nil {
		return err
	}
	return c.done(http.StatusNoContent)
}

func (c *call) showTag() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	if tag := c.param("tag"); !slices.Contains(in.Spec.Tags, tag) {
		return noTag(in, tag)
	}
	return c.done(http.StatusNoContent)
}

func noTag(in *cluster.Instance, tag string) error {
	return notFound("Server %s has no tag '%s'", in.ID, tag)
}

func (c *call) addTag() error {
	tag := c.param("tag")
	if wrong := schemaTag.Check(tag); wrong != nil {
		return bad("Tag '%s' is invalid. It must be a non empty string without characters '/' and ','. Validation error message: %s", tag, wrong.Body())
	}
	had, err := c.changeTags("update tag", func(tags []string) ([]string, error) {
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
		if len(tags) > maxTags {
			return nil, bad("The number of tags exceeded the per-server limit %d", maxTags)
		}
		return tags, nil
	})
	if err != nil {
		return err
	}
	if slices.Contains(had, tag) && c.first() { // else this request gave it
		return c.done(http.StatusNoContent)
	}
	c.w.Header().Set("Location", c.links.self+"/servers/"+c.param("server")+"/tags/"+escape(tag))
	return c.done(http.StatusCreated)
}

func (c *call) deleteTag() error {
	tag := c.param("tag")
	_, err := c.changeTags("delete tag", func(tags []string) ([]string, error) {
		i := slices.Index(tags, tag)
		switch {
		case i < 0 && !c.first():
			return tags, nil
		case i < 0:
			return nil, notFound("Server %s has no tag '%s'", c.param("server"), tag)
		}
		return slices.Delete(tags, i, i+1), nil
	})
	if err != nil {
		return err
	}
	return c.done(http.StatusNoContent)
}

// changeTags changes a copy of the tags of the server that the path names, and returns those that it had. action is what
// refusals call it. A lock does not matter.
func (c *call) changeTags(action string, change func([]string) ([]string, error)) (had []string, err error) {
	err = c.changeServer(func(in *cluster.Instance) (*cluster.UpdateInstance, error) {
		if err := c.inState(in, action, describable); err != nil {
			return nil, err
		}
		had = in.Spec.Tags
		tags, err := change(slices.Clone(in.Spec.Tags))
		if err != nil {
			return nil, err
		}
		if tags = sortedTags(tags); slices.Equal(tags, had) {
			return nil, nil
		}
		tags = append([]string{}, tags...) // not nil: on the wire, that would leave them as they are
		return &cluster.UpdateInstance{Tags: &tags}, nil
	})
	return had, err
}
