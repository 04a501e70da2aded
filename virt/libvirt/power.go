package libvirt

import (
	"context"
	"errors"
	"fmt"

	rpc "github.com/digitalocean/go-libvirt"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// Start powers the domain on.
func (d *Driver) Start(ctx context.Context, id cluster.InstanceID) error {
	dom, err := d.find(ctx, id)
	if err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	d.crash.set(id, false)
	saved := d.needSaved(ctx, dom)
	if saved != nil && !errors.Is(saved, virt.ErrNotRunning) {
		return fmt.Errorf("start %s: %w", id, saved)
	}
	create := func(l *rpc.Libvirt) error {
		_, err := l.DomainCreateWithFlags(dom, 0)
		return err
	}
	if saved == nil { // reading a large memory takes its time
		err = d.slowly(ctx, "restore domain", create)
	} else {
		err = tell(ctx, d.rpc, "create domain", create)
	}
	if err = d.unless(ctx, err, dom, true); err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	return nil
}

// Stop powers the domain off, at once or by its power button.
func (d *Driver) Stop(ctx context.Context, id cluster.InstanceID, how virt.StopMode) error {
	dom, err := d.find(ctx, id)
	if err != nil {
		return fmt.Errorf("stop %s: %w", id, err)
	}
	if how == virt.Shutdown {
		err = d.shutdown(ctx, dom)
	} else if err = d.destroy(ctx, dom); err == nil {
		err = d.unsave(ctx, dom)
	}
	if err != nil {
		return fmt.Errorf("stop %s: %w", id, err)
	}
	if how == virt.Destroy {
		d.crash.set(id, true)
	}
	return nil
}

func (d *Driver) shutdown(ctx context.Context, dom rpc.Domain) error {
	flags := rpc.DomainShutdownAcpiPowerBtn
	if d.cfg.mock() { // has no power button
		flags = 0
	}
	err := tell(ctx, d.rpc, "shut down domain", func(l *rpc.Libvirt) error { return l.DomainShutdownFlags(dom, flags) })
	return d.unless(ctx, err, dom, false)
}

func (d *Driver) destroy(ctx context.Context, dom rpc.Domain) error {
	err := tell(ctx, d.rpc, "destroy domain", func(l *rpc.Libvirt) error { return l.DomainDestroyFlags(dom, 0) })
	return d.unless(ctx, err, dom, false)
}

// unless drops libvirt's complaint about an operation when the domain already is what the operation would have
// made it.
func (d *Driver) unless(ctx context.Context, err error, dom rpc.Domain, active bool) error {
	if err == nil || !fromLibvirt(err) || errors.Is(err, virt.ErrNotFound) {
		return err
	}
	is, lookErr := d.active(ctx, dom)
	if lookErr != nil {
		return errors.Join(err, lookErr)
	}
	if is == active {
		return nil
	}
	return err
}

// Remove powers the domain off and deletes its definition.
func (d *Driver) Remove(ctx context.Context, id cluster.InstanceID) error {
	dom, stamp, err := d.findStamped(ctx, id)
	if errors.Is(err, virt.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", id, err)
	}
	if at, err := d.store.at(id); err != nil {
		return fmt.Errorf("remove %s: %w", id, err)
	} else if err := at.adopt(stamp.Epoch); err != nil {
		return fmt.Errorf("remove %s: %w", id, err)
	}
	d.forgetSecrets(ctx, dom)
	err = d.destroy(ctx, dom)
	d.views.forget(id)
	if err == nil {
		flags := rpc.DomainUndefineManagedSave | rpc.DomainUndefineSnapshotsMetadata
		if !d.cfg.mock() {
			flags |= rpc.DomainUndefineCheckpointsMetadata | rpc.DomainUndefineKeepNvram
		}
		err = tell(ctx, d.rpc, "undefine domain", func(l *rpc.Libvirt) error { return l.DomainUndefineFlags(dom, flags) })
	}
	d.crash.set(id, false)
	if err != nil && !errors.Is(err, virt.ErrNotFound) { // a transient domain is gone once it is off
		return fmt.Errorf("remove %s: %w", id, err)
	}
	return nil
}
