package compute

import (
	"encoding/json"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

var rebuildActions = map[string]serverAction{
	"rebuild": {rule: "servers:rebuild", who: member, do: rebuildServer},
}

// The microversions that changed what rebuild takes and shows.
const (
	rebuildKey      version = 54
	rebuildUserData version = 57 // personality is gone
	rebuildShowsAll version = 75
)

// rebuildBody is what a rebuild changes.
type rebuildBody struct {
	Image        string             `json:"imageRef"`
	Name         *string            `json:"name"`
	Pass         *string            `json:"adminPass"`
	Metadata     *map[string]string `json:"metadata"`
	Preserve     flexBool           `json:"preserve_ephemeral"`
	IPv4         *string            `json:"accessIPv4"`
	IPv6         *string            `json:"accessIPv6"`
	DiskConfig   *string            `json:"OS-DCF:diskConfig"`
	Personality  []json.RawMessage  `json:"personality"`
	Description  json.RawMessage    `json:"description"`
	KeyName      json.RawMessage    `json:"key_name"`
	UserData     json.RawMessage    `json:"user_data"`
	Certificates []string           `json:"trusted_image_certificates"`
	Hostname     *string            `json:"hostname"`
}

// rebuildSchema is what rebuild takes at a microversion.
func rebuildSchema(v version) *schema.Schema {
	known := map[string]*schema.Schema{
		"imageRef": schemaUUID, "name": schemaName, "adminPass": schema.Text(0, 255), "metadata": schemaMetadata,
		"preserve_ephemeral": schema.Boolean(), "OS-DCF:diskConfig": schemaDiskConfig,
		"accessIPv4": schema.Text(0, 0).Formatted(formatIPv4), "accessIPv6": schema.Text(0, 0).Formatted(formatIPv6),
	}
	if v < rebuildUserData {
		known["personality"] = schema.ArrayOf(schema.Loose(nil), 64)
	} else {
		known["user_data"] = schema.Text(0, maxUserData).OrNull().Formatted(formatBase64)
	}
	if v >= 19 {
		known["description"] = schemaDescription
	}
	if v >= rebuildKey {
		known["key_name"] = schema.Text(1, 255).OrNull()
	}
	if v >= 63 {
		known["trusted_image_certificates"] = schema.ArrayOf(schema.Text(1, 0), maxTags).OrNull()
	}
	if v >= 90 {
		known["hostname"] = hostnameSchema(v)
	}
	return schema.Record(known, "imageRef")
}

// rebuildServer makes the server's disk anew from an image. Its ID, addresses and volumes stay.
func rebuildServer(c *call, in *cluster.Instance, raw json.RawMessage) error {
	body, err := decodeAction[rebuildBody]("rebuild", raw, rebuildSchema(c.v))
	if err != nil {
		return err
	}
	states := []cluster.VMState{cluster.VMActive, cluster.VMStopped, cluster.VMError}
	if err := c.allowedIn(in, "rebuild", states); err != nil {
		return err
	}
	op, err := c.rebuild(in, &body)
	if err != nil {
		return err
	}
	if _, err := c.change(op); err != nil {
		return err
	}
	now, ok := c.view.Instance(in.ID)
	if !ok {
		return noInstance(string(in.ID))
	}
	return c.sendRebuilt(now, *op.Change.AdminPass)
}

// rebuild makes the command.
func (c *call) rebuild(in *cluster.Instance, body *rebuildBody) (*cluster.RebuildInstance, error) {
	switch {
	case len(body.Personality) > 0:
		return nil, bad("Files cannot be put into a server. Use user_data instead of personality.")
	case len(body.Certificates) > 0:
		return nil, bad("trusted_image_certificates are not supported.")
	case bool(body.Preserve):
		return nil, bad("The current driver does not support preserving ephemeral partitions.")
	case in.Spec.Image == "":
		return nil, bad("Unable to rebuild with a different image for a volume-backed server.")
	}
	if body.Metadata != nil {
		if limit := c.metadataLimit(); limit >= 0 && int64(len(*body.Metadata)) > limit {
			return nil, tooMuchMetadata(limit)
		}
	}
	image, boot, err := c.bootImage(body.Image)
	if err == errNoImage {
		return nil, bad("Cannot find image for rebuild")
	}
	if err == nil {
		err = fits(&in.Spec.Flavor, image)
	}
	if err != nil {
		return nil, err
	}
	boot.ConfigDrv = in.Spec.Boot.ConfigDrv
	pass := chosenOr(body.Pass)
	op := &cluster.RebuildInstance{ID: in.ID, By: c.by(), Image: image.ID, Boot: boot, Change: cluster.SpecChange{
		Name: body.Name, Hostname: body.Hostname, Metadata: body.Metadata, DiskConfig: body.DiskConfig, AdminPass: &pass}}
	if body.IPv4 != nil || body.IPv6 != nil {
		op.Change.Access = newAccess(in.Spec.Access, body.IPv4, body.IPv6)
	}
	return op, c.changeTold(&op.Change, body)
}

// newAccess changes access addresses as far as there are new ones.
func newAccess(access [2]string, ipv4, ipv6 *string) *[2]string {
	for i, a := range []*string{ipv4, ipv6} {
		if a != nil {
			access[i] = canonicalIP(*a)
		}
	}
	return &access
}

// changeTold reads what may be null, which empties it: description, key and user data.
func (c *call) changeTold(to *cluster.SpecChange, body *rebuildBody) error {
	text := func(raw json.RawMessage) (*string, error) {
		if len(raw) == 0 {
			return nil, nil
		}
		s := new(string)
		if err := json.Unmarshal(raw, s); err != nil {
			return nil, bad("Malformed request body")
		}
		return s, nil
	}
	var data *string
	var err error
	for _, p := range []struct {
		raw json.RawMessage
		to  **string
	}{{body.Description, &to.Description}, {body.KeyName, &to.KeyName}, {body.UserData, &data}} {
		if *p.to, err = text(p.raw); err != nil {
			return err
		}
	}
	if to.KeyName != nil {
		to.PublicKey = new(string)
		if *to.KeyName != "" {
			k, ok := c.view.KeyPair(c.caller.User.ID, *to.KeyName)
			if !ok {
				return bad("Invalid key_name provided.")
			}
			to.PublicKey = &k.PublicKey
		}
	}
	if data == nil {
		return nil
	}
	decoded, err := decodeBase64(*data)
	if err != nil {
		return bad("Invalid input for field/attribute user_data. Value: ***. '***' is not a 'base64'")
	}
	to.UserData = &decoded
	return nil
}

// sendRebuilt shows the server, with what Nova adds for a rebuild.
func (c *call) sendRebuilt(in *cluster.Instance, pass string) error {
	e := extent{summary: c.v < rebuildShowsAll, rebuilt: true, more: func(j *writer) {
		if c.v >= rebuildKey && c.v < rebuildShowsAll {
			j.fieldOrNull("key_name", in.Spec.KeyName)
		}
		j.field("adminPass", pass)
		if c.v >= rebuildUserData {
			j.fieldOrNull("user_data", encodeBase64(in.Spec.UserData))
		}
	}}
	c.w.Header().Set("Location", c.links.self+"/servers/"+string(in.ID))
	return c.sendServer(http.StatusAccepted, in, e)
}
