package compute

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

func tooMuchMetadata(limit int64) error {
	return cluster.Errorf(cluster.OverQuota, "Maximum number of metadata items exceeds %d", limit)
}

// metadataLimit is how many items of metadata the caller may give to a server or an image; below 0: any number.
func (c *call) metadataLimit() int64 {
	return c.view.UserLimit(c.caller.ProjectID(), c.caller.User.ID, cluster.QuotaMetadataItems)
}

func (c *call) listMetadata() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("metadata").texts(in.Spec.Metadata).close('}')
	return c.send(http.StatusOK, &j)
}

var errNoMetadata = cluster.Errorf(cluster.NotFound, "Metadata item was not found")

func (c *call) showMetadata() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	value, ok := in.Spec.Metadata[c.param("key")]
	if !ok {
		return errNoMetadata
	}
	return c.sendMeta(c.param("key"), value)
}

func (c *call) sendMeta(key, value string) error {
	var j writer
	j.open('{').key("meta").open('{').field(key, value).close('}').close('}')
	return c.send(http.StatusOK, &j)
}

// setMetadata is POST and PUT of all metadata: POST adds, PUT replaces.
func (c *call) setMetadata(replace bool) error {
	body, err := decode[struct {
		Metadata map[string]string `json:"metadata"`
	}](c, schema.Wrap("metadata", schemaMetadata))
	if err != nil {
		return err
	}
	err = c.changeMetadata("update metadata", func(m map[string]string) error {
		if replace {
			clear(m)
		}
		for k, v := range body.Metadata {
			m[k] = v
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.listMetadata()
}

// oneMetadata reads the body that sets the one item that the path names.
func (c *call) oneMetadata(key string) (string, error) {
	one := *schemaMetadata
	members := *one.Object
	members.Min = 1
	one.Object = &members
	body, err := decode[struct {
		Meta map[string]string `json:"meta"`
	}](c, schema.Wrap("meta", &one))
	if err != nil {
		return "", err
	}
	value, ok := body.Meta[key]
	switch {
	case len(body.Meta) > 1:
		return "", bad("Request body contains too many items")
	case !ok:
		return "", bad("Request body and URI mismatch")
	}
	return value, nil
}

func (c *call) setOneMetadata() error {
	key := c.param("key")
	value, err := c.oneMetadata(key)
	if err != nil {
		return err
	}
	err = c.changeMetadata("update metadata", func(m map[string]string) error {
		m[key] = value
		return nil
	})
	if err != nil {
		return err
	}
	return c.sendMeta(key, value)
}

func (c *call) deleteMetadata() error {
	key := c.param("key")
	err := c.changeMetadata("delete metadata", func(m map[string]string) error {
		if _, ok := m[key]; !ok && c.first() {
			return errNoMetadata
		}
		delete(m, key)
		return nil
	})
	if err != nil {
		return err
	}
	return c.done(http.StatusNoContent)
}

// describable are the states in which a server gets and loses tags and metadata.
var describable = []cluster.VMState{cluster.VMActive, cluster.VMPaused, cluster.VMSuspended, cluster.VMStopped}

// changeMetadata changes a copy of the metadata of the server that the path names. action is what refusals call it.
func (c *call) changeMetadata(action string, change func(map[string]string) error) error {
	return c.changeServer(func(in *cluster.Instance) (*cluster.UpdateInstance, error) {
		if err := c.unlocked(in); err != nil {
			return nil, err
		}
		if err := c.inState(in, action, describable); err != nil {
			return nil, err
		}
		m := in.Clone().Spec.Metadata
		if m == nil {
			m = map[string]string{}
		}
		if err := change(m); err != nil {
			return nil, err
		}
		if limit := c.metadataLimit(); limit >= 0 && int64(len(m)) > limit && len(m) > len(in.Spec.Metadata) {
			return nil, tooMuchMetadata(limit)
		}
		spec := in.Spec
		if spec.Metadata = m; m[cluster.KeyReplicas] != in.Spec.Metadata[cluster.KeyReplicas] {
			if err := replicable(&spec); err != nil {
				return nil, err
			}
		}
		return &cluster.UpdateInstance{Metadata: &m}, nil
	})
}
