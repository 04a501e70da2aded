package sim

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// How long a call of the hypervisor takes when nothing is wrong.
const leastCall, mostCall = time.Millisecond, 40 * time.Millisecond

// lateCalls is how many of a hundred changes of power go on in the hypervisor when their caller has given up.
const lateCalls = 50

var lateOps = []sim.Op{sim.OpStart, sim.OpStop, sim.OpPause, sim.OpUnpause, sim.OpSave}

// faultyCalls are what the nemesis breaks.
var faultyCalls = []sim.Op{
	sim.OpDomains, sim.OpBuild, sim.OpStart, sim.OpStop, sim.OpRemove, sim.OpRemoveDisks,
	sim.OpStamp, sim.OpPause, sim.OpUnpause, sim.OpSave, sim.OpAttachNIC, sim.OpDetachNIC, sim.OpCapture, sim.OpExport, sim.OpImport,
	sim.OpReceive, sim.OpMigrate, sim.OpAbortMigrate, sim.OpLand,
}

// driver is a machine's hypervisor: the simulated one, with a connection that can break, calls that outlive their
// caller, and checks around what they do.
type driver struct {
	w       *World
	machine *machine
	*sim.Driver
	sockets *sim.Net

	mu    sync.Mutex
	conn  context.Context // ends when the connection breaks: calls under way return
	hang  context.CancelFunc
	calls sync.WaitGroup
}

func newDriver(w *World, m *machine) (*driver, error) {
	network := sim.NewNet()
	inner, err := sim.New(sim.Config{Boot: time.Second, Shutdown: 1500 * time.Millisecond, Seed: uint64(w.dice) + uint64(m.number),
		Sockets: "/sockets", Net: network})
	if err != nil {
		return nil, err
	}
	d := &driver{sockets: network, w: w, machine: m, Driver: inner}
	d.conn, d.hang = context.WithCancel(context.Background())
	return d, nil
}

// breakConnection ends every call under way, as a restart of libvirtd does.
func (d *driver) breakConnection() {
	d.mu.Lock()
	d.hang()
	d.conn, d.hang = context.WithCancel(context.Background())
	d.mu.Unlock()
}

// heal takes away everything that is wrong.
func (d *driver) heal() {
	for _, op := range faultyCalls {
		d.SetFault(op, sim.Fault{})
	}
	d.SetDown(false)
	d.breakConnection()
}

func (d *driver) powerCut() {
	d.breakConnection()
	if err := d.PowerCut(); err != nil {
		panic("sim: records in memory cannot fail: " + err.Error())
	}
}

// close waits for calls that nobody waits for any more.
func (d *driver) close() {
	d.breakConnection()
	d.calls.Wait()
	_ = d.Driver.Close() // it has no file
}

// call makes one call. When the caller gives up or the connection breaks, it returns, and the outcome is unknown.
func (d *driver) call(ctx context.Context, op sim.Op, id cluster.InstanceID, f func(context.Context) error) error {
	key := []uint64{uint64(d.machine.number), d.w.now(), d.w.dice.draw(string(id))}
	if !pause(ctx, d.w.dice.between(leastCall, mostCall, string(op), key...)) {
		return unavailable(op)
	}
	d.mu.Lock()
	conn := d.conn
	d.calls.Add(1)
	d.mu.Unlock()
	late := slices.Contains(lateOps, op) && d.w.dice.chance(lateCalls, "late", key...)
	inner, cancel := context.WithCancel(conn)
	stop := func() bool { return false }
	if !late {
		stop = context.AfterFunc(ctx, cancel)
	}
	done := make(chan error, 1)
	go func() {
		defer d.calls.Done()
		defer cancel()
		defer stop()
		err := f(inner)
		d.w.trace("machine %d: %s %s: %v", d.machine.number, op, id, err)
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil && inner.Err() != nil { // the connection broke, and each caller sees it in its own time
			pause(ctx, d.w.dice.between(time.Microsecond, time.Millisecond, "broken connection", key...))
			return unavailable(op)
		}
		return err
	case <-ctx.Done():
		return unavailable(op)
	}
}

func unavailable(op sim.Op) error {
	return fmt.Errorf("%s: nobody answered: %w", op, virt.ErrUnavailable)
}

