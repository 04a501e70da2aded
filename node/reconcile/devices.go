package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// refresh gives a domain the devices that the state gives it, as far as it runs, and then the stamp that says so.
func (j *job) refresh(ctx context.Context, a virt.Action, o *outcome) error {
	if err := j.confirm(ctx); err != nil {
		return err
	}
	domains, err := j.loop.Driver.Domains(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(domains, func(d virt.Domain) bool { return d.ID == a.ID })
	if at < 0 {
		return errNotOurs // it went away; the next pass sees it
	}
	have := domains[at]
	if have.Power == virt.PowerRunning || have.Power == virt.PowerPaused {
		g, err := j.guest()
		if err != nil {
			return err
		}
		if err := j.devices(ctx, g, have); err != nil {
			return j.undo(ctx, err)
		}
	}
	if err := j.loop.Driver.Stamp(ctx, a.Stamp); err != nil {
		return err
	}
	have.Stamp = a.Stamp
	o.known, o.domain = true, &have
	return nil
}

// devices attaches what is missing and detaches what is too much. Cards that are there are told of their addresses again.
func (j *job) devices(ctx context.Context, g virt.Guest, have virt.Domain) error {
	driver, id := j.loop.Driver, g.Stamp.Instance
	extra := split(have.Disks)
	for _, d := range g.Disks {
		if d.Path == "" {
			continue // made with the root disk, and never changed while it runs
		}
		delete(extra, string(d.ID))
		if err := driver.AttachDisk(ctx, id, d); err != nil {
			return &volumeError{d.ID, fmt.Errorf("attach volume %s: %w", d.ID, err)}
		}
	}
	for disk := range extra {
		if err := driver.DetachDisk(ctx, id, virt.DiskID(disk)); err != nil {
			return &volumeError{virt.DiskID(disk), fmt.Errorf("detach volume %s: %w", disk, err)}
		}
	}
	extra = split(have.NICs)
	for _, n := range g.NICs {
		delete(extra, n.MAC)
		if err := driver.AttachNIC(ctx, id, n); err != nil {
			return fmt.Errorf("attach card %s: %w", n.MAC, err)
		}
	}
	for mac := range extra {
		if err := driver.DetachNIC(ctx, id, mac); err != nil {
			return fmt.Errorf("detach card %s: %w", mac, err)
		}
	}
	return nil
}

// volumeError is that a guest does not take a volume, or does not let go of it.
type volumeError struct {
	volume virt.DiskID
	err    error
}

// Error says what was tried.
func (e *volumeError) Error() string { return e.err.Error() }

// Unwrap gives what the driver said.
func (e *volumeError) Unwrap() error { return e.err }

// undo tells the state that a volume was refused: the volume goes back to where it was, and the instance is none the worse for it.
// What the hypervisor could not answer is tried again instead.
func (j *job) undo(ctx context.Context, err error) error {
	var refused *volumeError
	if !errors.As(err, &refused) || errors.Is(err, virt.ErrUnavailable) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout) // waiting for the guest may have used the time up
	defer cancel()
	op := &cluster.ReportVolumes{Node: j.loop.Node, Attachments: []cluster.AttachmentReport{{
		Volume: cluster.VolumeID(refused.volume), Instance: j.id, Epoch: j.in.Epoch, Error: clip(err.Error())}}}
	if _, unsaid := j.loop.Cluster.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op}); unsaid != nil {
		return errors.Join(err, unsaid)
	}
	j.loop.Log.Warn("a volume was refused", "instance", j.id, "err", err)
	return errNotOurs
}

// split reads a list as virt.Domain has it.
func split(list string) map[string]struct{} {
	all := map[string]struct{}{}
	for _, x := range strings.Split(list, ",") {
		if x != "" {
			all[x] = struct{}{}
		}
	}
	return all
}
