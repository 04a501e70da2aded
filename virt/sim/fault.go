package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// Op names a method of the driver.
type Op string

// The operations that can be made to fail.
const (
	OpHost        Op = "host"
	OpDomains     Op = "domains"
	OpBuild       Op = "build"
	OpStart       Op = "start"
	OpStop        Op = "stop"
	OpRemove      Op = "remove"
	OpRemoveDisks Op = "remove-disks"
	OpConsole     Op = "console"

	OpStamp      Op = "stamp"
	OpPause      Op = "pause"
	OpUnpause    Op = "unpause"
	OpSave       Op = "save"
	OpAttachDisk Op = "attach-disk"
	OpDetachDisk Op = "detach-disk"
	OpResizeDisk Op = "resize-disk"
	OpAttachNIC  Op = "attach-nic"
	OpDetachNIC  Op = "detach-nic"
)

// ErrInjected is wrapped by every failure that a Fault asked for and that took no effect.
var ErrInjected = errors.New("injected fault")

// Fault is what is wrong with one operation. Its parts add up, in the order of the fields.
type Fault struct {
	Slow     time.Duration // each call waits this long first
	Hang     bool          // each call waits until its context ends, and takes no effect
	Fail     int           // as many of the next calls fail and take no effect
	FailRate float64       // share of the further calls that do so, 0 to 1
	Lose     int           // as many of the next calls take effect and still return virt.ErrUnavailable

	// GuestCrash lets every guest that is started crash this long after its start. It counts for OpStart;
	// 0: no crash.
	GuestCrash time.Duration

	// Hold lets running guests keep what is to be detached, until the caller's context ends. It counts for
	// OpDetachDisk and OpDetachNIC.
	Hold bool
}

// SetFault replaces what is wrong with an operation. The zero Fault cures it.
func (d *Driver) SetFault(op Op, f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults[op] = &f
}

// SetDown makes the whole hypervisor unreachable, as when libvirtd is stopped, or reachable again. Guests
// go on. Every call returns virt.ErrUnavailable meanwhile.
func (d *Driver) SetDown(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down == down || d.closed {
		return
	}
	d.down = down
	d.hint("")
}

// PowerCut takes the power from the host: every domain goes off at once. The Driver stays, as a host that
// came back would be.
func (d *Driver) PowerCut() error {
	return d.eachUp(func(r *record) { r.powerOff("the host went down", time.Now()) })
}

// CrashGuest lets the guest of a running domain crash now.
func (d *Driver) CrashGuest(id cluster.InstanceID) error {
	return d.guestDoes(id, func(r *record) { r.crash("panicked", time.Now()) })
}

// PowerOffGuest lets the guest of a running domain power itself off now.
func (d *Driver) PowerOffGuest(id cluster.InstanceID) error {
	return d.guestDoes(id, func(r *record) { r.powerOff("shutdown", time.Now()) })
}

// GuestWrite lets the guest of a running domain append a line to the disk that it boots from. The line is there
// after every kind of stop, in a capture, and wherever the disk is moved.
func (d *Driver) GuestWrite(id cluster.InstanceID, text string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.records[id]
	if !ok || !r.up() {
		return fmt.Errorf("guest %s: it does not run", id)
	}
	if err := r.write(text); err != nil {
		return fmt.Errorf("guest %s: %w", id, err)
	}
	return d.put(id, r)
}

// PauseGuest stops the processors of a running domain, as a failing disk does.
func (d *Driver) PauseGuest(id cluster.InstanceID) error {
	return d.guestDoes(id, func(r *record) {
		if r.Power == virt.PowerRunning {
			r.halt(time.Now())
		}
		r.Power, r.Reason = virt.PowerPaused, "ioerror"
	})
}

// Plant defines a domain behind the driver's back, as an administrator with virsh would. Any earlier domain
// with its ID is replaced.
func (d *Driver) Plant(dom virt.Domain) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	r := record{Format: recordFormat, Defined: true, Stamp: dom.Stamp, Domain: dom.Name, Power: virt.PowerOff,
		Machine: machine{Name: dom.Name, VCPUs: 1, MemoryMiB: 1},
		Storage: storage{Files: []file{{ID: virt.DiskRoot, Format: formatRaw}}}}
	if dom.Power == virt.PowerRunning || dom.Power == virt.PowerPaused {
		r.powerOn(now)
	}
	if dom.Power == virt.PowerPaused {
		r.halt(now)
	}
	r.Power, r.Reason = dom.Power, dom.Reason
	return d.put(dom.ID, r)
}

func (d *Driver) guestDoes(id cluster.InstanceID, f func(*record)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.records[id]
	if !ok || !r.up() {
		return fmt.Errorf("guest %s: it does not run", id)
	}
	f(&r)
	return d.put(id, r)
}

func (d *Driver) eachUp(f func(*record)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, r := range d.records {
		if !r.up() {
			continue
		}
		f(&r)
		if err := d.put(id, r); err != nil {
			return err
		}
	}
	return nil
}

// suffer lets a call go through what is wrong with its operation. It tells whether the answer is to be lost.
func (d *Driver) suffer(ctx context.Context, op Op) (lose bool, err error) {
	d.mu.Lock()
	var slow time.Duration
	var hang, fail bool
	if f := d.faults[op]; f != nil {
		slow, hang = f.Slow, f.Hang
		switch {
		case hang:
		case f.Fail > 0:
			f.Fail--
			fail = true
		case f.FailRate > 0 && d.dice.Float64() < f.FailRate:
			fail = true
		case f.Lose > 0:
			f.Lose--
			lose = true
		}
	}
	d.mu.Unlock()

	if err := d.wait(ctx, op, slow, hang); err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.down:
		return false, fmt.Errorf("%s: the simulated hypervisor is down: %w", op, virt.ErrUnavailable)
	case fail:
		return false, fmt.Errorf("%s: %w", op, ErrInjected)
	}
	return lose, nil
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
