package libvirt

import (
	"context"

	"github.com/kilonova/kilonova/virt/disk"
)

// qemuDisks makes disks with qemu-img.
type qemuDisks struct{}

// CreateOverlay passes on to the disk package.
func (qemuDisks) CreateOverlay(ctx context.Context, path, base, baseFormat string, sizeBytes int64) error {
	return disk.CreateOverlay(ctx, path, base, disk.Format(baseFormat), sizeBytes)
}

// CreateEmpty passes on to the disk package.
func (qemuDisks) CreateEmpty(ctx context.Context, path string, sizeBytes int64) error {
	return disk.CreateEmpty(ctx, path, sizeBytes)
}
