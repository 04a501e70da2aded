package volume

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

var uploadSchema = schema.Loose(map[string]*schema.Schema{
	"image_name": schema.Text(1, maxText), "disk_format": schemaText, "container_format": schemaText, "force": schema.Boolean().OrNull(),
	"visibility": schema.OneOf("community", "public", "private", "shared"), "protected": schema.Boolean(),
}, "image_name")

// upload makes an image of a volume.
func (c *call) upload(v *cluster.Volume, raw json.RawMessage) error {
	body, err := read[struct {
		Name       string             `json:"image_name"`
		Format     *string            `json:"disk_format"`
		Container  *string            `json:"container_format"`
		Force      flexBool           `json:"force"`
		Visibility cluster.Visibility `json:"visibility"`
		Protected  flexBool           `json:"protected"`
	}](raw, uploadSchema)
	if err != nil {
		return err
	}
	format, container := cmp.Or(orEmpty(body.Format), "raw"), cmp.Or(orEmpty(body.Container), "bare")
	visibility := cmp.Or(body.Visibility, cluster.Private)
	switch {
	case format != "raw" && format != "qcow2":
		return bad("Invalid input received: Images of volumes are made in the formats raw and qcow2, not %s.", clip(format))
	case container != "bare":
		return bad("Invalid input received: Images of volumes are made in the container format bare, not %s.", clip(container))
	case visibility == cluster.Public && !c.caller.Admin():
		return cluster.Errorf(cluster.Forbidden, "Policy doesn't allow volume_extension:volume_actions:upload_public to be performed.")
	}
	img := cluster.Image{
		ID: cluster.ImageID(rest.NewUUID()), Owner: c.caller.ProjectID(), Name: body.Name, Status: cluster.ImageSaving,
		Visibility: visibility, Protected: bool(body.Protected), Properties: ownProperties(v.ImageMetadata),
		Format: cluster.ImageFormat{Disk: format, Container: container, MinDiskGiB: v.SizeGiB},
	}
	res, err := c.change(&cluster.UploadVolume{ID: v.ID, Image: img, Node: c.uploader(v), Force: bool(body.Force)})
	if err != nil {
		return err
	}
	out := map[string]any{
		"id": v.ID, "updated_at": stamp(v.Times.Updated), "status": cluster.VolumeUploading, "display_description": orNull(v.Description),
		"size": v.SizeGiB, "volume_type": c.typeBody(v.Type), "image_id": res.IDs[1], "container_format": container, "disk_format": format,
		"image_name": body.Name,
	}
	if c.v >= 1 {
		out["visibility"], out["protected"] = visibility, bool(body.Protected)
	}
	return c.reply(http.StatusAccepted, map[string]any{"os-volume_upload_image": out})
}

// uploader is the node that makes an image of a volume that is on none: this one, or, for a shared volume, one that has the directory. A witness
// has no volumes.
func (c *call) uploader(v *cluster.Volume) cluster.NodeID {
	best := c.Node
	if self, ok := c.view.Node(c.Node); !v.Shared() && !(ok && self.Witness) {
		return best
	}
	for n := range c.view.Hypervisors() {
		if n.Host.Ready && (!v.Shared() || slices.Contains(n.Host.Traits, cluster.TraitSharedVolumes)) {
			best = n.ID
			if n.ID == c.Node {
				break
			}
		}
	}
	return best
}

// ownProperties are the properties that an image of a volume has from the image that the volume was made from.
func ownProperties(meta map[string]string) map[string]string {
	all := maps.Clone(meta)
	for _, k := range []string{"image_id", "image_name", "disk_format", "container_format", "min_disk", "min_ram", "checksum", "size", "signature_verified"} {
		delete(all, k)
	}
	maps.DeleteFunc(all, func(k, _ string) bool { return strings.HasPrefix(k, "os_glance_") })
	return all
}
