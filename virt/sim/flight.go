package sim

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// flight is one migration, at its source.
type flight struct {
	driver   *Driver
	job      *job
	id       cluster.InstanceID
	landing  virt.Landing
	options  virt.MigrateOptions
	verdict  verdict
	progress func(cluster.MoveProgress)

	conns               []*stream
	daemon, memory, nbd *stream
}

// fly makes the migration.
func (f *flight) fly(ctx context.Context) (err error) {
	defer func() {
		for _, s := range f.conns {
			f.driver.release(s.Conn)
		}
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", virt.ErrUnavailable, errors.Join(ctx.Err(), err))
		}
	}()
	if f.daemon, err = f.dial(ctx, f.landing.Libvirt); err != nil {
		return fmt.Errorf("reach the destination: %w", err)
	}
	if there, err := f.settled(); err != nil || there {
		return err
	}
	if err := f.begin(ctx); err != nil {
		return err
	}
	if err := f.driver.toil(ctx, OpMigrate, f.verdict, func(percent int) error { return f.step(ctx, percent) }); err != nil {
		return err
	}
	return f.handOver()
}

// dial makes a connection that ends with ctx, with the driver or with the flight.
func (f *flight) dial(ctx context.Context, path string) (*stream, error) {
	c, err := f.driver.net.Dial(ctx, path)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { c.Close() })
	f.driver.hold(c)
	s := newStream(c)
	f.conns = append(f.conns, s)
	return s, nil
}

// settled looks what came of an earlier migration whose end nobody was told. If the guest does not run there, it goes
// on here.
func (f *flight) settled() (there bool, err error) {
	r, err := f.look()
	if err != nil || r.Leaving == virt.PowerUnknown {
		return false, err
	}
	reply, err := f.daemon.call(message{Call: callQuery, ID: f.id, Landing: f.landing})
	if err != nil {
		return false, fmt.Errorf("%w: %w", virt.ErrUnavailable, err)
	}
	if reply.Running {
		return true, f.leave()
	}
	return false, f.stay()
}

// look gives the guest's record, which has to be that of one that is up.
func (f *flight) look() (record, error) {
	return locked(f.driver, OpMigrate, f.record)
}

// record is look when the lock is held.
func (f *flight) record() (record, error) {
	r, ok := f.driver.records[f.id]
	return r, onlyUp(OpMigrate, f.id, r, ok)
}

// change changes the guest's record.
func (f *flight) change(do func(*record, time.Time) error) (record, error) {
	return locked(f.driver, OpMigrate, func() (record, error) {
		r, err := f.record()
		if err == nil {
			err = do(&r, f.driver.cfg.Now())
		}
		if err != nil {
			return r, err
		}
		return r, f.driver.put(f.id, r)
	})
}

// stay lets a guest that was handed over go on here.
func (f *flight) stay() error {
	_, err := f.change(func(r *record, now time.Time) error {
		if r.Leaving == virt.PowerRunning {
			r.Power, r.Reason = virt.PowerRunning, "its migration failed"
			r.goOn(now)
		}
		r.Leaving = virt.PowerUnknown
		return nil
	})
	return err
}

// leave forgets the guest's definition here: it runs there.
func (f *flight) leave() error {
	_, err := f.change(func(r *record, now time.Time) error {
		r.powerOff("migrated", now)
		r.Defined, r.Storage.Volumes, r.NICs = false, nil, nil
		return nil
	})
	return err
}

// begin lets the destination get ready and opens the connections for memory and disks.
func (f *flight) begin(ctx context.Context) error {
	r, err := f.look()
	if err == nil {
		err = f.checkCopies(&r)
	}
	if err != nil {
		return err
	}
	_, err = f.daemon.call(message{Call: callBegin, ID: f.id, Record: &r, Landing: f.landing,
		Memory: filepath.Base(f.landing.Memory), NBD: filepath.Base(f.landing.NBD)})
	if err != nil {
		return err
	}
	if f.nbd, err = f.dial(ctx, f.landing.NBD); err != nil {
		return fmt.Errorf("reach the destination's disks: %w", err)
	}
	if f.memory, err = f.dial(ctx, f.landing.Memory); err != nil {
		return fmt.Errorf("reach the destination's memory: %w", err)
	}
	return f.sendDisks(r, false)
}

