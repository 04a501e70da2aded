package compute

import (
	"maps"
	"slices"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// gib is how many bytes a GiB has.
const gib = 1 << 30

// seesImage tells whether the caller may use an image.
func (c *call) seesImage(i *cluster.Image) bool {
	if c.caller.Admin() || i.Owner == c.caller.ProjectID() {
		return true
	}
	switch i.Visibility {
	case cluster.Public, cluster.Community:
		return true
	case cluster.Shared:
		_, ok := i.Members[string(c.caller.ProjectID())]
		return ok
	}
	return false
}

// errNoImage is Nova's answer to an image that is not there, or not for the caller.
var errNoImage = cluster.Errorf(cluster.Invalid, "Can not find requested image")

// bootableFormats are the disk formats that a node can give a guest as they are. The image service keeps others, too.
var bootableFormats = []string{"raw", "qcow2", "ami", "iso"}

// chooseImage takes over what the image says about how it boots.
func (o *order) chooseImage() error {
	if o.want.Image == "" {
		return bad("Missing imageRef attribute")
	}
	id, ok := rest.CanonicalUUID(o.want.Image)
	if !ok {
		return bad("Invalid imageRef provided.")
	}
	image, ok := o.view.Image(cluster.ImageID(id))
	if !ok || !o.seesImage(image) {
		return errNoImage
	}
	if image.Status != cluster.ImageActive || image.Data == nil {
		return bad("Image %s is not active.", image.ID)
	}
	if !slices.Contains(bootableFormats, image.Format.Disk) {
		return bad("Image %s is unacceptable: servers do not boot from the format %s. Convert it to qcow2 or raw with qemu-img.",
			image.ID, image.Format.Disk)
	}
	o.image, o.spec.Image = image, image.ID
	b := &o.spec.Boot
	b.Properties, b.MinDiskGiB = maps.Clone(image.Properties), image.Format.MinDiskGiB
	for name, to := range map[string]*cluster.ImageID{"kernel_id": &b.Kernel, "ramdisk_id": &b.Ramdisk} {
		ref := image.Properties[name]
		if ref == "" {
			continue
		}
		part, ok := o.view.Image(cluster.ImageID(ref))
		if !ok || !o.seesImage(part) || part.Status != cluster.ImageActive {
			return bad("Image %s cannot boot: its %s names image %s, which cannot be used.", image.ID, name, ref)
		}
		*to = part.ID
	}
	return nil
}

// chooseFlavor takes over the flavor, once the image fits it.
func (o *order) chooseFlavor() error {
	id := lastPart(string(o.want.Flavor))
	f, ok := o.view.Flavor(cluster.FlavorID(id))
	if !ok || !o.seesFlavor(f) || f.Disabled {
		return bad("Flavor %s could not be found.", id)
	}
	o.spec.Flavor = *f.Clone()
	if f.MemoryMiB < o.image.Format.MinRAMMiB {
		return bad("Flavor's memory is too small for requested image.")
	}
	if f.DiskGiB == 0 {
		return nil // the root disk is as large as the image
	}
	size, have := max(o.image.Data.Size, o.image.Data.VirtualSize), f.DiskGiB*gib
	switch least := o.image.Format.MinDiskGiB * gib; {
	case have < size:
		return bad("Flavor's disk is too small for requested image. Flavor disk is %d bytes, image is %d bytes.", have, size)
	case have < least:
		return bad("Flavor's disk is too small for requested image. Flavor disk is %d bytes, minimum size is %d bytes.", have, least)
	}
	return nil
}

// groupNames are the security groups that were asked for.
func (o *order) groupNames() []string {
	var names []string
	for _, g := range o.want.Groups {
		if !slices.Contains(names, g.Name) {
			names = append(names, g.Name)
		}
	}
	if len(names) == 0 {
		return []string{defaultGroup}
	}
	return names
}

// defaultGroup is the only security group.
const defaultGroup = "default"

// checkGroups refuses security groups that there are not.
func (o *order) checkGroups() error {
	for _, name := range o.groupNames() {
		if name != defaultGroup && name != defaultGroupID(o.caller.ProjectID()) {
			return bad("Security group %s not found.", name)
		}
	}
	return nil
}
