package sim

import (
	"context"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// inventoryEvery is how often a node looks at its hypervisor, and inventoryTimeout how long it waits for it, as in package node.
const (
	inventoryEvery   = 10 * time.Second
	inventoryTimeout = 20 * time.Second
)

// tellReady keeps the node's record in the state true about whether its hypervisor answers. One that does not gets no
// instances; those that were chosen for it meanwhile wait for the leader to choose again.
func (d *daemon) tellReady(ctx context.Context) {
	m := d.machine
	a := access{w: m.w, d: d}
	for pause(ctx, m.w.dice.between(inventoryEvery/2, inventoryEvery, "inventory", uint64(m.number), m.w.now())) {
		view, _ := d.replica.latest()
		have, ok := view.Node(m.id)
		if !ok {
			continue // it has not caught up yet
		}
		look, cancel := context.WithTimeout(ctx, inventoryTimeout)
		_, err := m.driver.Host(look)
		cancel()
		if ready := err == nil; ready != have.Host.Ready && ctx.Err() == nil {
			n := have.Clone()
			n.Host.Ready = ready
			_, _ = a.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: &cluster.UpdateNode{Node: *n}}) // else the next look does
		}
	}
}

// disable lets an operator close a machine for new instances, or open it again, through any node that runs.
func (w *World) disable(ctx context.Context, m *machine, closed bool) {
	for _, through := range w.machines {
		d := through.running()
		if d == nil {
			continue
		}
		a := access{w: w, d: d}
		op := &cluster.SetNodeService{ID: m.id, Service: cluster.ServiceState{Disabled: closed, Reason: "maintenance"}}
		_, _ = a.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op}) // an operator who is not heard gives up
		return
	}
}
