package compute

import (
	"maps"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

func (c *call) listImageMetadata() error {
	i, err := c.image()
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("metadata").texts(i.Properties).close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) showImageMetadata() error {
	i, err := c.image()
	if err != nil {
		return err
	}
	value, ok := i.Properties[c.param("key")]
	if !ok {
		return errNoMetadata
	}
	return c.sendMeta(c.param("key"), value)
}

// setImageMetadata is POST and PUT of all metadata of an image: POST adds, PUT replaces.
func (c *call) setImageMetadata(replace bool) error {
	body, err := decode[struct {
		Metadata map[string]string `json:"metadata"`
	}](c, schema.Wrap("metadata", schemaMetadata))
	if err != nil {
		return err
	}
	err = c.changeImage(func(p map[string]string) error {
		if replace {
			clear(p)
		}
		maps.Copy(p, body.Metadata)
		return nil
	})
	if err != nil {
		return err
	}
	return c.listImageMetadata()
}

func (c *call) setOneImageMetadata() error {
	key := c.param("key")
	value, err := c.oneMetadata(key)
	if err != nil {
		return err
	}
	err = c.changeImage(func(p map[string]string) error {
		p[key] = value
		return nil
	})
	if err != nil {
		return err
	}
	return c.sendMeta(key, value)
}

func (c *call) deleteImageMetadata() error {
	key := c.param("key")
	err := c.changeImage(func(p map[string]string) error {
		if _, ok := p[key]; !ok {
			return errNoMetadata
		}
		delete(p, key)
		return nil
	})
	if err != nil {
		return err
	}
	return c.done(http.StatusNoContent)
}

// changeImage changes a copy of the properties of the image that the path names.
func (c *call) changeImage(change func(map[string]string) error) error {
	return c.update(func(v *cluster.View) (cluster.Op, error) {
		c.view = v
		i, err := c.ownImage()
		if err != nil {
			return nil, err
		}
		i = i.Clone()
		if i.Properties == nil {
			i.Properties = map[string]string{}
		}
		before := len(i.Properties)
		if err := change(i.Properties); err != nil {
			return nil, err
		}
		limit := c.metadataLimit()
		if n := len(i.Properties); limit >= 0 && int64(n) > limit && n > before {
			return nil, cluster.Errorf(cluster.Forbidden, "Image metadata limit exceeded")
		}
		return &cluster.PutImage{Image: *i}, nil
	})
}
