package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// labourSteps is in how many steps a long operation tells its progress.
const labourSteps = 10

// verdict is what is wrong with one call.
type verdict struct {
	slow             time.Duration
	hang, fail, lose bool
	restless         bool
	at               int
}

// judge decides what is wrong with the next call of an operation.
func (d *Driver) judge(op Op) verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.faults[op]
	if f == nil {
		return verdict{}
	}
	v := verdict{slow: f.Slow, hang: f.Hang, at: f.At, restless: f.Restless}
	switch {
	case f.Hang:
	case f.Fail > 0:
		f.Fail--
		v.fail = true
	case f.FailRate > 0 && d.dice.Float64() < f.FailRate:
		v.fail = true
	case f.Lose > 0:
		f.Lose--
		v.lose = true
	}
	return v
}

// suffer lets a call go through what is wrong with its operation. It tells whether the answer is to be lost.
func (d *Driver) suffer(ctx context.Context, op Op) (lose bool, err error) {
	v := d.judge(op)
	if err := d.wait(ctx, op, v.slow, v.hang); err != nil {
		return false, err
	}
	return v.lose, d.strike(op, v.fail)
}

func (d *Driver) strike(op Op, fail bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.down:
		return fmt.Errorf("%s: the simulated hypervisor is down: %w", op, virt.ErrUnavailable)
	case fail:
		return fmt.Errorf("%s: %w", op, ErrInjected)
	}
	return nil
}

// labour is suffer for an operation that takes its time. step is told per cent, from 0 to 100, and may end it.
func (d *Driver) labour(ctx context.Context, op Op, step func(percent int) error) (lose bool, err error) {
	v := d.judge(op)
	return v.lose, d.toil(ctx, op, v, step)
}

func (d *Driver) toil(ctx context.Context, op Op, v verdict, step func(percent int) error) error {
	for i := range labourSteps + 1 {
		percent := 100 * i / labourSteps
		slow := v.slow / labourSteps
		if i == 0 {
			slow = 0
		}
		struck := percent >= v.at
		if err := d.wait(ctx, op, slow, v.hang && struck); err != nil {
			return err
		}
		if err := d.strike(op, v.fail && struck); err != nil {
			return err
		}
		if err := step(percent); err != nil {
			return err
		}
	}
	return nil
}

// answer is what the caller of a long operation is told.
func answer(op Op, id cluster.InstanceID, lose bool, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%s %s: %w", op, id, err)
	case lose:
		return fmt.Errorf("%s %s: the answer was lost: %w", op, id, virt.ErrUnavailable)
	}
	return nil
}

// wait waits for slow, or, with hang, until the caller has had enough.
func (d *Driver) wait(ctx context.Context, op Op, slow time.Duration, hang bool) error {
	var timeout <-chan time.Time
	switch {
	case hang:
	case slow > 0:
		t := time.NewTimer(slow)
		defer t.Stop()
		timeout = t.C
	default:
		if ctx.Err() == nil {
			return nil
		}
	}
	select {
	case <-timeout:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w: %w", op, virt.ErrUnavailable, ctx.Err())
	case <-d.done:
		return fmt.Errorf("%s: the driver is closed: %w", op, virt.ErrUnavailable)
	}
}
