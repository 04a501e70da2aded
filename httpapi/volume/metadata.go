package volume

import (
	"maps"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// holder is what has metadata: a volume or a snapshot.
type holder struct {
	find func(*call, *cluster.View) (meta map[string]string, change func(map[string]string) cluster.Op, err error)
}

var ofVolume = holder{func(c *call, view *cluster.View) (map[string]string, func(map[string]string) cluster.Op, error) {
	v, err := c.volume(view, c.param("id"))
	if err != nil {
		return nil, nil, err
	}
	return v.Metadata, func(m map[string]string) cluster.Op {
		return &cluster.UpdateVolume{ID: v.ID, Revision: v.Revision, Metadata: &m}
	}, nil
}}

var ofSnapshot = holder{func(c *call, view *cluster.View) (map[string]string, func(map[string]string) cluster.Op, error) {
	n, err := c.snapshot(view, c.param("id"))
	if err != nil {
		return nil, nil, err
	}
	return n.Metadata, func(m map[string]string) cluster.Op {
		return &cluster.UpdateVolumeSnapshot{ID: n.ID, Revision: n.Revision, Metadata: &m}
	}, nil
}}

func (h holder) show(c *call) error {
	meta, _, err := h.find(c, c.view)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, map[string]any{"metadata": orObject(meta)})
}

func (h holder) showItem(c *call) error {
	meta, _, err := h.find(c, c.view)
	if err != nil {
		return err
	}
	key := c.param("key")
	value, ok := meta[key]
	if !ok {
		return noMetadata(key)
	}
	return c.reply(http.StatusOK, map[string]any{"meta": map[string]string{key: value}})
}

func noMetadata(key string) error {
	return cluster.Errorf(cluster.NotFound, "Metadata item %s was not found", clip(key))
}

// put changes the metadata as by says; replace leaves nothing of what was there.
func (h holder) put(c *call, by map[string]string, replace bool) (map[string]string, error) {
	var now map[string]string
	err := c.update(func(view *cluster.View) (cluster.Op, error) {
		meta, change, err := h.find(c, view)
		if err != nil {
			return nil, err
		}
		now = changeMetadata(meta, by, replace)
		return change(now), nil
	})
	return now, err
}

func (h holder) change(replace bool) func(*call) error {
	return func(c *call) error {
		body, err := decode[struct {
			Metadata map[string]string `json:"metadata"`
		}](c, schema.Wrap("metadata", schemaMetadata))
		if err != nil {
			return err
		}
		now, err := h.put(c, orObject(body.Metadata), replace)
		if err != nil {
			return err
		}
		return c.reply(http.StatusOK, map[string]any{"metadata": now})
	}
}

func (h holder) changeItem(c *call) error {
	body, err := decode[struct {
		Meta map[string]string `json:"meta"`
	}](c, schema.Wrap("meta", schemaMetadata))
	if err != nil {
		return err
	}
	key := c.param("key")
	if len(body.Meta) != 1 {
		return bad("Request body contains too many items")
	}
	if _, ok := body.Meta[key]; !ok {
		return bad("Request body and URI mismatch")
	}
	if _, err := h.put(c, body.Meta, false); err != nil {
		return err
	}
	return c.reply(http.StatusOK, map[string]any{"meta": body.Meta})
}

func (h holder) removeItem(c *call) error {
	key := c.param("key")
	err := c.update(func(view *cluster.View) (cluster.Op, error) {
		meta, change, err := h.find(c, view)
		if err != nil {
			return nil, err
		}
		if _, ok := meta[key]; !ok {
			return nil, noMetadata(key)
		}
		left := maps.Clone(meta)
		delete(left, key)
		return change(left), nil
	})
	if err != nil {
		return err
	}
	return c.done(http.StatusOK)
}
