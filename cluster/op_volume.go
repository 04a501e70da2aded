package cluster

// CreateVolume makes a volume. The proposer fills in ID, Project, User, Name, Description, SizeGiB, Type, Traits.Zone,
// Traits.Multiattach, Metadata, Source with one of Image, Snapshot and Volume, and the Secret of an encrypted one; the
// rest is worked out. OverQuota past the project's limits.
type CreateVolume struct {
	Volume Volume `json:"volume"`
}

// UpdateVolume changes what a user, or with Status an administrator, may change at any time. A nil field stays as it is.
type UpdateVolume struct {
	ID            VolumeID           `json:"id"`
	Revision      uint64             `json:"revision,omitempty"`
	Name          *string            `json:"name,omitempty"`
	Description   *string            `json:"description,omitempty"`
	Metadata      *map[string]string `json:"metadata,omitempty"`
	ImageMetadata *map[string]string `json:"image_metadata,omitempty"`
	Bootable      *bool              `json:"bootable,omitempty"`
	ReadOnly      *bool              `json:"read_only,omitempty"` // only while nothing has it attached
	Status        VolumeStatus       `json:"status,omitempty"`    // "": stays
	Type          string             `json:"type,omitempty"`      // another one of the same kind; "": stays
	From          []VolumeStatus     `json:"from,omitempty"`      // Invalid when the status is none of these; empty: whatever it is
}

// DeleteVolume removes a volume: at once when it has no file, else its node does and says so. Invalid while it is
// attached, in use by something else, or has snapshots; with Cascade they go with it, with Force its status does not matter.
type DeleteVolume struct {
	ID      VolumeID `json:"id"`
	Force   bool     `json:"force,omitempty"`
	Cascade bool     `json:"cascade,omitempty"`
}

// ExtendVolume makes a volume larger. With InUse also one that is attached.
type ExtendVolume struct {
	ID      VolumeID `json:"id"`
	SizeGiB int64    `json:"size_gib"`
	InUse   bool     `json:"in_use,omitempty"`
	By      By       `json:"by,omitzero"` // for the records of the instances that have it
}

// AttachVolume gives an instance a volume. Conflict when the volume is on another node than the instance. Attachment
// brings ID, Instance and the wishes; an empty Device is chosen here.
type AttachVolume struct {
	Volume     VolumeID   `json:"volume"`
	Attachment Attachment `json:"attachment"`
	By         By         `json:"by"`
}

// DetachVolume takes a volume from an instance. The attachment is gone when the instance's node says so, or at once when
// the instance has none. Detaching what is being detached is not an error.
type DetachVolume struct {
	Volume   VolumeID   `json:"volume"`
	Instance InstanceID `json:"instance"`
	By       By         `json:"by"`
}

// UpdateAttachment changes whether a volume goes with its instance.
type UpdateAttachment struct {
	Volume              VolumeID   `json:"volume"`
	Instance            InstanceID `json:"instance"`
	DeleteOnTermination bool       `json:"delete_on_termination"`
}

// UploadVolume makes an image of a volume. The image's record is made with it; it becomes active when the bytes are there.
// Node does the work when the volume has no file yet.
type UploadVolume struct {
	ID    VolumeID `json:"id"`
	Image Image    `json:"image"`
	Node  NodeID   `json:"node"`
	Force bool     `json:"force,omitempty"` // also while it is attached
}

// CreateVolumeSnapshot makes a snapshot. The proposer fills in ID, Project, User, Volume, Name, Description and Metadata. With
// Force also of a volume that is attached.
type CreateVolumeSnapshot struct {
	Snapshot VolumeSnapshot `json:"snapshot"`
	Force    bool           `json:"force,omitempty"`
}

// UpdateVolumeSnapshot changes what may be changed at any time. A nil field stays as it is.
type UpdateVolumeSnapshot struct {
	ID          SnapshotID         `json:"id"`
	Revision    uint64             `json:"revision,omitempty"`
	Name        *string            `json:"name,omitempty"`
	Description *string            `json:"description,omitempty"`
	Metadata    *map[string]string `json:"metadata,omitempty"`
	Status      SnapshotStatus     `json:"status,omitempty"`
}

