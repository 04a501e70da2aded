package compute

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// blockDevice is one entry of block_device_mapping_v2.
type blockDevice struct {
	UUID        string   `json:"uuid"`
	Source      string   `json:"source_type"`
	Destination string   `json:"destination_type"`
	Boot        *flexInt `json:"boot_index"`
	Size        flexInt  `json:"volume_size"`
	Delete      flexBool `json:"delete_on_termination"`
	Device      string   `json:"device_name"`
	Tag         string   `json:"tag"`
	Type        string   `json:"volume_type"`
	Guest       string   `json:"guest_format"`
	None        flexBool `json:"no_device"`
}

// oldDevice is one entry of block_device_mapping, the first version of the same.
type oldDevice struct {
	Volume   string   `json:"volume_id"`
	Snapshot string   `json:"snapshot_id"`
	Size     flexInt  `json:"volume_size"`
	Delete   flexBool `json:"delete_on_termination"`
	Device   string   `json:"device_name"`
	None     flexBool `json:"no_device"`
}

func blockDevicesSchema() *schema.Schema {
	return schema.ArrayOf(schema.Loose(map[string]*schema.Schema{
		"uuid": schema.Text(0, 255).OrNull(), "boot_index": schema.Int(-1, 255).OrNull(), "delete_on_termination": schema.Boolean(),
		"source_type": schema.OneOf("volume", "image", "snapshot", "blank"), "destination_type": schema.OneOf("local", "volume", nil),
		"volume_size": schema.Int(0, 1<<31-1).OrNull(), "device_name": schema.Text(0, 255).OrNull(), "guest_format": schema.Text(0, 255).OrNull(),
		"tag": schemaTag, "volume_type": schema.Text(0, 255).OrNull(), "no_device": schema.Boolean(),
	}), 255)
}

func wrongDevice(format string, args ...any) error {
	return bad("Block Device Mapping is Invalid: "+format, args...)
}

var errBootOrder = wrongDevice("Boot sequence for the instance and image/block device mapping combination is not valid.")

// readDevices decides which volumes the servers get, and whether they boot from one.
func (o *order) readDevices() error {
	devices, err := o.allDevices()
	if err == nil {
		devices, err = o.mappedDevices(devices)
	}
	if err != nil {
		return err
	}
	for i := range devices {
		d := &devices[i]
		boots := d.Boot != nil && *d.Boot == 0
		switch {
		case bool(d.None):
		case d.Source == "image" && d.Destination == "local":
			if !boots || o.root != nil || o.local || o.want.Image != "" && o.want.Image != d.UUID {
				return errBootOrder
			}
			o.want.Image, o.local = d.UUID, true
		case d.Source == "blank" && d.Destination == "local":
			o.blanks = append(o.blanks, d)
		default:
			if boots && (o.root != nil || o.local || o.want.Image != "") {
				return errBootOrder
			}
			if boots {
				o.root = d
			}
			if err := o.checkDevice(d); err != nil {
				return err
			}
			o.devices = append(o.devices, d)
		}
	}
	slices.SortStableFunc(o.devices, func(a, b *blockDevice) int { // the one that it boots from is the first disk
		return cmp.Compare(bootRank(a == o.root), bootRank(b == o.root))
	})
	return nil
}

func bootRank(boots bool) int {
	if boots {
		return 0
	}
	return 1
}

