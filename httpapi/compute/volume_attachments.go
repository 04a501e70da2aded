package compute

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// attachable are the states in which a server gets and loses volumes, and shelved those that volumesWhileShelved added (OpenStack
// Compute API reference, volume attachments).
var (
	attachable = []cluster.VMState{cluster.VMActive, cluster.VMPaused, cluster.VMStopped, cluster.VMResized, cluster.VMSoftDeleted}
	shelved    = []cluster.VMState{cluster.VMShelved, cluster.VMOffloaded}
)

// volumesWhileShelved is the microversion from which a server gets and loses volumes while it is shelved.
const volumesWhileShelved version = 20

// volumesChange refuses to give a server volumes, or take them, in a state that Nova does not do it in.
func (c *call) volumesChange(in *cluster.Instance, action string) error {
	states := attachable
	if c.v >= volumesWhileShelved {
		states = slices.Concat(attachable, shelved)
	}
	return c.allowedIn(in, action, states)
}

// writeAttachment shows that a server has a volume. Later microversions leave out what says nothing new, and name the attachment.
func (c *call) writeAttachment(j *writer, v *cluster.Volume, a *cluster.Attachment, made bool) {
	j.open('{')
	if c.v < 89 || made {
		j.field("id", string(v.ID))
	}
	j.field("serverId", string(a.Instance)).field("volumeId", string(v.ID)).fieldOrNull("device", a.Device)
	if c.v >= 70 {
		j.fieldOrNull("tag", a.Tag)
	}
	if c.v >= 79 {
		j.fieldTruth("delete_on_termination", a.DeleteOnTermination)
	}
	if c.v >= 89 && !made {
		j.field("attachment_id", string(a.ID)).field("bdm_uuid", string(a.ID))
	}
	j.close('}')
}

func (c *call) listAttachments() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	page, err := rest.ParsePage(c.r, false)
	if err != nil {
		return err
	}
	offset := 0
	if text := c.r.URL.Query().Get("offset"); text != "" {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return bad("offset param must be an integer")
		}
		offset = int(n)
	}
	var j writer
	j.open('{').key("volumeAttachments").open('[')
	n := 0
	for v, a := range c.view.VolumesOf(in.ID) {
		if n >= offset && n < offset+page.Limit { // one that the guest is still to let go of, too: then it is the server's
			c.writeAttachment(&j, v, a, false)
		}
		n++
	}
	j.close(']').close('}')
	return c.send(http.StatusOK, &j)
}

// attachment finds the volume of the path among those of the server of the path.
func (c *call) attachment() (*cluster.Instance, *cluster.Volume, *cluster.Attachment, error) {
	in, err := c.server()
	if err != nil {
		return nil, nil, nil, err
	}
	id := c.param("volume")
	for v, a := range c.view.VolumesOf(in.ID) {
		if string(v.ID) == id {
			return in, v, a, nil
		}
	}
	return nil, nil, nil, notFound("Instance %s is not attached to volume %s", in.ID, id)
}

func (c *call) showAttachment() error {
	_, v, a, err := c.attachment()
	if err != nil {
		return err
	}
	return c.sendAttachment(v, a, false)
}

func (c *call) sendAttachment(v *cluster.Volume, a *cluster.Attachment, made bool) error {
	var j writer
	j.open('{').key("volumeAttachment")
	c.writeAttachment(&j, v, a, made)
	j.close('}')
	return c.send(http.StatusOK, &j)
}

func attachSchema(v version) *schema.Schema {
	known := map[string]*schema.Schema{"volumeId": schemaUUID, "device": schema.Text(0, 255).OrNull()}
	if v >= 49 {
		known["tag"] = schemaTag
	}
	if v >= 79 {
		known["delete_on_termination"] = schema.Boolean()
	}
	return schema.Wrap("volumeAttachment", schema.Record(known, "volumeId"))
}

