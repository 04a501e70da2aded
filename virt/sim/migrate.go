package sim

import (
	"context"
	"errors"
	"fmt"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// errAborted says that AbortMigrate ended it.
var errAborted = errors.New("it was aborted")

// handedOver is why a guest stands still whose destination was told to let it go on.
const handedOver = "handed over to the destination of its migration"

// job is a migration from this host that is under way.
type job struct {
	abort, force chan struct{} // each is closed once, under the driver's lock
	done         chan struct{}
	err          error // set before done is closed
}

// Migrate sends a running guest to another host. Until the last moment it runs here; then it stands still here, and goes
// on there. If the destination's last word is lost, it stays so, and the next Migrate asks what came of it. A second
// call while one is under way waits for that one.
func (d *Driver) Migrate(ctx context.Context, id cluster.InstanceID, l virt.Landing, o virt.MigrateOptions, progress func(cluster.MoveProgress)) error {
	j, first, err := d.enlist(id)
	if err != nil {
		return fmt.Errorf("migrate %s: %w", id, err)
	}
	if first {
		v := d.judge(OpMigrate)
		f := &flight{driver: d, job: j, id: id, landing: l, options: o, verdict: v, progress: progress}
		err := f.fly(ctx)
		d.mu.Lock()
		delete(d.jobs, id)
		j.err = answer(OpMigrate, id, v.lose, err)
		close(j.done)
		d.mu.Unlock()
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		return fmt.Errorf("migrate %s: %w: %w", id, virt.ErrUnavailable, ctx.Err())
	}
}

// enlist finds the migration that is under way, or begins one.
func (d *Driver) enlist(id cluster.InstanceID) (j *job, first bool, err error) {
	j, err = locked(d, OpMigrate, func() (*job, error) {
		if j := d.jobs[id]; j != nil {
			return j, nil
		}
		r, ok := d.records[id]
		if err := onlyUp(OpMigrate, id, r, ok); err != nil {
			return nil, err
		}
		if err := d.endMirror(id, &r); err != nil {
			return nil, err
		}
		first = true
		j := &job{abort: make(chan struct{}), force: make(chan struct{}), done: make(chan struct{})}
		d.jobs[id] = j
		return j, nil
	})
	return j, first, err
}

// AbortMigrate ends a migration, unless the guest was handed over already.
func (d *Driver) AbortMigrate(ctx context.Context, id cluster.InstanceID) error {
	return d.do(ctx, OpAbortMigrate, func() error {
		if j := d.jobs[id]; j != nil {
			closeOnce(j.abort)
		}
		return nil
	})
}

// ForceMigrate lets a guest that is restless go on to the destination. None under way is an error.
func (d *Driver) ForceMigrate(ctx context.Context, id cluster.InstanceID) error {
	return d.do(ctx, OpForceMigrate, func() error {
		j := d.jobs[id]
		if j == nil {
			return fmt.Errorf("force the migration of %s: none is under way", id)
		}
		closeOnce(j.force)
		return nil
	})
}

// closeOnce closes a channel that nobody sends on. The driver's lock is held.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}
