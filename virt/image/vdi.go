package image

import "encoding/binary"

// VDI, VirtualBox's disk, as in QEMU's block/vdi.c. The numbers are little-endian.

const (
	vdiMagic     = "\x7f\x10\xda\xbe" // at 0x40
	vdiHead      = 512
	vdiBlock     = 1 << 20 // the only size of a block in use, in bytes
	vdiMaxBlocks = 0x3fffffff
)

func lookVDI(in *inspection) {
	if !in.has(0x40, vdiMagic) {
		return
	}
	in.found(VDI)
	b := in.read(0, vdiHead)
	if b == nil {
		in.problem("its VDI header is cut off")
		return
	}
	u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	version, kind, size := u32(b[0x44:]), u32(b[0x4c:]), u64(b[0x170:])
	table, block, blocks := u32(b[0x154:]), u32(b[0x178:]), u32(b[0x180:])
	in.virtual(size)
	switch {
	case version != 1<<16|1:
		in.problem("it is VDI version %d.%d", version>>16, version&0xffff)
	case kind != 1 && kind != 2:
		in.problem("it is neither a dynamic nor a fixed VDI")
	case !isZero(b[0x1a8:0x1c8]):
		in.problem("it names a parent disk")
	case block != vdiBlock || blocks > vdiMaxBlocks:
		in.problem("its blocks are out of range")
	case size > uint64(blocks)*vdiBlock:
		in.problem("its block map of %d entries does not cover its size", blocks)
	case table%vdiHead != 0 || !in.within(uint64(table), uint64(blocks)*4):
		in.problem("its block map lies beyond its end")
	}
}
