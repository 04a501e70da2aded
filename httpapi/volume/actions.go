package volume

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// action is one of the things that POST /volumes/{id}/action does. raw is the value under its name.
type action func(c *call, v *cluster.Volume, raw json.RawMessage) error

var actions = map[string]action{
	"os-extend":                (*call).extend,
	"os-set_bootable":          (*call).setBootable,
	"os-update_readonly_flag":  (*call).setReadOnly,
	"os-reset_status":          (*call).resetStatus,
	"os-force_delete":          (*call).forceDelete,
	"os-volume_upload_image":   (*call).upload,
	"os-set_image_metadata":    (*call).setImageMetadata,
	"os-unset_image_metadata":  (*call).unsetImageMetadata,
	"os-show_image_metadata":   (*call).showImageMetadata,
	"os-reserve":               moves(cluster.VolumeAttaching, cluster.VolumeAvailable),
	"os-unreserve":             (*call).unreserve,
	"os-begin_detaching":       (*call).beginDetaching,
	"os-roll_detaching":        (*call).rollDetaching,
	"os-attach":                (*call).attach,
	"os-detach":                (*call).detach,
	"os-force_detach":          (*call).forceDetach,
	"os-retype":                (*call).retype,
	"os-migrate_volume":        refused("migrating a volume"),
	"revert":                   refused("reverting a volume to its snapshot"),
	"os-reimage":               refused("another image for a volume that is there"),
	"os-initialize_connection": refused("connections from outside the cluster"),
	"os-terminate_connection":  refused("connections from outside the cluster"),
}

func refused(what string) action {
	return func(*call, *cluster.Volume, json.RawMessage) error { return unsupported(what) }
}

// oneAction reads a body that names one action.
func (c *call) oneAction() (name string, raw json.RawMessage, err error) {
	body, err := rest.Decode[map[string]json.RawMessage](c.r)
	if err != nil {
		return "", nil, err
	}
	if len(body) != 1 {
		return "", nil, bad("There is no such action: %s", clip(strings.Join(slices.Sorted(maps.Keys(body)), ", ")))
	}
	for name, raw = range body {
	}
	return name, raw, nil
}

func (c *call) actOnVolume() error {
	v, err := c.find()
	if err != nil {
		return err
	}
	name, raw, err := c.oneAction()
	if err != nil {
		return err
	}
	do, ok := actions[name]
	if !ok {
		return bad("There is no such action: %s", clip(name))
	}
	return do(c, v, raw)
}

// read checks the value of an action and reads it.
func read[T any](raw json.RawMessage, s *schema.Schema) (T, error) {
	var v T
	tree, err := schema.Parse(raw)
	if err != nil {
		return v, bad("Malformed request body")
	}
	if e := s.Check(tree); e != nil {
		return v, bad("%s", e.Body())
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, bad("Malformed request body")
	}
	return v, nil
}

// then proposes an op and replies without a body.
func (c *call) then(op cluster.Op, status int) error {
	if _, err := c.change(op); err != nil {
		return err
	}
	return c.done(status)
}

func (c *call) extend(v *cluster.Volume, raw json.RawMessage) error {
	body, err := read[struct {
		Size flexInt `json:"new_size"`
	}](raw, schema.Record(map[string]*schema.Schema{"new_size": schemaSize}, "new_size"))
	if err != nil {
		return err
	}
	return c.then(&cluster.ExtendVolume{ID: v.ID, SizeGiB: int64(body.Size), InUse: c.v >= 42, By: c.by()}, http.StatusAccepted)
}

func (c *call) setBootable(v *cluster.Volume, raw json.RawMessage) error {
	body, err := read[struct {
		Bootable flexBool `json:"bootable"`
	}](raw, schema.Record(map[string]*schema.Schema{"bootable": schema.Boolean()}, "bootable"))
	if err != nil {
		return err
	}
	yes := bool(body.Bootable)
	return c.then(&cluster.UpdateVolume{ID: v.ID, Bootable: &yes}, http.StatusOK)
}

