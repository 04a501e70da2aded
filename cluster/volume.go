package cluster

import (
	"maps"
	"slices"
)

// VolumeID, SnapshotID and AttachmentID are UUIDs in lower-case canonical form.
type (
	VolumeID     string
	SnapshotID   string
	AttachmentID string
)

// Volume is a disk of the volume service. Its bytes are one file: on the node that File names, or, when its type is
// shared, in the directory that nodes share, where File.Node is the one that tends it. A volume without a source, or
// made from an image, gets its file when something needs it: until then any instance may have it, wherever that is.
type Volume struct {
	ID            VolumeID          `json:"id"`
	Revision      uint64            `json:"revision"`
	Generation    uint64            `json:"generation"` // raised by all that is asked of its node
	Project       ProjectID         `json:"project"`
	User          UserID            `json:"user"`
	Name          string            `json:"name,omitempty"`
	Description   string            `json:"description,omitempty"`
	SizeGiB       int64             `json:"size_gib"` // that it shall have
	Type          string            `json:"type"`     // name of a VolumeType that is built in, or ID of another
	Status        VolumeStatus      `json:"status"`
	File          VolumeFile        `json:"file"`
	Traits        VolumeTraits      `json:"traits"`
	Source        *VolumeSource     `json:"source,omitempty"` // nil: it begins empty
	Metadata      map[string]string `json:"metadata,omitempty"`
	ImageMetadata map[string]string `json:"image_metadata,omitempty"` // properties of the image that it was made from
	Attachments   []Attachment      `json:"attachments,omitempty"`    // oldest first
	Secret        []byte            `json:"secret,omitempty"`         // passphrase of an encrypted one; never shown, never logged
	Upload        *VolumeUpload     `json:"upload,omitempty"`         // under way
	Fault         string            `json:"fault,omitempty"`          // why it is in error
	Times         VolumeTimes       `json:"times"`
}

// VolumeFile is where a volume's bytes are.
type VolumeFile struct {
	Node     NodeID `json:"node,omitempty"`     // "": no node has it
	SizeGiB  int64  `json:"size_gib,omitempty"` // 0: it is not made yet
	Progress int    `json:"progress,omitempty"` // per cent of what is under way
	Remove   bool   `json:"remove,omitempty"`   // committed: the node removes it, and then the record goes
}

// VolumeTraits is what a volume is, beside its size and type.
type VolumeTraits struct {
	Zone        string `json:"zone,omitempty"` // as it was asked for
	Bootable    bool   `json:"bootable,omitempty"`
	ReadOnly    bool   `json:"read_only,omitempty"`
	ModeSaid    bool   `json:"mode_said,omitempty"`   // somebody said whether it is read-only
	Multiattach bool   `json:"multiattach,omitempty"` // several instances may have it at once
	Encrypted   bool   `json:"encrypted,omitempty"`
	Shared      bool   `json:"shared,omitempty"` // in the directory that nodes share
}

// VolumeSource is what a volume begins as. Root, when set, is the image's blob whose bytes it gets, also when the
// volume or snapshot that it copies had no file of its own yet.
type VolumeSource struct {
	Image    ImageID    `json:"image,omitempty"`
	Root     Hash       `json:"root"`
	Format   string     `json:"format,omitempty"` // of the blob, as Glance calls it
	Snapshot SnapshotID `json:"snapshot,omitempty"`
	Volume   VolumeID   `json:"volume,omitempty"`
	Empty    bool       `json:"empty,omitempty"` // what it copies was empty
}

// Copies tells whether the bytes come from the file of a snapshot or of another volume, which are on the same node.
func (s *VolumeSource) Copies() bool {
	return s != nil && s.Root.IsZero() && !s.Empty && (s.Snapshot != "" || s.Volume != "")
}

// VolumeUpload is that a volume becomes an image.
type VolumeUpload struct {
	Image  ImageID `json:"image"`
	Format string  `json:"format"` // raw or qcow2
}

// VolumeTimes are the moments of a volume's life.
type VolumeTimes struct {
	Created Time `json:"created"`
	Updated Time `json:"updated,omitempty"`
}

// VolumeStatus is Cinder's volume status.
type VolumeStatus string

// The volume statuses in use.
const (
	VolumeCreating       VolumeStatus = "creating"
	VolumeAvailable      VolumeStatus = "available"
	VolumeReserved       VolumeStatus = "reserved"
	VolumeAttaching      VolumeStatus = "attaching"
	VolumeInUse          VolumeStatus = "in-use"
	VolumeDetaching      VolumeStatus = "detaching"
	VolumeExtending      VolumeStatus = "extending"
	VolumeUploading      VolumeStatus = "uploading"
	VolumeMaintenance    VolumeStatus = "maintenance"
	VolumeDeleting       VolumeStatus = "deleting"
	VolumeError          VolumeStatus = "error"
	VolumeErrorDeleting  VolumeStatus = "error_deleting"
	VolumeErrorExtending VolumeStatus = "error_extending"
)

// Attachment is that an instance has a volume.
type Attachment struct {
	ID                  AttachmentID    `json:"id"`
	Instance            InstanceID      `json:"instance"`
	Number              int64           `json:"number"`           // counts all attachments ever made
	Device              string          `json:"device,omitempty"` // in the guest, e.g. /dev/vdb
	Tag                 string          `json:"tag,omitempty"`
	Boot                bool            `json:"boot,omitempty"` // the instance boots from it
	DeleteOnTermination bool            `json:"delete_on_termination,omitempty"`
	State               AttachmentState `json:"state"`
	At                  Time            `json:"at"`
}

