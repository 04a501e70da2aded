package chaos

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// harm is one kind of what the nemesis does. do gives nil when it cannot be done at the moment.
type harm struct {
	name string
	do   func(ctx context.Context, n *nemesis, c choice) (*wound, error)
	real bool // it is of libvirt and QEMU, which simulated hosts do not have
}

// starving is the harm that costs no node its lease.
const starving = "starve"

// harms are all kinds.
var harms []harm

func init() { // a variable that names functions which read it would be a loop
	harms = []harm{
		{name: "kill", do: onVictim(killed)}, {name: "kill the leader", do: onLeader(killed)},
		{name: "stop", do: onVictim(stopped)}, {name: "stop the leader", do: onLeader(stopped)},
		{name: "cut the power", do: onVictim(powerless)}, {name: "cut the power of the leader", do: onLeader(powerless)}, {name: "cut all power", do: allPowerless},
		{name: "restart one after the other", do: restartedAll}, {name: "fail live migrations", do: onVictim(flightless)},
		{name: "part in halves", do: onWires(halves)}, {name: "cut off one", do: onWires(lonely)}, {name: "one-way", do: onWires(deaf)},
		{name: "bridge", do: onWires(bridged)}, {name: "flap", do: onWires(flapping)},
		{name: "lose packets", do: onVictim(lossy)}, {name: "slow wire", do: onVictim(slowWire)}, {name: "small packets only", do: onVictim(narrow)},
		{name: "delay and reorder", do: onVictim(roughened)},
		{name: "stall the disk", do: onVictim(stalled)}, {name: "fill the disk", do: onVictim(filled)}, {name: "fail to sync", do: onVictim(unsynced)},
		{name: "turn the wall clock", do: onVictim(turned)},
		{name: "wipe", do: onVictim(wiped)}, {name: "clone", do: onVictim(cloned)}, {name: "damage the log", do: onVictim(damaged)},
		{name: starving, do: onVictim(starved)}, {name: "end guests by hand", do: onVictim(meddled)},
		{name: "kill libvirtd", do: onVictim(deafened), real: true}, {name: "stop libvirtd", do: onVictim(dazed), real: true},
		{name: "kill QEMU", do: onVictim(shot), real: true}, {name: "stop QEMU", do: onVictim(frozen), real: true},
		{name: "destroy a domain", do: onVictim(handled(destroyed)), real: true}, {name: "undefine a domain", do: onVictim(handled(undefined)), real: true},
		{name: "destroy and undefine a domain", do: onVictim(handled(both)), real: true}, {name: "start a domain", do: onVictim(handled(raised)), real: true},
	}
}

// harmNames are the kinds that hosts with such a driver can suffer. Those of a simulated one come first, so that a seed draws from them as it always did.
func harmNames(driver string) []string {
	var names []string
	for _, h := range harms {
		if !h.real || driver != simulated {
			names = append(names, h.name)
		}
	}
	return names
}

// onVictim does something to the node that the dice chose.
func onVictim(do func(context.Context, *nemesis, *peer, choice) (*wound, error)) func(context.Context, *nemesis, choice) (*wound, error) {
	return func(ctx context.Context, n *nemesis, c choice) (*wound, error) {
		if p := n.victim(c); p != nil {
			return do(ctx, n, p, c)
		}
		return nil, nil
	}
}

// onLeader does something to whichever node leads.
func onLeader(do func(context.Context, *nemesis, *peer, choice) (*wound, error)) func(context.Context, *nemesis, choice) (*wound, error) {
	return func(ctx context.Context, n *nemesis, c choice) (*wound, error) {
		if p := n.leading(ctx); p != nil {
			return do(ctx, n, p, c)
		}
		return nil, nil
	}
}

func killed(_ context.Context, _ *nemesis, p *peer, _ choice) (*wound, error) {
	return &wound{what: "kill " + p.Name(), peers: []*peer{p}, mend: func(context.Context) error { return p.raise() }}, p.kill()
}

func stopped(_ context.Context, _ *nemesis, p *peer, _ choice) (*wound, error) {
	return &wound{what: "stop " + p.Name(), peers: []*peer{p}, mend: func(context.Context) error { return p.signal(syscall.SIGCONT) }}, p.signal(syscall.SIGSTOP)
}

func powerless(_ context.Context, _ *nemesis, p *peer, _ choice) (*wound, error) {
	return &wound{what: "cut the power of " + p.Name(), peers: []*peer{p}, mend: p.restore}, p.cut()
}

func allPowerless(_ context.Context, n *nemesis, _ choice) (*wound, error) {
	if !n.free(n.peers...) {
		return nil, nil
	}
	var errs []error
	for _, p := range n.peers {
		errs = append(errs, p.cut())
	}
	return &wound{what: "cut all power", peers: n.peers, mend: func(ctx context.Context) error {
		var errs []error
		for _, p := range n.peers {
			errs = append(errs, p.restore(ctx))
		}
		return errors.Join(errs...)
	}}, errors.Join(errs...)
}

// restartedAll lets the daemons end and begin again, one after the other, as an upgrade does.
func restartedAll(ctx context.Context, n *nemesis, c choice) (*wound, error) {
	if !n.free(n.peers...) {
		return nil, nil
	}
	over := make(chan error, 1)
	n.side.Go(func() {
		var errs []error
		for _, i := range c.order {
			errs = append(errs, n.peers[i].leave(), n.peers[i].raise())
			pause(ctx, time.Second)
		}
		over <- errors.Join(errs...)
	})
	return &wound{what: "restart one after the other", peers: n.peers, mend: func(context.Context) error { return <-over }}, nil
}

// flightless lets live migrations fail at a node, at a place that the dice choose.
func flightless(_ context.Context, _ *nemesis, p *peer, c choice) (*wound, error) {
	places := []string{"operate/migrating/confirmed", "operate/migrating/landing", "operate/migrating/sending", "operate/migrating/sent", "operate/landing/after-receive",
		"operate/landing/before-stream", "operate/landing/before-arrival"}
	place := places[c.dice%uint64(len(places))]
	return &wound{what: fmt.Sprintf("fail at %s of %s", place, p.Name()), peers: []*peer{p},
		mend: func(context.Context) error { return p.setPoints("") }}, p.setPoints(place + "=error")
}

// wrongBy is by how much a wall clock is wrong.
const wrongBy = 10 * time.Minute

// turned sets a daemon's wall clock forward or back. Every other time the daemon begins with a wrong one.
func turned(_ context.Context, _ *nemesis, p *peer, c choice) (*wound, error) {
	by := wrongBy
	if c.dice%2 == 0 {
		by = -by
	}
	w := &wound{what: fmt.Sprintf("turn the wall clock of %s by %s", p.Name(), by), peers: []*peer{p}, mend: func(context.Context) error { return p.turnClock(0) }}
	if c.dice/2%2 == 0 {
		return w, p.turnClock(by)
	}
	w.what += " from its beginning"
	return w, errors.Join(p.kill(), p.turnClock(by), p.raise())
}

// meddled ends a guest by hand while its daemon is dead.
func meddled(_ context.Context, n *nemesis, p *peer, c choice) (*wound, error) {
	if !n.sim {
		return nil, nil
	}
	if err := p.kill(); err != nil {
		return nil, err
	}
	ended, err := p.endGuest(c.dice)
	return &wound{what: fmt.Sprintf("kill %s and end %q by hand", p.Name(), ended), peers: []*peer{p}, mend: func(context.Context) error { return p.raise() }}, err
}
