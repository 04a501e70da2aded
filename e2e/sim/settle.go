package sim

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// shownLeft is how many of the things that are not at rest are shown.
const shownLeft = 5

// rest waits until nothing is left to do, at most settleTime.
func (w *World) rest(ctx context.Context) {
	until := time.Now().Add(settleTime)
	for {
		w.decide(ctx)
		left := w.unsettled()
		if len(left) == 0 {
			w.audit()
			return
		}
		if time.Now().After(until) {
			w.broken(CheckSettled, "%d things are left: %s", len(left), strings.Join(left[:min(len(left), shownLeft)], "; "))
			return
		}
		if !pause(ctx, time.Second) {
			return
		}
	}
}

// audit looks at all replicas and at everything that was promised.
func (w *World) audit() {
	w.promises.audit(w)
	w.look()
	for _, m := range w.machines {
		if d := m.running(); d != nil && w.thorough() {
			view, _ := d.replica.latest()
			w.ledger.compare(view, m.number)
		}
	}
}

// unsettled names what is not at rest.
func (w *World) unsettled() []string {
	var left []string
	add := func(format string, args ...any) { left = append(left, fmt.Sprintf(format, args...)) }
	w.ledger.mu.Lock()
	v, leader := w.ledger.view, w.ledger.leader
	w.ledger.mu.Unlock()
	if leader == nil {
		add("nobody leads")
	}
	for n := range v.Nodes() {
		if n.Lost != nil {
			add("node %s is taken for dead", n.Name)
		}
		if !n.Host.Ready {
			add("node %s says that its hypervisor does not answer", n.Name)
		}
	}
	for _, m := range w.machines {
		left = append(left, w.leftOn(m, v)...)
	}
	for in := range v.Instances() {
		if why := w.restless(in); why != "" {
			add("instance %s (%s): %s", in.ID, in.Spec.Name, why)
		}
	}
	left = append(left, unfinished(v)...)
	return left
}

// leftOn names what is not at rest on a machine.
func (w *World) leftOn(m *machine, v *cluster.View) []string {
	var left []string
	add := func(format string, args ...any) {
		left = append(left, fmt.Sprintf("machine %d ", m.number)+fmt.Sprintf(format, args...))
	}
	d := m.running()
	if d == nil {
		add("is down")
		return left
	}
	if own, _ := d.replica.latest(); own.Index() != v.Index() {
		add("is at index %d of %d", own.Index(), v.Index())
	}
	for _, q := range d.loop.Quarantined() {
		add("leaves alone %s", q)
	}
	for t := range v.TombstonesOn(m.id) {
		add("has the tombstone of %s", t.Instance)
	}
	for _, h := range m.driver.LookAll() {
		in, ok := v.Instance(h.Domain.ID)
		switch {
		case !ok || in.Node != m.id:
			add("still has %s (defined %t, power %d)", h.Domain.ID, h.Defined, h.Domain.Power)
		case !in.Spec.Boot.Volume && (len(h.Epochs) != 1 || h.Epochs[0] != in.DiskEpoch()):
			add("has disks of %s for the epochs %v: %d is committed", h.Domain.ID, h.Epochs, in.DiskEpoch())
		}
	}
	if files, _ := os.ReadDir(m.scratch()); len(files) > 0 {
		add("has %s left of a capture", files[0].Name())
	}
	return left
}

