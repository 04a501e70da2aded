package reconcile

import (
	"slices"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/configdrive"
)

// A guest is told what kind of key it is given: one for SSH goes to authorized_keys, a certificate to Windows.
func TestMetadata_NamesTheKindOfKey(t *testing.T) {
	for key, kind := range map[string]string{
		"ssh-ed25519 AAAA user": "ssh", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n": "x509", "": "",
	} {
		in := &cluster.Instance{}
		in.Spec.KeyName, in.Spec.PublicKey = "mine", key
		got := metadata(in, "nova", nil).Keys
		if kind == "" && len(got) != 0 || kind != "" && !slices.Equal(got, []configdrive.Key{{Name: "mine", Type: kind, Data: key}}) {
			t.Errorf("%q is given as %+v, want the type %q", key, got, kind)
		}
	}
}

// named has every image, under its own name.
type named struct{ Images }

func (named) Base(img cluster.BootImage) (path, format string, ok bool) {
	return "/" + string(img.Image), "raw", true
}

// A rescued instance boots the kernel of the rescue image with that image's command line, and its own root stays its own.
func TestBootFrom_RescueBootsFromItsOwnImages(t *testing.T) {
	parts := func(prefix string) []cluster.BootImage {
		return []cluster.BootImage{{Part: cluster.BootDisk, Image: cluster.ImageID(prefix + "disk")},
			{Part: cluster.BootKernel, Image: cluster.ImageID(prefix + "kernel")}, {Part: cluster.BootRamdisk, Image: cluster.ImageID(prefix + "ramdisk")}}
	}
	in := &cluster.Instance{Images: parts("")}
	in.Spec.Boot.Properties = map[string]string{cmdlineProperty: "own"}
	in.Spec.Flavor.DiskGiB = 3
	var g virt.Guest
	if err := bootFrom(&g, in, named{}); err != nil {
		t.Fatal(err)
	}
	own := virt.RootDisk{Base: "/disk", BaseFormat: "raw", SizeGiB: 3}
	if g.Root != own || g.Rescue != nil || g.Kernel != (virt.Kernel{Path: "/kernel", Ramdisk: "/ramdisk", Cmdline: "own"}) {
		t.Errorf("%+v", g)
	}
	in.Mode.Rescue = &cluster.Rescue{Images: parts("rescue-"), Cmdline: "rescue"}
	if err := bootFrom(&g, in, named{}); err != nil {
		t.Fatal(err)
	}
	if g.Root != own || g.Rescue == nil || g.Rescue.Base != "/rescue-disk" ||
		g.Kernel != (virt.Kernel{Path: "/rescue-kernel", Ramdisk: "/rescue-ramdisk", Cmdline: "rescue"}) {
		t.Errorf("rescued: %+v, %+v", g, g.Rescue)
	}
}
