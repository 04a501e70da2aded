package sim

import (
	"context"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// restartLimit is how long after its node could be taken for dead, and the leader, if that was it, has a successor, a guarded instance may take to run elsewhere.
const restartLimit = 10 * time.Second

// waysToLose are how a machine can be lost: it has no power, its daemon is dead, or nobody reaches it.
const waysToLose = 3

// loss takes the machine with the most guarded guests from the cluster, when all is at rest, and looks whether each of them for which there is room runs elsewhere in
// time. Unless it has no power, its guests run on until it ends them itself.
func (w *World) loss(ctx context.Context, round int) {
	w.ledger.mu.Lock()
	view, leader := w.ledger.view, w.ledger.leader
	w.ledger.mu.Unlock()
	victim, guests := w.guardian(view)
	if victim == nil || leader == nil || ctx.Err() != nil {
		return
	}
	fates := leader.chooser.WithoutNode(victim.id)
	back := w.lose(ctx, victim, w.dice.below(waysToLose, "loss", uint64(round)))
	w.trace("machine %d is lost with %d guarded guests", victim.number, len(guests))
	s := view.Settings()
	limit := max(s.Lease.Dead, s.Former) + restartLimit
	pause(ctx, limit)
	for _, id := range guests {
		if fates[id] != "" && ctx.Err() == nil && !w.runsBeside(victim, id) {
			in, _ := w.ledger.latest().Instance(id)
			w.broken(CheckRestart, "instance %s does not run %v after its machine %d was lost: %+v", id, limit, victim.number, in)
		}
	}
	back()
	w.rest(ctx)
}

// lose takes a machine away in one of the ways, until back is called.
func (w *World) lose(ctx context.Context, m *machine, way int) (back func()) {
	if way == 0 {
		w.net.part(map[int]int{m.number: 1})
		w.ledger.touch()
		return func() { w.net.part(nil); w.ledger.touch() }
	}
	m.set(func(m *machine) { m.dead = true })
	if way == 1 {
		m.stop()
	} else {
		m.powerCut()
	}
	return func() {
		m.set(func(m *machine) { m.dead = false })
		m.start(ctx)
	}
}

// guardian is the machine with the most guarded guests that run, and those.
func (w *World) guardian(view *cluster.View) (most *machine, guests []cluster.InstanceID) {
	for _, m := range w.machines {
		var all []cluster.InstanceID
		for in := range view.InstancesOn(m.id) {
			if in.Guarded() && view.WantsGuard(in) && in.Wanted == cluster.WantOn && in.Status.VM == cluster.VMActive {
				all = append(all, in.ID)
			}
		}
		if len(all) > len(guests) {
			most, guests = m, all
		}
	}
	return most, guests
}

// runsBeside tells whether an instance runs on another machine.
func (w *World) runsBeside(not *machine, id cluster.InstanceID) bool {
	for _, m := range w.machines {
		if h, ok := m.driver.Look(id); ok && m != not && h.Domain.Power == virt.PowerRunning {
			return true
		}
	}
	return false
}
