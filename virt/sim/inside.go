package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// What a simulated guest does in a second of its time, for Diagnostics.
const (
	cpuShare        = 20 // it uses one of so many parts of each processor
	bytesPerSecond  = 4096
	octetsPerSecond = 1500
)

// onlyUp refuses what needs a domain that runs or is paused.
func onlyUp(op Op, id cluster.InstanceID, r record, ok bool) error {
	switch {
	case !ok || !r.Defined:
		return fmt.Errorf("%s %s: %w", op, id, virt.ErrNotFound)
	case !r.up():
		return fmt.Errorf("%s %s: it is %s: %w", op, id, powerName(r.Power), virt.ErrNotRunning)
	}
	return nil
}

// Diagnostics tells figures that grow with the time that the guest has run.
func (d *Driver) Diagnostics(ctx context.Context, id cluster.InstanceID) (cluster.Diagnostics, error) {
	return act(ctx, d, OpDiagnostics, func() (cluster.Diagnostics, error) {
		r, ok := d.records[id]
		if err := onlyUp(OpDiagnostics, id, r, ok); err != nil {
			return cluster.Diagnostics{}, err
		}
		return r.diagnostics(d.cfg.Now()), nil
	})
}

func (r *record) diagnostics(now time.Time) cluster.Diagnostics {
	up := r.lastBoot().uptime(now)
	seconds := int64(up / time.Second)
	out := cluster.Diagnostics{State: powerName(r.Power), Uptime: up, MemoryMaxMiB: r.Machine.MemoryMiB, MemoryUsedMiB: r.Machine.MemoryMiB / 2}
	for range r.Machine.VCPUs {
		out.CPUs = append(out.CPUs, up/cpuShare)
	}
	disk := func(id virt.DiskID) {
		out.Disks = append(out.Disks, cluster.DiskDiagnostics{ID: string(id), ReadBytes: seconds * bytesPerSecond, ReadRequests: seconds,
			WriteBytes: seconds * bytesPerSecond, WriteRequests: seconds})
	}
	for _, f := range r.Storage.Files {
		if f.Epoch == r.Storage.Epoch {
			disk(f.ID)
		}
	}
	for _, v := range r.Storage.Volumes {
		disk(v.ID)
	}
	for _, n := range r.NICs {
		out.NICs = append(out.NICs, cluster.NICDiagnostics{MAC: n.MAC, RxOctets: seconds * octetsPerSecond, RxPackets: seconds,
			TxOctets: seconds * octetsPerSecond, TxPackets: seconds})
	}
	return out
}

// SetPassword asks the guest's agent, which guests have whose image says hw_qemu_guest_agent=yes. The password is kept
// nowhere.
func (d *Driver) SetPassword(ctx context.Context, id cluster.InstanceID, user, password string) error {
	return d.do(ctx, OpSetPassword, func() error {
		r, ok := d.records[id]
		if err := onlyUp(OpSetPassword, id, r, ok); err != nil {
			return err
		}
		switch {
		case !r.Machine.Agent:
			return fmt.Errorf("%s %s: the guest has no agent: %w", OpSetPassword, id, virt.ErrUnsupported)
		case r.Power == virt.PowerPaused:
			return fmt.Errorf("%s %s: the agent of a paused guest does not answer: %w", OpSetPassword, id, virt.ErrUnsupported)
		case user == "" || password == "":
			return fmt.Errorf("%s %s: a user and a password are needed", OpSetPassword, id)
		}
		r.say(d.cfg.Now(), "sim: password of %.64q changed", user)
		return d.put(id, r)
	})
}

// Crash sends the guest an interrupt, on which it says that it dumped its memory, and goes on.
func (d *Driver) Crash(ctx context.Context, id cluster.InstanceID) error {
	return d.do(ctx, OpCrash, func() error {
		r, ok := d.records[id]
		if err := onlyUp(OpCrash, id, r, ok); err != nil {
			return err
		}
		r.say(d.cfg.Now(), "sim: non-maskable interrupt, memory dumped")
		return d.put(id, r)
	})
}
