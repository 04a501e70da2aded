package compute

import (
	"encoding/json"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

var rescueActions = map[string]serverAction{
	"rescue":   {rule: "os-rescue", who: member, body: rescueSchema, do: rescueServer},
	"unrescue": {rule: "os-unrescue", who: member, do: unrescueServer},
}

var rescueSchema = schema.Record(map[string]*schema.Schema{
	"adminPass": schema.Text(0, 255), "rescue_image_ref": schemaUUID}).OrNull()

// rescueServer boots a server from another image, or from a fresh copy of its own, with its disk beside it.
func rescueServer(c *call, in *cluster.Instance, raw json.RawMessage) error {
	var body struct {
		Pass  *string `json:"adminPass"`
		Image string  `json:"rescue_image_ref"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return bad("Malformed request body")
	}
	states := []cluster.VMState{cluster.VMActive, cluster.VMStopped, cluster.VMError}
	if err := c.allowedIn(in, "rescue", states); err != nil {
		return err
	}
	op := &cluster.RescueInstance{ID: in.ID, By: c.by(), AdminPass: chosenOr(body.Pass)}
	ref := body.Image
	if ref == "" {
		ref = string(in.Spec.Image)
	}
	if ref == "" {
		return bad("Instance %s cannot be rescued: Cannot rescue a volume-backed instance without an image", in.ID)
	}
	image, boot, err := c.bootImage(ref)
	if err != nil {
		return err
	}
	op.Image, op.Kernel, op.Ramdisk, op.Cmdline = image.ID, boot.Kernel, boot.Ramdisk, boot.Properties["os_command_line"]
	if _, err := c.change(op); err != nil {
		return err
	}
	return c.sendPassword(op.AdminPass)
}

func unrescueServer(c *call, in *cluster.Instance, _ json.RawMessage) error {
	if err := c.allowedIn(in, "unrescue", []cluster.VMState{cluster.VMRescued}); err != nil {
		return err
	}
	return c.accept(&cluster.RescueInstance{ID: in.ID, By: c.by(), End: true})
}
