package volume

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// sees tells whether the caller may know of a type.
func (c *call) sees(t *cluster.VolumeType) bool {
	return c.caller.Admin() || t.OpenTo(c.caller.ProjectID())
}

// typeNamed finds a type that the caller may use.
func (c *call) typeNamed(name string) (*cluster.VolumeType, bool) {
	t, ok := c.view.VolumeType(name)
	return t, ok && c.sees(t)
}

// typeBody shows a type.
func (c *call) typeBody(name string) any {
	t, ok := c.view.VolumeType(name)
	if !ok {
		return nil
	}
	return renderType(t)
}

const isPublic = "os-volume-type-access:is_public"

func renderType(t *cluster.VolumeType) map[string]any {
	return map[string]any{
		"id": t.ID, "name": t.Name, "is_public": !t.Private, "description": orNull(t.Description), "extra_specs": orObject(t.Specs),
		"qos_specs_id": nil, isPublic: !t.Private,
	}
}

// without leaves out members that a reply of Cinder's does not have.
func without(body map[string]any, names ...string) map[string]any {
	for _, n := range names {
		delete(body, n)
	}
	return body
}

func (c *call) listTypes() error {
	q := c.r.URL.Query()
	public, said := schema.Truth(q.Get("is_public"))
	all := []any{}
	for _, t := range c.sortedTypes() {
		fits := c.sees(t) && hasAll(t.Specs, cmp.Or(q.Get("extra_specs"), "{}"))
		if c.caller.Admin() && !strings.EqualFold(q.Get("is_public"), "none") { // to others, there is what they may use
			fits = fits && t.Private != (public || !said)
		}
		if fits {
			all = append(all, renderType(t))
		}
	}
	return c.reply(http.StatusOK, map[string]any{"volume_types": all})
}

// sortedTypes are the types that are built in, and then the others, the newest first.
func (c *call) sortedTypes() []*cluster.VolumeType {
	all := c.view.VolumeTypes()
	slices.SortStableFunc(all, func(a, b *cluster.VolumeType) int {
		if a.BuiltIn() || b.BuiltIn() {
			return 0 // they come first already
		}
		return cmp.Compare(b.Created, a.Created)
	})
	return all
}

func (c *call) findType() (*cluster.VolumeType, error) { return c.typeIn(c.view) }

func (c *call) typeIn(view *cluster.View) (*cluster.VolumeType, error) {
	t, ok := view.VolumeType(c.param("id"))
	if !ok || !c.sees(t) {
		return nil, missing("Volume type", c.param("id"))
	}
	return t, nil
}

func (c *call) showType() error {
	if c.param("id") == "default" {
		return c.reply(http.StatusOK, map[string]any{"volume_type": c.typeBody(cluster.DefaultVolumeType)})
	}
	t, err := c.findType()
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, map[string]any{"volume_type": renderType(t)})
}

func (c *call) showSpecs() error {
	t, err := c.findType()
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, map[string]any{"extra_specs": orObject(t.Specs)})
}

func (c *call) showSpec() error {
	t, err := c.findType()
	if err != nil {
		return err
	}
	key := c.param("key")
	value, ok := t.Specs[key]
	if !ok {
		return noSpec(t, key)
	}
	return c.reply(http.StatusOK, map[string]string{key: value})
}

func noSpec(t *cluster.VolumeType, key string) error {
	return cluster.Errorf(cluster.NotFound, "Volume Type %s has no extra spec with key %s.", t.ID, clip(key))
}

// showEncryption says how one volume is encrypted, and never with what.
func (c *call) showEncryption() error {
	v, err := c.find()
	if err != nil {
		return err
	}
	out := map[string]any{"encryption_key_id": nil}
	if v.Traits.Encrypted {
		out = map[string]any{"encryption_key_id": v.ID, "provider": cluster.LUKSProvider, "control_location": cluster.FrontEnd,
			"cipher": cluster.LUKSCipher, "key_size": cluster.LUKSKeyBits}
	}
	return c.reply(http.StatusOK, out)
}