// attachVolume gives a server a volume. The answer goes out before the guest has it.
func (c *call) attachVolume() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	body, err := decode[struct {
		Want struct {
			Volume string   `json:"volumeId"`
			Device string   `json:"device"`
			Tag    string   `json:"tag"`
			Delete flexBool `json:"delete_on_termination"`
		} `json:"volumeAttachment"`
	}](c, attachSchema(c.v))
	if err != nil {
		return err
	}
	if err := c.volumesChange(in, "attach_volume"); err != nil {
		return err
	}
	w := &body.Want
	id, _ := rest.CanonicalUUID(w.Volume)
	v, ok := c.view.Volume(cluster.VolumeID(id))
	if !ok || !c.caller.Sees(v.Project) {
		return notFound("Volume %s could not be found.", w.Volume)
	}
	if v.Traits.Multiattach && c.v < 60 {
		return bad("Multiattach volumes are only supported starting with compute API version 2.60.")
	}
	_, err = c.change(&cluster.AttachVolume{Volume: v.ID, By: c.by(), Attachment: cluster.Attachment{
		ID: cluster.AttachmentID(rest.NewUUID()), Instance: in.ID, Device: w.Device, Tag: w.Tag, DeleteOnTermination: bool(w.Delete),
	}})
	if err != nil {
		return err
	}
	if v, ok = c.view.Volume(v.ID); ok {
		if a, ok := v.AttachmentTo(in.ID); ok {
			return c.sendAttachment(v, a, true)
		}
	}
	return notFound("Volume %s could not be found.", w.Volume)
}

func (c *call) detachVolume() error {
	op := &cluster.DetachVolume{Volume: cluster.VolumeID(c.param("volume")), Instance: cluster.InstanceID(c.param("server")), By: c.by()}
	if c.first() { // a repetition may find it detached
		in, v, err := c.detachable()
		if err != nil {
			return err
		}
		op.Volume, op.Instance = v.ID, in.ID
	}
	return c.accept(op)
}

// detachable finds the volume of the path, and refuses to take it from a server that cannot let go of it now.
func (c *call) detachable() (*cluster.Instance, *cluster.Volume, error) {
	in, v, a, err := c.attachment()
	if err != nil {
		return nil, nil, err
	}
	if a.Boot {
		return nil, nil, bad("Cannot detach a root device volume")
	}
	if err := c.volumesChange(in, "detach_volume"); err != nil {
		return nil, nil, err
	}
	return in, v, c.nodeAnswers(in)
}

// updateAttachment changes whether a volume goes with its server (since 2.85). To put another volume in its place is refused: no driver
// here can copy one to the other behind a guest's back.
func (c *call) updateAttachment() error {
	in, v, _, err := c.attachment()
	if err != nil {
		return err
	}
	known := map[string]*schema.Schema{"volumeId": schemaUUID}
	if c.v >= 85 {
		known["id"], known["serverId"], known["device"] = schema.Text(0, 255).OrNull(), schemaUUID, schema.Text(0, 255).OrNull()
		known["tag"], known["delete_on_termination"] = schema.Text(0, 255).OrNull(), schema.Boolean()
	}
	body, err := decode[struct {
		Want struct {
			Volume string    `json:"volumeId"`
			Delete *flexBool `json:"delete_on_termination"`
		} `json:"volumeAttachment"`
	}](c, schema.Wrap("volumeAttachment", schema.Record(known, "volumeId")))
	if err != nil {
		return err
	}
	if body.Want.Volume != string(v.ID) || body.Want.Delete == nil {
		if err := c.allow("os-volumes-attachments:swap", admin); err != nil {
			return err
		}
		return c.refuseSwap(in, v, body.Want.Volume)
	}
	return c.accept(&cluster.UpdateAttachment{Volume: v.ID, Instance: in.ID, DeleteOnTermination: bool(*body.Want.Delete)})
}

// refuseSwap says why one volume is not put in another's place: for one of Nova's reasons, else because we cannot.
func (c *call) refuseSwap(in *cluster.Instance, v *cluster.Volume, with string) error {
	if err := c.allowedIn(in, "swap_volume", []cluster.VMState{cluster.VMActive, cluster.VMPaused, cluster.VMResized}); err != nil {
		return err
	}
	id, _ := rest.CanonicalUUID(with)
	other, ok := c.view.Volume(cluster.VolumeID(id))
	switch {
	case !ok || !c.caller.Sees(other.Project):
		return bad("Volume %s could not be found.", with)
	case len(v.Attachments) > 1 && !v.Traits.ReadOnly:
		return bad("Swapping multi-attach volumes with more than one read/write attachment is not supported.")
	}
	return unsupported("putting another volume in the place of one that a server has")
}

// writeVolumes lists a server's volumes in its own record.
func (p *renderer) writeVolumes(j *writer, in *cluster.Instance) {
	j.key("os-extended-volumes:volumes_attached").open('[')
	for v, a := range p.c.view.VolumesOf(in.ID) {
		j.open('{').field("id", string(v.ID))
		if p.c.v >= 3 {
			j.fieldTruth("delete_on_termination", a.DeleteOnTermination)
		}
		j.close('}')
	}
	j.close(']')
}
