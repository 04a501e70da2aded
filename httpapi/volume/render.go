package volume

import (
	"cmp"
	"strconv"

	"github.com/kilonova/kilonova/cluster"
)

// zoneOf is the zone that a volume is shown in: that of its node, or the one that was asked for.
func zoneOf(view *cluster.View, v *cluster.Volume) string {
	if n, ok := view.Node(v.File.Node); ok && !v.Shared() {
		return view.ZoneOf(n)
	}
	return cmp.Or(v.Traits.Zone, defaultZone)
}

const defaultZone = "nova"

// render shows a volume. A detailed one has what administrators, and those who list, look for.
func (c *call) render(v *cluster.Volume, detailed bool) map[string]any {
	path := "/volumes/" + string(v.ID)
	out := map[string]any{
		"id": v.ID, "status": v.Status, "size": v.SizeGiB, "availability_zone": zoneOf(c.view, v),
		"created_at": stamp(v.Times.Created), "updated_at": stamp(v.Times.Updated),
		"name": orNull(v.Name), "description": orNull(v.Description), "volume_type": c.view.VolumeTypeName(v.Type),
		"snapshot_id": nil, "source_volid": nil, "metadata": orObject(v.Metadata), "links": c.links(path), "user_id": v.User,
		"bootable": strconv.FormatBool(v.Traits.Bootable), "encrypted": v.Traits.Encrypted, "replication_status": nil,
		"consistencygroup_id": nil, "multiattach": v.Traits.Multiattach, "attachments": c.attachments(v), "migration_status": nil,
	}
	if s := v.Source; s != nil && s.Snapshot != "" {
		out["snapshot_id"] = s.Snapshot
	} else if s != nil && s.Volume != "" {
		out["source_volid"] = s.Volume
	}
	if v.Traits.ModeSaid {
		meta := map[string]string{"readonly": "False"}
		if v.Traits.ReadOnly {
			meta["readonly"] = "True"
		}
		for k, x := range v.Metadata {
			meta[k] = x
		}
		out["metadata"] = meta
	}
	if len(v.ImageMetadata) > 0 && detailed {
		out["volume_image_metadata"] = v.ImageMetadata
	}
	if detailed {
		out["os-vol-tenant-attr:tenant_id"] = v.Project
	}
	if detailed && c.caller.Admin() {
		out["os-vol-mig-status-attr:migstat"], out["os-vol-mig-status-attr:name_id"] = nil, nil
		out["os-vol-host-attr:host"] = orNull(c.hostOf(v))
	}
	c.versioned(v, out)
	return out
}

// versioned adds what later microversions show.
func (c *call) versioned(v *cluster.Volume, out map[string]any) {
	add := func(since version, key string, value any) {
		if c.v >= since {
			out[key] = value
		}
	}
	typeID := v.Type
	if t, ok := c.view.VolumeType(v.Type); ok {
		typeID = t.ID
	}
	add(13, "group_id", nil)
	add(21, "provider_id", nil)
	add(48, "shared_targets", false)
	add(48, "service_uuid", nil)
	add(61, "cluster_name", nil)
	add(63, "volume_type_id", typeID)
	if v.Traits.Encrypted {
		add(64, "encryption_key_id", v.ID)
	}
	add(65, "consumes_quota", true)
}

// hostOf names a volume's place as Cinder does: host@backend#pool; "" when no node has it yet.
func (c *call) hostOf(v *cluster.Volume) string {
	n, ok := c.view.Node(v.File.Node)
	switch {
	case !ok:
		return ""
	case v.Shared():
		return n.Name + "@shared#shared"
	}
	return n.Name + "@local#local"
}

// attachments shows who has a volume. What is only about to have it is not shown, as in Cinder.
func (c *call) attachments(v *cluster.Volume) []any {
	all := []any{}
	for i := range v.Attachments {
		a := &v.Attachments[i]
		if a.State == cluster.Attaching {
			continue
		}
		host := ""
		if in, ok := c.view.Instance(a.Instance); ok && c.caller.Admin() {
			if n, ok := c.view.Node(in.Node); ok {
				host = n.Name
			}
		}
		all = append(all, map[string]any{
			"id": v.ID, "attachment_id": a.ID, "volume_id": v.ID, "server_id": a.Instance, "host_name": orNull(host),
			"device": orNull(a.Device), "attached_at": stamp(a.At),
		})
	}
	return all
}

func (c *call) summary(v *cluster.Volume) map[string]any {
	return map[string]any{"id": v.ID, "name": orNull(v.Name), "links": c.links("/volumes/" + string(v.ID))}
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (c *call) hasZone(name string) bool {
	for n := range c.view.Hypervisors() {
		if c.view.ZoneOf(n) == name {
			return true
		}
	}
	return name == defaultZone
}
