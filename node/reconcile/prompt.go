package reconcile

import (
	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// awaited tells whether a user waits for nothing but the power state of an instance's guest. That its definition is brought up to date, too,
// takes libvirt many times as long, and nobody waits for it.
func awaited(in *cluster.Instance) bool {
	if in == nil || in.Op != nil {
		return false
	}
	switch in.Status.Task {
	case cluster.TaskPoweringOff, cluster.TaskPausing, cluster.TaskUnpausing, cluster.TaskSuspending, cluster.TaskResuming:
		return true
	}
	return false
}

// prompt leaves of an instance's actions those that its user waits for. The pass after them finds the others again.
func prompt(in *cluster.Instance, actions []virt.Action) []virt.Action {
	if len(actions) == 2 && actions[1].Kind == virt.ActionRefresh && awaited(in) {
		return actions[:1]
	}
	return actions
}

// tellAtOnce reports a guest that is as its user waits for, although its definition may be that of an earlier generation.
func (l *Loop) tellAtOnce(view *cluster.View, d virt.Domain, m *memory) {
	in, ok := view.Instance(d.ID)
	if !ok || in.Node != l.Node || !awaited(in) || !reached(in.Wanted, powerOf(d)) {
		return
	}
	d.Stamp.Generation = in.Generation
	l.tell(in, d, m)
}

// reached tells whether a power state is the wanted one.
func reached(want cluster.Power, now cluster.PowerState) bool {
	switch want {
	case cluster.WantOn:
		return now == cluster.PowerRunning
	case cluster.WantOff:
		return now == cluster.PowerShutdown || now == cluster.PowerCrashed
	case cluster.WantPaused:
		return now == cluster.PowerPaused
	case cluster.WantSaved:
		return now == cluster.PowerSuspended
	}
	return false
}
