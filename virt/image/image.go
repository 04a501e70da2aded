package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Format is what an image claims to be, in Glance's words, or what its bytes look like.
type Format string

// The formats that an image may claim.
const (
	Raw   Format = "raw"
	QCOW2 Format = "qcow2"
	VMDK  Format = "vmdk"
	VDI   Format = "vdi"
	VHD   Format = "vhd"
	VHDX  Format = "vhdx"
	ISO   Format = "iso"
	AMI   Format = "ami" // a file system or disk
	AKI   Format = "aki" // a kernel
	ARI   Format = "ari" // an initial ramdisk
)

// What bytes may look like besides. None of these can be claimed.
const (
	GPT       Format = "gpt"     // a disk with a GUID partition table
	MBR       Format = "mbr"     // a disk with a DOS partition table
	Kernel    Format = "kernel"  // something that a boot loader would start
	Ramdisk   Format = "ramdisk" // a cpio archive or something compressed
	LUKS      Format = "luks"
	QCOW      Format = "qcow" // version 1
	QED       Format = "qed"
	COWD      Format = "cowd" // VMware's older sparse disk
	Bochs     Format = "bochs"
	Parallels Format = "parallels"
	CLoop     Format = "cloop"
	DMG       Format = "dmg"
)

// Info is what Inspect found.
type Info struct {
	// Formats is all that the bytes look like, without Raw, which everything looks like. Empty: plain data.
	Formats []Format

	Size        int64 // bytes of the image itself
	VirtualSize int64 // bytes that a guest would see
	Encrypted   bool
	Snapshots   int // internal snapshots; they do no harm

	// Problems are reasons never to open the image, as parts of a sentence ("it names a backing file").
	Problems []string
}

// Inspect looks into size bytes. An error means that they could not be read, and not that they are bad.
func Inspect(r io.ReaderAt, size int64) (Info, error) {
	if size < 0 {
		return Info{}, fmt.Errorf("inspect image: a size of %d bytes", size)
	}
	in := &inspection{r: r, info: Info{Size: size, VirtualSize: size}}
	for _, look := range []func(*inspection){
		lookMagic, lookQCOW2, lookVMDK, lookVDI, lookVHD, lookVHDX, lookISO, lookPartitions, lookKernel, lookRamdisk,
	} {
		look(in)
	}
	if size == 0 {
		in.problem("it is empty")
	}
	if in.err != nil {
		return Info{}, fmt.Errorf("inspect image: %w", in.err)
	}
	return in.info, nil
}

// maxRead bounds what is read at once, in bytes.
const maxRead = 1 << 20

// inspection is one call of Inspect. After the first read error every read gives nothing.
type inspection struct {
	r    io.ReaderAt
	info Info
	err  error
}

// found records that the bytes look like a format.
func (in *inspection) found(f Format) { in.info.Formats = append(in.info.Formats, f) }

func (in *inspection) problem(format string, args ...any) {
	in.info.Problems = append(in.info.Problems, fmt.Sprintf(format, args...))
}

// virtual records the size that a guest would see, which comes from the image and may be anything.
func (in *inspection) virtual(bytes uint64) {
	if bytes > 1<<63-1 {
		in.problem("its virtual size of %d bytes is absurd", bytes)
		bytes = 1<<63 - 1
	}
	in.info.VirtualSize = int64(bytes)
}

// read gives n bytes at off, or nil if the image does not have them.
func (in *inspection) read(off uint64, n int) []byte {
	if in.err != nil || n < 0 || n > maxRead || !in.within(off, uint64(n)) {
		return nil
	}
	b := make([]byte, n)
	if _, err := in.r.ReadAt(b, int64(off)); err != nil && !errors.Is(err, io.EOF) {
		in.err = err
		return nil
	} else if err != nil {
		return in.short(b, off)
	}
	return b
}

// short tells a reader that reports the end together with its last bytes from one that is shorter than its
// size says, which is an error of the caller's.
func (in *inspection) short(b []byte, off uint64) []byte {
	n, err := io.ReadFull(io.NewSectionReader(in.r, int64(off), int64(len(b))), b)
	if n < len(b) {
		in.err = fmt.Errorf("it ends before its %d bytes: %w", in.info.Size, err)
		return nil
	}
	return b
}

// within tells whether the image has n bytes at off.
func (in *inspection) within(off, n uint64) bool {
	size := uint64(in.info.Size)
	return off <= size && n <= size-off
}

// has tells whether magic stands at off.
func (in *inspection) has(off uint64, magic string) bool {
	return bytes.Equal(in.read(off, len(magic)), []byte(magic))
}

// lookMagic finds formats that need no more than their mark to be refused.
func lookMagic(in *inspection) {
	for _, m := range []struct {
		off    uint64
		magic  string
		format Format
	}{
		{0, "LUKS\xba\xbe", LUKS},
		{0, "SKUL\xba\xbe", LUKS}, // second header
		{0, "QFI\xfb\x00\x00\x00\x01", QCOW},
		{0, "QED\x00", QED},
		{0, "COWD", COWD},
		{0, "Bochs Virtual HD Image", Bochs},
		{0, "WithoutFreeSpace", Parallels},
		{0, "WithouFreSpacExt", Parallels},
		{0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop", CLoop},
		{uint64(max(in.info.Size, 512)) - 512, "koly", DMG},
	} {
		if in.has(m.off, m.magic) {
			in.found(m.format)
		}
	}
}

// isZero tells whether all bytes are zero.
func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
