package cluster

import "maps"

// resolveSource finds what a new volume begins as, and with it where its file has to be made: a copy is made where the
// original is.
func (t *tables) resolveSource(v *Volume) *Error {
	asked := v.Source
	v.File, v.Source = VolumeFile{}, nil
	switch {
	case asked == nil:
		return nil
	case asked.Snapshot != "":
		return t.copySnapshot(v, asked.Snapshot)
	case asked.Volume != "":
		return t.copyVolume(v, asked.Volume)
	}
	img, ok := t.images.Get(asked.Image)
	if !ok {
		return missing("Image", string(asked.Image))
	}
	if img.Status != ImageActive || img.Data == nil {
		return Errorf(Invalid, "Invalid input received: Image %s is not active.", img.ID)
	}
	v.Source = &VolumeSource{Image: img.ID, Root: img.Data.Root, Format: img.Format.Disk}
	v.Traits.Bootable = true
	return firstOf(
		atLeast(v.SizeGiB, giBFor(max(img.Data.VirtualSize, img.Data.Size)), "the image"),
		atLeast(v.SizeGiB, img.Format.MinDiskGiB, "the image's min_disk"),
	)
}

const gib = 1 << 30

func giBFor(bytes int64) int64 { return (bytes + gib - 1) / gib }

func atLeast(have, need int64, what string) *Error {
	if have < need {
		return Errorf(Invalid, "Invalid input received: Size of specified volume (%dGB) is smaller than %s (%dGB).", have, what, need)
	}
	return nil
}

func (t *tables) copySnapshot(v *Volume, id SnapshotID) *Error {
	n, ok := t.snapshots.Get(id)
	switch {
	case !ok || n.Project != v.Project:
		return missing("Snapshot", string(id))
	case n.Status != SnapshotAvailable:
		return Errorf(Invalid, "Invalid snapshot: Originating snapshot status must be one of 'available' values")
	case v.SizeGiB < n.SizeGiB:
		return Errorf(Invalid, "Invalid input received: Volume size '%dGB' cannot be smaller than the snapshot size %dGB. "+
			"They must be >= original snapshot size.", v.SizeGiB, n.SizeGiB)
	}
	v.Traits.Bootable = n.Bootable
	v.ImageMetadata = maps.Clone(n.ImageMeta)
	source := VolumeSource{Snapshot: id}
	return t.copyFrom(v, source, n.File.Node, n.Source)
}

func (t *tables) copyVolume(v *Volume, id VolumeID) *Error {
	from, ok := t.volumes.Get(id)
	switch {
	case !ok || from.Project != v.Project:
		return missingVolume(id)
	case from.Status != VolumeAvailable && from.Status != VolumeInUse:
		return invalidVolume("Source volume status must be available or in-use, it is %s.", from.Status)
	case from.Traits.Encrypted && len(from.Attachments) > 0:
		return invalidVolume("An encrypted volume is copied only while nothing has it attached.")
	case v.SizeGiB < from.SizeGiB:
		return Errorf(Invalid, "Invalid input received: Volume size '%dGB' cannot be smaller than original volume size %dGB. "+
			"They must be >= original volume size.", v.SizeGiB, from.SizeGiB)
	}
	v.Traits.Bootable = from.Traits.Bootable
	v.ImageMetadata = maps.Clone(from.ImageMetadata)
	source := VolumeSource{Volume: id}
	if from.File.SizeGiB > 0 {
		return t.copyFrom(v, source, from.File.Node, nil)
	}
	return t.copyFrom(v, source, "", from.Source)
}

// copyFrom makes a volume a copy of what is on a node, or, when no node has it, of what the original began as.
func (t *tables) copyFrom(v *Volume, source VolumeSource, node NodeID, origin *VolumeSource) *Error {
	if node != "" {
		v.File.Node = node
		v.Source = &source
		return nil
	}
	switch {
	case origin == nil:
		source.Empty = true
	default:
		source.Image, source.Root, source.Format = origin.Image, origin.Root, origin.Format
		source.Empty = origin.Empty
	}
	v.Source = &source
	return nil
}