// allDevices are those of either version of the mapping. A volume under the name of the first disk is what old clients boot from.
func (o *order) allDevices() ([]blockDevice, error) {
	all := slices.Clone(o.want.Devices)
	if len(all) > 0 && len(o.want.OldDevices) > 0 {
		return nil, bad("Using different block_device_mapping syntaxes is not allowed in the same request.")
	}
	for i, raw := range o.want.OldDevices {
		var old oldDevice
		if err := json.Unmarshal(raw, &old); err != nil {
			return nil, wrongDevice("it is malformed.")
		}
		d := blockDevice{UUID: cmp.Or(old.Volume, old.Snapshot), Source: "volume", Destination: "volume", Size: old.Size, Delete: old.Delete,
			Device: old.Device, None: old.None}
		if old.Volume == "" {
			d.Source = "snapshot"
		}
		if first := strings.TrimPrefix(old.Device, "/dev/"); o.want.Image == "" && (first == "vda" || first == "sda" || i == 0) {
			d.Boot = new(flexInt)
		}
		all = append(all, d)
	}
	for i := range all {
		if all[i].Destination == "" { // as Nova has it by default
			all[i].Destination = "volume"
			if all[i].Source == "blank" || all[i].Source == "image" {
				all[i].Destination = "local"
			}
		}
	}
	return all, nil
}

// mappedDevices adds the devices that the image names, when it names volumes and snapshots instead of having data. A device of the
// request takes the place of the image's under the same name.
func (o *order) mappedDevices(devices []blockDevice) ([]blockDevice, error) {
	ref := o.want.Image
	for i := range devices {
		if d := &devices[i]; ref == "" && d.Source == "image" && d.Destination == "local" && d.Boot != nil && *d.Boot == 0 {
			ref = d.UUID
		}
	}
	id, ok := rest.CanonicalUUID(ref)
	image, found := o.view.Image(cluster.ImageID(id))
	if !ok || !found || !o.seesImage(image) || image.Data != nil || image.Status != cluster.ImageActive {
		return devices, nil // what is wrong with it is said later
	}
	mapped, ok := image.Mapping()
	if !ok {
		return devices, nil
	}
	all := slices.DeleteFunc(devices, func(d blockDevice) bool { return d.Source == "image" && d.Destination == "local" && d.UUID == ref })
	o.want.Image = ""
	for _, m := range mapped {
		taken := func(d blockDevice) bool { return d.Device != "" && d.Device == m.Device }
		if slices.ContainsFunc(devices, taken) {
			continue
		}
		d := blockDevice{UUID: cmp.Or(string(m.Snapshot), string(m.Volume), string(m.Image)), Source: m.Source, Destination: m.Destination,
			Size: flexInt(m.SizeGiB), Delete: flexBool(m.Delete), Device: m.Device, Tag: m.Tag, Type: m.Type}
		if m.Boot != nil {
			boot := flexInt(*m.Boot)
			d.Boot = &boot
		}
		all = append(all, d)
	}
	return all, nil
}

// checkDevice refuses a volume that cannot be.
func (o *order) checkDevice(d *blockDevice) error {
	if d.Destination != "volume" {
		return wrongDevice("Mapping %s to local is not supported.", d.Source)
	}
	if d.Type != "" {
		if t, ok := o.view.VolumeType(d.Type); !ok || !o.caller.Admin() && !t.OpenTo(o.caller.ProjectID()) {
			return bad("The volume type %s could not be found.", d.Type)
		}
	}
	switch d.Source {
	case "image":
		if d.Size == 0 {
			return wrongDevice("Images with destination_type 'volume' need to have a non-zero size specified")
		}
		_, _, err := o.bootImage(d.UUID)
		return err
	case "blank":
		if d.Size == 0 {
			return wrongDevice("Blank volumes (source: 'blank', dest: 'volume') need to have non-zero size")
		}
	case "volume":
		v, ok := o.view.Volume(cluster.VolumeID(d.UUID))
		switch {
		case !ok || !o.caller.Sees(v.Project):
			return wrongDevice("failed to get volume %s.", d.UUID)
		case d == o.root && !v.Traits.Bootable:
			return bad("Block Device %s is not bootable.", d.UUID)
		}
	case "snapshot":
		n, ok := o.view.Snapshot(cluster.SnapshotID(d.UUID))
		if !ok || !o.caller.Sees(n.Project) {
			return wrongDevice("failed to get snapshot %s.", d.UUID)
		}
		d.Size = max(d.Size, flexInt(n.SizeGiB))
		d.Type = cmp.Or(d.Type, n.Type)
	}
	return nil
}

