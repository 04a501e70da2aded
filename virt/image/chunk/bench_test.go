package chunk_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/kilonova/kilonova/virt/image/chunk"
)

// How fast an upload is taken in, with all its sums and syncs, and how fast it is read, verified.
func BenchmarkStore(b *testing.B) {
	s, err := chunk.OpenStore(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	data := noise(1, 64<<20)
	b.Run("import", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			data[0]++
			for i := 0; i < len(data); i += chunk.Size {
				data[i] = data[0] // so that no chunk is there already
			}
			if _, err := s.Import(b.Context(), bytes.NewReader(data), -1, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	r, err := s.Import(b.Context(), bytes.NewReader(data), -1, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			image, err := s.Open(r.Root)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, image); err != nil {
				b.Fatal(err)
			}
		}
	})
}
