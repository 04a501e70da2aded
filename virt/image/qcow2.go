package image

import "encoding/binary"

// QCOW2, as in QEMU's docs/interop/qcow2.txt, whose names are used here. The numbers are big-endian.

const (
	qcow2Magic    = "QFI\xfb"
	qcow2HeadV2   = 72  // bytes
	qcow2HeadV3   = 104 // bytes; later versions may add to it
	qcow2MaxL1    = 32 << 20
	qcow2MaxRefs  = 8 << 20
	qcow2MaxSnaps = 65536
	qcow2MaxExt   = 64 // header extensions; QEMU writes fewer than ten
)

// The incompatible features: who does not know one must not open the image.
const (
	qcow2Dirty = 1 << iota
	qcow2Corrupt
	qcow2DataFile
	qcow2Compression
	qcow2ExtendedL2
	qcow2Unknown // and all above
)

// The header extensions that matter.
const (
	qcow2ExtEnd     = 0
	qcow2ExtBacking = 0xe2792aca
	qcow2ExtData    = 0x44415441
)

// qcow2Header is what is needed of the header.
type qcow2Header struct {
	version     uint32
	backing     uint64
	clusterBits uint32
	size        uint64
	crypt       uint32
	l1Size      uint32
	l1Offset    uint64
	refOffset   uint64
	refClusters uint32
	snapshots   uint32
	snapOffset  uint64
	features    uint64
	refOrder    uint32
	length      uint32
	compression byte
}

func lookQCOW2(in *inspection) {
	if !in.has(0, qcow2Magic) || in.has(0, qcow2Magic+"\x00\x00\x00\x01") {
		return
	}
	in.found(QCOW2)
	h, ok := in.qcow2Header()
	if !ok {
		in.problem("its qcow2 header is cut off")
		return
	}
	in.virtual(h.size)
	in.info.Encrypted = h.crypt != 0
	in.info.Snapshots = int(h.snapshots)
	in.checkQCOW2(h)
}

func (in *inspection) qcow2Header() (qcow2Header, bool) {
	b := in.read(0, qcow2HeadV2)
	if b == nil {
		return qcow2Header{}, false
	}
	u32, u64 := binary.BigEndian.Uint32, binary.BigEndian.Uint64
	h := qcow2Header{
		version: u32(b[4:]), backing: u64(b[8:]), clusterBits: u32(b[20:]), size: u64(b[24:]), crypt: u32(b[32:]),
		l1Size: u32(b[36:]), l1Offset: u64(b[40:]), refOffset: u64(b[48:]), refClusters: u32(b[56:]),
		snapshots: u32(b[60:]), snapOffset: u64(b[64:]), refOrder: 4, length: qcow2HeadV2,
	}
	if h.version < 3 {
		return h, true
	}
	if b = in.read(0, qcow2HeadV3); b == nil {
		return h, false
	}
	h.features, h.refOrder, h.length = u64(b[72:]), u32(b[96:]), u32(b[100:])
	if h.length > qcow2HeadV3 {
		if b = in.read(0, qcow2HeadV3+1); b == nil {
			return h, false
		}
		h.compression = b[qcow2HeadV3]
	}
	return h, true
}

func (in *inspection) checkQCOW2(h qcow2Header) {
	if h.version != 2 && h.version != 3 {
		in.problem("it is qcow version %d", h.version)
		return
	}
	if h.clusterBits < 9 || h.clusterBits > 21 {
		in.problem("its clusters of 2^%d bytes are out of range", h.clusterBits)
		return
	}
	switch {
	case h.backing != 0:
		in.problem("it names a backing file")
	case h.crypt == 1:
		in.problem("it is encrypted with qcow2's own AES, which is not supported")
	case h.crypt > 2:
		in.problem("it is encrypted with the unknown method %d", h.crypt)
	case h.refOrder > 6:
		in.problem("its refcounts of 2^%d bits are out of range", h.refOrder)
	case h.version == 3 && (h.length < qcow2HeadV3 || h.length%8 != 0 || uint64(h.length) > h.clusterSize()):
		in.problem("its header length of %d is out of range", h.length)
		return
	}
	in.checkQCOW2Features(h)
	in.checkQCOW2Extensions(h)
	in.checkQCOW2Tables(h)
}

