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
	if o.root != nil {
		return o.bootFromVolume()
	}
	if o.want.Image == "" {
		return bad("Missing imageRef attribute")
	}
	image, boot, err := o.bootImage(o.want.Image)
	if err != nil {
		return err
	}
	boot.ConfigDrv = o.spec.Boot.ConfigDrv
	o.image, o.spec.Image, o.spec.Boot = image, image.ID, boot
	return nil
}

// bootImage finds an image that servers can boot from, and what it says about how.
func (c *call) bootImage(imageRef string) (*cluster.Image, cluster.BootSource, error) {
	var b cluster.BootSource
	id, ok := rest.CanonicalUUID(imageRef)
	if !ok {
		return nil, b, bad("Invalid imageRef provided.")
	}
	image, ok := c.view.Image(cluster.ImageID(id))
	if !ok || !c.seesImage(image) {
		return nil, b, errNoImage
	}
	if image.Status == cluster.ImageActive && image.Data == nil {
		return nil, b, bad("Image %s has no data of its own: it names volumes that new servers get.", image.ID)
	}
	if image.Status != cluster.ImageActive {
		return nil, b, bad("Image %s is not active.", image.ID)
	}
	if !slices.Contains(bootableFormats, image.Format.Disk) {
		return nil, b, bad("Image %s is unacceptable: servers do not boot from the format %s. Convert it to qcow2 or raw with qemu-img.",
			image.ID, image.Format.Disk)
	}
	b.Properties, b.MinDiskGiB = maps.Clone(image.Properties), image.Format.MinDiskGiB
	for name, to := range map[string]*cluster.ImageID{"kernel_id": &b.Kernel, "ramdisk_id": &b.Ramdisk} {
		ref := image.Properties[name]
		if ref == "" {
			continue
		}
		part, ok := c.view.Image(cluster.ImageID(ref))
		if !ok || !c.seesImage(part) || part.Status != cluster.ImageActive {
			return nil, b, bad("Image %s cannot boot: its %s names image %s, which cannot be used.", image.ID, name, ref)
		}
		*to = part.ID
	}
	return image, b, nil
}

// chooseFlavor takes over the flavor, once the image fits it.
func (o *order) chooseFlavor() error {
	f, err := o.usableFlavor(string(o.want.Flavor))
	if err != nil {
		return err
	}
	o.spec.Flavor = *f.Clone()
	if err := o.fitsLocalDisks(f); err != nil {
		return err
	}
	if o.image == nil {
		return nil // it boots from a volume, which has a size of its own
	}
	return fits(f, o.image)
}

// fits refuses an image that a flavor is too small for.
func fits(f *cluster.Flavor, image *cluster.Image) error {
	if f.MemoryMiB < image.Format.MinRAMMiB {
		return bad("Flavor's memory is too small for requested image.")
	}
	if f.DiskGiB == 0 {
		return nil // the root disk is as large as the image
	}
	size, have := max(image.Data.Size, image.Data.VirtualSize), f.DiskGiB*gib
	switch least := image.Format.MinDiskGiB * gib; {
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
