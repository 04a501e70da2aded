package volume

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// The attachments API (since 3.27) shows who has which volume. Nova of old made attachments through it; here making one gives a server
// the volume, and removing one takes it.
func (c *call) since(v version) error {
	if c.v < v {
		return cluster.Errorf(cluster.NotFound, "The resource could not be found.")
	}
	return nil
}

func attachStatus(a *cluster.Attachment) string { return string(a.State) }

func (c *call) renderAttachment(v *cluster.Volume, a *cluster.Attachment, detailed bool) map[string]any {
	out := map[string]any{"id": a.ID, "status": attachStatus(a), "instance": a.Instance, "volume_id": v.ID}
	if detailed {
		mode := "rw"
		if v.Traits.ReadOnly {
			mode = "ro"
		}
		out["attached_at"], out["detached_at"], out["attach_mode"] = stamp(a.At), nil, mode
		out["connection_info"] = map[string]any{}
	}
	return out
}

func listAttachments(detailed bool) func(*call) error {
	return func(c *call) error {
		if err := c.since(27); err != nil {
			return err
		}
		var items []item
		for v := range c.view.VolumesIn(c.scope()) {
			for i := range v.Attachments {
				a := &v.Attachments[i]
				items = append(items, item{id: string(a.ID), born: a.At, show: func() any { return c.renderAttachment(v, a, detailed) },
					values: map[string]string{"id": string(a.ID), "volume_id": string(v.ID), "instance_id": string(a.Instance),
						"status": attachStatus(a), "attach_status": attachStatus(a)}})
			}
		}
		return c.list("attachments", items)
	}
}

// attachment finds the one that the path names.
func (c *call) attachment() (*cluster.Volume, *cluster.Attachment, error) {
	if err := c.since(27); err != nil {
		return nil, nil, err
	}
	id := c.param("id")
	project := c.caller.ProjectID()
	if c.caller.Admin() {
		project = ""
	}
	for v := range c.view.VolumesIn(project) {
		for i := range v.Attachments {
			if string(v.Attachments[i].ID) == id {
				return v, &v.Attachments[i], nil
			}
		}
	}
	return nil, nil, missing("Volume attachment", id)
}

func (c *call) showAttachment() error {
	v, a, err := c.attachment()
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, map[string]any{"attachment": c.renderAttachment(v, a, true)})
}

func (c *call) createAttachment() error {
	if err := c.since(27); err != nil {
		return err
	}
	body, err := decode[struct {
		Attachment struct {
			Volume   string  `json:"volume_uuid"`
			Instance *string `json:"instance_uuid"`
		} `json:"attachment"`
	}](c, schema.Loose(map[string]*schema.Schema{"attachment": schema.Loose(map[string]*schema.Schema{
		"volume_uuid": schema.Text(1, maxText), "instance_uuid": schemaID}, "volume_uuid")}, "attachment"))
	if err != nil {
		return err
	}
	v, err := c.volume(c.view, body.Attachment.Volume)
	if err != nil {
		return err
	}
	in, err := c.instance(orEmpty(body.Attachment.Instance))
	if err != nil {
		return err
	}
	id := cluster.AttachmentID(rest.NewUUID())
	res, err := c.change(&cluster.AttachVolume{Volume: v.ID, By: c.by(), Attachment: cluster.Attachment{ID: id, Instance: in.ID}})
	if err != nil {
		return err
	}
	made, err := c.volume(c.view, string(v.ID))
	if err != nil {
		return err
	}
	for i := range made.Attachments {
		if a := &made.Attachments[i]; string(a.ID) == res.IDs[1] {
			return c.reply(http.StatusOK, map[string]any{"attachment": c.renderAttachment(made, a, true)})
		}
	}
	return missing("Volume attachment", res.IDs[1])
}

// updateAttachment takes a connector, which nobody needs here.
func (c *call) updateAttachment() error { return c.showAttachment() }

func (c *call) deleteAttachment() error {
	v, a, err := c.attachment()
	if err != nil {
		return err
	}
	if _, err := c.change(&cluster.DetachVolume{Volume: v.ID, Instance: a.Instance, By: c.by()}); err != nil {
		return err
	}
	left := []any{}
	if now, ok := c.view.Volume(v.ID); ok {
		for i := range now.Attachments {
			if now.Attachments[i].ID != a.ID {
				left = append(left, c.renderAttachment(now, &now.Attachments[i], false))
			}
		}
	}
	return c.reply(http.StatusOK, map[string]any{"attachments": left})
}

// completeAttachment is Nova's word that a guest has a volume (since 3.44); here the guest's node says it.
func (c *call) completeAttachment() error {
	if err := c.since(44); err != nil {
		return err
	}
	if _, _, err := c.attachment(); err != nil {
		return err
	}
	return c.done(http.StatusNoContent)
}
