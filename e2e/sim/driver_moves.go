package sim

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// Stamp implements virt.Driver.
func (d *driver) Stamp(ctx context.Context, s virt.Stamp) error {
	return d.call(ctx, sim.OpStamp, s.Instance, func(ctx context.Context) error { return d.Driver.Stamp(ctx, s) })
}

// Pause implements virt.Driver.
func (d *driver) Pause(ctx context.Context, id cluster.InstanceID) error {
	return d.call(ctx, sim.OpPause, id, func(ctx context.Context) error { return d.Driver.Pause(ctx, id) })
}

// Unpause implements virt.Driver. A guest that goes on is looked at like one that is started.
func (d *driver) Unpause(ctx context.Context, id cluster.InstanceID) error {
	asked := time.Now()
	return d.call(ctx, sim.OpUnpause, id, func(ctx context.Context) error {
		return d.running(id, asked, true, func() error { return d.Driver.Unpause(ctx, id) })
	})
}

// Save implements virt.Driver.
func (d *driver) Save(ctx context.Context, id cluster.InstanceID) error {
	return d.call(ctx, sim.OpSave, id, func(ctx context.Context) error { return d.Driver.Save(ctx, id) })
}

// AttachNIC implements virt.Driver.
func (d *driver) AttachNIC(ctx context.Context, id cluster.InstanceID, n virt.NIC) error {
	return d.call(ctx, sim.OpAttachNIC, id, func(ctx context.Context) error { return d.Driver.AttachNIC(ctx, id, n) })
}

// DetachNIC implements virt.Driver.
func (d *driver) DetachNIC(ctx context.Context, id cluster.InstanceID, mac string) error {
	return d.call(ctx, sim.OpDetachNIC, id, func(ctx context.Context) error { return d.Driver.DetachNIC(ctx, id, mac) })
}

// Capture implements virt.Driver.
func (d *driver) Capture(ctx context.Context, id cluster.InstanceID, disk virt.DiskID, path string, quiesce bool, progress func(int)) error {
	return d.call(ctx, sim.OpCapture, id, func(ctx context.Context) error {
		held, _ := d.Look(id)
		d.w.blobs.captured(path, held.Root.Wrote)
		return d.Driver.Capture(ctx, id, disk, path, quiesce, progress)
	})
}

// Export implements virt.Driver.
func (d *driver) Export(ctx context.Context, id cluster.InstanceID, epoch uint64) ([]virt.ExportedDisk, error) {
	answer := make(chan []virt.ExportedDisk, 1)
	err := d.call(ctx, sim.OpExport, id, func(ctx context.Context) error {
		disks, err := d.Driver.Export(ctx, id, epoch)
		answer <- disks
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-answer, nil
}

// Receive implements virt.Driver.
func (d *driver) Receive(ctx context.Context, g virt.Guest) (virt.Landing, error) {
	answer := make(chan virt.Landing, 1)
	err := d.call(ctx, sim.OpReceive, g.Stamp.Instance, func(ctx context.Context) error {
		l, err := d.Driver.Receive(ctx, g)
		answer <- l
		if err == nil && d.w.cfg.Bug == BugHastyLanding {
			return errors.Join(d.Driver.Build(ctx, g), d.Driver.Start(ctx, g.Stamp.Instance))
		}
		return err
	})
	if err != nil {
		return virt.Landing{}, err
	}
	return <-answer, nil
}

// Migrate implements virt.Driver.
func (d *driver) Migrate(ctx context.Context, id cluster.InstanceID, l virt.Landing, o virt.MigrateOptions, progress func(cluster.MoveProgress)) error {
	return d.call(ctx, sim.OpMigrate, id, func(ctx context.Context) error {
		err := d.Driver.Migrate(ctx, id, l, o, progress)
		if d.w.thorough() {
			d.w.look()
		}
		return err
	})
}

// AbortMigrate implements virt.Driver.
func (d *driver) AbortMigrate(ctx context.Context, id cluster.InstanceID) error {
	return d.call(ctx, sim.OpAbortMigrate, id, func(ctx context.Context) error { return d.Driver.AbortMigrate(ctx, id) })
}

// Import implements virt.Driver.
func (d *driver) Import(ctx context.Context, id cluster.InstanceID, epoch uint64, e virt.ExportedDisk, base virt.RootDisk, minBytes int64) error {
	return d.call(ctx, sim.OpImport, id, func(ctx context.Context) error {
		if err := d.Driver.Import(ctx, id, epoch, e, base, minBytes); err != nil || d.w.cfg.Bug != BugEmptyCopy || e.ID != virt.DiskRoot {
			return err
		}
		empty := virt.ExportedDisk{ID: e.ID, Format: "raw", Bytes: 1 << 20, File: strings.NewReader("")}
		return d.Driver.Import(ctx, id, epoch, empty, base, minBytes)
	})
}
