package cluster

import (
	"cmp"
	"maps"
	"slices"
)

func (s *State) applyVolumeOp(op Op) (ids []string, refusal *Error, known bool) {
	known = true
	switch o := op.(type) {
	case *CreateVolume:
		ids, refusal = s.createVolume(o)
	case *UpdateVolume:
		ids, refusal = s.updateVolume(o)
	case *DeleteVolume:
		ids, refusal = s.deleteVolume(o)
	case *ExtendVolume:
		ids, refusal = s.extendVolume(o)
	case *AttachVolume:
		ids, refusal = s.attachVolume(o)
	case *DetachVolume:
		ids, refusal = s.detachVolume(o)
	case *UpdateAttachment:
		ids, refusal = s.updateAttachment(o)
	case *UploadVolume:
		ids, refusal = s.uploadVolume(o)
	case *CreateVolumeSnapshot:
		ids, refusal = s.createSnapshot(o)
	case *UpdateVolumeSnapshot:
		ids, refusal = s.updateSnapshot(o)
	case *DeleteVolumeSnapshot:
		ids, refusal = s.deleteSnapshot(o)
	case *CaptureVolumes:
		ids, refusal = s.captureVolumes(o)
	case *PutVolumeType:
		ids, refusal = s.saveVolumeType(o)
	case *DeleteVolumeType:
		ids, refusal = s.deleteVolumeType(o)
	case *TendVolumes:
		ids, refusal = s.tendVolumes(o)
	case *ReportVolumes:
		ids, refusal = s.reportVolumes(o)
	default:
		known = false
	}
	return ids, refusal, known
}

// maxVolumeGiB is how large a volume may be: the largest disk that a guest is given, 16 TiB.
const maxVolumeGiB = 16 << 10

func missingVolume(id VolumeID) *Error { return missing("Volume", string(id)) }

// invalidVolume begins as Cinder's refusals of what a volume's state does not allow do.
func invalidVolume(format string, args ...any) *Error {
	return Errorf(Invalid, "Invalid volume: "+format, args...)
}

func (s *State) createVolume(o *CreateVolume) ([]string, *Error) {
	v, err := s.makeVolume(&o.Volume)
	if err != nil {
		return nil, err
	}
	s.putVolume(v)
	return []string{string(v.ID)}, nil
}

// makeVolume works out what a new volume is. It is not stored yet.
func (s *State) makeVolume(asked *Volume) (*Volume, *Error) {
	v := asked.Clone()
	if _, exists := s.t.volumes.Get(v.ID); exists {
		return nil, Errorf(Conflict, "Volume %s exists already", v.ID)
	}
	if err := firstOf(s.checkVolume(v), s.checkProjectIs(v.Project), s.t.resolveSource(v)); err != nil {
		return nil, err
	}
	if err := s.checkVolumeQuota(v.Project, 1, v.SizeGiB); err != nil {
		return nil, err
	}
	t, _ := s.t.volumeType(v.Type)
	if why := t.Trouble(); why != "" {
		return nil, Errorf(Invalid, "%s", why)
	}
	v.Traits.Encrypted, v.Traits.Multiattach = t.Encrypted(), t.Multiattach() || v.Traits.Multiattach
	v.Traits.Shared = t.Shared()
	v.Traits.ReadOnly, v.Traits.ModeSaid = false, false
	v.Generation, v.Revision = 1, s.t.meta.Index
	v.Attachments, v.Upload, v.Fault, v.Times = nil, nil, "", VolumeTimes{Created: s.t.meta.Time}
	if err := s.checkVolumeFits(v, v.File.Node); err != nil {
		return nil, err
	}
	v.Status = v.flow()
	return v, nil
}

func (s *State) checkVolume(v *Volume) *Error {
	t, ok := s.t.volumeType(v.Type)
	if !ok {
		return Errorf(NotFound, "Volume type with name %.64s could not be found.", v.Type)
	}
	v.Type = t.reference()
	if t.Encrypted() != (len(v.Secret) > 0) {
		return Errorf(Invalid, "A volume has a passphrase if, and only if, its type is encrypted")
	}
	if len(v.Secret) > maxText {
		return Errorf(Invalid, "The passphrase is too long")
	}
	return firstOf(
		checkID("Volume", v.ID),
		checkID("User", v.User),
		checkText("The volume's name", v.Name),
		checkLines("The volume's description", v.Description, maxText),
		checkText("The zone", v.Traits.Zone),
		checkAmount("size", v.SizeGiB, 1, maxVolumeGiB),
		checkMap("The volume's metadata", v.Metadata, maxListed, maxText),
		checkMap("The volume's image metadata", v.ImageMetadata, maxProperties, maxLongText),
	)
}

