package volume

import (
	"net/http"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

var (
	schemaSpecs    = schema.Map(`^[a-zA-Z0-9\-_:. ]{1,255}$`, schema.Text(0, maxText))
	schemaTypeName = schema.Text(1, maxText)
	schemaTypeBody = map[string]*schema.Schema{"name": schemaTypeName, "description": schemaText}
	createType     = schema.Wrap("volume_type", schema.Loose(map[string]*schema.Schema{
		"name": schemaTypeName, "description": schemaText, "extra_specs": schemaSpecs.OrNull(), isPublic: schema.Boolean()}, "name"))
	updateType = schema.Wrap("volume_type", schema.Record(map[string]*schema.Schema{
		"name": schemaTypeName.OrNull(), "description": schemaTypeBody["description"], "is_public": schema.Boolean()}))
)

// manager lets administrators alone.
func manager(do func(*call) error) func(*call) error {
	return func(c *call) error {
		if err := c.admin("volume_extension:types_manage"); err != nil {
			return err
		}
		return do(c)
	}
}

func (c *call) createType() error {
	body, err := decode[struct {
		Type struct {
			Name   string            `json:"name"`
			About  *string           `json:"description"`
			Specs  map[string]string `json:"extra_specs"`
			Public *flexBool         `json:"os-volume-type-access:is_public"`
		} `json:"volume_type"`
	}](c, createType)
	if err != nil {
		return err
	}
	w := &body.Type
	t := cluster.VolumeType{ID: rest.NewUUID(), Name: strings.TrimSpace(w.Name), Description: orEmpty(w.About), Specs: w.Specs,
		Private: w.Public != nil && !bool(*w.Public)}
	if t.Name == "" {
		return bad("Invalid input for field/attribute name. Value: %s. '' is too short", clip(w.Name))
	}
	res, err := c.change(&cluster.PutVolumeType{Type: t})
	if err != nil {
		return err
	}
	made, ok := c.view.VolumeType(res.IDs[0])
	if !ok {
		return missing("Volume type", res.IDs[0])
	}
	return c.reply(http.StatusOK, map[string]any{"volume_type": without(renderType(made), "qos_specs_id")})
}

// changeType changes the type of the path, and gives it as it is then.
func (c *call) changeType(change func(*cluster.VolumeType) error) (*cluster.VolumeType, error) {
	err := c.update(func(view *cluster.View) (cluster.Op, error) {
		old, err := c.typeIn(view)
		if err != nil {
			return nil, err
		}
		t := old.Clone()
		if t.Specs == nil {
			t.Specs = map[string]string{}
		}
		if err := change(t); err != nil {
			return nil, err
		}
		return &cluster.PutVolumeType{Type: *t}, nil
	})
	if err != nil {
		return nil, err
	}
	return c.findType()
}

func (c *call) updateType() error {
	body, err := decode[struct {
		Type struct {
			Name   *string   `json:"name"`
			About  *string   `json:"description"`
			Public *flexBool `json:"is_public"`
		} `json:"volume_type"`
	}](c, updateType)
	if err != nil {
		return err
	}
	w := &body.Type
	if w.Name == nil && w.About == nil && w.Public == nil {
		return bad("Specify volume type name, description, is_public or a combination thereof.")
	}
	t, err := c.changeType(func(t *cluster.VolumeType) error {
		if w.Name != nil {
			t.Name = strings.TrimSpace(*w.Name)
		}
		if w.About != nil {
			t.Description = *w.About
		}
		if w.Public != nil {
			t.Private = !bool(*w.Public)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, map[string]any{"volume_type": without(renderType(t), "qos_specs_id", isPublic)})
}

func (c *call) deleteType() error {
	t, err := c.findType()
	if err != nil {
		return err
	}
	if _, err := c.change(&cluster.DeleteVolumeType{ID: t.ID}); err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}

func (c *call) setSpecs() error {
	if _, err := c.findType(); err != nil {
		return err
	}
	body, err := decode[struct {
		Specs map[string]string `json:"extra_specs"`
	}](c, schema.Wrap("extra_specs", schemaSpecs))
	if err != nil {
		return err
	}
	_, err = c.changeType(func(t *cluster.VolumeType) error {
		for k, x := range body.Specs {
			t.Specs[k] = x
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, map[string]any{"extra_specs": orObject(body.Specs)})
}

func (c *call) setSpec() error {
	if _, err := c.findType(); err != nil {
		return err
	}
	body, err := decode[map[string]string](c, schemaSpecs)
	if err != nil {
		return err
	}
	key := c.param("key")
	value, ok := body[key]
	switch {
	case !ok:
		return bad("Request body and URI mismatch")
	case len(body) > 1:
		return bad("Request body contains too many items")
	}
	_, err = c.changeType(func(t *cluster.VolumeType) error {
		t.Specs[key] = value
		return nil
	})
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, body)
}

func (c *call) deleteSpec() error {
	key := c.param("key")
	_, err := c.changeType(func(t *cluster.VolumeType) error {
		if _, ok := t.Specs[key]; !ok {
			return noSpec(t, key)
		}
		delete(t.Specs, key)
		return nil
	})
	if err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}

// listAccess shows which projects may use a private type.
func (c *call) listAccess() error {
	t, err := c.findType()
	if err != nil {
		return err
	}
	if !t.Private {
		return cluster.Errorf(cluster.NotFound, "Access list not available for public volume types.")
	}
	all := []any{}
	for _, p := range t.Projects {
		all = append(all, map[string]any{"volume_type_id": t.ID, "project_id": p})
	}
	return c.reply(http.StatusOK, map[string]any{"volume_type_access": all})
}

// actOnType gives a project access to a private type, or takes it.
func (c *call) actOnType() error {
	name, raw, err := c.oneAction()
	if err != nil {
		return err
	}
	if name != "addProjectAccess" && name != "removeProjectAccess" {
		return bad("There is no such action: %s", clip(name))
	}
	who, err := read[struct {
		Project cluster.ProjectID `json:"project"`
	}](raw, schema.Record(map[string]*schema.Schema{"project": schema.Text(1, maxText)}, "project"))
	if err != nil {
		return err
	}
	_, err = c.changeType(func(t *cluster.VolumeType) error { return grant(t, who.Project, name == "addProjectAccess") })
	if err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}

func grant(t *cluster.VolumeType, p cluster.ProjectID, add bool) error {
	at, has := slices.BinarySearch(t.Projects, p)
	switch {
	case !t.Private:
		return cluster.Errorf(cluster.Conflict, "Type access modification is not applicable to public volume type.")
	case add && has:
		return cluster.Errorf(cluster.Conflict, "Volume type access for %s / %s combination already exists.", t.ID, clip(string(p)))
	case add:
		t.Projects = slices.Insert(t.Projects, at, p)
	case !has:
		return cluster.Errorf(cluster.NotFound, "Volume type access not found for %s / %s combination.", t.ID, clip(string(p)))
	default:
		t.Projects = slices.Delete(t.Projects, at, at+1)
	}
	return nil
}
