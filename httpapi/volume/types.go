package volume

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
)

// typeBody shows a type.
func (c *call) typeBody(name string) any {
	t, ok := cluster.VolumeTypeNamed(name)
	if !ok {
		return nil
	}
	return renderType(t)
}

func renderType(t *cluster.VolumeType) map[string]any {
	return map[string]any{
		"id": t.ID, "name": t.Name, "is_public": true, "description": t.Description, "extra_specs": extraSpecs(t), "qos_specs_id": nil,
		"os-volume-type-access:is_public": true,
	}
}

// extraSpecs say in Cinder's words what a type is.
func extraSpecs(t *cluster.VolumeType) map[string]string {
	specs := map[string]string{}
	if t.Multiattach {
		specs["multiattach"] = "<is> True"
	}
	return specs
}

func (c *call) listTypes() error {
	all := make([]any, len(cluster.VolumeTypes))
	for i := range cluster.VolumeTypes {
		all[i] = renderType(&cluster.VolumeTypes[i])
	}
	return c.reply(http.StatusOK, map[string]any{"volume_types": all})
}

func (c *call) findType() (*cluster.VolumeType, error) {
	t, ok := cluster.VolumeTypeNamed(c.param("id"))
	if !ok {
		return nil, missing("Volume type", c.param("id"))
	}
	return t, nil
}

func (c *call) showType() error {
	if c.param("id") == "default" {
		t, _ := cluster.VolumeTypeNamed(cluster.DefaultVolumeType)
		return c.reply(http.StatusOK, map[string]any{"volume_type": renderType(t)})
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
	return c.reply(http.StatusOK, map[string]any{"extra_specs": extraSpecs(t)})
}

func (c *call) showSpec() error {
	t, err := c.findType()
	if err != nil {
		return err
	}
	key := c.param("key")
	value, ok := extraSpecs(t)[key]
	if !ok {
		return cluster.Errorf(cluster.NotFound, "Volume Type %s has no extra spec with key %s.", t.ID, clip(key))
	}
	return c.reply(http.StatusOK, map[string]string{key: value})
}

// showTypeEncryption says how volumes of a type are encrypted; {} when they are not.
func (c *call) showTypeEncryption() error {
	t, err := c.findType()
	if err != nil {
		return err
	}
	if !t.Encrypted {
		return c.reply(http.StatusOK, map[string]any{})
	}
	return c.reply(http.StatusOK, map[string]any{
		"volume_type_id": t.ID, "encryption_id": t.ID, "provider": "luks", "control_location": "front-end", "cipher": "aes-xts-plain64", "key_size": 256,
		"deleted": false, "deleted_at": nil, "created_at": nil, "updated_at": nil,
	})
}

// showEncryption says how one volume is encrypted, and never with what.
func (c *call) showEncryption() error {
	v, err := c.find()
	if err != nil {
		return err
	}
	out := map[string]any{"encryption_key_id": nil}
	if v.Traits.Encrypted {
		out = map[string]any{"encryption_key_id": v.ID, "provider": "luks", "control_location": "front-end", "cipher": "aes-xts-plain64", "key_size": 256}
	}
	return c.reply(http.StatusOK, out)
}

// fixedTypes refuses to change what follows from what nodes can do.
func fixedTypes(c *call) error {
	if err := c.admin("volume_extension:types_manage"); err != nil {
		return err
	}
	return unsupported("volume types are built in and cannot be made or changed")
}