// checkVolumeQuota refuses n more volumes of together so many GiB, in Cinder's words.
func (s *State) checkVolumeQuota(p ProjectID, n, gib int64) *Error {
	u, _ := s.t.usage.Get(p)
	if s.exceeds(p, QuotaVolumes, u.Volumes, n) {
		return Errorf(OverQuota, "VolumeLimitExceeded: Maximum number of volumes allowed (%d) exceeded for quota 'volumes'.", s.limit(p, QuotaVolumes))
	}
	return s.checkGigabytes(p, gib)
}

func (s *State) checkGigabytes(p ProjectID, more int64) *Error {
	u, _ := s.t.usage.Get(p)
	if s.exceeds(p, QuotaGigabytes, u.GiB, more) {
		return Errorf(OverQuota, "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. "+
			"Requested %dG, quota is %dG and %dG has been consumed.", more, s.limit(p, QuotaGigabytes), u.GiB)
	}
	return nil
}

// checkVolumeFits refuses a volume that a node has no room for, or no directory. An empty node has room for anything.
func (s *State) checkVolumeFits(v *Volume, id NodeID) *Error {
	if id == "" {
		return nil
	}
	n, ok := s.t.nodes.Get(id)
	switch {
	case !ok:
		return Errorf(NoRoom, "The node %.64s is not in the cluster", id)
	case v.Shared() && !hasShare(n):
		return Errorf(Conflict, "The node %s does not have the directory for shared volumes", n.Name)
	}
	return s.checkDisk(n, v.Shared(), v.SizeGiB)
}

// checkDisk refuses more on a node's disk than it has room for.
func (s *State) checkDisk(n *Node, shared bool, more int64) *Error {
	used, _ := s.t.allocated.Get(n.ID)
	if limit := n.Capacity.Limit().DiskGiB; !shared && used.DiskGiB+more > limit {
		return Errorf(NoRoom, "The node %s has no room for %d GiB more on its disk", n.Name, more)
	}
	return nil
}

// SharesVolumes tells whether the node has the directory that nodes share volumes in.
func (n *Node) SharesVolumes() bool { return hasShare(n) }

func hasShare(n *Node) bool { return slices.Contains(n.Host.Traits, TraitSharedVolumes) }

func (s *State) updateVolume(o *UpdateVolume) ([]string, *Error) {
	old, ok := s.t.volumes.Get(o.ID)
	switch {
	case !ok:
		return nil, missingVolume(o.ID)
	case o.Revision != 0 && o.Revision != old.Revision:
		return nil, Errorf(Stale, "Volume %s was changed in the meantime", o.ID)
	case len(o.From) > 0 && !slices.Contains(o.From, old.Status):
		return nil, invalidVolume("Volume %s status must be %s, it is %s.", o.ID, joined(o.From), old.Status)
	case o.ReadOnly != nil && len(old.Attachments) > 0:
		return nil, invalidVolume("Volume %s status must be available to update readonly flag, but current status is: %s.", o.ID, old.Status)
	}
	v := old.Clone()
	set(&v.Name, o.Name)
	set(&v.Description, o.Description)
	set(&v.Traits.Bootable, o.Bootable)
	set(&v.Traits.ReadOnly, o.ReadOnly)
	v.Traits.ModeSaid = v.Traits.ModeSaid || o.ReadOnly != nil
	if o.Metadata != nil {
		v.Metadata = maps.Clone(*o.Metadata)
	}
	if o.ImageMetadata != nil {
		v.ImageMetadata = maps.Clone(*o.ImageMetadata)
	}
	if o.Type != "" {
		if err := s.retype(v, o.Type); err != nil {
			return nil, err
		}
	}
	if o.Status != "" {
		if err := s.resetVolume(v, o.Status); err != nil {
			return nil, err
		}
	}
	if err := s.checkVolume(v); err != nil {
		return nil, err
	}
	s.saveVolume(v)
	return []string{string(v.ID)}, nil
}

