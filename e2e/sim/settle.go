package sim

import (
	"context"
	"fmt"
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
		if !n.Host.Ready {
			add("node %s says that its hypervisor does not answer", n.Name)
		}
	}
	for _, m := range w.machines {
		d := m.running()
		if d == nil {
			add("machine %d is down", m.number)
			continue
		}
		if own, _ := d.replica.latest(); own.Index() != v.Index() {
			add("machine %d is at index %d of %d", m.number, own.Index(), v.Index())
		}
		for _, q := range d.loop.Quarantined() {
			add("machine %d leaves alone %s", m.number, q)
		}
		for t := range v.TombstonesOn(m.id) {
			add("the tombstone of %s on machine %d is left", t.Instance, m.number)
		}
		for _, h := range m.driver.LookAll() {
			if in, ok := v.Instance(h.Domain.ID); !ok || in.Node != m.id {
				add("machine %d still has %s (defined %t, power %d)", m.number, h.Domain.ID, h.Defined, h.Domain.Power)
			}
		}
	}
	for in := range v.Instances() {
		if why := w.restless(in); why != "" {
			add("instance %s (%s): %s", in.ID, in.Spec.Name, why)
		}
	}
	return left
}

// restless says why an instance is not at rest; "": it is. One in error waits for its user.
func (w *World) restless(in *cluster.Instance) string {
	if in.Status.Task != cluster.TaskNone || in.Status.VM == cluster.VMBuilding || in.Wanted == cluster.WantDeleted {
		return fmt.Sprintf("it is %s, %q, wanted %s", in.Status.VM, in.Status.Task, in.Wanted)
	}
	if in.Status.VM == cluster.VMError {
		return ""
	}
	m := w.byID[in.Node]
	if m == nil {
		return "it has no node and no error"
	}
	h, _ := m.driver.Look(in.ID)
	want, vm := virt.PowerRunning, cluster.VMActive
	if in.Wanted == cluster.WantOff {
		want, vm = virt.PowerOff, cluster.VMStopped
	}
	if h.Domain.Power != want || in.Status.VM != vm || h.Domain.Stamp.Epoch != in.Epoch || !h.Defined {
		return fmt.Sprintf("it is wanted %s and is %s, its domain has power %d in epoch %d", in.Wanted, in.Status.VM, h.Domain.Power, h.Domain.Stamp.Epoch)
	}
	return ""
}
