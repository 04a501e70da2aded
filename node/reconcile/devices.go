package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"

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
			return err
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
			return fmt.Errorf("attach disk %s: %w", d.ID, err)
		}
	}
	for disk := range extra {
		if err := driver.DetachDisk(ctx, id, virt.DiskID(disk)); err != nil {
			return fmt.Errorf("detach disk %s: %w", disk, err)
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