// resetVolume sets a volume's status by hand. One that is being deleted stays so: its file may be gone already.
func (s *State) resetVolume(v *Volume, to VolumeStatus) *Error {
	if err := oneOf("Volume status", to, VolumeCreating, VolumeAvailable, VolumeReserved, VolumeAttaching, VolumeInUse, VolumeDetaching,
		VolumeExtending, VolumeUploading, VolumeMaintenance, VolumeDeleting, VolumeError, VolumeErrorDeleting, VolumeErrorExtending); err != nil {
		return err
	}
	if v.File.Remove {
		return invalidVolume("Volume %s is being deleted by its node.", v.ID)
	}
	v.Status = to
	if to != VolumeError && to != VolumeErrorDeleting && to != VolumeErrorExtending {
		v.Fault = ""
	}
	if v.Upload != nil && to != VolumeUploading {
		v.Upload = nil
	}
	if to == VolumeAvailable && v.File.SizeGiB > 0 {
		s.t.forgetExtension(v)
	}
	v.Generation++
	return nil
}

// forgetExtension gives up to make a volume larger.
func (t *tables) forgetExtension(v *Volume) { v.SizeGiB = min(v.SizeGiB, v.File.SizeGiB) }

func joined[T ~string](list []T) string {
	out := ""
	for i, s := range list {
		if i > 0 {
			out += " or "
		}
		out += string(s)
	}
	return out
}

func (s *State) extendVolume(o *ExtendVolume) ([]string, *Error) {
	old, ok := s.t.volumes.Get(o.ID)
	if !ok {
		return nil, missingVolume(o.ID)
	}
	attached := old.Status == VolumeInUse && o.InUse
	switch {
	case old.Status != VolumeAvailable && !attached:
		return nil, invalidVolume("Volume %s status must be '%s' to extend, currently %s.", o.ID,
			cmp.Or(map[bool]string{true: "('available', 'in-use')"}[o.InUse], "available"), old.Status)
	case o.SizeGiB <= old.SizeGiB:
		return nil, Errorf(Invalid, "Invalid input received: New size for extend must be greater than current size. (current: %d, extended: %d).",
			old.SizeGiB, o.SizeGiB)
	}
	more := o.SizeGiB - old.SizeGiB
	if err := firstOf(checkAmount("new_size", o.SizeGiB, 1, maxVolumeGiB), s.checkGigabytes(old.Project, more)); err != nil {
		return nil, err
	}
	if n, ok := s.t.nodes.Get(old.File.Node); ok {
		if err := s.checkDisk(n, old.Shared(), more); err != nil {
			return nil, err
		}
	}
	v := old.Clone()
	v.SizeGiB = o.SizeGiB
	v.Generation++
	v.Status = v.flow()
	s.saveVolume(v)
	for i := range v.Attachments {
		if in, ok := s.t.instances.Get(v.Attachments[i].Instance); ok {
			s.begin(in, actionExtendVolume, o.By.asked(), eventExtendVolume)
		}
	}
	return []string{string(v.ID)}, nil
}

// uploadVolume begins to make an image of a volume.
func (s *State) uploadVolume(o *UploadVolume) ([]string, *Error) {
	old, ok := s.t.volumes.Get(o.ID)
	switch {
	case !ok:
		return nil, missingVolume(o.ID)
	case old.Status != VolumeAvailable && (old.Status != VolumeInUse || !o.Force):
		return nil, invalidVolume("Volume %s status must be available, currently %s.", o.ID, old.Status)
	case old.Traits.Encrypted:
		return nil, invalidVolume("An encrypted volume cannot be made an image: its bytes would leave it unencrypted.")
	}
	if err := oneOf("Disk format", o.Image.Format.Disk, "raw", "qcow2"); err != nil {
		return nil, err
	}
	v := old.Clone()
	if v.File.Node == "" || v.Shared() && len(v.Attachments) == 0 {
		if err := s.checkVolumeFits(v, o.Node); err != nil {
			return nil, err
		}
		v.File.Node = o.Node
	}
	if _, err := s.saveImage(&PutImage{Image: o.Image}); err != nil {
		return nil, err
	}
	v.Upload = &VolumeUpload{Image: o.Image.ID, Format: o.Image.Format.Disk}
	v.Generation++
	v.Status = v.flow()
	s.saveVolume(v)
	return []string{string(v.ID), string(o.Image.ID)}, nil
}
