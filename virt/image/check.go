package image

import (
	"slices"
	"strings"

	"github.com/kilonova/kilonova/cluster"
)

// MaxVirtualBytes is the largest virtual size that an image may have: 16 TiB.
const MaxVirtualBytes = 16 << 40

// Policy says what Check lets pass.
type Policy struct {
	MaxVirtualBytes int64 // 0: the constant of that name
	Encrypted       bool  // encrypted images are wanted
}

// accepted lists, for each format that can be claimed, what the bytes must look like, and what they may look
// like besides: a disk has a partition table, an installation image is often a bootable disk too, and a Linux
// kernel begins with what was a boot sector.
var accepted = map[Format]struct{ must, may []Format }{
	Raw:   {may: []Format{GPT, MBR, Kernel, Ramdisk}},
	QCOW2: {must: []Format{QCOW2}},
	VMDK:  {must: []Format{VMDK}},
	VDI:   {must: []Format{VDI}},
	VHD:   {must: []Format{VHD}, may: []Format{GPT, MBR}},
	VHDX:  {must: []Format{VHDX}},
	ISO:   {must: []Format{ISO}, may: []Format{GPT, MBR, Kernel}},
	AMI:   {may: []Format{GPT, MBR}},
	AKI:   {may: []Format{Kernel, Ramdisk, MBR}},
	ARI:   {may: []Format{Ramdisk}},
}

// Check tells whether an image may be used as what it claims to be. If not, the error is a *cluster.Error with
// the code Invalid that says why.
func Check(claimed Format, info Info) error { return Policy{}.Check(claimed, info) }

// Check is the function Check under another policy.
func (p Policy) Check(claimed Format, info Info) error {
	if p.MaxVirtualBytes == 0 {
		p.MaxVirtualBytes = MaxVirtualBytes
	}
	rule, known := accepted[claimed]
	if !known {
		return refuse("disk format %q is not supported", claimed)
	}
	for _, f := range rule.must {
		if !slices.Contains(info.Formats, f) {
			return refuse("it claims to be %s and is %s", claimed, info.name())
		}
	}
	for _, f := range info.Formats {
		if !slices.Contains(rule.must, f) && !slices.Contains(rule.may, f) {
			return refuse("it claims to be %s and is %s", claimed, info.name())
		}
	}
	switch {
	case len(info.Problems) > 0:
		return refuse("%s", strings.Join(info.Problems, ", "))
	case info.Encrypted && !p.Encrypted:
		return refuse("it is encrypted")
	case info.VirtualSize > p.MaxVirtualBytes:
		return refuse("its virtual size of %d bytes is more than %d", info.VirtualSize, p.MaxVirtualBytes)
	}
	return nil
}

func refuse(format string, args ...any) error {
	return cluster.Errorf(cluster.Invalid, "image is refused: "+format, args...)
}

// name says what the bytes look like.
func (i Info) name() string {
	if len(i.Formats) == 0 {
		return string(Raw)
	}
	names := make([]string, len(i.Formats))
	for n, f := range i.Formats {
		names[n] = string(f)
	}
	return strings.Join(names, " and ")
}
