package chunk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kilonova/kilonova/cluster"
)

// Size is the length in bytes of every chunk of an image but its last.
const Size = 4 << 20

// MaxImage is the largest image in bytes: 1 TiB. Its manifest has 8 MiB.
const MaxImage = 1 << 40

// manifestMagic begins an encoded manifest and names the version of its layout.
const manifestMagic = "KNMANIF1"

const (
	manifestHead = len(manifestMagic) + 8
	hashLen      = sha256.Size
	maxManifest  = manifestHead + MaxImage/Size*hashLen
)

// Manifest lists the chunks of an image.
type Manifest struct {
	Size int64 // bytes of the whole image

	// Chunks are the hashes of its chunks in order. The zero hash stands for a chunk of zeros, which is
	// stored nowhere.
	Chunks []cluster.Hash
}

// Encode gives the only encoding of the manifest: the magic, the size in bytes as 64 bits big-endian, and the
// hashes.
func (m Manifest) Encode() []byte {
	b := make([]byte, 0, manifestHead+len(m.Chunks)*hashLen)
	b = append(b, manifestMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Size))
	for _, h := range m.Chunks {
		b = append(b, h[:]...)
	}
	return b
}

// Root gives the hash that names the image.
func (m Manifest) Root() cluster.Hash { return sha256.Sum256(m.Encode()) }

// Length gives the length in bytes of chunk i.
func (m Manifest) Length(i int) int { return int(min(Size, m.Size-int64(i)*Size)) }

// ParseManifest decodes what Encode made, and nothing else.
func ParseManifest(b []byte) (Manifest, error) {
	if len(b) < manifestHead || !bytes.HasPrefix(b, []byte(manifestMagic)) {
		return Manifest{}, errors.New("not an image manifest")
	}
	size := binary.BigEndian.Uint64(b[len(manifestMagic):])
	if size > MaxImage {
		return Manifest{}, fmt.Errorf("manifest of %d bytes, more than the %d that an image may have", size, int64(MaxImage))
	}
	count := int((size + Size - 1) / Size)
	if len(b) != manifestHead+count*hashLen {
		return Manifest{}, fmt.Errorf("manifest of %d bytes in %d, which does not list %d chunks", size, len(b), count)
	}
	m := Manifest{Size: int64(size), Chunks: make([]cluster.Hash, count)}
	for i := range m.Chunks {
		copy(m.Chunks[i][:], b[manifestHead+i*hashLen:])
	}
	return m, nil
}

// zeros is what a chunk of zeros is compared with.
var zeros [Size]byte

func isZero(data []byte) bool { return bytes.Equal(data, zeros[:len(data)]) }
