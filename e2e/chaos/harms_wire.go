package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kilonova/kilonova/e2e/lab"
)

// flapEvery is how long a flapping network is in each state.
const flapEvery = 700 * time.Millisecond

// onWires does something to the network between the hosts, unless it is hurt already.
func onWires(do func(context.Context, *nemesis, choice) (string, error)) func(context.Context, *nemesis, choice) (*wound, error) {
	return func(ctx context.Context, n *nemesis, c choice) (*wound, error) {
		if !n.wired() {
			return nil, nil
		}
		what, err := do(ctx, n, c)
		return &wound{what: what, wires: true, mend: n.Lab.Heal}, err
	}
}

// group gives hosts, and their names.
func (n *nemesis) group(numbers ...int) (hosts []*lab.Host, names string) {
	var all []string
	for _, i := range numbers {
		hosts, all = append(hosts, n.peers[i].Host), append(all, n.peers[i].Name())
	}
	return hosts, strings.Join(all, ",")
}

func halves(ctx context.Context, n *nemesis, c choice) (string, error) {
	half := len(c.order) / 2
	a, left := n.group(c.order[:half]...)
	b, right := n.group(c.order[half:]...)
	return fmt.Sprintf("part %s from %s", left, right), n.Lab.Partition(ctx, a, b)
}

func lonely(ctx context.Context, n *nemesis, c choice) (string, error) {
	a, left := n.group(c.order[:1]...)
	b, _ := n.group(c.order[1:]...)
	return "cut off " + left, n.Lab.Partition(ctx, a, b)
}

// bridged parts all but one, which reaches everybody.
func bridged(ctx context.Context, n *nemesis, c choice) (string, error) {
	half := len(c.order) / 2
	a, left := n.group(c.order[:half]...)
	b, right := n.group(c.order[half : len(c.order)-1]...)
	_, last := n.group(c.order[len(c.order)-1])
	return fmt.Sprintf("part %s from %s, and not %s", left, right, last), n.Lab.Partition(ctx, a, b)
}

// deaf lets nothing reach one node from the others, or nothing from it reach them.
func deaf(ctx context.Context, n *nemesis, c choice) (string, error) {
	one := n.peers[c.victim]
	inward := c.dice%2 == 0
	var errs []error
	for _, other := range n.peers {
		switch {
		case other == one:
		case inward:
			errs = append(errs, n.Lab.Drop(ctx, other.Host, one.Host))
		default:
			errs = append(errs, n.Lab.Drop(ctx, one.Host, other.Host))
		}
	}
	return fmt.Sprintf("one way with %s, it hears: %t", one.Name(), !inward), errors.Join(errs...)
}

// flapping cuts one node off and back again, for as long as the harm lasts.
func flapping(ctx context.Context, n *nemesis, c choice) (string, error) {
	a, left := n.group(c.order[:1]...)
	b, _ := n.group(c.order[1:]...)
	n.side.Go(func() {
		for until := time.Now().Add(c.last - 2*flapEvery); time.Now().Before(until); {
			if err := n.Lab.Partition(ctx, a, b); err != nil {
				n.fault("flap: %v", err)
			}
			pause(ctx, flapEvery)
			if err := n.Lab.Heal(ctx); err != nil {
				n.fault("flap: %v", err)
			}
			pause(ctx, flapEvery)
		}
	})
	return "flap " + left, nil
}

// atHost runs a command on a host, and another one to undo it.
func atHost(ctx context.Context, p *peer, what string, do, undo []string) (*wound, error) {
	_, err := p.Host.Run(ctx, do...)
	return &wound{what: what + " of " + p.Name(), peers: []*peer{p}, mend: func(ctx context.Context) error {
		_, err := p.Host.Run(ctx, undo...)
		return err
	}}, err
}

// lossy drops a fifth of what reaches a host.
func lossy(ctx context.Context, _ *nemesis, p *peer, _ choice) (*wound, error) {
	table := `table inet chaos { chain in { type filter hook input priority 0; iifname "eth0" numgen random mod 100 < 20 drop; }; }`
	return atHost(ctx, p, "lose 20 % of the packets", []string{"nft", table}, []string{"nft", "delete table inet chaos"})
}

// slowWire lets what a host sends wait in a queue behind a narrow wire.
func slowWire(ctx context.Context, _ *nemesis, p *peer, _ choice) (*wound, error) {
	return atHost(ctx, p, "slow wire", strings.Fields("tc qdisc add dev eth0 root tbf rate 1mbit burst 5kb latency 400ms"), strings.Fields("tc qdisc del dev eth0 root"))
}

// narrow lets only small packets through, on one end of the wire alone.
func narrow(ctx context.Context, _ *nemesis, p *peer, _ choice) (*wound, error) {
	return atHost(ctx, p, "small packets only", strings.Fields("ip link set eth0 mtu 1280"), strings.Fields("ip link set eth0 mtu 1500"))
}

// longestDelay bounds by how much a rough wire delays; the dice choose how much of it.
const longestDelay = 300 * time.Millisecond

// roughened delays what passes a host's wire, each packet by another time, so that they come in another order, and one in twenty comes twice.
func roughened(_ context.Context, _ *nemesis, p *peer, c choice) (*wound, error) {
	most := longestDelay >> (c.dice % 4)
	rough := lab.Rough{Least: most / 10, Most: most, Twice: 0.05, Seed: c.dice}
	return &wound{what: fmt.Sprintf("delay and reorder by up to %s on the wire of %s", most, p.Name()), peers: []*peer{p},
		mend: func(context.Context) error { return p.Host.Smooth() }}, p.Host.Roughen(rough)
}
