package virt

import (
	"context"
	"net"

	"github.com/kilonova/kilonova/cluster"
)

// Refusing answers ErrUnsupported to what not every driver has. A driver embeds it and defines what it has.
type Refusing struct{}

// Stamp is not supported.
func (Refusing) Stamp(context.Context, Stamp) error { return ErrUnsupported }

// Pause is not supported.
func (Refusing) Pause(context.Context, cluster.InstanceID) error { return ErrUnsupported }

// Unpause is not supported.
func (Refusing) Unpause(context.Context, cluster.InstanceID) error { return ErrUnsupported }

// Save is not supported.
func (Refusing) Save(context.Context, cluster.InstanceID) error { return ErrUnsupported }

// AttachDisk is not supported.
func (Refusing) AttachDisk(context.Context, cluster.InstanceID, Disk) error { return ErrUnsupported }

// DetachDisk is not supported.
func (Refusing) DetachDisk(context.Context, cluster.InstanceID, DiskID) error { return ErrUnsupported }

// ResizeDisk is not supported.
func (Refusing) ResizeDisk(context.Context, cluster.InstanceID, DiskID, int64) error {
	return ErrUnsupported
}

// AttachNIC is not supported.
func (Refusing) AttachNIC(context.Context, cluster.InstanceID, NIC) error { return ErrUnsupported }

// DetachNIC is not supported.
func (Refusing) DetachNIC(context.Context, cluster.InstanceID, string) error { return ErrUnsupported }

// Capture is not supported.
func (Refusing) Capture(context.Context, cluster.InstanceID, DiskID, string, bool, func(int)) error {
	return ErrUnsupported
}

// Export is not supported.
func (Refusing) Export(context.Context, cluster.InstanceID, uint64) ([]ExportedDisk, error) {
	return nil, ErrUnsupported
}

// Import is not supported.
func (Refusing) Import(context.Context, cluster.InstanceID, uint64, ExportedDisk, RootDisk, int64) error {
	return ErrUnsupported
}

// Receive is not supported.
func (Refusing) Receive(context.Context, Guest) (Landing, error) { return Landing{}, ErrUnsupported }

// Migrate is not supported.
func (Refusing) Migrate(context.Context, cluster.InstanceID, Landing, MigrateOptions, func(MigrateProgress)) error {
	return ErrUnsupported
}

// AbortMigrate is not supported.
func (Refusing) AbortMigrate(context.Context, cluster.InstanceID) error { return ErrUnsupported }

// ForceMigrate is not supported.
func (Refusing) ForceMigrate(context.Context, cluster.InstanceID) error { return ErrUnsupported }

// Sockets names none.
func (Refusing) Sockets() Sockets { return Sockets{} }

// Dial is not supported.
func (Refusing) Dial(context.Context, cluster.InstanceID, ConsoleKind) (net.Conn, error) {
	return nil, ErrUnsupported
}

// Diagnostics is not supported.
func (Refusing) Diagnostics(context.Context, cluster.InstanceID) (Diagnostics, error) {
	return Diagnostics{}, ErrUnsupported
}

// SetPassword is not supported.
func (Refusing) SetPassword(context.Context, cluster.InstanceID, string, string) error {
	return ErrUnsupported
}

// Crash is not supported.
func (Refusing) Crash(context.Context, cluster.InstanceID) error { return ErrUnsupported }