func (c *call) setReadOnly(v *cluster.Volume, raw json.RawMessage) error {
	body, err := read[struct {
		ReadOnly flexBool `json:"readonly"`
	}](raw, schema.Record(map[string]*schema.Schema{"readonly": schema.Boolean()}, "readonly"))
	if err != nil {
		return err
	}
	yes := bool(body.ReadOnly)
	return c.then(&cluster.UpdateVolume{ID: v.ID, ReadOnly: &yes}, http.StatusAccepted)
}

// resettable are the statuses that an administrator may set.
var resettable = []any{"creating", "available", "deleting", "error", "error_deleting", "error_extending", "attaching", "detaching", "in-use",
	"maintenance", "extending", "reserved", "uploading", nil}

func (c *call) resetStatus(v *cluster.Volume, raw json.RawMessage) error {
	if err := c.admin("volume_extension:volume_admin_actions:reset_status"); err != nil {
		return err
	}
	body, err := read[struct {
		Status cluster.VolumeStatus `json:"status"`
	}](raw, schema.Loose(map[string]*schema.Schema{"status": schema.OneOf(resettable...)}))
	if err != nil {
		return err
	}
	if body.Status == "" {
		return c.done(http.StatusAccepted) // only the status of attachments or of a migration: there is none of its own
	}
	return c.then(&cluster.UpdateVolume{ID: v.ID, Status: body.Status}, http.StatusAccepted)
}

func (c *call) forceDelete(v *cluster.Volume, _ json.RawMessage) error {
	if err := c.admin("volume_extension:volume_admin_actions:force_delete"); err != nil {
		return err
	}
	return c.then(&cluster.DeleteVolume{ID: v.ID, Force: true}, http.StatusAccepted)
}

// moves is an action that only changes the status.
func moves(to cluster.VolumeStatus, from ...cluster.VolumeStatus) action {
	return func(c *call, v *cluster.Volume, _ json.RawMessage) error {
		return c.then(&cluster.UpdateVolume{ID: v.ID, Status: to, From: from}, http.StatusAccepted)
	}
}

// unreserve takes a reservation back. A volume that a server is getting by now is no longer reserved.
func (c *call) unreserve(v *cluster.Volume, raw json.RawMessage) error {
	if len(v.Attachments) > 0 {
		return c.done(http.StatusAccepted)
	}
	return moves(cluster.VolumeAvailable, cluster.VolumeReserved, cluster.VolumeAttaching, cluster.VolumeAvailable)(c, v, raw)
}

// beginDetaching and rollDetaching are Nova's to say of itself; here a detachment is one step, so they only look.
func (c *call) beginDetaching(v *cluster.Volume, _ json.RawMessage) error {
	return c.then(&cluster.UpdateVolume{ID: v.ID, Status: cluster.VolumeDetaching, From: []cluster.VolumeStatus{cluster.VolumeInUse}}, http.StatusAccepted)
}

func (c *call) rollDetaching(v *cluster.Volume, _ json.RawMessage) error {
	return c.then(&cluster.UpdateVolume{ID: v.ID, Status: cluster.VolumeInUse, From: []cluster.VolumeStatus{cluster.VolumeDetaching}}, http.StatusAccepted)
}

func (c *call) attach(v *cluster.Volume, raw json.RawMessage) error {
	body, err := read[struct {
		Instance *string `json:"instance_uuid"`
		Device   *string `json:"mountpoint"`
	}](raw, schema.Loose(map[string]*schema.Schema{"instance_uuid": schemaID, "mountpoint": schemaText}))
	if err != nil {
		return err
	}
	in, err := c.instance(orEmpty(body.Instance))
	if err != nil {
		return err
	}
	return c.then(&cluster.AttachVolume{Volume: v.ID, By: c.by(),
		Attachment: cluster.Attachment{ID: cluster.AttachmentID(rest.NewUUID()), Instance: in.ID, Device: orEmpty(body.Device)}}, http.StatusAccepted)
}

// instance finds a server that the caller may give volumes to.
func (c *call) instance(text string) (*cluster.Instance, error) {
	id, ok := rest.CanonicalUUID(text)
	if !ok {
		return nil, bad("Invalid input received: only volumes of servers of this cluster are attached, and '%s' is none.", clip(text))
	}
	in, found := c.view.Instance(cluster.InstanceID(id))
	if !found || !c.caller.Sees(in.Project) {
		return nil, cluster.Errorf(cluster.NotFound, "Instance %s could not be found.", id)
	}
	return in, nil
}

