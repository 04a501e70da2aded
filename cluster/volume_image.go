package cluster

import (
	"crypto/md5" // Glance's checksum: nobody trusts it
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
)

// VolumeImageMetadata is what a volume remembers of the image that it is made from, as Cinder's volume_image_metadata shows it.
func VolumeImageMetadata(i *Image) map[string]string {
	m := map[string]string{
		"image_id": string(i.ID), "image_name": i.Name, "disk_format": i.Format.Disk, "container_format": i.Format.Container,
		"min_disk": strconv.FormatInt(i.Format.MinDiskGiB, 10), "min_ram": strconv.FormatInt(i.Format.MinRAMMiB, 10),
		"signature_verified": "False",
	}
	if d := i.Content(); d != nil {
		m["checksum"], m["size"] = d.MD5, strconv.FormatInt(d.Size, 10)
	}
	for k, v := range i.Properties {
		if _, own := m[k]; !own && len(m) < maxProperties && len(k) <= maxText {
			m[k] = v
		}
	}
	return m
}

// noContent is what an image has whose bytes are none: the digests of nothing.
var noContent = func() *ImageData {
	short, long := md5.Sum(nil), sha512.Sum512(nil)
	return &ImageData{MD5: hex.EncodeToString(short[:]), SHA512: hex.EncodeToString(long[:])}
}()

// Content is what clients are told of an image's bytes: Data, and of an active image without, which only names volumes or snapshots,
// that there are none of them, as of one that nothing was uploaded to. nil: nobody knows yet. Nobody may change it.
func (i *Image) Content() *ImageData {
	if i.Data == nil && (i.Status == ImageActive || i.Status == ImageDeactivated) {
		return noContent
	}
	return i.Data
}

// The properties by which an image names volumes and snapshots instead of having data, as Nova's clients know them.
const (
	propMapping    = "block_device_mapping"
	propMappingV2  = "bdm_v2"
	propRootDevice = "root_device_name"
)

// MappedDevice is a disk that a server made from an image gets, as the image's block_device_mapping says.
type MappedDevice struct {
	Source      string     `json:"source_type"`      // snapshot, volume, image or blank
	Destination string     `json:"destination_type"` // volume
	Snapshot    SnapshotID `json:"snapshot_id,omitempty"`
	Volume      VolumeID   `json:"volume_id,omitempty"`
	Image       ImageID    `json:"image_id,omitempty"`
	SizeGiB     int64      `json:"volume_size,omitempty"`
	Type        string     `json:"volume_type,omitempty"`
	Boot        *int       `json:"boot_index"` // 0: it is booted from; nil: it is not
	Device      string     `json:"device_name,omitempty"`
	Tag         string     `json:"tag,omitempty"`
	Delete      bool       `json:"delete_on_termination"`
}

// Mapping is what an image says of the disks of a server that is made from it, beside or instead of its data. It is false when
// it says nothing, or nothing that a server could boot from.
func (i *Image) Mapping() ([]MappedDevice, bool) {
	text := i.Properties[propMapping]
	if text == "" {
		return nil, false
	}
	var all []MappedDevice
	if json.Unmarshal([]byte(text), &all) != nil || len(all) == 0 || len(all) > maxVolumesPerInstance {
		return nil, false
	}
	boots := func(d MappedDevice) bool { return d.Boot != nil && *d.Boot == 0 }
	return all, slices.ContainsFunc(all, boots)
}

// setMapping has an image name disks.
func setMapping(i *Image, devices []MappedDevice) {
	text, err := json.Marshal(devices)
	if err != nil {
		panic("cluster: a mapping of devices cannot be encoded: " + err.Error()) // it is strings and numbers
	}
	i.Properties[propMapping], i.Properties[propMappingV2] = string(text), "True"
	for _, d := range devices {
		if d.Boot != nil {
			i.Properties[propRootDevice] = d.Device
		}
	}
}
