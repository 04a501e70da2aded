package image

import (
	"encoding/binary"
)

// VHDX, as in Microsoft's [MS-VHDX]. The numbers are little-endian, and so are the first three parts of a GUID.

const (
	vhdxMagic      = "vhdxfile"
	vhdxRegions    = 192 << 10 // where the first region table lies
	vhdxTable      = 64 << 10  // bytes of a table
	vhdxMaxEntries = 2047
	vhdxParams     = "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"
	vhdxDiskSize   = "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"
	vhdxMetadata   = "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"
	vhdxBAT        = "\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08"
	vhdxParent     = "\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c"
	vhdxHasParent  = 2 // flag in the file parameters
)

func lookVHDX(in *inspection) {
	if !in.has(0, vhdxMagic) {
		return
	}
	in.found(VHDX)
	meta, ok := in.vhdxMetadataAt()
	if !ok {
		in.problem("its VHDX regions are damaged, cut off or unknown")
		return
	}
	in.checkVHDXMetadata(meta)
}

// vhdxMetadataAt finds the metadata region. A required region of an unknown kind makes the file unreadable.
func (in *inspection) vhdxMetadataAt() (at uint64, ok bool) {
	b := in.read(vhdxRegions, vhdxTable)
	if b == nil || string(b[:4]) != "regi" {
		return 0, false
	}
	count := binary.LittleEndian.Uint32(b[8:])
	if count > vhdxMaxEntries || 16+int(count)*32 > len(b) {
		return 0, false
	}
	for e := b[16:]; count > 0; e, count = e[32:], count-1 {
		off, length := binary.LittleEndian.Uint64(e[16:]), binary.LittleEndian.Uint32(e[24:])
		required := binary.LittleEndian.Uint32(e[28:])&1 != 0
		switch kind := string(e[:16]); {
		case kind == vhdxMetadata && !ok && in.within(off, uint64(length)):
			at, ok = off, true
		case kind == vhdxMetadata, kind == vhdxBAT && !in.within(off, uint64(length)):
			return 0, false
		case kind != vhdxBAT && required:
			return 0, false
		}
	}
	return at, ok
}

func (in *inspection) checkVHDXMetadata(at uint64) {
	b := in.read(at, vhdxTable)
	if b == nil || string(b[:8]) != "metadata" || binary.LittleEndian.Uint16(b[10:]) > vhdxMaxEntries {
		in.problem("its VHDX metadata is damaged or cut off")
		return
	}
	count := binary.LittleEndian.Uint16(b[10:])
	var sized, described bool
	for e := b[32:]; count > 0 && len(e) >= 32; e, count = e[32:], count-1 {
		item := in.read(at+uint64(binary.LittleEndian.Uint32(e[16:])), 8)
		switch kind := string(e[:16]); {
		case kind == vhdxParent:
			in.problem("it names a parent disk")
		case kind == vhdxDiskSize && item != nil && !sized:
			sized = true
			in.virtual(binary.LittleEndian.Uint64(item))
		case kind == vhdxParams && item != nil && !described:
			described = true
			if binary.LittleEndian.Uint32(item[4:])&vhdxHasParent != 0 {
				in.problem("it depends on another disk")
			}
		case kind == vhdxDiskSize, kind == vhdxParams:
			in.problem("its VHDX metadata contradicts itself or is cut off")
		}
	}
	if !sized || !described {
		in.problem("its VHDX metadata lacks its size or parameters")
	}
}
