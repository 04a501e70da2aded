package cluster

import (
	"maps"
	"slices"
)

// Image is a record of the image service; its bytes are content-addressed chunks on the nodes that Data names.
type Image struct {
	ID         ImageID           `json:"id"`
	Revision   uint64            `json:"revision"`
	Owner      ProjectID         `json:"owner"`
	Name       string            `json:"name"`
	Status     ImageStatus       `json:"status"`
	Visibility Visibility        `json:"visibility"`
	Format     ImageFormat       `json:"format"`
	Protected  bool              `json:"protected,omitempty"`
	Hidden     bool              `json:"hidden,omitempty"`
	Tags       []string          `json:"tags,omitempty"`
	Properties map[string]string `json:"properties,omitempty"` // kernel_id, hw_*, owner_specified.*, ...
	Members    map[string]string `json:"members,omitempty"`    // project ID -> pending | accepted | rejected
	Data       *ImageData        `json:"data,omitempty"`
	Created    Time              `json:"created"`
	Updated    Time              `json:"updated"`
}

// ImageFormat says what an image claims to be and needs.
type ImageFormat struct {
	Disk       string `json:"disk,omitempty"`      // raw, qcow2, ami, aki, ari, ...; "": not said yet
	Container  string `json:"container,omitempty"` // bare, ami, aki, ari, ...
	MinDiskGiB int64  `json:"min_disk_gib,omitempty"`
	MinRAMMiB  int64  `json:"min_ram_mib,omitempty"`
}

// ImageData is where an image's bytes are and what they hash to.
type ImageData struct {
	Root        Hash     `json:"root"`         // SHA-256 of the manifest, see virt/image
	Size        int64    `json:"size"`         // bytes
	VirtualSize int64    `json:"virtual_size"` // bytes; 0: not known
	MD5         string   `json:"md5"`          // Glance's "checksum"
	SHA512      string   `json:"sha512"`       // Glance's "os_hash_value"
	Nodes       []NodeID `json:"nodes"`        // nodes that hold every chunk; sorted
}

// ImageStatus is Glance's image status.
type ImageStatus string

// The image statuses in use.
const (
	ImageQueued      ImageStatus = "queued"
	ImageSaving      ImageStatus = "saving"
	ImageActive      ImageStatus = "active"
	ImageDeactivated ImageStatus = "deactivated"
	ImageKilled      ImageStatus = "killed"
)

// Visibility is Glance's image visibility.
type Visibility string

// The visibilities.
const (
	Public    Visibility = "public"
	Private   Visibility = "private"
	Shared    Visibility = "shared"
	Community Visibility = "community"
)

// Clone returns a copy that may be changed.
func (i *Image) Clone() *Image {
	c := *i
	c.Tags = slices.Clone(i.Tags)
	c.Properties = maps.Clone(i.Properties)
	c.Members = maps.Clone(i.Members)
	if i.Data != nil {
		d := *i.Data
		d.Nodes = slices.Clone(d.Nodes)
		c.Data = &d
	}
	return &c
}
