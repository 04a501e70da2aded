package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// The qcow2 format, as in QEMU's docs/interop/qcow2.txt, as far as empty images and the sizes of others need it.
// Its numbers are big-endian. Writing an empty image here takes a tenth of what starting qemu-img does, and that
// lies on every guest's way to its first start.
const (
	qcow2Magic       = "QFI\xfb"
	qcow2HeadV2      = 72 // bytes
	qcow2HeadV3      = 104
	qcow2ClusterBits = 16
	qcow2Cluster     = 1 << qcow2ClusterBits
	qcow2PerL1       = qcow2Cluster / 8 * qcow2Cluster // bytes of the guest's under one entry of the L1 table
	qcow2RefOrder    = 4                               // refcounts of 16 bits
	qcow2ExtBacking  = 0xe2792aca
	qcow2MaxBacking  = 1023 // bytes of the backing file's name

	qcow2Dirty       = 1 << 0 // the incompatible features
	qcow2Corrupt     = 1 << 1
	qcow2Compression = 1 << 3
	qcow2ExtendedL2  = 1 << 4
)

// qcow2Header is what a new overlay has to know of its base.
type qcow2Header struct {
	version  uint32
	size     uint64
	features uint64 // the incompatible ones
	crypt    uint32
}

// qcow2Image renders an image that holds nothing: all that it is before its first write. Its clusters are: header,
// refcount table, refcount block, L1 table. base may be "".
func qcow2Image(sizeBytes int64, base string, baseFormat Format) ([]byte, error) {
	if len(base) > qcow2MaxBacking {
		return nil, fmt.Errorf("the base image's path is longer than %d bytes", qcow2MaxBacking)
	}
	entries := (sizeBytes + qcow2PerL1 - 1) / qcow2PerL1
	tableClusters := (entries*8 + qcow2Cluster - 1) / qcow2Cluster
	const table = 3 // cluster
	b := make([]byte, (table+tableClusters)*qcow2Cluster)

	u32, u64 := binary.BigEndian.PutUint32, binary.BigEndian.PutUint64
	copy(b, qcow2Magic)
	u32(b[4:], 3)
	u32(b[20:], qcow2ClusterBits)
	u64(b[24:], uint64(sizeBytes))
	u32(b[36:], uint32(entries))
	u64(b[40:], table*qcow2Cluster)
	u64(b[48:], 1*qcow2Cluster)
	u32(b[56:], 1) // cluster of refcount table
	u32(b[96:], qcow2RefOrder)
	u32(b[100:], qcow2HeadV3)
	if base != "" {
		at := qcow2HeadV3
		u32(b[at:], qcow2ExtBacking)
		u32(b[at+4:], uint32(len(baseFormat)))
		copy(b[at+8:], baseFormat)
		at += 8 + (len(baseFormat)+7)/8*8
		at += 8 // the extension that ends the list is all zeros
		u64(b[8:], uint64(at))
		u32(b[16:], uint32(len(base)))
		copy(b[at:], base)
	}
	u64(b[1*qcow2Cluster:], 2*qcow2Cluster)
	for i := range int(table + tableClusters) {
		binary.BigEndian.PutUint16(b[2*qcow2Cluster+2*i:], 1)
	}
	return b, nil
}

// readQCOW2 reads the header of an image that is to be a base.
func readQCOW2(r io.ReaderAt) (qcow2Header, error) {
	b := make([]byte, qcow2HeadV3)
	n, err := r.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return qcow2Header{}, err
	}
	if n < qcow2HeadV2 || !bytes.HasPrefix(b, []byte(qcow2Magic)) {
		return qcow2Header{}, errors.New("it is no qcow2 image")
	}
	h := qcow2Header{version: binary.BigEndian.Uint32(b[4:]), size: binary.BigEndian.Uint64(b[24:]),
		crypt: binary.BigEndian.Uint32(b[32:])}
	bits := binary.BigEndian.Uint32(b[20:])
	switch {
	case h.version != 2 && h.version != 3, h.version == 3 && n < qcow2HeadV3:
		return h, fmt.Errorf("it is qcow version %d, or cut off", h.version)
	case bits < 9 || bits > 21:
		return h, fmt.Errorf("its clusters of 2^%d bytes are out of range", bits)
	case h.size > math.MaxInt64:
		return h, fmt.Errorf("its size of %d bytes is absurd", h.size)
	}
	if h.version == 3 {
		h.features = binary.BigEndian.Uint64(b[72:])
	}
	return h, nil
}

// baseSize gives the size that a guest sees of a base image, and refuses one that no guest should read from.
func baseSize(path string, format Format) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, errors.New("the base image is no regular file")
	}
	if format == Raw {
		// QEMU reads a last, partial sector as if zeros followed.
		return (info.Size() + sector - 1) / sector * sector, nil
	}
	h, err := readQCOW2(f)
	switch known := uint64(qcow2Dirty | qcow2Compression | qcow2ExtendedL2); {
	case err != nil:
		return 0, fmt.Errorf("base image %s: %w", path, err)
	case h.crypt != 0:
		return 0, fmt.Errorf("base image %s is encrypted", path)
	case h.features&qcow2Corrupt != 0:
		return 0, fmt.Errorf("base image %s is marked as corrupt", path)
	case h.features&^known != 0:
		return 0, fmt.Errorf("base image %s has features %#x, which are not supported", path, h.features&^known)
	}
	return int64(h.size), nil
}

// CheckFeatures refuses a qcow2 file whose data is elsewhere, or of which its own mark says that it is broken, before
// any other program opens it.
func CheckFeatures(path string) error {
	if _, err := baseSize(path, QCOW2); err != nil {
		return fmt.Errorf("check disk: %w", err)
	}
	return nil
}
