package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/kilonova/kilonova/e2e/audit"
	"github.com/kilonova/kilonova/e2e/cloud"
)

// nemesis hurts the cluster. It is one goroutine, so its harms come in an order that only the seed decides. A harm that cannot be done at the moment,
// since its victim is hurt already, is passed over.
type nemesis struct {
	*town
	plan   plan
	dice   *rand.Rand
	agenda []*wound
	side   sync.WaitGroup // what wounds do beside
	counts map[string]int

	spare    *cloud.Node // a host without a node; nil: not made yet
	renewing bool        // a node is being replaced: one at a time, as an operator would
}

// errLater is what mending gives that is not over yet. It is asked again a little later, so that other wounds are mended meanwhile.
var errLater = errors.New("it is not over yet")

const laterPause = time.Second

// wound is a harm that was done and has to be mended.
type wound struct {
	what  string
	peers []*peer // that nothing else is done to meanwhile
	wires bool    // it is of the network between all
	due   time.Time
	again bool // it was tried to mend it, and it was not over yet
	mend  func(context.Context) error
}

func newNemesis(t *town, p plan) *nemesis {
	return &nemesis{town: t, plan: p, dice: rand.New(rand.NewPCG(p.seed, 1)), counts: map[string]int{}}
}

// run hurts until ctx ends, and then mends all. What it starts lives as long as all.
func (n *nemesis) run(ctx, all context.Context) {
	names := harmNames(n.plan.driver)
	c := n.plan.draw(n.dice, names)
	next := time.Now().Add(c.after)
	for {
		slices.SortStableFunc(n.agenda, func(a, b *wound) int { return a.due.Compare(b.due) })
		at := next
		if len(n.agenda) > 0 && n.agenda[0].due.Before(at) {
			at = n.agenda[0].due
		}
		if !pause(ctx, time.Until(at)) {
			break
		}
		if at.Equal(next) {
			n.hurt(all, c)
			c = n.plan.draw(n.dice, names)
			next = time.Now().Add(c.after)
			continue
		}
		n.mendFirst(all)
	}
	for len(n.agenda) > 0 {
		slices.SortStableFunc(n.agenda, func(a, b *wound) int { return a.due.Compare(b.due) })
		if first := n.agenda[0]; first.again {
			pause(all, time.Until(first.due))
		}
		n.mendFirst(all)
	}
	n.side.Wait()
	n.said.say("all is mended")
}

func (n *nemesis) mendFirst(ctx context.Context) {
	w := n.agenda[0]
	n.agenda = n.agenda[1:]
	switch err := w.mend(ctx); {
	case errors.Is(err, errLater):
		w.due, w.again = time.Now().Add(laterPause), true
		n.agenda = append(n.agenda, w)
	case err != nil:
		n.fault("mend %s: %v", w.what, err)
	default:
		n.said.say("mended: %s", w.what)
	}
}

// hurt does a harm, unless one of its victims has another.
func (n *nemesis) hurt(ctx context.Context, c choice) {
	i := slices.IndexFunc(harms, func(h harm) bool { return h.name == c.harm })
	w, err := harms[i].do(ctx, n, c)
	switch {
	case err != nil:
		n.fault("%s: %v", c.harm, err)
	case w == nil:
		n.said.say("not now: %s of node %d", c.harm, c.victim+1)
	default:
		n.counts[c.harm]++
		n.said.say("%s, for %s", w.what, c.last)
		w.due = time.Now().Add(c.last)
		n.agenda = append(n.agenda, w)
	}
}

// beside does something beside the nemesis, and gives how it is mended: by waiting for it.
func (n *nemesis) beside(do func() error) (mend func(context.Context) error) {
	over := make(chan error, 1)
	n.side.Go(func() { over <- do() })
	return func(context.Context) error {
		select {
		case err := <-over:
			return err
		default:
			return errLater
		}
	}
}

// free tells whether nothing is done to any of those.
func (n *nemesis) free(peers ...*peer) bool {
	for _, w := range n.agenda {
		for _, p := range peers {
			if slices.Contains(w.peers, p) {
				return false
			}
		}
	}
	return true
}

// wired tells whether the network is whole.
func (n *nemesis) wired() bool {
	return !slices.ContainsFunc(n.agenda, func(w *wound) bool { return w.wires })
}

// victim is the node that the dice chose; nil: something is done to it already.
func (n *nemesis) victim(c choice) *peer {
	if p := n.peers[c.victim]; n.free(p) {
		return p
	}
	return nil
}

// leading is the node that leads, as the first one has it that knows, if nothing is done to it; otherwise nil.
func (n *nemesis) leading(ctx context.Context) *peer {
	for _, via := range n.peers {
		if !n.free(via) {
			continue
		}
		var got struct{ Nodes []audit.Machine }
		a, err := n.send(ctx, via, cloud.Request{Path: "/cluster/v1/nodes", Header: map[string]string{"X-Kilonova-Consistency": "stale"}, Timeout: time.Second})
		if err != nil || a.Want(http.StatusOK) != nil || a.Into(&got) != nil {
			continue
		}
		for _, m := range got.Nodes {
			i := slices.IndexFunc(n.peers, func(p *peer) bool { return p.Name() == m.Name })
			if m.Raft == "leader" && i >= 0 && n.free(n.peers[i]) {
				return n.peers[i]
			}
		}
	}
	return nil
}
