package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
)

// wire is how a daemon reaches the peer ports of others. It implements operate.DiskSources and
// operate.Landings.
type wire struct {
	w *World
	d *daemon
}

// reach takes the time of a message to a node, and finds the daemon there.
func (x *wire) reach(ctx context.Context, id cluster.NodeID, m *peer.Move) (*daemon, error) {
	m.Asker = x.d.machine.id
	to := x.w.byID[id]
	n := uint64(x.d.machine.number)
	if !pause(ctx, x.w.dice.between(leastHop, mostHop, "peer", n, x.w.now())) {
		return nil, ctx.Err()
	}
	d := to.running()
	if d == nil || !x.w.net.reaches(x.d.machine, to) {
		return nil, fmt.Errorf("dial node %s: connection refused", id)
	}
	return d, nil
}

// Disks implements operate.DiskSources.
func (x *wire) Disks(ctx context.Context, source cluster.NodeID, m peer.Move) ([]peer.Disk, error) {
	d, err := x.reach(ctx, source, &m)
	if err != nil {
		return nil, err
	}
	return d.source.Disks(ctx, m)
}

// Block implements operate.DiskSources.
func (x *wire) Block(ctx context.Context, source cluster.NodeID, m peer.Move, disk string, parts []peer.Extent, into []byte) error {
	d, err := x.reach(ctx, source, &m)
	if err != nil {
		return err
	}
	var b strings.Builder
	err = d.source.Block(ctx, &b, m, disk, parts)
	copy(into, b.String())
	return err
}

// Land implements operate.Landings.
func (x *wire) Land(ctx context.Context, destination cluster.NodeID, m peer.Move) (json.RawMessage, error) {
	d, err := x.reach(ctx, destination, &m)
	if err != nil {
		return nil, err
	}
	return d.destination.Land(ctx, m)
}

// Arrival implements operate.Landings.
func (x *wire) Arrival(ctx context.Context, destination cluster.NodeID, m peer.Move) (peer.Arrival, error) {
	d, err := x.reach(ctx, destination, &m)
	if err != nil {
		return peer.Arrival{}, err
	}
	return d.destination.Arrival(ctx, m)
}

// Stream implements operate.Landings.
func (x *wire) Stream(ctx context.Context, destination cluster.NodeID, m peer.Move, which peer.Stream) (net.Conn, error) {
	d, err := x.reach(ctx, destination, &m)
	if err != nil {
		return nil, err
	}
	conn, err := d.destination.Stream(ctx, m, which)
	if err != nil {
		return nil, err
	}
	return x.w.net.span(conn, x.d.machine, d.machine), nil
}
