package volume

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// encryptionBody is how volumes of a type are to be encrypted.
type encryptionBody struct {
	Encryption struct {
		Provider *string  `json:"provider"`
		Cipher   *string  `json:"cipher"`
		KeySize  *flexInt `json:"key_size"`
		Location *string  `json:"control_location"`
	} `json:"encryption"`
}

func encryptionSchema(required ...string) *schema.Schema {
	return schema.Wrap("encryption", schema.Loose(map[string]*schema.Schema{
		"provider": schema.Text(1, maxText), "cipher": schema.Text(1, maxText).OrNull(), "key_size": schema.Int(1, maxSize).OrNull(),
		"control_location": schema.OneOf("front-end", "back-end"),
	}, required...))
}

// into changes an encryption as the client says.
func (b *encryptionBody) into(e cluster.TypeEncryption) *cluster.TypeEncryption {
	w := &b.Encryption
	for _, p := range []struct {
		to   *string
		from *string
	}{{&e.Provider, w.Provider}, {&e.Cipher, w.Cipher}, {&e.Location, w.Location}} {
		if p.from != nil {
			*p.to = *p.from
		}
	}
	if w.KeySize != nil {
		e.KeyBits = int64(*w.KeySize)
	}
	return &e
}

func renderEncryption(t *cluster.VolumeType) map[string]any {
	e := t.Encryption
	out := map[string]any{
		"volume_type_id": t.ID, "encryption_id": e.ID, "provider": e.Provider, "control_location": e.Location, "cipher": orNull(e.Cipher), "key_size": nil,
	}
	if e.KeyBits != 0 {
		out["key_size"] = e.KeyBits
	}
	return out
}

// showTypeEncryption says how volumes of a type are encrypted; {} when they are not.
func (c *call) showTypeEncryption() error {
	t, err := c.findType()
	if err != nil {
		return err
	}
	if t.Encryption == nil {
		return c.reply(http.StatusOK, map[string]any{})
	}
	out := renderEncryption(t)
	out["deleted"], out["deleted_at"], out["created_at"], out["updated_at"] = false, nil, stamp(t.Created), stamp(t.Updated)
	return c.reply(http.StatusOK, out)
}

// showEncryptionItem shows one member of it.
func (c *call) showEncryptionItem() error {
	t, err := c.findType()
	if err != nil {
		return err
	}
	key := c.param("key")
	if t.Encryption != nil {
		if value, ok := renderEncryption(t)[key]; ok {
			return c.reply(http.StatusOK, map[string]any{key: value})
		}
	}
	return missing("Volume type encryption of", t.ID)
}

func (c *call) createEncryption() error {
	if _, err := c.findType(); err != nil {
		return err
	}
	body, err := decode[encryptionBody](c, encryptionSchema("provider"))
	if err != nil {
		return err
	}
	t, err := c.changeType(func(t *cluster.VolumeType) error {
		if t.Encryption != nil {
			return bad("Volume type encryption for type %s already exists.", t.ID)
		}
		t.Encryption = body.into(cluster.TypeEncryption{ID: rest.NewUUID(), Location: cluster.FrontEnd})
		return nil
	})
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, map[string]any{"encryption": renderEncryption(t)})
}

// updateEncryption does not look at the last part of the path, as Cinder does not: a type has one encryption at most, and clients name it by
// its ID, its type's or a word.
func (c *call) updateEncryption() error {
	if _, err := c.findType(); err != nil {
		return err
	}
	body, err := decode[encryptionBody](c, encryptionSchema())
	if err != nil {
		return err
	}
	_, err = c.changeType(func(t *cluster.VolumeType) error {
		if t.Encryption == nil {
			return missing("Volume type encryption of", t.ID)
		}
		t.Encryption = body.into(*t.Encryption)
		return nil
	})
	if err != nil {
		return err
	}
	w, out := &body.Encryption, map[string]any{} // Cinder repeats what it was sent
	for name, value := range map[string]*string{"provider": w.Provider, "cipher": w.Cipher, "control_location": w.Location} {
		if value != nil {
			out[name] = *value
		}
	}
	if w.KeySize != nil {
		out["key_size"] = *w.KeySize
	}
	return c.reply(http.StatusOK, map[string]any{"encryption": out})
}

func (c *call) deleteEncryption() error {
	_, err := c.changeType(func(t *cluster.VolumeType) error {
		if t.Encryption == nil {
			return missing("Volume type encryption of", t.ID)
		}
		t.Encryption = nil
		return nil
	})
	if err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}
