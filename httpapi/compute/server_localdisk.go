package compute

import "github.com/kilonova/kilonova/cluster"

// swapFormat is what the mapping calls swap space; every other blank local disk is an ephemeral one.
const swapFormat = "swap"

// ephemeralFormat is the only file system that ephemeral disks are made with.
const ephemeralFormat = "ext4"

// fitsLocalDisks refuses blank local disks that a flavor does not give. A server gets those of its flavor in any case, so a request
// that names them only says again what follows from the flavor, or leaves their sizes to it.
func (o *order) fitsLocalDisks(f *cluster.Flavor) error {
	var ephemeral, swap []*blockDevice
	for _, d := range o.blanks {
		if d.Guest == swapFormat {
			swap = append(swap, d)
		} else {
			ephemeral = append(ephemeral, d)
		}
	}
	if len(swap) > 1 {
		return wrongDevice("More than one swap drive requested.")
	}
	var total int64
	for _, d := range ephemeral {
		if d.Guest != "" && d.Guest != ephemeralFormat {
			return wrongDevice("ephemeral disks are made with the file system %s, not %s.", ephemeralFormat, d.Guest)
		}
		size := int64(d.Size)
		if size == 0 {
			size = f.Ephemeral
		}
		total += size
	}
	switch {
	case total > f.Ephemeral || len(ephemeral) > 0 && f.Ephemeral == 0:
		return bad("Ephemeral disks requested are larger than the instance type allows. If no size is given in one block device mapping, " +
			"flavor ephemeral size will be used.")
	case len(swap) > 0 && (int64(swap[0].Size) > f.SwapMiB || f.SwapMiB == 0):
		return bad("Swap drive requested is larger than instance type allows.")
	case len(ephemeral) > 1, len(ephemeral) == 1 && total < f.Ephemeral, len(swap) == 1 && swap[0].Size > 0 && int64(swap[0].Size) < f.SwapMiB:
		return wrongDevice("the ephemeral and swap disks of a server are those of its flavor: one of %d GiB and one of %d MiB.", f.Ephemeral, f.SwapMiB)
	}
	return nil
}
