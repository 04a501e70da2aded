package volume

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

func (c *call) snapshot(view *cluster.View, text string) (*cluster.VolumeSnapshot, error) {
	id, ok := rest.CanonicalUUID(text)
	n, found := view.Snapshot(cluster.SnapshotID(id))
	if !ok || !found || !c.caller.Sees(n.Project) {
		return nil, missing("Snapshot", text)
	}
	return n, nil
}

func (c *call) renderSnapshot(n *cluster.VolumeSnapshot, detailed bool) map[string]any {
	out := map[string]any{
		"id": n.ID, "created_at": stamp(n.Times.Created), "updated_at": stamp(n.Times.Updated), "name": orNull(n.Name),
		"description": orNull(n.Description), "volume_id": n.Volume, "status": n.Status, "size": n.SizeGiB, "metadata": orObject(n.Metadata),
	}
	if detailed {
		progress := "0%"
		if n.Status == cluster.SnapshotAvailable {
			progress = "100%"
		}
		out["os-extended-snapshot-attributes:progress"], out["os-extended-snapshot-attributes:project_id"] = progress, n.Project
	}
	if c.v >= 14 {
		out["group_snapshot_id"] = nil
	}
	if c.v >= 41 {
		out["user_id"] = n.User
	}
	if c.v >= 65 {
		out["consumes_quota"] = true
	}
	return out
}

func listSnapshots(detailed bool) func(*call) error {
	return func(c *call) error {
		var items []item
		for n := range c.view.SnapshotsIn(c.scope()) {
			values := map[string]string{
				"id": string(n.ID), "name": n.Name, "status": string(n.Status), "volume_id": string(n.Volume), "description": n.Description,
				"size": strconv.FormatInt(n.SizeGiB, 10), "project_id": string(n.Project), "display_name": n.Name,
			}
			items = append(items, item{id: string(n.ID), born: n.Times.Created, values: values,
				show: func() any { return c.renderSnapshot(n, detailed) },
				maps: map[string]map[string]string{"metadata": n.Metadata}})
		}
		return c.list("snapshots", items)
	}
}

func (c *call) showSnapshot() error {
	n, err := c.snapshot(c.view, c.param("id"))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, map[string]any{"snapshot": c.renderSnapshot(n, true)})
}

var snapshotSchema = schema.Loose(map[string]*schema.Schema{"snapshot": schema.Loose(namedSchema(map[string]*schema.Schema{
	"volume_id": schema.Text(0, maxText).OrNull(), "force": schema.Boolean().OrNull(), "metadata": schemaMetadata,
}), "volume_id")}, "snapshot")

func (c *call) createSnapshot() error {
	body, err := decode[struct {
		Snapshot struct {
			named
			Volume   string            `json:"volume_id"`
			Force    *flexBool         `json:"force"`
			Metadata map[string]string `json:"metadata"`
		} `json:"snapshot"`
	}](c, snapshotSchema)
	if err != nil {
		return err
	}
	w := &body.Snapshot
	v, err := c.volume(c.view, w.Volume)
	if err != nil {
		return err
	}
	force := c.v >= 66 // since then a volume in use needs no force
	if w.Force != nil {
		force = force || bool(*w.Force)
	}
	res, err := c.change(&cluster.CreateVolumeSnapshot{Force: force, Snapshot: cluster.VolumeSnapshot{
		ID: cluster.SnapshotID(rest.NewUUID()), Project: v.Project, User: c.caller.User.ID, Volume: v.ID,
		Name: orEmpty(w.name()), Description: orEmpty(w.about()), Metadata: w.Metadata,
	}})
	if err != nil {
		return err
	}
	n, err := c.snapshot(c.view, res.IDs[0])
	if err != nil {
		return err
	}
	return c.reply(http.StatusAccepted, map[string]any{"snapshot": c.renderSnapshot(n, false)})
}

var snapshotUpdateSchema = schema.Loose(map[string]*schema.Schema{"snapshot": schema.Loose(namedSchema(nil))}, "snapshot")

func (c *call) updateSnapshot() error {
	n, err := c.snapshot(c.view, c.param("id"))
	if err != nil {
		return err
	}
	body, err := decode[struct {
		Snapshot named `json:"snapshot"`
	}](c, snapshotUpdateSchema)
	if err != nil {
		return err
	}
	if _, err := c.change(&cluster.UpdateVolumeSnapshot{ID: n.ID, Name: body.Snapshot.name(), Description: body.Snapshot.about()}); err != nil {
		return err
	}
	if n, err = c.snapshot(c.view, c.param("id")); err != nil {
		return err
	}
	return c.reply(http.StatusOK, map[string]any{"snapshot": c.renderSnapshot(n, false)})
}

func (c *call) deleteSnapshot() error {
	n, err := c.snapshot(c.view, c.param("id"))
	if err != nil {
		return err
	}
	return c.then(&cluster.DeleteVolumeSnapshot{ID: n.ID}, http.StatusAccepted)
}

// actOnSnapshot is what administrators do to snapshots.
func (c *call) actOnSnapshot() error {
	n, err := c.snapshot(c.view, c.param("id"))
	if err != nil {
		return err
	}
	name, raw, err := c.oneAction()
	if err != nil {
		return err
	}
	switch name {
	case "os-reset_status", "os-update_snapshot_status":
		if err := c.admin("volume_extension:snapshot_admin_actions:reset_status"); err != nil {
			return err
		}
		return c.resetSnapshot(n, raw)
	case "os-force_delete":
		if err := c.admin("volume_extension:snapshot_admin_actions:force_delete"); err != nil {
			return err
		}
		return c.then(&cluster.DeleteVolumeSnapshot{ID: n.ID, Force: true}, http.StatusAccepted)
	case "os-unmanage":
		return unsupported("unmanaging a snapshot")
	}
	return bad("There is no such action: %s", clip(name))
}

func (c *call) resetSnapshot(n *cluster.VolumeSnapshot, raw json.RawMessage) error {
	body, err := read[struct {
		Status cluster.SnapshotStatus `json:"status"`
	}](raw, schema.Loose(map[string]*schema.Schema{"status": schema.OneOf("creating", "available", "deleting", "error", "error_deleting")}, "status"))
	if err != nil {
		return err
	}
	return c.then(&cluster.UpdateVolumeSnapshot{ID: n.ID, Status: body.Status}, http.StatusAccepted)
}