// AttachmentState is how far an attachment has come.
type AttachmentState string

// The states of an attachment.
const (
	Attaching AttachmentState = "attaching" // the guest gets it
	Attached  AttachmentState = "attached"  // the guest has it
	Detaching AttachmentState = "detaching" // the guest shall let go of it
)

// Shared tells whether the volume's file is in the directory that nodes share.
func (v *Volume) Shared() bool { return v.Traits.Shared || sharedType(v.Type) }

// AttachmentTo finds the attachment to an instance.
func (v *Volume) AttachmentTo(id InstanceID) (*Attachment, bool) {
	i := slices.IndexFunc(v.Attachments, func(a Attachment) bool { return a.Instance == id })
	if i < 0 {
		return nil, false
	}
	return &v.Attachments[i], true
}

// Clone returns a copy that may be changed. Source, Upload and Secret are shared: replace them, never write into them.
func (v *Volume) Clone() *Volume {
	c := *v
	c.Metadata, c.ImageMetadata = maps.Clone(v.Metadata), maps.Clone(v.ImageMetadata)
	c.Attachments = slices.Clone(v.Attachments)
	return &c
}

// flow is the status that follows from what a volume has and does, when no operator and no fault says otherwise.
func (v *Volume) flow() VolumeStatus {
	state := func(s AttachmentState) bool {
		return slices.ContainsFunc(v.Attachments, func(a Attachment) bool { return a.State == s })
	}
	switch {
	case v.Upload != nil:
		return VolumeUploading
	case v.File.SizeGiB > 0 && v.File.SizeGiB < v.SizeGiB:
		return VolumeExtending
	case state(Detaching):
		return VolumeDetaching
	case state(Attaching):
		return VolumeAttaching
	case len(v.Attachments) > 0:
		return VolumeInUse
	case v.File.Node != "" && v.File.SizeGiB == 0:
		return VolumeCreating
	}
	return VolumeAvailable
}

// VolumeSnapshot is a copy of a volume as it was at one moment. Its bytes are a file beside the volume's. A snapshot of a
// volume without a file needs none either: it is what the volume began as.
type VolumeSnapshot struct {
	ID          SnapshotID        `json:"id"`
	Revision    uint64            `json:"revision"`
	Generation  uint64            `json:"generation"`
	Project     ProjectID         `json:"project"`
	User        UserID            `json:"user"`
	Volume      VolumeID          `json:"volume"`
	Name        string            `json:"name,omitempty"`
	Description string            `json:"description,omitempty"`
	SizeGiB     int64             `json:"size_gib"`
	Type        string            `json:"type"` // the volume's
	Status      SnapshotStatus    `json:"status"`
	File        SnapshotFile      `json:"file"`
	Source      *VolumeSource     `json:"source,omitempty"` // of a volume that had no file
	Bootable    bool              `json:"bootable,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	ImageMeta   map[string]string `json:"image_meta,omitempty"`
	Secret      []byte            `json:"secret,omitempty"` // as the volume's
	Fault       string            `json:"fault,omitempty"`
	For         *SnapshotPurpose  `json:"for,omitempty"` // nil: its own
	Times       VolumeTimes       `json:"times"`
}

// SnapshotPurpose is that a snapshot was made, with those of an instance's other volumes, for an image that names them.
type SnapshotPurpose struct {
	Image    ImageID    `json:"image"`
	Instance InstanceID `json:"instance"`
	Backup   string     `json:"backup,omitempty"`   // backup_type
	Rotates  bool       `json:"rotates,omitempty"`  // it is a backup: of its type so many are kept as Rotation says
	Rotation int        `json:"rotation,omitempty"` // backups to keep
}

// SnapshotFile is where a snapshot's bytes are.
type SnapshotFile struct {
	Node   NodeID `json:"node,omitempty"`   // that has or tends the file; "": there is none
	Format string `json:"format,omitempty"` // of the file: raw or qcow2; "": it is not made yet
	Remove bool   `json:"remove,omitempty"` // as VolumeFile.Remove
	Shared bool   `json:"shared,omitempty"` // in the directory that nodes share
}

// Shared tells whether the snapshot's file is in the directory that nodes share.
func (n *VolumeSnapshot) Shared() bool { return n.File.Shared || sharedType(n.Type) }

// Clone returns a copy that may be changed, as Volume.Clone does.
func (n *VolumeSnapshot) Clone() *VolumeSnapshot {
	c := *n
	c.Metadata, c.ImageMeta = maps.Clone(n.Metadata), maps.Clone(n.ImageMeta)
	return &c
}

// SnapshotStatus is Cinder's snapshot status.
type SnapshotStatus string

// The snapshot statuses in use.
const (
	SnapshotCreating      SnapshotStatus = "creating"
	SnapshotAvailable     SnapshotStatus = "available"
	SnapshotDeleting      SnapshotStatus = "deleting"
	SnapshotError         SnapshotStatus = "error"
	SnapshotErrorDeleting SnapshotStatus = "error_deleting"
)
