package compute

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

// imageActions save a server's disk to the image service.
var imageActions = map[string]serverAction{
	"createImage":  {rule: "servers:create_image", who: member, body: createImageSchema, do: createImage},
	"createBackup": {rule: "os-create-backup", who: member, body: createBackupSchema, do: createBackup},
}

var (
	createImageSchema  = schema.Record(map[string]*schema.Schema{"name": schemaName, "metadata": schemaMetadata}, "name")
	createBackupSchema = schema.Record(map[string]*schema.Schema{
		"name": schemaName, "backup_type": schema.Text(0, 255), "rotation": schema.Int(0, maxRotation), "metadata": schemaMetadata,
	}, "name", "backup_type", "rotation")

	// canCapture are the states in which a server's disk can be saved.
	canCapture = []cluster.VMState{cluster.VMActive, cluster.VMStopped, cluster.VMPaused, cluster.VMSuspended}
)

const (
	// imageIDs is the microversion that names the new image in the body instead of a header.
	imageIDs version = 45

	maxRotation  = 1 << 30
	maxImageName = 255 // characters
)

func createImage(c *call, in *cluster.Instance, raw json.RawMessage) error {
	var body struct {
		Name     string            `json:"name"`
		Metadata map[string]string `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return bad("Malformed request body")
	}
	if err := c.checkCapture(in, "createImage", body.Metadata); err != nil {
		return err
	}
	res, err := c.capture(in, &cluster.BeginCapture{What: cluster.OpSnapshot, Image: c.capturedImage(in, body.Name, "snapshot", body.Metadata)})
	if err != nil {
		return err
	}
	return c.sendImage(res, rest.BaseURL(c.r)+"/image/v2/images/")
}

func createBackup(c *call, in *cluster.Instance, raw json.RawMessage) error {
	var body struct {
		Name     string            `json:"name"`
		Type     string            `json:"backup_type"`
		Rotation flexInt           `json:"rotation"`
		Metadata map[string]string `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return bad("Malformed request body")
	}
	if err := c.checkCapture(in, "createBackup", body.Metadata); err != nil {
		return err
	}
	image := c.capturedImage(in, body.Name, "backup", body.Metadata)
	image.Properties["backup_type"] = body.Type
	res, err := c.capture(in, &cluster.BeginCapture{What: cluster.OpBackup, Image: image, Backup: body.Type, Rotation: int(body.Rotation)})
	switch {
	case err != nil:
		return err
	case body.Rotation == 0: // no backup is kept, this one included
		return c.done(http.StatusAccepted)
	}
	return c.sendImage(res, c.links.self+"/images/")
}

func (c *call) checkCapture(in *cluster.Instance, action string, metadata map[string]string) error {
	limit := c.metadataLimit()
	if limit >= 0 && int64(len(metadata)) > limit {
		return cluster.Errorf(cluster.Forbidden, "Image metadata limit exceeded")
	}
	return c.fitFor(in, action, canCapture) // a lock is against changes of the server, and this is none
}

// capture saves a server: its disk, or, when it boots from a volume, a snapshot of each of its volumes.
func (c *call) capture(in *cluster.Instance, o *cluster.BeginCapture) (cluster.Result, error) {
	if !in.Spec.Boot.Volume {
		o.ID, o.By, o.Operation = in.ID, c.by(), newOperation()
		return c.change(o)
	}
	op := &cluster.CaptureVolumes{ID: in.ID, By: c.by(), What: o.What, Image: o.Image, Backup: o.Backup, Rotation: o.Rotation}
	for v := range c.view.VolumesOf(in.ID) {
		op.Snapshots = append(op.Snapshots, cluster.NamedSnapshot{Volume: v.ID, ID: cluster.SnapshotID(rest.NewUUID())})
	}
	return c.change(op)
}

// sendImage tells which image is being made: where it is, or from imageIDs on its ID.
func (c *call) sendImage(res cluster.Result, prefix string) error {
	if len(res.IDs) < 2 {
		return cluster.Errorf(cluster.Internal, "saving a disk made no image")
	}
	id := res.IDs[1]
	if c.v < imageIDs {
		c.w.Header().Set("Location", prefix+id)
		return c.done(http.StatusAccepted)
	}
	var j writer
	j.open('{').field("image_id", id).close('}')
	return c.send(http.StatusAccepted, &j)
}

// notInherited are the image properties that say something about the image's own bytes, or about an earlier server.
var notInherited = []string{"cache_in_nova", "bittorrent", "backup_type", "img_signature", "img_signature_hash_method",
	"img_signature_key_type", "img_signature_certificate_uuid", "block_device_mapping", "bdm_v2", "root_device_name"}

// capturedImage is the image that a server's disk is saved to, with the properties that Nova gives one: those of the image
// that the server was made from, where it comes from, and what the client adds.
func (c *call) capturedImage(in *cluster.Instance, name, kind string, more map[string]string) cluster.Image {
	p := map[string]string{}
	for k, v := range in.Spec.Boot.Properties {
		if !slices.Contains(notInherited, k) && !strings.HasPrefix(k, "owner_specified.") {
			p[k] = v
		}
	}
	maps.Copy(p, map[string]string{"base_image_ref": string(in.Spec.Image), "instance_uuid": string(in.ID), "image_type": kind,
		"user_id": string(c.caller.User.ID), "owner_id": string(in.Project), "image_location": "snapshot", "image_state": "available"})
	maps.Copy(p, more)
	format := cluster.ImageFormat{Disk: "qcow2", Container: "bare", MinDiskGiB: in.Spec.Flavor.DiskGiB}
	if format.MinDiskGiB == 0 {
		format.MinDiskGiB = in.Spec.Boot.MinDiskGiB
	}
	if base, ok := c.view.Image(in.Spec.Image); ok {
		format.MinRAMMiB = base.Format.MinRAMMiB
	}
	if long := []rune(name); len(long) > maxImageName {
		name = string(long[:maxImageName])
	}
	return cluster.Image{ID: cluster.ImageID(rest.NewUUID()), Owner: in.Project, Name: name, Status: cluster.ImageSaving,
		Visibility: cluster.Private, Format: format, Properties: p}
}
