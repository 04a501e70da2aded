package compute

import (
	"net/http"
	"slices"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// extraSpecs are texts; numbers are kept as they were written.
var extraSpecs = schema.Map(`^[a-zA-Z0-9-_:. ]{1,255}$`, &schema.Schema{Types: []string{"string", "number"}, MaxLength: 255})

// maxExtraSpecs is how many extra specs a flavor may have.
const maxExtraSpecs = 128

func (c *call) listExtraSpecs() error {
	f, err := c.flavor()
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("extra_specs").texts(f.ExtraSpecs).close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) showExtraSpec() error {
	f, err := c.flavor()
	if err != nil {
		return err
	}
	key := c.param("key")
	value, ok := f.ExtraSpecs[key]
	if !ok {
		return noExtraSpec(f, key)
	}
	return c.sendTexts(map[string]string{key: value})
}

func noExtraSpec(f *cluster.Flavor, key string) error {
	return notFound("Flavor %s has no extra specs with key %s.", f.ID, key)
}

// sendTexts replies with an object of strings.
func (c *call) sendTexts(m map[string]string) error {
	var j writer
	j.texts(m)
	return c.send(http.StatusOK, &j)
}

func (c *call) addExtraSpecs() error {
	body, err := decode[struct {
		Specs map[string]flexText `json:"extra_specs"`
	}](c, schema.Wrap("extra_specs", extraSpecs))
	if err != nil {
		return err
	}
	if err := c.setExtraSpecs(body.Specs); err != nil {
		return err
	}
	var j writer
	j.open('{').key("extra_specs").open('{')
	for k, v := range sorted(body.Specs) {
		j.field(k, string(v))
	}
	j.close('}').close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) setExtraSpec() error {
	one := *extraSpecs
	members := *one.Object
	members.Min = 1
	one.Object = &members
	body, err := decode[map[string]flexText](c, &one)
	if err != nil {
		return err
	}
	key := c.param("key")
	value, ok := body[key]
	if !ok || len(body) != 1 {
		return bad("Request body and URI mismatch")
	}
	if err := c.setExtraSpecs(body); err != nil {
		return err
	}
	return c.sendTexts(map[string]string{key: string(value)})
}

func (c *call) setExtraSpecs(specs map[string]flexText) error {
	return c.changeFlavor(func(f *cluster.Flavor) error {
		if f.ExtraSpecs == nil {
			f.ExtraSpecs = map[string]string{}
		}
		for k, v := range specs {
			f.ExtraSpecs[k] = string(v)
		}
		if len(f.ExtraSpecs) > maxExtraSpecs {
			return bad("A flavor can have at most %d extra specs.", maxExtraSpecs)
		}
		return nil
	})
}

func (c *call) deleteExtraSpec() error {
	key := c.param("key")
	err := c.changeFlavor(func(f *cluster.Flavor) error {
		if _, ok := f.ExtraSpecs[key]; !ok {
			return noExtraSpec(f, key)
		}
		delete(f.ExtraSpecs, key)
		return nil
	})
	if err != nil {
		return err
	}
	return c.done(http.StatusOK)
}

func (c *call) listFlavorAccess() error {
	f, err := c.flavor()
	if err != nil {
		return err
	}
	if !f.Private {
		return notFound("Access list not available for public flavors.")
	}
	return c.sendFlavorAccess(f)
}

func (c *call) sendFlavorAccess(f *cluster.Flavor) error {
	var j writer
	j.open('{').key("flavor_access").open('[')
	for _, p := range f.Access {
		j.open('{').field("flavor_id", string(f.ID)).field("tenant_id", string(p)).close('}')
	}
	j.close(']').close('}')
	return c.send(http.StatusOK, &j)
}

// flavorActions are what POST /flavors/{id}/action can do.
var flavorActions = map[string]struct {
	rule   string
	change func(*cluster.Flavor, cluster.ProjectID) error
}{
	"addTenantAccess":    {"os-flavor-access:add_tenant_access", grantFlavor},
	"removeTenantAccess": {"os-flavor-access:remove_tenant_access", revokeFlavor},
}

func grantFlavor(f *cluster.Flavor, p cluster.ProjectID) error {
	switch {
	case !f.Private:
		return conflict("Can not add access to a public flavor.")
	case slices.Contains(f.Access, p):
		return conflict("Flavor access already exists for flavor %s and project %s combination.", f.ID, p)
	}
	f.Access = append(f.Access, p)
	return nil
}

func revokeFlavor(f *cluster.Flavor, p cluster.ProjectID) error {
	i := slices.Index(f.Access, p)
	if i < 0 {
		return notFound("Flavor access not found for %s / %s combination.", f.ID, p)
	}
	f.Access = slices.Delete(f.Access, i, i+1)
	return nil
}

func (c *call) actOnFlavor() error {
	name, raw, err := c.action()
	if err != nil {
		return err
	}
	act, ok := flavorActions[name]
	if !ok {
		return noAction(name)
	}
	if err := c.allow(act.rule, admin); err != nil {
		return err
	}
	body, err := schema.Into[struct {
		Tenant cluster.ProjectID `json:"tenant"`
	}](raw, schema.Record(map[string]*schema.Schema{"tenant": schema.Text(1, 255)}, "tenant"))
	if err != nil {
		return err
	}
	if _, ok := c.view.Project(body.Tenant); !ok {
		return noProject(string(body.Tenant))
	}
	if err := c.changeFlavor(func(f *cluster.Flavor) error { return act.change(f, body.Tenant) }); err != nil {
		return err
	}
	f, err := c.flavor()
	if err != nil {
		return err
	}
	return c.sendFlavorAccess(f)
}

func noProject(id string) error { return bad("Project ID %s is not a valid project.", id) }
