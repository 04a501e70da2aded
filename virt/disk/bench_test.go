package disk

import (
	"path/filepath"
	"strconv"
	"testing"
)

// What a guest's first start pays for its root disk.
func BenchmarkCreateOverlay(b *testing.B) {
	base := filepath.Join(b.TempDir(), "base.qcow2")
	if err := CreateEmpty(b.Context(), base, mib); err != nil {
		b.Skip(err)
	}
	dir := b.TempDir()
	for i := 0; b.Loop(); i++ {
		if err := CreateOverlay(b.Context(), filepath.Join(dir, strconv.Itoa(i)), base, QCOW2, 8*mib); err != nil {
			b.Fatal(err)
		}
	}
}
