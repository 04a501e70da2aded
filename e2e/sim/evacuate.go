package sim

import (
	"context"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// How an operator evacuates a dead host, and one that lives.
const (
	senderPoll    = 50 * time.Millisecond
	senderPolls   = 200
	slanderPoll   = 100 * time.Millisecond
	slanderPolls  = 100 // then the operator forgets about it
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

// sender waits for a machine that a guest is migrating from. If there is none for a while, it is m.
func (w *World) sender(ctx context.Context, m *machine) *machine {
	for range senderPolls {
		for in := range w.ledger.latest().UnderWay() {
			if in.Op.Step == cluster.StepMigrating {
				return w.byID[in.Node]
			}
		}
		if !pause(ctx, senderPoll) {
			break
		}
	}
	return m
}

// slander lets an operator say of a machine that lives that it is down, and evacuate it. The machine is heard of meanwhile, so that
// the cluster knows better: its instances run elsewhere only when nothing of them is left on it.
func (w *World) slander(ctx context.Context, m *machine) {
	m.mu.Lock()
	dead := m.dead
	m.mu.Unlock()
	if dead || m.running() == nil || !w.net.whole() || w.gossip.hints()[m.id].Silent || !w.slandering.CompareAndSwap(false, true) {
		return
	}
	defer w.slandering.Store(false)
	w.trace("machine %d is slandered", m.number)
	if w.dice.chance(50, "mute", uint64(m.number), w.now()) { // its hypervisor does not answer, but its guests run
		m.driver.SetDown(true)
	}
	if w.say(ctx, m, true) {
		for in := range w.ledger.latest().InstancesOn(m.id) {
			if w.dice.chance(70, "slander", w.dice.draw(string(in.ID)), w.now()) {
				w.word(ctx, m, in.ID)
			}
		}
		for range slanderPolls {
			if !w.undecided(m.id) || !pause(ctx, slanderPoll) {
				break
			}
		}
	}
	m.driver.SetDown(false)
	m.driver.breakConnection()
	for (!w.say(ctx, m, false) || w.awaited(m.id)) && pause(ctx, time.Second) {
	}
}

// say lets an operator say whether a machine is down, through any node, and tells whether that was committed.
func (w *World) say(ctx context.Context, m *machine, down bool) bool {
	for _, through := range w.machines {
		if d := through.running(); d != nil {
			a := access{w: w, d: d}
			op := &cluster.SetNodeService{ID: m.id, Service: cluster.ServiceState{ForcedDown: down}}
			_, err := a.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op})
			return err == nil
		}
	}
	return false
}

// undecided tells whether a node's instances are evacuated and have no other node yet.
func (w *World) undecided(node cluster.NodeID) bool {
	for in := range w.ledger.latest().UnderWay() {
		if in.Node == node && in.Op.Kind == cluster.OpEvacuate {
			return true
		}
	}
	return false
}

// awaited tells whether an evacuated instance waits for the node that it left.
func (w *World) awaited(node cluster.NodeID) bool {
	for in := range w.ledger.latest().UnderWay() {
		if in.Op.Kind == cluster.OpEvacuate && in.Mode.Await == node {
			return true
		}
	}
	return false
}