// bootFromVolume takes over what is known of the volume that servers boot from.
func (o *order) bootFromVolume() error {
	b := cluster.BootSource{ConfigDrv: o.spec.Boot.ConfigDrv, Volume: true}
	switch o.root.Source {
	case "image":
		image, boot, err := o.bootImage(o.root.UUID)
		if err != nil {
			return err
		}
		if f, ok := o.view.Flavor(cluster.FlavorID(lastPart(string(o.want.Flavor)))); ok && f.MemoryMiB < image.Format.MinRAMMiB {
			return bad("Flavor's memory is too small for requested image.")
		}
		b.Kernel, b.Ramdisk, b.Properties = boot.Kernel, boot.Ramdisk, boot.Properties
	case "volume":
		if v, ok := o.view.Volume(cluster.VolumeID(o.root.UUID)); ok {
			b.Properties = hardware(v.ImageMetadata)
		}
	case "snapshot":
		if n, ok := o.view.Snapshot(cluster.SnapshotID(o.root.UUID)); ok {
			b.Properties = hardware(n.ImageMeta)
		}
	}
	o.spec.Image, o.spec.Boot = "", b
	return nil
}

// hardware are the image properties among what a volume remembers of its image that shape a guest.
func hardware(meta map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range meta {
		if strings.HasPrefix(k, "hw_") || strings.HasPrefix(k, "os_") || strings.HasPrefix(k, "img_") || k == "architecture" || k == "vm_mode" {
			out[k] = v
		}
	}
	return out
}

// volumes makes what a command says of a server's volumes.
func (o *order) volumes(server string) []cluster.NewVolume {
	var all []cluster.NewVolume
	for _, d := range o.devices {
		nv := cluster.NewVolume{Attachment: cluster.Attachment{ID: cluster.AttachmentID(rest.NewUUID()), Boot: d == o.root, Tag: d.Tag,
			Device: strings.TrimSpace(d.Device), DeleteOnTermination: bool(d.Delete)}}
		if d.Source == "volume" {
			nv.Existing = cluster.VolumeID(d.UUID)
		} else {
			nv.New = o.newVolume(d, server)
		}
		all = append(all, nv)
	}
	return all
}

// newVolume is a volume that is made with a server. Nova gives such ones no name.
func (o *order) newVolume(d *blockDevice, server string) *cluster.Volume {
	v := &cluster.Volume{ID: cluster.VolumeID(rest.NewUUID()), Project: o.caller.ProjectID(), User: o.caller.User.ID, SizeGiB: int64(d.Size),
		Type: cmp.Or(d.Type, cluster.DefaultVolumeType)}
	if d.Source == "blank" {
		v.Name = server + "-blank-vol"
	}
	switch d.Source {
	case "image":
		v.Source = &cluster.VolumeSource{Image: cluster.ImageID(d.UUID)}
		if i, ok := o.view.Image(cluster.ImageID(d.UUID)); ok {
			v.ImageMetadata = cluster.VolumeImageMetadata(i)
		}
	case "snapshot":
		v.Source = &cluster.VolumeSource{Snapshot: cluster.SnapshotID(d.UUID)}
		if n, ok := o.view.Snapshot(cluster.SnapshotID(d.UUID)); ok {
			v.Secret = n.Secret
		}
	}
	if t, ok := o.view.VolumeType(v.Type); ok && t.Encrypted() && v.Secret == nil {
		v.Secret = []byte(randomText(passphraseLength, passwordChars))
	}
	return v
}

// passphraseLength gives an encrypted volume's passphrase more than 256 random bits.
const passphraseLength = 48

// refuseSharedVolumes refuses existing volumes that several servers cannot have each.
func (o *order) refuseSharedVolumes() error {
	for _, d := range o.devices {
		if v, ok := o.view.Volume(cluster.VolumeID(d.UUID)); ok && d.Source == "volume" && !v.Traits.Multiattach {
			return bad("Cannot attach one or more volumes to multiple instances")
		}
	}
	return nil
}
