package image_test

import (
	"encoding/binary"
	"fmt"
)

// Small images, made by hand from the specifications, that are all right. Tests spoil one thing each.

type edit func(b []byte) []byte

func apply(b []byte, edits ...edit) []byte {
	for _, e := range edits {
		b = e(b)
	}
	return b
}

func be32(at int, v uint32) edit {
	return func(b []byte) []byte { binary.BigEndian.PutUint32(b[at:], v); return b }
}

func be64(at int, v uint64) edit {
	return func(b []byte) []byte { binary.BigEndian.PutUint64(b[at:], v); return b }
}

func le32(at int, v uint32) edit {
	return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
}

func le64(at int, v uint64) edit {
	return func(b []byte) []byte { binary.LittleEndian.PutUint64(b[at:], v); return b }
}

func text(at int, s string) edit {
	return func(b []byte) []byte { copy(b[at:], s); return b }
}

func cut(n int) edit { return func(b []byte) []byte { return b[:n] } }

func more(n int) edit { return func(b []byte) []byte { return append(b, make([]byte, n)...) } }

const kib, mib = 1 << 10, 1 << 20

// qcow2 is version 3 with clusters of 64 KiB and a disk of 1 GiB: header, refcounts, L1 and one L2 table.
func qcow2(edits ...edit) []byte {
	const cluster = 64 * kib
	b := apply(make([]byte, 5*cluster),
		text(0, "QFI\xfb"), be32(4, 3), be32(20, 16), be64(24, 1<<30),
		be32(36, 2), be64(40, 3*cluster), be64(48, cluster), be32(56, 1),
		be32(96, 4), be32(100, 104), be64(cluster, 2*cluster), be64(3*cluster, 1<<63|4*cluster))
	return apply(b, edits...)
}

// vmdk is monolithicSparse with a disk of 1 GiB.
func vmdk(edits ...edit) []byte {
	b := apply(make([]byte, 64*kib),
		text(0, "KDMV"), le32(4, 1), le32(8, 3), le64(12, 1<<30/512), le64(20, 128),
		le64(28, 1), le64(36, 20), le32(44, 512), le64(48, 21), le64(56, 40), le64(64, 128),
		text(512, descriptor("monolithicSparse", `RW 2097152 SPARSE "d.vmdk"`)))
	return apply(b, edits...)
}

func descriptor(kind, extents string) string {
	return fmt.Sprintf("# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=%q\n\n"+
		"# Extent description\n%s\n\n# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"4\"\n"+
		"ddb.geometry.cylinders = \"2080\"\n", kind, extents)
}

// streamVMDK has its header once more at its end.
func streamVMDK(edits ...edit) []byte {
	b := vmdk(le32(4, 3), le64(56, 1<<64-1), text(512, descriptor("streamOptimized", `RW 2097152 SPARSE "d.vmdk"`)), more(3*512))
	footer := len(b) - 2*512
	copy(b[footer:], b[:512])
	return apply(apply(b, le64(footer+56, 30)), edits...)
}

// vdi is a dynamic disk of 2 MiB.
func vdi(edits ...edit) []byte {
	b := apply(make([]byte, 4*kib),
		text(0x40, "\x7f\x10\xda\xbe"), le32(0x44, 0x10001), le32(0x48, 400), le32(0x4c, 1), le32(0x154, 512),
		le32(0x158, 1024), le64(0x170, 2*mib), le32(0x178, mib), le32(0x180, 2))
	return apply(b, edits...)
}

// sum puts the checksum of b[from:to] at the given place, as VHD has it.
func sum(from, to, at int) edit {
	return func(b []byte) []byte {
		binary.BigEndian.PutUint32(b[at:], 0)
		var s uint32
		for _, c := range b[from:to] {
			s += uint32(c)
		}
		return be32(at, ^s)(b)
	}
}

// vhd is a dynamic disk of 4 MiB: footer, header, block table, footer.
func vhd(edits ...edit) []byte {
	b := apply(make([]byte, 2048),
		text(0, "conectix"), be64(16, 512), be64(40, 4*mib), be64(48, 4*mib), be32(60, 3),
		text(512, "cxsparse"), be64(512+16, 1536), be32(512+28, 2), be32(512+32, 2*mib))
	b = apply(b, edits...)
	if len(b) >= 1536 {
		b = apply(b, sum(0, 512, 64), sum(512, 1536, 512+36))
	}
	return append(b, b[:512]...)
}

// fixedVHD is data and a footer.
func fixedVHD(edits ...edit) []byte {
	footer := apply(make([]byte, 512), text(0, "conectix"), be64(16, 1<<64-1), be64(48, 64*kib), be32(60, 2))
	return append(make([]byte, 64*kib), apply(footer, append(edits, sum(0, 512, 64))...)...)
}

// vhdx is a disk of 1 GiB, as far as its metadata.
func vhdx(edits ...edit) []byte {
	const regions, meta = 192 * kib, 256 * kib
	b := apply(make([]byte, 512*kib),
		text(0, "vhdxfile"), text(regions, "regi"), le32(regions+8, 1),
		text(regions+16, "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"),
		le64(regions+32, meta), le32(regions+40, 128*kib), le32(regions+44, 1),
		text(meta, "metadata"), le32(meta+8, 2<<16),
		text(meta+32, "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"), le32(meta+48, 64*kib),
		text(meta+64, "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"), le32(meta+80, 64*kib+8),
		le32(meta+64*kib, 32*mib), le64(meta+64*kib+8, 1<<30))
	return apply(b, edits...)
}

// mbr is a disk with one partition.
func mbr(edits ...edit) []byte {
	b := apply(make([]byte, 64*kib), text(510, "\x55\xaa"), text(446, "\x80"), text(450, "\x83"), le32(458, 64))
	return apply(b, edits...)
}

func iso(edits ...edit) []byte {
	return apply(make([]byte, 64*kib), append([]edit{text(32*kib, "\x01CD001\x01")}, edits...)...)
}
