package image

import "encoding/binary"

// VHD, as in Microsoft's "Virtual Hard Disk Image Format Specification". The numbers are big-endian. A footer
// of 512 bytes ends the file; a dynamic disk has a copy of it at its beginning.

const (
	vhdMagic     = "conectix"
	vhdHeadMagic = "cxsparse"
	vhdFooter    = 512
	vhdHead      = 1024
	vhdMaxBlock  = 256 << 20 // bytes
)

// The kinds of VHD.
const (
	vhdFixed   = 2
	vhdDynamic = 3
)

func lookVHD(in *inspection) {
	end := uint64(max(in.info.Size, vhdFooter)) - vhdFooter
	first, last := in.has(0, vhdMagic), in.has(end, vhdMagic)
	if !first && !last {
		return
	}
	in.found(VHD)
	at := uint64(0)
	if !first {
		at = end
	}
	b := in.read(at, vhdFooter)
	if b == nil {
		in.problem("its VHD footer is cut off")
		return
	}
	kind, size := binary.BigEndian.Uint32(b[60:]), binary.BigEndian.Uint64(b[48:])
	in.virtual(size)
	switch {
	case !vhdSum(b, 64):
		in.problem("the checksum of its VHD footer is wrong")
	case kind == vhdFixed && first && end != 0:
		in.problem("it is a fixed VHD that begins like a dynamic one")
	case kind == vhdFixed && size > end:
		in.problem("it is cut off")
	case kind == vhdDynamic && !first:
		in.problem("it is a dynamic VHD that does not begin like one")
	case kind == vhdDynamic:
		in.checkVHDDynamic(binary.BigEndian.Uint64(b[16:]), size)
	case kind != vhdFixed:
		in.problem("it is a VHD that depends on another disk, or of an unknown kind")
	}
}

// checkVHDDynamic checks the header of a dynamic disk and where its block table lies.
func (in *inspection) checkVHDDynamic(at, size uint64) {
	b := in.read(at, vhdHead)
	if b == nil || string(b[:8]) != vhdHeadMagic || !vhdSum(b, 36) {
		in.problem("its VHD header is damaged or cut off")
		return
	}
	table, entries := binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint32(b[28:])
	block := uint64(binary.BigEndian.Uint32(b[32:]))
	switch {
	case !isZero(b[40:56]):
		in.problem("it names a parent disk")
	case block < vhdFooter || block > vhdMaxBlock || block&(block-1) != 0:
		in.problem("its blocks of %d bytes are out of range", block)
	case size > uint64(entries)*block:
		in.problem("its block table of %d entries does not cover its size", entries)
	case !in.within(table, uint64(entries)*4):
		in.problem("its block table lies beyond its end")
	}
}

// vhdSum tells whether the checksum at sumAt is right: the complement of the sum of all other bytes.
func vhdSum(b []byte, sumAt int) bool {
	var sum uint32
	for i, c := range b {
		if i < sumAt || i >= sumAt+4 {
			sum += uint32(c)
		}
	}
	return ^sum == binary.BigEndian.Uint32(b[sumAt:])
}
