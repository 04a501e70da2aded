package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// act makes one call of the hypervisor: it suffers the faults, brings the records up to the present, and runs
// f with the lock held.
func act[T any](ctx context.Context, d *Driver, op Op, f func() (T, error)) (T, error) {
	var zero T
	lose, err := d.suffer(ctx, op)
	if err != nil {
		return zero, err
	}
	v, err := locked(d, op, f)
	if err == nil && lose {
		return zero, fmt.Errorf("%s: the answer was lost: %w", op, virt.ErrUnavailable)
	}
	return v, err
}

// locked brings the records up to the present and runs f with the lock held.
func locked[T any](d *Driver, op Op, f func() (T, error)) (T, error) {
	var zero T
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return zero, fmt.Errorf("%s: the driver is closed: %w", op, virt.ErrUnavailable)
	}
	if err := d.settle(d.cfg.Now()); err != nil {
		return zero, err
	}
	return f()
}

func (d *Driver) do(ctx context.Context, op Op, f func() error) error {
	_, err := act(ctx, d, op, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// put stores the record, on disk first, and tells about it. The lock is held.
func (d *Driver) put(id cluster.InstanceID, r record) error {
	if d.journal != nil {
		if err := d.journal.write(entry{ID: id, Boot: d.cfg.HostBoot, Record: &r}); err != nil {
			return fmt.Errorf("record %s: %w", id, err)
		}
	}
	d.records[id] = r
	d.followMirror(id, &r)
	d.expect(r)
	if !r.Defined || !r.up() {
		d.hangUp(id)
	}
	return d.changed(id)
}

// drop forgets the record, on disk first, and tells about it. The lock is held.
func (d *Driver) drop(id cluster.InstanceID) error {
	if d.journal != nil {
		if err := d.journal.write(entry{ID: id}); err != nil {
			return fmt.Errorf("forget %s: %w", id, err)
		}
	}
	delete(d.records, id)
	d.followMirror(id, nil)
	return d.changed(id)
}

func (d *Driver) changed(id cluster.InstanceID) error {
	d.hint(id)
	select {
	case d.wake <- struct{}{}:
	default:
	}
	if d.journal == nil || !d.journal.crowded(len(d.records)) {
		return nil
	}
	if err := d.journal.rewrite(d.records, d.cfg.HostBoot); err != nil {
		return fmt.Errorf("shorten the record file: %w", err)
	}
	return nil
}

// hint sends an event, or drops it when nobody has read the last ones. The lock is held, and events is closed
// under the same lock.
func (d *Driver) hint(id cluster.InstanceID) {
	if d.closed {
		return
	}
	select {
	case d.events <- virt.Event{ID: id}:
	default:
	}
}

// expect brings next forward to what the record has planned.
func (d *Driver) expect(r record) {
	if !r.Due.IsZero() && (d.next.IsZero() || r.Due.Before(d.next)) {
		d.next = r.Due
	}
}

// settle carries out what guests were bound to do by now. The lock is held.
func (d *Driver) settle(now time.Time) error {
	if d.next.IsZero() || d.next.After(now) {
		return nil
	}
	for id, r := range d.records {
		if r.Due.IsZero() || r.Due.After(now) {
			continue
		}
		at := r.Due
		if r.DuePower == virt.PowerOff {
			r.powerOff(r.DueReason, at)
		} else {
			r.crash(r.DueReason, at)
		}
		if err := d.put(id, r); err != nil {
			return err
		}
	}
	d.next = time.Time{}
	for _, r := range d.records {
		d.expect(r)
	}
	return nil
}

// run makes guests' own changes happen on time, so that the events come without a call.
func (d *Driver) run() {
	defer d.loop.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if next, ok := d.step(); ok {
			timer.Reset(max(next.Sub(d.cfg.Now()), 0))
		} else {
			timer.Stop()
		}
		select {
		case <-d.done:
			return
		case <-d.wake:
		case <-timer.C:
		}
	}
}

// retryWrite is how long the loop waits before it tries again to record a change.
const retryWrite = time.Second

// step does what is due and says when to come again.
func (d *Driver) step() (next time.Time, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.settle(d.cfg.Now()) != nil {
		// Whoever makes the next call is told; the guest's change is not lost.
		return d.cfg.Now().Add(retryWrite), true
	}
	return d.next, !d.next.IsZero()
}

// bootHost powers off what was recorded under another boot of the host. Nobody else has the Driver yet.
func (d *Driver) bootHost() error {
	for id, r := range d.records {
		if r.boot == d.cfg.HostBoot || !r.up() {
			continue
		}
		r.powerOff("the host went down", d.cfg.Now())
		if err := d.put(id, r); err != nil {
			return err
		}
	}
	return nil
}