// Domains implements virt.Driver.
func (d *driver) Domains(ctx context.Context) (found []virt.Domain, err error) {
	answer := make(chan []virt.Domain, 1)
	err = d.call(ctx, sim.OpDomains, "", func(ctx context.Context) error {
		domains, err := d.Driver.Domains(ctx)
		answer <- domains
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-answer, nil
}

// Host implements virt.Driver.
func (d *driver) Host(ctx context.Context) (host virt.Host, err error) {
	answer := make(chan virt.Host, 1)
	err = d.call(ctx, sim.OpHost, "", func(ctx context.Context) error {
		h, err := d.Driver.Host(ctx)
		answer <- h
		return err
	})
	if err != nil {
		return virt.Host{}, err
	}
	return <-answer, nil
}

// Build implements virt.Driver.
func (d *driver) Build(ctx context.Context, g virt.Guest) error {
	return d.call(ctx, sim.OpBuild, g.Stamp.Instance, func(ctx context.Context) error { return d.Driver.Build(ctx, g) })
}

// Start implements virt.Driver. Whatever it returned, the checks look at what it did.
func (d *driver) Start(ctx context.Context, id cluster.InstanceID) error {
	asked := time.Now()
	if !d.w.mayHold(d.machine.id) {
		d.w.broken(CheckStart, "machine %d starts %s and holds no lease", d.machine.number, id)
	}
	return d.call(ctx, sim.OpStart, id, func(ctx context.Context) error {
		if was, _ := d.Look(id); was.Domain.Saved && d.w.cfg.Bug == BugForgetMemory {
			if err := d.stop(ctx, id, virt.Destroy, asked); err != nil {
				return err
			}
		}
		return d.running(id, asked, false, func() error { return d.Driver.Start(ctx, id) })
	})
}

// running looks at a guest that was off or, with goesOn, paused, and runs now.
func (d *driver) running(id cluster.InstanceID, asked time.Time, goesOn bool, do func() error) error {
	was, _ := d.Look(id)
	err := do()
	d.machine.bark()
	if now, _ := d.Look(id); now.Domain.Power == virt.PowerRunning && (err == nil || was.Domain.Power != virt.PowerRunning) {
		d.w.started(d.machine, now, asked, goesOn)
	}
	return err
}

// Stop implements virt.Driver.
func (d *driver) Stop(ctx context.Context, id cluster.InstanceID, how virt.StopMode) error {
	asked := time.Now()
	return d.call(ctx, sim.OpStop, id, func(ctx context.Context) error { return d.stop(ctx, id, how, asked) })
}

// stop looks whether memory that goes may go.
func (d *driver) stop(ctx context.Context, id cluster.InstanceID, how virt.StopMode, asked time.Time) error {
	was, _ := d.Look(id)
	err := d.Driver.Stop(ctx, id, how)
	if now, _ := d.Look(id); was.Boot > 0 && now.Boot == 0 {
		d.w.forgotten(d.machine, was, asked)
	}
	return err
}

// Remove implements virt.Driver.
func (d *driver) Remove(ctx context.Context, id cluster.InstanceID) error {
	asked := time.Now()
	return d.call(ctx, sim.OpRemove, id, func(ctx context.Context) error {
		was, _ := d.Look(id)
		err := d.Driver.Remove(ctx, id)
		if now, _ := d.Look(id); was.Boot > 0 && now.Boot == 0 {
			d.w.forgotten(d.machine, was, asked)
		}
		return err
	})
}

// RemoveDisks implements virt.Driver.
func (d *driver) RemoveDisks(ctx context.Context, id cluster.InstanceID, through, keep uint64) error {
	if d.w.cfg.Bug == BugLeakedDisks {
		return nil
	}
	return d.call(ctx, sim.OpRemoveDisks, id, func(ctx context.Context) error {
		had, _ := d.Look(id)
		err := d.Driver.RemoveDisks(ctx, id, through, keep)
		now, _ := d.Look(id)
		d.w.disksRemoved(d.machine, id, without(had.Epochs, now.Epochs))
		return err
	})
}

// without lists what is in a and not in b.
func without(a, b []uint64) []uint64 {
	return slices.DeleteFunc(slices.Clone(a), func(x uint64) bool { return slices.Contains(b, x) })
}

// Console implements virt.Driver.
func (d *driver) Console(ctx context.Context, id cluster.InstanceID) (io.ReadCloser, error) {
	return d.Driver.Console(ctx, id)
}
