package configdrive

import (
	"encoding/binary"
	"errors"
)

// Positions in an ISO 9660 image, as ECMA-119 numbers them from 0.
const (
	sectorSize         = 2048
	firstDescriptor    = 16 // sector of the primary volume descriptor
	typeSupplementary  = 2  // a Joliet tree's descriptor
	typeTerminator     = 255
	pathTableSizeAt    = 132 // in a descriptor, little-endian
	pathTableAt        = 140
	recordExtentAt     = 2 // in a directory record: both byte orders, 4 bytes each
	recordSizeAt       = 10
	recordFlagsAt      = 25
	recordNameLengthAt = 32
	recordNameAt       = 33
	flagDirectory      = 2
)

var errJoliet = errors.New("the Joliet tree of the image is malformed")

// repairJoliet corrects the Joliet tree that go-diskfs 1.9.4 writes: its path table is right, but each
// directory record of a sub-directory points to the directory of the primary tree, whose names a Joliet reader
// (Windows) cannot decode. Each such record gets the extent that the path table gives.
func repairJoliet(image []byte) error {
	descriptor, err := jolietDescriptor(image)
	if err != nil {
		return err
	}
	table := int(binary.LittleEndian.Uint32(descriptor[pathTableAt:])) * sectorSize
	size := int(binary.LittleEndian.Uint32(descriptor[pathTableSizeAt:]))
	if table < 0 || size < 0 || table+size > len(image) {
		return errJoliet
	}
	rest := image[table : table+size]
	var extents []uint32 // of the directories, in the order of the table: a parent comes before its children
	for len(rest) >= 8 {
		nameLength := int(rest[0])
		entry := 8 + nameLength + nameLength%2
		if entry > len(rest) {
			return errJoliet
		}
		extent, parent := binary.LittleEndian.Uint32(rest[2:]), int(binary.LittleEndian.Uint16(rest[6:]))
		if len(extents) > 0 { // the first is the root
			if parent < 1 || parent > len(extents) {
				return errJoliet
			}
			if err := pointTo(image, extents[parent-1], rest[8:8+nameLength], extent); err != nil {
				return err
			}
		}
		extents = append(extents, extent)
		rest = rest[entry:]
	}
	return nil
}

func jolietDescriptor(image []byte) ([]byte, error) {
	for at := firstDescriptor * sectorSize; at+sectorSize <= len(image); at += sectorSize {
		switch image[at] {
		case typeSupplementary:
			return image[at : at+sectorSize], nil
		case typeTerminator:
			return nil, errJoliet
		}
	}
	return nil, errJoliet
}

// pointTo sets the extent of the sub-directory called name in the directory at the given extent.
func pointTo(image []byte, directory uint32, name []byte, extent uint32) error {
	size, err := directorySize(image, directory)
	if err != nil {
		return err
	}
	childSize, err := directorySize(image, extent)
	if err != nil {
		return err
	}
	start := int(directory) * sectorSize
	for at := start; at < start+size; {
		length := int(image[at])
		if length == 0 { // records do not cross sectors
			at = (at/sectorSize + 1) * sectorSize
			continue
		}
		if length <= recordNameAt || at+length > len(image) {
			return errJoliet
		}
		record := image[at : at+length]
		nameEnd := recordNameAt + int(record[recordNameLengthAt])
		if nameEnd > length {
			return errJoliet
		}
		if record[recordFlagsAt]&flagDirectory != 0 && string(record[recordNameAt:nameEnd]) == string(name) {
			putBoth(record[recordExtentAt:], extent)
			putBoth(record[recordSizeAt:], uint32(childSize))
			return nil
		}
		at += length
	}
	return errJoliet
}

// directorySize gives the length in bytes of the directory at extent, from its record of itself.
func directorySize(image []byte, extent uint32) (int, error) {
	at := int(extent) * sectorSize
	if at+sectorSize > len(image) {
		return 0, errJoliet
	}
	size := int(binary.LittleEndian.Uint32(image[at+recordSizeAt:]))
	if size > len(image)-at {
		return 0, errJoliet
	}
	return size, nil
}

// putBoth writes a number in both byte orders, as ECMA-119 7.3.3 has it.
func putBoth(b []byte, v uint32) {
	binary.LittleEndian.PutUint32(b, v)
	binary.BigEndian.PutUint32(b[4:], v)
}
