package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/image"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/operate"
	"github.com/kilonova/kilonova/node/peernet"
	"github.com/kilonova/kilonova/node/reconcile"
	"github.com/kilonova/kilonova/virt"
	virtimage "github.com/kilonova/kilonova/virt/image"
)

// capturesDir is where disks stand that are on their way into an image, below the data directory.
const capturesDir = "captures"

// moves is this node's part of the operations that take several steps.
type moves struct {
	loop        *operate.Loop
	source      *operate.Source
	destination *operate.Destination
}

// Live says how running guests are sent to other nodes.
type Live struct {
	AutoConverge bool          // slow a guest down that changes its memory faster than it is sent
	PostCopy     bool          // let forced migrations go on at the destination before all memory is there
	MiBPerSecond int64         // bandwidth of each; 0: no bound
	MaxDowntime  time.Duration // that a guest may stand still; 0: the hypervisor's default
}

func (l *Live) validate() error {
	if l.MiBPerSecond < 0 || l.MaxDowntime < 0 {
		return errors.New("--live-migration-mibps and --live-migration-downtime must not be below 0")
	}
	return nil
}

func (n *node) openMoves(h *host, volumes reconcile.Volumes) moves {
	live := n.cfg.Live
	destination := operate.NewDestination(operate.DestinationConfig{
		Node: n.id.Node, Cluster: n.state, Driver: h.driver, Images: h.blobs, Volumes: volumes, Orders: h.lease,
		Sockets: operate.UNIXSockets{}, Log: n.cfg.Log,
	})
	return moves{
		destination: destination,
		source:      operate.NewSource(n.id.Node, n.state, h.driver, n.cfg.Log),
		loop: operate.New(operate.Config{
			Node: n.id.Node, Cluster: n.state, Driver: h.driver, Images: h.blobs, Sources: n.wire.client,
			Store: captures{h.images, h.copies}, Scratch: n.dir.file(capturesDir), Log: n.cfg.Log,
			Landings: n.wire.client, Arrivals: destination, Sockets: operate.UNIXSockets{}, Options: virt.MigrateOptions{
				AutoConverge: live.AutoConverge, PostCopy: live.PostCopy, MiBPerSecond: live.MiBPerSecond, MaxDowntime: live.MaxDowntime,
			},
		}),
	}
}

func (m *moves) close() {
	if m.source != nil {
		m.source.Close()
		m.destination.Close()
	}
}

// busy tells whether disks of an instance are being made here.
func (m *moves) busy(id cluster.InstanceID) bool {
	return m.loop.Busy(id) || m.destination.Busy(id)
}

// withAsker lets handlers of the peer port know which node is at the other end; it is a ConnContext of net/http.
func withAsker(ctx context.Context, c net.Conn) context.Context {
	if id, ok := peernet.NodeOf(c); ok {
		return peer.WithAsker(ctx, id)
	}
	return ctx
}

// captures puts disks that were saved to files into the image store. It implements operate.ImageStore.
type captures struct {
	*imageStore
	*copies
}

var _ operate.ImageStore = captures{}

// Import implements operate.ImageStore. The file passes the same examination as an upload: a guest's disk is anybody's bytes.
func (c captures) Import(ctx context.Context, path string) (*cluster.ImageData, error) {
	var virtual int64
	data, err := importFile(ctx, c.imageStore, path, func(r io.ReaderAt, size int64) error {
		found, err := virtimage.Inspect(r, size)
		if err == nil {
			virtual, err = found.VirtualSize, virtimage.Check(virtimage.QCOW2, found)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", path, err)
	}
	data.VirtualSize = virtual
	return data, nil
}

// importFile stores a file as a blob on this node, once check has passed it. Nodes is left open.
func importFile(ctx context.Context, s image.Store, path string, check func(r io.ReaderAt, size int64) error) (*cluster.ImageData, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	blob, err := s.Import(ctx, f, info.Size(), image.MaxBytes, check)
	if err != nil {
		return nil, err
	}
	return &cluster.ImageData{Root: blob.Root, Size: blob.Size, MD5: blob.MD5, SHA512: blob.SHA512}, nil
}
