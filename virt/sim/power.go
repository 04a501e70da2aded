package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// change makes one call that changes a domain that is built. f changes a copy of its record and tells whether
// there is anything to keep.
func (d *Driver) change(ctx context.Context, op Op, id cluster.InstanceID, f func(r *record, now time.Time) (bool, error)) error {
	return d.do(ctx, op, func() error {
		r, ok := d.records[id]
		if !ok || !r.Defined {
			return fmt.Errorf("%s %s: %w", op, id, virt.ErrNotFound)
		}
		keep, err := f(&r, d.cfg.Now())
		if err != nil {
			return fmt.Errorf("%s %s: %w", op, id, err)
		}
		if !keep {
			return nil
		}
		return d.put(id, r)
	})
}

// Start powers the domain on. Its guest has booted Config.Boot later, or goes on at once from saved memory.
func (d *Driver) Start(ctx context.Context, id cluster.InstanceID) error {
	return d.change(ctx, OpStart, id, func(r *record, now time.Time) (bool, error) {
		switch {
		case r.up():
			return false, nil
		case r.Power != virt.PowerOff:
			return false, fmt.Errorf("it is %s, not off", powerName(r.Power))
		}
		if b := d.missingBridge(r.NICs); b != "" {
			return false, fmt.Errorf("this host has no bridge %q", b)
		}
		if r.Saved {
			r.Power, r.Reason, r.Saved = virt.PowerRunning, "restored", false
			r.goOn(now)
			r.say(now, "sim: went on from saved memory, of boot %d", r.lastBoot().Count)
		} else {
			r.powerOn(now)
		}
		if f := d.faults[OpStart]; f != nil && f.GuestCrash > 0 {
			r.plan(now, f.GuestCrash, virt.PowerCrashed, "panicked")
		}
		return true, nil
	})
}

func (d *Driver) missingBridge(cards []nic) string {
	for _, n := range cards {
		if d.cfg.Host.Bridges != nil && !d.cfg.Host.Bridges[n.Bridge] {
			return n.Bridge
		}
	}
	return ""
}

// Stop powers the domain off, at once or, for virt.Shutdown, after Config.Shutdown.
func (d *Driver) Stop(ctx context.Context, id cluster.InstanceID, how virt.StopMode) error {
	return d.change(ctx, OpStop, id, func(r *record, now time.Time) (bool, error) {
		switch {
		case how == virt.Destroy && r.Saved:
			r.end(virt.PowerOff, "saved memory was dropped", now)
		case r.Power == virt.PowerOff:
			return false, nil
		case how == virt.Destroy:
			r.powerOff("destroyed", now)
		case r.Power != virt.PowerRunning || d.cfg.Shutdown < 0 || !r.Due.IsZero():
			return false, nil // the guest does not hear the button, ignores it, or was told already
		default:
			r.plan(now, d.cfg.Shutdown, virt.PowerOff, "shutdown")
		}
		return true, nil
	})
}

// Pause halts the guest's processors.
func (d *Driver) Pause(ctx context.Context, id cluster.InstanceID) error {
	return d.change(ctx, OpPause, id, func(r *record, now time.Time) (bool, error) {
		switch r.Power {
		case virt.PowerPaused:
			return false, nil
		case virt.PowerRunning:
			r.Power, r.Reason = virt.PowerPaused, "user"
			r.halt(now)
			return true, nil
		}
		return false, fmt.Errorf("it is %s: %w", powerName(r.Power), virt.ErrNotRunning)
	})
}

// Unpause lets a paused guest go on.
func (d *Driver) Unpause(ctx context.Context, id cluster.InstanceID) error {
	return d.change(ctx, OpUnpause, id, func(r *record, now time.Time) (bool, error) {
		switch r.Power {
		case virt.PowerRunning:
			return false, nil
		case virt.PowerPaused:
			r.Power, r.Reason, r.Leaving = virt.PowerRunning, "unpaused", virt.PowerUnknown
			r.goOn(now)
			r.say(now, "sim: unpaused")
			return true, nil
		}
		return false, fmt.Errorf("it is %s: %w", powerName(r.Power), virt.ErrNotRunning)
	})
}

// Save keeps the guest's memory in the record and powers the domain off.
func (d *Driver) Save(ctx context.Context, id cluster.InstanceID) error {
	return d.change(ctx, OpSave, id, func(r *record, now time.Time) (bool, error) {
		switch {
		case r.Saved:
			return false, nil
		case !r.up():
			return false, fmt.Errorf("it is %s: %w", powerName(r.Power), virt.ErrNotRunning)
		}
		r.say(now, "sim: memory saved")
		r.halt(now)
		r.Power, r.Reason, r.Saved = virt.PowerOff, "saved", true
		r.Mirror = mirroring{}
		return true, nil
	})
}

// Stamp puts another stamp on a domain and changes nothing else of it.
func (d *Driver) Stamp(ctx context.Context, s virt.Stamp) error {
	return d.change(ctx, OpStamp, s.Instance, func(r *record, _ time.Time) (bool, error) {
		if r.Stamp.Cluster != s.Cluster {
			return false, fmt.Errorf("the domain is not ours")
		}
		changed := r.Stamp != s
		r.Stamp = s
		return changed, nil
	})
}

// Remove powers the domain off and forgets its definition.
func (d *Driver) Remove(ctx context.Context, id cluster.InstanceID) error {
	return d.do(ctx, OpRemove, func() error {
		r, ok := d.records[id]
		if !ok || !r.Defined && r.Arriving == nil {
			return nil
		}
		r.powerOff("destroyed", d.cfg.Now())
		r.Arriving = nil
		r.Defined, r.Storage.Volumes, r.NICs = false, nil, nil
		return d.put(id, r)
	})
}

// RemoveDisks forgets disks that no defined domain uses, and with the last ones the console.
func (d *Driver) RemoveDisks(ctx context.Context, id cluster.InstanceID, through, keep uint64) error {
	return d.do(ctx, OpRemoveDisks, func() error {
		r, ok := d.records[id]
		if !ok {
			return nil
		}
		left, used := r.Storage.without(through, keep)
		switch {
		case r.Defined && used:
			return fmt.Errorf("remove disks of %s: its domain is still defined and uses them", id)
		case len(left.Files) == 0 && !r.Defined:
			return d.drop(id)
		case len(left.Files) == len(r.Storage.Files):
			return nil
		}
		r.Storage = left
		return d.put(id, r)
	})
}
