package sim

import (
	"context"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// How an operator evacuates a dead host.
const (
	evacuateTries = 4
	evacuateQuiet = 10 * time.Second // after the last word, until the host may be switched on again
)

// evacuate takes a host down for good, for all that anybody knows, and lets an operator give the word to build its instances elsewhere.
// Only when that word is committed, or can be no more, is the host switched on again.
func (w *World) evacuate(ctx context.Context, m *machine) {
	m.mu.Lock()
	was := m.dead
	m.dead = true
	m.mu.Unlock()
	if was {
		return
	}
	m.powerCut()
	pause(ctx, w.dice.between(time.Second, 10*time.Second, "operator", uint64(m.number), w.now()))
	for in := range w.ledger.latest().InstancesOn(m.id) {
		if w.dice.chance(70, "evacuate", w.dice.draw(string(in.ID)), w.now()) {
			w.word(ctx, m, in.ID)
		}
	}
	pause(ctx, evacuateQuiet)
	m.set(func(m *machine) { m.dead = false })
	m.start(ctx)
}

// word tells the cluster that an instance's host is dead, through whichever node answers.
func (w *World) word(ctx context.Context, dead *machine, id cluster.InstanceID) {
	op := cluster.BeginMove{ID: id, By: by("evacuate"), What: cluster.OpEvacuate,
		Operation: cluster.OperationID(uuid(4, w.dice.draw("evacuate "+string(id), w.now())))}
	key := dead.freshRequest()
	for try := range evacuateTries {
		d := w.machines[(dead.number+1+try)%len(w.machines)].running()
		if d == nil {
			continue
		}
		again := op
		a := access{w: w, d: d}
		_, err := a.Propose(ctx, cluster.Command{ID: key, Time: cluster.At(time.Now()), Op: &again})
		if err == nil || refused(err) {
			return
		}
	}
}
