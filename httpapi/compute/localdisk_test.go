package compute_test

import (
	"testing"
)

// A server's ephemeral and swap disks follow from its flavor. A request may name them, as clients do, but not ask for others.
func TestCreate_LocalDisksAreThoseOfTheFlavor(t *testing.T) {
	l := newLab(t)
	flavor := l.do("admin", "", "POST", "/flavors", object{"flavor": object{"name": "roomy", "ram": 64, "vcpus": 1, "disk": 1,
		"OS-FLV-EXT-DATA:ephemeral": 2, "swap": 64}}).want(200).text("flavor", "id")
	blank := func(more object) object {
		d := object{"source_type": "blank", "destination_type": "local", "boot_index": -1, "delete_on_termination": true}
		for k, v := range more {
			d[k] = v
		}
		return d
	}
	image := object{"uuid": l.image, "source_type": "image", "destination_type": "local", "boot_index": 0, "delete_on_termination": true}
	ephemeral, swap := blank(object{"volume_size": 2}), blank(object{"guest_format": "swap", "volume_size": 64})
	ask := func(flavor string, devices ...object) *answer {
		return l.do("demo", "2.92", "POST", "/servers", object{"server": object{"name": "x", "flavorRef": flavor, "imageRef": l.image, "networks": "none",
			"block_device_mapping_v2": append([]object{image}, devices...)}})
	}
	for i, devices := range [][]object{
		{ephemeral, swap}, {swap}, {blank(object{"guest_format": "ext4", "volume_size": 2})}, {blank(nil), blank(object{"guest_format": "swap"})},
	} {
		if a := ask(flavor, devices...); a.StatusCode != 202 {
			t.Errorf("case %d: %d %s", i, a.StatusCode, a.body)
		}
	}
	larger := "Ephemeral disks requested are larger than the instance type allows."
	for _, c := range []struct {
		flavor  string
		devices []object
		says    string
	}{
		{flavor, []object{blank(object{"volume_size": 3})}, larger},
		{flavor, []object{ephemeral, ephemeral}, larger},
		{nano, []object{blank(nil)}, larger},
		{flavor, []object{blank(object{"guest_format": "swap", "volume_size": 65})}, "Swap drive requested is larger than instance type allows."},
		{nano, []object{blank(object{"guest_format": "swap"})}, "Swap drive requested is larger"},
		{flavor, []object{swap, swap}, "Block Device Mapping is Invalid: More than one swap drive requested."},
		{flavor, []object{blank(object{"volume_size": 1})}, "those of its flavor: one of 2 GiB and one of 64 MiB"},
		{flavor, []object{blank(object{"guest_format": "swap", "volume_size": 1})}, "those of its flavor"},
		{flavor, []object{blank(object{"guest_format": "vfat"})}, "made with the file system ext4, not vfat"},
	} {
		ask(c.flavor, c.devices...).fails(400, c.says)
	}
}
