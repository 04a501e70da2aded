package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// The parts of the qcow2 format (QEMU's docs/interop/qcow2.txt) that a disk with one used cluster needs.
const (
	qcow2Magic      = 0x514649fb // "QFI\xfb"
	qcow2Version    = 3
	qcow2Header     = 104 // bytes
	backingFormat   = 0xe2792aca
	clusterBits     = 16
	clusterBytes    = 1 << clusterBits
	entriesPerL2    = clusterBytes / 8
	copied          = 1 << 63 // in an L1 or L2 entry: its cluster has one user
	compressed      = 1 << 62
	offsetMask      = 0x00fffffffffffe00
	minVirtualBytes = 1 << 20
	maxVirtualBytes = 16 << 40
	maxBackingName  = 1023
)

// encodeQCOW2 makes a whole image whose first cluster holds the notes and whose rest reads as zeros, or as the
// backing file, if there is one.
func encodeQCOW2(n notes, virtual int64, backing string) []byte {
	virtual = (max(virtual, minVirtualBytes) + 511) &^ 511
	content := n.bytes()
	l1Entries := (virtual + entriesPerL2*clusterBytes - 1) / (entriesPerL2 * clusterBytes)
	l1Clusters := (l1Entries*8 + clusterBytes - 1) / clusterBytes
	const table, block, l1 = 1, 2, 3
	l2 := l1 + l1Clusters
	clusters := l2
	if len(content) > 0 {
		clusters += 2
	}
	img := make([]byte, clusters*clusterBytes)
	be := binary.BigEndian

	be.PutUint32(img, qcow2Magic)
	be.PutUint32(img[4:], qcow2Version)
	be.PutUint32(img[20:], clusterBits)
	be.PutUint64(img[24:], uint64(virtual))
	be.PutUint32(img[36:], uint32(l1Entries))
	be.PutUint64(img[40:], l1*clusterBytes)
	be.PutUint64(img[48:], table*clusterBytes)
	be.PutUint32(img[56:], 1) // clusters of the refcount table
	be.PutUint32(img[96:], 4) // refcounts of 16 bits
	be.PutUint32(img[100:], qcow2Header)
	if backing != "" {
		ext := img[qcow2Header:]
		be.PutUint32(ext, backingFormat)
		be.PutUint32(ext[4:], uint32(len(formatRaw)))
		copy(ext[8:], formatRaw)
		name := qcow2Header + 8 + 8 + 8 // the extension, padded, and the end of the extensions
		be.PutUint64(img[8:], uint64(name))
		be.PutUint32(img[16:], uint32(copy(img[name:], backing)))
	}

	be.PutUint64(img[table*clusterBytes:], block*clusterBytes)
	for i := range clusters {
		be.PutUint16(img[block*clusterBytes+2*i:], 1)
	}
	if len(content) > 0 {
		be.PutUint64(img[l1*clusterBytes:], uint64(l2)*clusterBytes|copied)
		be.PutUint64(img[l2*clusterBytes:], uint64(l2+1)*clusterBytes|copied)
		copy(img[(l2+1)*clusterBytes:], content)
	}
	return img
}

// decodeQCOW2 reads the notes at the beginning of an image and its virtual size. Where the image is one of a real
// guest, there are none.
func decodeQCOW2(r io.ReaderAt) (n notes, virtual int64, err error) {
	var h [qcow2Header]byte
	if _, err := r.ReadAt(h[:72], 0); err != nil {
		return n, 0, fmt.Errorf("read its header: %w", err)
	}
	be := binary.BigEndian
	if be.Uint32(h[:]) != qcow2Magic {
		return n, 0, errors.New("it is no qcow2 image")
	}
	bits := be.Uint32(h[20:])
	size := be.Uint64(h[24:])
	switch {
	case bits < 9 || bits > 21:
		return n, 0, fmt.Errorf("its clusters have 2^%d bytes", bits)
	case size > maxVirtualBytes:
		return n, 0, fmt.Errorf("its virtual size of %d bytes is absurd", size)
	case be.Uint32(h[36:]) == 0 || be.Uint32(h[32:]) != 0: // nothing on it, or encrypted
		return n, int64(size), nil
	}
	l2, err := entry64(r, be.Uint64(h[40:]))
	if err != nil || l2 == 0 {
		return n, int64(size), err
	}
	data, err := entry64(r, l2)
	if err != nil || data == 0 {
		return n, int64(size), err
	}
	content := make([]byte, maxNotes)
	got, err := r.ReadAt(content[:min(maxNotes, 1<<bits)], int64(data))
	if err != nil && !errors.Is(err, io.EOF) {
		return n, 0, fmt.Errorf("read its first cluster: %w", err)
	}
	return parseNotes(content[:got]), int64(size), nil
}

// entry64 reads the first entry of the table at off; 0: it leads nowhere.
func entry64(r io.ReaderAt, off uint64) (uint64, error) {
	var e [8]byte
	if off > maxVirtualBytes {
		return 0, fmt.Errorf("a table at %d is beyond its end", off)
	}
	if _, err := r.ReadAt(e[:], int64(off)); err != nil {
		return 0, fmt.Errorf("read the table at %d: %w", off, err)
	}
	v := binary.BigEndian.Uint64(e[:])
	if v&compressed != 0 || v&1 != 0 {
		return 0, nil
	}
	return v & offsetMask, nil
}

// decodeDisk is for an image in either format. size is that of the file.
func decodeDisk(r io.ReaderAt, format string, size int64) (notes, int64, error) {
	if format == formatQCOW2 {
		return decodeQCOW2(r)
	}
	content := make([]byte, min(maxNotes, max(size, 0)))
	got, err := r.ReadAt(content, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return notes{}, 0, err
	}
	return parseNotes(content[:got]), size, nil
}

// readBase reads what a new disk on a base image would show. A base image that is not there, or that is no image,
// shows nothing: a simulated host does not need them.
func readBase(path, format string) (notes, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return notes{}, 0, nil // as said above
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return notes{}, 0, err
	}
	n, bytes, err := decodeDisk(f, format, info.Size())
	if err != nil {
		return notes{}, 0, nil // as said above
	}
	return n, bytes, nil
}