func (c *call) by() cluster.By {
	return cluster.By{Request: c.caller.RequestID, User: c.caller.User.ID, Project: c.caller.ProjectID()}
}

func (c *call) detach(v *cluster.Volume, raw json.RawMessage) error {
	body, err := read[struct {
		Attachment *string `json:"attachment_id"`
	}](raw, schema.Loose(map[string]*schema.Schema{"attachment_id": schemaID}).OrNull())
	if err != nil {
		return err
	}
	if len(v.Attachments) == 0 && orEmpty(body.Attachment) == "" {
		return c.done(http.StatusAccepted) // it is as it shall be
	}
	a, err := oneAttachment(v, orEmpty(body.Attachment))
	if err != nil {
		return err
	}
	return c.then(&cluster.DetachVolume{Volume: v.ID, Instance: a.Instance, By: c.by()}, http.StatusAccepted)
}

func oneAttachment(v *cluster.Volume, id string) (*cluster.Attachment, error) {
	for i := range v.Attachments {
		if id == string(v.Attachments[i].ID) || id == "" && len(v.Attachments) == 1 {
			return &v.Attachments[i], nil
		}
	}
	if id == "" && len(v.Attachments) > 1 {
		return nil, bad("Invalid volume: Detach volume failed: More than one attachment, but no attachment_id provided.")
	}
	return nil, bad("Invalid volume: Unable to detach volume. Volume status must be 'in-use' and attach_status must be 'attached' to detach.")
}

func (c *call) forceDetach(v *cluster.Volume, raw json.RawMessage) error {
	if err := c.admin("volume_extension:volume_admin_actions:force_detach"); err != nil {
		return err
	}
	return c.detach(v, raw)
}

func (c *call) setImageMetadata(v *cluster.Volume, raw json.RawMessage) error {
	body, err := read[struct {
		Metadata map[string]string `json:"metadata"`
	}](raw, schema.Record(map[string]*schema.Schema{"metadata": schemaMetadata}, "metadata"))
	if err != nil {
		return err
	}
	meta := changeMetadata(v.ImageMetadata, body.Metadata, false)
	if _, err := c.change(&cluster.UpdateVolume{ID: v.ID, Revision: v.Revision, ImageMetadata: &meta}); err != nil {
		return err
	}
	return c.reply(http.StatusOK, map[string]any{"metadata": meta})
}

func (c *call) unsetImageMetadata(v *cluster.Volume, raw json.RawMessage) error {
	body, err := read[struct {
		Key string `json:"key"`
	}](raw, schema.Record(map[string]*schema.Schema{"key": schema.Text(1, maxText)}, "key"))
	if err != nil {
		return err
	}
	if _, ok := v.ImageMetadata[body.Key]; !ok {
		return cluster.Errorf(cluster.NotFound, "Metadata item was not found")
	}
	meta := maps.Clone(v.ImageMetadata)
	delete(meta, body.Key)
	return c.then(&cluster.UpdateVolume{ID: v.ID, Revision: v.Revision, ImageMetadata: &meta}, http.StatusOK)
}

func (c *call) showImageMetadata(v *cluster.Volume, _ json.RawMessage) error {
	return c.reply(http.StatusOK, map[string]any{"metadata": orObject(v.ImageMetadata)})
}

// retype gives a volume another type of the same kind; its bytes stay where and as they are.
func (c *call) retype(v *cluster.Volume, raw json.RawMessage) error {
	body, err := read[struct {
		Type string `json:"new_type"`
	}](raw, schema.Loose(map[string]*schema.Schema{"new_type": schema.Text(1, maxText),
		"migration_policy": schema.OneOf("on-demand", "never", nil)}, "new_type"))
	if err != nil {
		return err
	}
	t, ok := c.typeNamed(body.Type)
	if !ok {
		return cluster.Errorf(cluster.NotFound, "Volume type with name %s could not be found.", clip(body.Type))
	}
	if _, err := c.change(&cluster.UpdateVolume{ID: v.ID, Type: t.ID}); err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}
