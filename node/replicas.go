package node

import (
	"context"
	"sync"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/mirror"
	"github.com/kilonova/kilonova/node/operate"
	"github.com/kilonova/kilonova/node/reconcile"
	"github.com/kilonova/kilonova/virt"
)

// replicas is this node's part in keeping copies of disks.
type replicas struct {
	keeper   *mirror.Keeper // nil: the hypervisor cannot
	receiver *mirror.Receiver
}

func (n *node) openReplicas(h *host) replicas {
	driver, able := h.driver.(virt.Mirrors)
	r := replicas{receiver: mirror.NewReceiver(mirror.ReceiverConfig{
		Node: n.id.Node, Cluster: n.state, Driver: driver, Images: h.blobs, Log: n.cfg.Log,
	})}
	if able {
		r.keeper = mirror.NewKeeper(mirror.KeeperConfig{
			Node: n.id.Node, Cluster: n.state, Driver: driver, Peers: n.wire.client, Sockets: operate.UNIXSockets{},
			Dir: h.driver.Sockets().Dir, Log: n.cfg.Log,
		})
	}
	return r
}

// run returns when ctx has ended, and all that was begun.
func (r *replicas) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.receiver.Run(ctx) })
	if r.keeper != nil {
		wg.Go(func() { r.keeper.Run(ctx) })
	}
}

// gate is what a guest passes before it is started.
func (r *replicas) gate() reconcile.Replicas {
	if r.keeper == nil {
		return nil
	}
	return r.keeper
}

// busy tells whether disks of an instance are being made here.
func (h *host) busy(id cluster.InstanceID) bool {
	return h.moves.busy(id) || h.replicas.receiver.Busy(id)
}