// CaptureVolumes saves an instance that boots from a volume: a snapshot of each of its volumes, and an image without data of its own
// that names them, which is active when all of them are there. What is OpSnapshot or OpBackup. Snapshots name all volumes that the
// instance has: Stale when it has others.
type CaptureVolumes struct {
	ID        InstanceID      `json:"id"`
	By        By              `json:"by"`
	What      OperationKind   `json:"what"`
	Image     Image           `json:"image"` // ID, name, visibility, properties
	Snapshots []NamedSnapshot `json:"snapshots"`
	Backup    string          `json:"backup,omitempty"` // of OpBackup: backup_type, and how many of that type are kept
	Rotation  int             `json:"rotation,omitempty"`
}

// NamedSnapshot is the snapshot that a volume gets.
type NamedSnapshot struct {
	Volume VolumeID   `json:"volume"`
	ID     SnapshotID `json:"id"`
}

// DeleteVolumeSnapshot removes a snapshot, as DeleteVolume does a volume.
type DeleteVolumeSnapshot struct {
	ID    SnapshotID `json:"id"`
	Force bool       `json:"force,omitempty"`
}

// ReportVolumes is what a node says about the volumes and snapshots whose files it has or tends, and about the disks of its
// guests. What was decided otherwise meanwhile is ignored.
type ReportVolumes struct {
	Node        NodeID             `json:"node"`
	Volumes     []VolumeReport     `json:"volumes,omitempty"`
	Snapshots   []SnapshotReport   `json:"snapshots,omitempty"`
	Attachments []AttachmentReport `json:"attachments,omitempty"`
}

// VolumeReport is what a node says about one volume.
type VolumeReport struct {
	ID         VolumeID `json:"id"`
	Generation uint64   `json:"generation"`         // the volume's, in the view that the node acted on
	SizeGiB    int64    `json:"size_gib,omitempty"` // its file is there, safely, with that size
	Progress   int      `json:"progress,omitempty"`
	Uploaded   bool     `json:"uploaded,omitempty"` // what Upload asked is done, or failed with Error
	Gone       bool     `json:"gone,omitempty"`     // there is no file any more
	Error      string   `json:"error,omitempty"`    // why it cannot be done; for the user
}

// SnapshotReport is what a node says about one snapshot.
type SnapshotReport struct {
	ID         SnapshotID `json:"id"`
	Generation uint64     `json:"generation"`
	Format     string     `json:"format,omitempty"` // its file is there, safely
	Gone       bool       `json:"gone,omitempty"`
	Error      string     `json:"error,omitempty"`
}

// AttachmentReport is what the node of an instance says about one of its volumes.
type AttachmentReport struct {
	Volume   VolumeID   `json:"volume"`
	Instance InstanceID `json:"instance"`
	Epoch    uint64     `json:"epoch"`              // the instance's
	Attached bool       `json:"attached,omitempty"` // the guest has it
	Detached bool       `json:"detached,omitempty"` // the guest does not have it
	Error    string     `json:"error,omitempty"`    // it could not be attached, or the guest does not let go of it
}

// NewVolume is a disk of a new instance in CreateInstances: an existing volume, or a new one.
type NewVolume struct {
	Existing   VolumeID   `json:"existing,omitempty"`
	New        *Volume    `json:"new,omitempty"` // as in CreateVolume
	Attachment Attachment `json:"attachment"`    // ID and the wishes; Instance is filled in
}

// Kind of each op.
func (*CreateVolume) Kind() Kind         { return KindCreateVolume }
func (*UpdateVolume) Kind() Kind         { return KindUpdateVolume }
func (*DeleteVolume) Kind() Kind         { return KindDeleteVolume }
func (*ExtendVolume) Kind() Kind         { return KindExtendVolume }
func (*AttachVolume) Kind() Kind         { return KindAttachVolume }
func (*DetachVolume) Kind() Kind         { return KindDetachVolume }
func (*UpdateAttachment) Kind() Kind     { return KindUpdateAttachment }
func (*UploadVolume) Kind() Kind         { return KindUploadVolume }
func (*CreateVolumeSnapshot) Kind() Kind { return KindCreateVolumeSnapshot }
func (*UpdateVolumeSnapshot) Kind() Kind { return KindUpdateVolumeSnapshot }
func (*DeleteVolumeSnapshot) Kind() Kind { return KindDeleteVolumeSnapshot }
func (*ReportVolumes) Kind() Kind        { return KindReportVolumes }
func (*CaptureVolumes) Kind() Kind       { return KindCaptureVolumes }