// unfinished names what the records of the state say is not over.
func unfinished(v *cluster.View) []string {
	var left []string
	add := func(format string, args ...any) { left = append(left, fmt.Sprintf(format, args...)) }
	for m := range v.Migrations() {
		switch m.Status {
		case cluster.MigrationError, cluster.MigrationConfirmed, cluster.MigrationReverted, cluster.MigrationCompleted, cluster.MigrationCancelled:
		default:
			add("migration %d of %s is %s", m.Number, m.Instance, m.Status)
		}
	}
	for vol := range v.Volumes() {
		if vol.Status != cluster.VolumeInUse && !placeless(v, vol) {
			add("volume %s is %s", vol.ID, vol.Status)
		}
	}
	for img := range v.Images() {
		if img.Status != cluster.ImageActive {
			add("image %s is %s", img.ID, img.Status)
		}
	}
	actions := func(in *cluster.Instance) {
		for a := range v.Actions(in.ID) {
			for _, e := range a.Events {
				if e.Finished == 0 || e.Result == "" {
					add("the event %s of the action %s of %s is not finished", e.Name, a.Kind, in.ID)
				}
			}
		}
	}
	for in := range v.Instances() {
		actions(in)
	}
	for in := range v.Deleted() {
		actions(in)
	}
	return left
}

// placeless tells whether a volume is to be that of an instance for which there was no node, and waits for its user with it.
func placeless(v *cluster.View, vol *cluster.Volume) bool {
	return vol.File.SizeGiB == 0 && slices.ContainsFunc(vol.Attachments, func(a cluster.Attachment) bool {
		in, ok := v.Instance(a.Instance)
		return ok && in.Node == "" && in.Status.VM == cluster.VMError
	})
}

// decide ends the moves that wait for their users, one way or the other.
func (w *World) decide(ctx context.Context) {
	for in := range w.ledger.latest().UnderWay() {
		d := w.machines[0].running()
		if in.Op.Step != cluster.StepWaiting || d == nil {
			continue
		}
		a := access{w: w, d: d}
		op := &cluster.EndMove{ID: in.ID, By: by("decide"), Revert: w.dice.chance(50, "decide "+string(in.ID), w.now())}
		_, _ = a.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op}) // else the next round does
	}
}

// restless says why an instance is not at rest; "": it is. One in error waits for its user.
func (w *World) restless(in *cluster.Instance) string {
	if in.Status.Task != cluster.TaskNone || in.Status.VM == cluster.VMBuilding || in.Wanted == cluster.WantDeleted || in.Op != nil {
		return fmt.Sprintf("it is %s, %q, wanted %s, in operation %+v", in.Status.VM, in.Status.Task, in.Wanted, in.Op)
	}
	if in.Status.VM == cluster.VMError || in.Status.VM == cluster.VMOffloaded && in.Node == "" {
		return ""
	}
	m := w.byID[in.Node]
	if m == nil {
		return "it has no node and no error"
	}
	h, _ := m.driver.Look(in.ID)
	rest, ok := resting[in.Wanted]
	switch {
	case in.Mode.Rescue != nil:
		rest.vm = cluster.VMRescued
	case in.Mode.Reclaim != 0:
		rest.vm = cluster.VMSoftDeleted
	}
	if !ok || h.Domain.Power != rest.power || h.Domain.Saved != rest.saved || in.Status.VM != rest.vm || h.Domain.Stamp.Epoch != in.Epoch ||
		h.Domain.Stamp.Generation != in.Generation || !h.Defined || h.Rescued != (in.Mode.Rescue != nil) {
		return fmt.Sprintf("it is wanted %s and is %s, its domain has power %d (saved %t, rescued %t) in epoch %d of %d, generation %d of %d", in.Wanted,
			in.Status.VM, h.Domain.Power, h.Domain.Saved, h.Rescued, h.Domain.Stamp.Epoch, in.Epoch, h.Domain.Stamp.Generation, in.Generation)
	}
	return ""
}

// resting is what an instance and its domain are when they are as wanted.
var resting = map[cluster.Power]struct {
	power virt.Power
	saved bool
	vm    cluster.VMState
}{
	cluster.WantOn:     {virt.PowerRunning, false, cluster.VMActive},
	cluster.WantOff:    {virt.PowerOff, false, cluster.VMStopped},
	cluster.WantPaused: {virt.PowerPaused, false, cluster.VMPaused},
	cluster.WantSaved:  {virt.PowerOff, true, cluster.VMSuspended},
}
