package sim

import (
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

	OpCapture Op = "capture"
	OpExport  Op = "export"
	OpImport  Op = "import"

	OpDial        Op = "dial"
	OpDiagnostics Op = "diagnostics"
	OpSetPassword Op = "set-password"
	OpCrash       Op = "crash"

	OpMirror       Op = "mirror"
	OpMirrored     Op = "mirrored"
	OpEndMirror    Op = "end-mirror"
	OpMakeReplica  Op = "make-replica"
	OpServeReplica Op = "serve-replica"
	OpDiscard      Op = "discard"
	OpWriteReplica Op = "write-replica" // each write that comes over what ServeReplica gave; one that fails breaks the stream

	OpReceive      Op = "receive"
	OpMigrate      Op = "migrate"
	OpAbortMigrate Op = "abort-migrate"
	OpForceMigrate Op = "force-migrate"
	OpLand         Op = "land" // the destination's part in a Migrate, when the guest's last memory has come
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

	// At is how far, in per cent, an operation that takes its time comes before Hang, Fail or FailRate strike, and
	// Slow is then spread evenly over the operation. It counts for OpCapture, OpImport and OpMigrate.
	At int

	// Restless lets guests change their memory faster than it is sent, from At per cent on, until the migration is
	// forced or aborted. It counts for OpMigrate.
	Restless bool

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
	return d.eachUp(func(r *record) { r.powerOff("the host went down", d.cfg.Now()) })
}

// CrashGuest lets the guest of a running domain crash now.
func (d *Driver) CrashGuest(id cluster.InstanceID) error {
	return d.guestDoes(id, func(r *record) error { r.crash("panicked", d.cfg.Now()); return nil })
}

// PowerOffGuest lets the guest of a running domain power itself off now.
func (d *Driver) PowerOffGuest(id cluster.InstanceID) error {
	return d.guestDoes(id, func(r *record) error { r.powerOff("shutdown", d.cfg.Now()); return nil })
}

// GuestWrite lets the guest of a running domain append a line to the disk that it boots from. The line is there
// after every kind of stop, in a capture, and wherever the disk is moved. While the disk is mirrored (Mirror), it returns when the other side has
// the line, or when the mirror is ended.
func (d *Driver) GuestWrite(id cluster.InstanceID, text string) error {
	written := 0
	err := d.guestDoes(id, func(r *record) (err error) {
		written, err = r.write(text)
		return err
	})
	if err != nil {
		return err
	}
	return d.settledWrite(id, written)
}

// PauseGuest stops the processors of a running domain, as a failing disk does.
func (d *Driver) PauseGuest(id cluster.InstanceID) error {
	return d.guestDoes(id, func(r *record) error {
		if r.Power == virt.PowerRunning {
			r.halt(d.cfg.Now())
		}
		r.Power, r.Reason = virt.PowerPaused, "ioerror"
		return nil
	})
}

// Plant defines a domain behind the driver's back, as an administrator with virsh would. Any earlier domain
// with its ID is replaced.
func (d *Driver) Plant(dom virt.Domain) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.cfg.Now()
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

func (d *Driver) guestDoes(id cluster.InstanceID, f func(*record) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.records[id]
	if !ok || !r.up() {
		return fmt.Errorf("guest %s: it does not run", id)
	}
	if err := f(&r); err != nil {
		return fmt.Errorf("guest %s: %w", id, err)
	}
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
