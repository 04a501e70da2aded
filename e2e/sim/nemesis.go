package sim

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// leastPeace and mostPeace are how long the nemesis rests between two faults, in a cluster of less than faultsGrow machines.
const (
	leastPeace, mostPeace = 200 * time.Millisecond, 4 * time.Second
	faultsGrow            = 100
)

// faultKinds is how many cases hurt has.
const faultKinds = 16

// mostSkew bounds how far a clock is turned. The state takes the time of the fastest leader, and remembers requests for
// cluster.RequestMemory of it.
const mostSkew = 2 * time.Minute

// nemesis hurts the cluster. It is one goroutine, so its faults come in an order that only the seed decides.
type nemesis struct {
	w      *World
	dice   *rand.Rand
	agenda []mending
	faults int
	side   sync.WaitGroup // what it does beside its faults
}

// mending takes a fault away again.
type mending struct {
	at time.Time
	do func()
}

func newNemesis(w *World, round int) *nemesis {
	return &nemesis{w: w, dice: rand.New(rand.NewPCG(uint64(w.dice), uint64(1000+round)))}
}

// run hurts until ctx ends. What it starts lives as long as all.
func (n *nemesis) run(ctx, all context.Context) {
	next := time.Now().Add(n.peace())
	for {
		slices.SortStableFunc(n.agenda, func(a, b mending) int { return a.at.Compare(b.at) })
		at := next
		if len(n.agenda) > 0 && n.agenda[0].at.Before(at) {
			at = n.agenda[0].at
		}
		if !pause(ctx, time.Until(at)) {
			return
		}
		if at.Equal(next) {
			n.faults++
			n.hurt(all)
			next = time.Now().Add(n.peace())
			continue
		}
		first := n.agenda[0]
		n.agenda = n.agenda[1:]
		first.do()
	}
}

// peace is how long until the next fault: a large cluster has more of them.
func (n *nemesis) peace() time.Duration {
	return n.span(leastPeace, mostPeace) / time.Duration(1+len(n.w.machines)/faultsGrow)
}

func (n *nemesis) span(least, most time.Duration) time.Duration {
	return least + time.Duration(n.dice.Int64N(int64(most-least)))
}

// mend plans the end of a fault.
func (n *nemesis) mend(least, most time.Duration, do func()) {
	n.agenda = append(n.agenda, mending{time.Now().Add(n.span(least, most)), do})
}

func (n *nemesis) victim() *machine { return n.w.machines[n.dice.IntN(len(n.w.machines))] }

// hurt makes one fault. Daemons that it starts again live as long as ctx.
func (n *nemesis) hurt(ctx context.Context) {
	m := n.victim()
	kind := n.dice.IntN(faultKinds)
	if n.w.slandering.Load() {
		return // what is said of the living is not to come true by chance
	}
	n.w.trace("fault %d of kind %d on machine %d", n.faults, kind, m.number)
	switch kind {
	case 0, 1:
		m.stop()
		n.mend(0, 15*time.Second, func() { m.start(ctx) })
	case 2:
		m.powerCut()
		n.mend(time.Second, 20*time.Second, func() { m.start(ctx) })
	case 3:
		n.part()
	case 4:
		n.w.ledger.depose()
	case 5:
		lag := n.span(time.Second, 10*time.Second)
		m.set(func(m *machine) { m.lag = lag })
		n.mend(5*time.Second, 30*time.Second, func() { m.set(func(m *machine) { m.lag = 0 }) })
	case 6:
		skew := n.span(-mostSkew, mostSkew)
		m.set(func(m *machine) { m.skew = skew })
	case 7:
		m.snapshot()
	case 8:
		n.w.gossip.freeze(true)
		n.mend(5*time.Second, 30*time.Second, func() { n.w.gossip.freeze(false) })
	case 9:
		m.driver.SetDown(true)
		n.mend(time.Second, 20*time.Second, func() { m.driver.SetDown(false); m.driver.breakConnection() })
	case 10, 11:
		n.breakCalls(m)
	case 12:
		n.breakGuest(m)
	case 13:
		n.disable(ctx, m)
	case 14:
		sender := n.dice.IntN(2) == 0
		n.side.Go(func() {
			if sender {
				m = n.w.sender(ctx, m)
			}
			n.w.evacuate(ctx, m)
		})
	case 15:
		n.side.Go(func() { n.w.slander(ctx, m) })
	}
}

// disable lets an operator close a machine for a while. It takes its time, as the cluster may not answer.
func (n *nemesis) disable(ctx context.Context, m *machine) {
	n.side.Go(func() { n.w.disable(ctx, m, true) })
	n.mend(5*time.Second, 30*time.Second, func() { n.side.Go(func() { n.w.disable(ctx, m, false) }) })
}

// part splits the network in two, or cuts one machine off.
func (n *nemesis) part() {
	group := map[int]int{}
	if n.dice.IntN(2) == 0 {
		group[n.victim().number] = 1
	} else {
		for _, m := range n.w.machines {
			group[m.number] = n.dice.IntN(2)
		}
	}
	n.w.net.part(group)
	n.w.ledger.touch()
	n.mend(2*time.Second, 25*time.Second, func() {
		n.w.net.part(nil)
		n.w.ledger.touch()
	})
}

// breakCalls lets calls of one hypervisor be slow, hang, fail, or be done without an answer.
func (n *nemesis) breakCalls(m *machine) {
	op := faultyCalls[n.dice.IntN(len(faultyCalls))]
	var f sim.Fault
	switch n.dice.IntN(5) {
	case 0:
		f.Slow = n.span(time.Second, 40*time.Second)
	case 1:
		f.Hang = true
	case 2:
		f.Fail = 1 + n.dice.IntN(5)
	case 3:
		f.Lose = 1 + n.dice.IntN(3)
	case 4:
		op, f.GuestCrash = sim.OpStart, n.span(100*time.Millisecond, 10*time.Second)
	}
	m.driver.SetFault(op, f)
	n.mend(2*time.Second, 30*time.Second, func() {
		m.driver.SetFault(op, sim.Fault{})
		if f.Hang {
			m.driver.breakConnection()
		}
	})
}

// breakGuest lets a running guest crash or power itself off.
func (n *nemesis) breakGuest(m *machine) {
	crash := n.dice.IntN(2) == 0
	for _, h := range m.driver.LookAll() {
		if h.Domain.Power != virt.PowerRunning {
			continue
		}
		if crash {
			_ = m.driver.CrashGuest(h.Domain.ID) // it may have stopped at this very moment
		} else {
			_ = m.driver.PowerOffGuest(h.Domain.ID)
		}
		return
	}
}

// heal takes every fault away.
func (w *World) heal(ctx context.Context) {
	w.trace("faults end")
	w.net.part(nil)
	w.gossip.freeze(false)
	for _, m := range w.machines {
		m.set(func(m *machine) { m.lag, m.skew = 0, 0 })
		m.driver.heal()
		m.start(ctx)
	}
	w.ledger.touch()
}