func (h qcow2Header) clusterSize() uint64 { return 1 << h.clusterBits }

func (in *inspection) checkQCOW2Features(h qcow2Header) {
	if h.features&qcow2DataFile != 0 {
		in.problem("it keeps its data in another file")
	}
	if h.features&qcow2Corrupt != 0 {
		in.problem("it is marked as corrupt")
	}
	if h.features&^(qcow2Unknown-1) != 0 {
		in.problem("it needs the unknown features %#x", h.features&^(qcow2Unknown-1))
	}
	compressed := h.features&qcow2Compression != 0
	if h.compression > 1 || compressed != (h.compression != 0) {
		in.problem("its compression type %d is unknown or not announced", h.compression)
	}
	if h.features&qcow2ExtendedL2 != 0 && h.clusterBits < 14 {
		in.problem("its clusters are too small for subclusters")
	}
}

// checkQCOW2Extensions walks the header extensions, which end with the first cluster at the latest.
func (in *inspection) checkQCOW2Extensions(h qcow2Header) {
	at, end := uint64(h.length), h.clusterSize()
	for range qcow2MaxExt {
		b := in.read(at, 8)
		if b == nil || at+8 > end {
			return // QEMU stops here, too
		}
		kind, length := binary.BigEndian.Uint32(b), uint64(binary.BigEndian.Uint32(b[4:]))
		switch kind {
		case qcow2ExtEnd:
			return
		case qcow2ExtBacking:
			in.problem("it names the format of a backing file")
		case qcow2ExtData:
			in.problem("it names a data file")
		}
		at += 8 + (length+7)&^7
		if at > end {
			in.problem("its header extensions overlap its data")
			return
		}
	}
	in.problem("it has more than %d header extensions", qcow2MaxExt)
}

// checkQCOW2Tables checks that the tables which are read when it is opened are where and as large as they may be.
func (in *inspection) checkQCOW2Tables(h qcow2Header) {
	cluster := h.clusterSize()
	table := func(name string, off, bytes, max uint64) bool {
		switch {
		case bytes > max:
			in.problem("its %s of %d bytes is too large", name, bytes)
		case bytes > 0 && (off == 0 || off%cluster != 0):
			in.problem("its %s is not on a cluster", name)
		case !in.within(off, bytes):
			in.problem("its %s lies beyond its end", name)
		default:
			return true
		}
		return false
	}
	table("refcount table", h.refOffset, uint64(h.refClusters)*cluster, qcow2MaxRefs)
	if h.refClusters == 0 {
		in.problem("it has no refcount table")
	}
	switch {
	case h.snapshots > qcow2MaxSnaps:
		in.problem("it has %d snapshots", h.snapshots)
	case h.snapshots > 0:
		table("snapshot table", h.snapOffset, uint64(h.snapshots), qcow2MaxSnaps)
	}
	if table("L1 table", h.l1Offset, uint64(h.l1Size)*8, qcow2MaxL1) {
		in.checkQCOW2L1(h)
	}
}

// checkQCOW2L1 checks that the L1 table covers the disk and points into the file: one that does not is that of
// an image which was cut off.
func (in *inspection) checkQCOW2L1(h qcow2Header) {
	cluster := h.clusterSize()
	entry := uint64(8)
	if h.features&qcow2ExtendedL2 != 0 {
		entry = 16
	}
	covers := cluster * (cluster / entry) // bytes of the disk by one L1 entry
	if need := h.size/covers + min(h.size%covers, 1); uint64(h.l1Size) < need {
		in.problem("its L1 table of %d entries does not cover its size, which needs %d", h.l1Size, need)
	}
	const (
		offset   = 0x00fffffffffffe00
		reserved = 0x7f000000000001ff
		step     = maxRead / 8
	)
	for first := uint64(0); first < uint64(h.l1Size); first += step {
		b := in.read(h.l1Offset+first*8, int(min(step, uint64(h.l1Size)-first)*8))
		for ; len(b) > 0; b = b[8:] {
			e := binary.BigEndian.Uint64(b)
			if e&reserved != 0 || e&offset%cluster != 0 || e&offset != 0 && !in.within(e&offset, cluster) {
				in.problem("its L1 table points beyond its end or is damaged")
				return
			}
		}
	}
}