// checkCopies refuses disks that cannot be copied.
func (f *flight) checkCopies(r *record) error {
	for _, id := range f.options.CopyDisks {
		switch {
		case r.Storage.volume(id) >= 0:
			return fmt.Errorf("copy volume %s: %w", id, virt.ErrUnsupported)
		case r.Storage.own(id) == nil:
			return fmt.Errorf("copy disk %s: %w", id, virt.ErrNotFound)
		}
	}
	return nil
}

// sendDisks sends what is on the disks that the two hosts do not share; last: for the last time.
func (f *flight) sendDisks(r record, last bool) error {
	for _, disk := range r.Storage.Files {
		if disk.Epoch != r.Storage.Epoch || !slices.Contains(f.options.CopyDisks, disk.ID) {
			continue
		}
		if err := f.nbd.out.Encode(diskWrite{ID: disk.ID, Bytes: disk.Bytes, Notes: disk.Notes, Last: last}); err != nil {
			return fmt.Errorf("send disk %s: %w", disk.ID, err)
		}
	}
	return nil
}

// step sends the next part of the memory and waits, where the guest is restless, until somebody decides.
func (f *flight) step(ctx context.Context, percent int) error {
	select {
	case <-f.job.abort:
		return errAborted
	default:
	}
	if err := f.memory.out.Encode(memoryPage{Filler: make([]byte, fillerBytes)}); err != nil {
		return fmt.Errorf("send memory: %w", err)
	}
	if err := f.tell(int64(percent)); err != nil {
		return err
	}
	if !f.verdict.restless || percent < f.verdict.at {
		return nil
	}
	select {
	case <-f.job.force:
		return nil
	case <-f.job.abort:
		return errAborted
	case <-ctx.Done():
		return ctx.Err()
	case <-f.driver.done:
		return fmt.Errorf("the driver is closed: %w", virt.ErrUnavailable)
	}
}

// tell tells the progress in bytes.
func (f *flight) tell(percent int64) error {
	r, err := f.look()
	if err != nil || f.progress == nil {
		return err
	}
	var p cluster.MoveProgress
	p.MemoryTotal = r.Machine.MemoryMiB << 20
	for _, disk := range r.Storage.Files {
		if disk.Epoch == r.Storage.Epoch && slices.Contains(f.options.CopyDisks, disk.ID) {
			p.DiskTotal += disk.Bytes
		}
	}
	p.MemoryProcessed, p.DiskProcessed = p.MemoryTotal/100*percent, p.DiskTotal/100*percent
	if percent == 100 {
		p.MemoryProcessed, p.DiskProcessed = p.MemoryTotal, p.DiskTotal
	}
	p.MemoryRemaining, p.DiskRemaining = p.MemoryTotal-p.MemoryProcessed, p.DiskTotal-p.DiskProcessed
	f.progress(p)
	return nil
}

// handOver stops the guest here, sends what is left, and tells the destination to let it go on. Only a clear no lets the
// guest go on here: without an answer it may run there.
func (f *flight) handOver() error {
	r, err := f.change(func(r *record, now time.Time) error {
		select {
		case <-f.job.abort:
			return errAborted
		default:
		}
		r.Leaving = r.Power
		if r.Power == virt.PowerRunning {
			r.halt(now)
		}
		r.Power, r.Reason = virt.PowerPaused, handedOver
		return nil
	})
	if err != nil {
		return err
	}
	if err := f.sendRest(r); err != nil {
		return errors.Join(err, f.stay())
	}
	_, err = f.daemon.call(message{Call: callFinish, Record: &r, Disks: f.options.CopyDisks})
	switch {
	case err == nil:
		return f.leave()
	case errors.Is(err, errRefused):
		return errors.Join(err, f.stay())
	}
	return fmt.Errorf("%w: %w", virt.ErrUnavailable, err)
}

func (f *flight) sendRest(r record) error {
	if err := f.sendDisks(r, true); err != nil {
		return err
	}
	last := memoryPage{Boot: r.lastBoot(), Paused: r.Leaving == virt.PowerPaused}
	if err := f.memory.out.Encode(last); err != nil {
		return fmt.Errorf("send memory: %w", err)
	}
	return errors.Join(f.nbd.Close(), f.memory.Close())
}
