package image

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
)

// VMDK, as in VMware's "Virtual Disk Format 5.0". The numbers are little-endian. Only disks that are one file
// are accepted: monolithicSparse and streamOptimized.

const (
	vmdkMagic     = "KDMV"
	vmdkSector    = 512
	vmdkMaxDesc   = 64 << 10
	vmdkGDAtEnd   = 1<<64 - 1
	vmdkNoParent  = "ffffffff"
	vmdkTextProbe = 4 << 10 // bytes of a text that is looked at
)

func lookVMDK(in *inspection) {
	switch {
	case in.has(0, vmdkMagic):
		in.found(VMDK)
		in.checkVMDK()
	case in.isVMDKText():
		in.found(VMDK)
		in.problem("it is a descriptor that names other files")
	}
}

// isVMDKText tells whether the image is a text that QEMU would take for a VMDK: comments and blank lines, and
// then the version.
func (in *inspection) isVMDKText() bool {
	text := in.read(0, int(min(in.info.Size, vmdkTextProbe)))
	if bytes.HasPrefix(bytes.ToLower(text), []byte("# disk descriptorfile")) {
		return true
	}
	for line := range bytes.Lines(text) {
		line = bytes.ToLower(bytes.TrimSpace(line))
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		return bytes.HasPrefix(line, []byte("version=")) && len(line) <= len("version=")+2
	}
	return false
}

func (in *inspection) checkVMDK() {
	b := in.read(0, vmdkSector)
	if b == nil {
		in.problem("its VMDK header is cut off")
		return
	}
	u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	version, capacity := u32(b[4:]), u64(b[12:])
	descAt, descLen, directory := u64(b[28:]), u64(b[36:]), u64(b[56:])
	if capacity > (1<<63-1)/vmdkSector {
		capacity = (1<<63 - 1) / vmdkSector // far beyond any limit
	}
	in.virtual(capacity * vmdkSector)
	switch {
	case version < 1 || version > 3:
		in.problem("it is VMDK version %d", version)
	case capacity == 0:
		in.problem("it has no disk of its own") // then only the descriptor counts
	case descAt == 0 || descLen == 0:
		in.problem("it has no descriptor")
	case descLen > vmdkMaxDesc/vmdkSector || descAt > uint64(in.info.Size):
		in.problem("its descriptor is too large or lies beyond its end")
	default:
		in.checkVMDKDescriptor(in.read(descAt*vmdkSector, int(descLen)*vmdkSector))
	}
	if directory == vmdkGDAtEnd {
		in.checkVMDKFooter(b)
	} else if directory > uint64(in.info.Size)/vmdkSector {
		in.problem("its grain directory lies beyond its end")
	}
}

// checkVMDKFooter checks the copy of the header at the end, which counts instead of the one at the beginning,
// so that it must not say anything else but where the directory is.
func (in *inspection) checkVMDKFooter(header []byte) {
	const footerAt, directory = 2 * vmdkSector, 56
	if in.info.Size < footerAt {
		in.problem("its footer is cut off")
		return
	}
	footer := in.read(uint64(in.info.Size)-footerAt, vmdkSector)
	if footer == nil || !bytes.Equal(footer[:directory], header[:directory]) ||
		binary.LittleEndian.Uint64(footer[directory:]) > uint64(in.info.Size)/vmdkSector {
		in.problem("its footer is missing or contradicts its header")
	}
}

// checkVMDKDescriptor checks the text that says what the disk is made of. A line that is not understood may
// mean anything to another program.
func (in *inspection) checkVMDKDescriptor(text []byte) {
	if text == nil {
		in.problem("its descriptor lies beyond its end")
		return
	}
	text, _, _ = bytes.Cut(text, []byte{0})
	var kind string
	extents := 0
	for line := range strings.Lines(strings.ToLower(string(text))) {
		line = strings.TrimSpace(line)
		key, value, isField := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
		switch {
		case line == "" || line[0] == '#' || strings.HasPrefix(line, "ddb."):
		case isField && !strings.ContainsAny(key, " \t\""):
			switch {
			case key == "createtype":
				kind += value // twice is neither
			case key == "parentcid" && value != vmdkNoParent, key == "parentfilenamehint":
				in.problem("it names a parent disk")
			case key == "changetrackpath":
				in.problem("it names a file that tracks its changes")
			}
		case isVMDKExtent(line):
			extents++
		default:
			in.problem("its descriptor has a line that is not understood or names another file")
			return
		}
	}
	if kind != "monolithicsparse" && kind != "streamoptimized" {
		in.problem("its VMDK type is neither monolithicSparse nor streamOptimized")
	}
	if extents != 1 {
		in.problem("it has %d extents", extents)
	}
}

// isVMDKExtent tells whether a line describes an extent in this very file: RW, its sectors, SPARSE, and a name
// that is not a path.
func isVMDKExtent(line string) bool {
	head, rest, ok := strings.Cut(line, `"`)
	name, tail, closed := strings.Cut(rest, `"`)
	fields := strings.Fields(head)
	if !ok || !closed || len(fields) != 3 || strings.TrimSpace(tail) != "" {
		return false
	}
	_, err := strconv.ParseUint(fields[1], 10, 63)
	return fields[0] == "rw" && err == nil && fields[2] == "sparse" && name != "" && !strings.ContainsAny(name, `/\:`)
}
