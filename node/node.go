package node

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/gossip"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/lead"
	"github.com/kilonova/kilonova/node/lease"
	"github.com/kilonova/kilonova/node/peernet"
	"github.com/kilonova/kilonova/node/reconcile"
	"github.com/kilonova/kilonova/raftfsm"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/image/chunk"
	"github.com/kilonova/kilonova/virt/volume"
)

// errRemoved ends a node that was taken out of the cluster.
var errRemoved = errors.New("this node was removed from the cluster: wipe its data directory to join as a new node")

// leaveTimeout is how long a node that stops tells the others so.
const leaveTimeout = time.Second

// transferTimeout is how long a leader that stops waits for another to take over.
const transferTimeout = 2 * time.Second

// node is one running peer: its parts, in the order in which they are opened.
type node struct {
	cfg     *Config
	dir     *dataDir
	id      enrolment
	metrics *prometheus.Registry
	meters  *meters

	wire    *wire
	state   *agreement
	members *members
	host    *host
	apiLeaf cachedLeaf
	ready   chan struct{} // closed when every part is there
	fatal   chan error    // holds one
}

// wire is the peer port and what goes over it.
type wire struct {
	port      *peernet.Port
	directory *directory
	client    *peer.Client
}

// host is this machine as a place for instances.
type host struct {
	driver    virt.Driver
	store     *chunk.Store
	blobs     *blobs
	images    *imageStore
	copies    *copies
	lease     *lease.Holder
	loop      *reconcile.Loop
	moves     moves
	replicas  replicas
	inventory *inventory
	consoles  *consoles
	volumes   *volumes
}

// Run runs the node of an enrolled data directory until ctx ends, or until it cannot go on. Instances go on running.
// ErrNotEnrolled when the directory belongs to no cluster.
func Run(ctx context.Context, cfg Config) error {
	for {
		err := runOnce(ctx, cfg)
		if !errors.Is(err, errRecovering) {
			return err
		}
	}
}

// runOnce runs the node until it ends; with errRecovering, to begin anew.
func runOnce(ctx context.Context, cfg Config) error {
	dir, err := openDataDir(cfg.DataDir)
	if err != nil {
		return err
	}
	defer dir.close()
	id, err := dir.enrolment()
	if err != nil {
		return err
	}
	if id.ClusterID == "" {
		return dir.notEnrolled()
	}
	if err := sameRole(id, &cfg); err != nil {
		return err
	}
	if id, err = dir.relocate(ctx, id, &cfg); err != nil {
		return err
	}
	cfg.Bind, cfg.Witness = id.Bind, id.Witness
	if cfg.Name == "" {
		cfg.Name = id.Name
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	if err := dir.carryOut(&cfg, id); err != nil {
		return err
	}
	n := &node{cfg: &cfg, dir: dir, id: id, metrics: prometheus.NewRegistry(), ready: make(chan struct{}), fatal: make(chan error, 1)}
	n.meters = newMeters(n.metrics)
	defer n.close()
	collectLess()
	if err := n.open(); err != nil {
		return err
	}
	return n.run(ctx)
}

// open opens the parts. close ends those that were opened, also after an error.
func (n *node) open() error {
	steps := []func() error{n.openWire, n.openState, n.mayBegin, n.openGossip, n.openHost}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	close(n.ready)
	return nil
}

func (n *node) openWire() error {
	trusted, err := n.dir.authorities()
	if err != nil {
		return err
	}
	leaf, err := n.dir.leaf(peerPEM)
	if err != nil {
		return err
	}
	d := &directory{
		creds: peernet.NewCredentials(leaf, trusted...),
		known: map[cluster.NodeID]string{n.id.Node: n.cfg.Bind},
	}
	for _, p := range n.id.Peers {
		d.known[p.Node] = p.Address
	}
	port, err := peernet.Listen(n.cfg.at(PeerPort), d.creds, d.trusts, n.cfg.Log)
	if err != nil {
		return fmt.Errorf("open the peer port: %w", err)
	}
	n.wire = &wire{port: port, directory: d, client: peer.NewClient(d.dialPeer)}
	return nil
}

func (n *node) openState() error {
	raft, err := raftfsm.Open(raftfsm.Config{
		ID: n.id.Node, Addr: n.cfg.at(PeerPort), Dir: n.dir.file(raftDir),
		Stream: raftStream{n.wire.port.Proto(peernet.ProtoRaft), n.wire.directory},
		Log:    n.cfg.Log, Metrics: n.metrics, SnapshotEvery: n.cfg.SnapshotEvery,
		OnLead:  n.lead,
		OnFatal: func(err error) { n.fail(fmt.Errorf("the replicated state cannot go on: %w", err)) },
	})
	if err != nil {
		return fmt.Errorf("open the replicated state: %w", err)
	}
	n.wire.directory.raft.Store(raft)
	a := &agreement{raft: raft, peers: n.wire.client, self: n.id.Node, at: n.cfg.at(PeerPort), log: n.cfg.Log, meters: n.meters}
	a.barrier = newSharedBarrier(a.readIndex)
	n.members = &members{agreement: a, self: n.id.Node, started: time.Now()}
	a.chooser = lead.NewChooser(seedOf(n.id.Node), raft.View, n.members.hints, n.meters.chosen)
	n.state = a
	return nil
}

// seedOf makes equal nodes take turns in another order on every leader.
func seedOf(id cluster.NodeID) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}

func (n *node) openGossip() error {
	addr, err := netip.ParseAddr(n.cfg.Bind)
	if err != nil {
		return err
	}
	keys := n.id.GossipKeys
	if au := n.state.Local().Authority(); au != nil && au.Revision >= n.id.Keys {
		keys = au.GossipKeys
	}
	n.members.gossip, err = gossip.Open(gossip.Config{
		Cluster: n.id.ClusterID, ID: n.id.Node, Addr: addr, Port: GossipPort, Keys: keys,
		Advert: n.advert(virt.Host{}), Log: n.cfg.Log, Peers: n.members.peers(n.id),
	})
	if err != nil {
		return fmt.Errorf("open gossip: %w", err)
	}
	return n.metrics.Register(census{n.members})
}

// advert is what this node tells the others about itself.
func (n *node) advert(h virt.Host) gossip.Advert {
	api, _ := netip.ParseAddrPort(n.cfg.at(APIPort))
	a := gossip.Advert{
		Commands: n.cfg.commandVersion(), Version: n.cfg.Version, API: api, Role: gossip.RoleHypervisor,
		Total: cluster.Resources{VCPUs: int64(h.CPU.Count), MemoryMiB: h.MemoryMiB, DiskGiB: h.DiskGiB},
	}
	switch {
	case n.cfg.Witness:
		a.Role = 0
	case h.Type != "":
		a.Role |= gossip.RoleReady
	}
	a.Load = load(h)
	a.Load.DiskFull = a.Load.DiskFull || space{n.dir.path}.shortage() != ""
	return a
}

func (n *node) openHost() error {
	h := &host{}
	n.host = h
	boot := incarnation()
	var err error
	if h.store, err = chunk.OpenStore(n.dir.path); err != nil {
		return fmt.Errorf("open the image store: %w", err)
	}
	if h.driver, err = openDriver(n.cfg, n.dir, n.id.ClusterID, boot); err != nil {
		return err
	}
	files, err := volume.Open(n.dir.path, n.cfg.SharedDir, n.id.ClusterID)
	if err != nil {
		return err
	}
	h.blobs = newBlobs(n.id.Node, h.store, n.wire.client, n.state.Local, n.cfg.Log)
	h.images = newImageStore(h.blobs)
	h.copies = &copies{self: n.id.Node, agreement: n.state, peers: n.wire.client, hints: n.members.hints, log: n.cfg.Log}
	h.consoles = &consoles{self: n.id.Node, driver: h.driver, peers: n.wire.client}
	h.volumes = newVolumes(volumes{
		self: n.id.Node, store: files, cluster: n.state, driver: h.driver, images: h.blobs,
		publish: publisher{h.images, h.copies}, log: n.cfg.Log,
	})
	if h.lease, err = n.newHolder(h.driver, boot); err != nil {
		return err
	}
	h.replicas = n.openReplicas(h)
	h.loop = reconcile.New(reconcile.Config{
		Replicas: h.replicas.gate(), Lease: h.lease, Node: n.id.Node, Cluster: n.state, Driver: h.driver, Images: h.blobs, Busy: h.busy, Volumes: guestVolumes{files}, Log: n.cfg.Log,
		Starts: max(2, runtime.NumCPU()), Incarnation: boot, LastKnown: n.dir.lastIncarnation(),
		Settled: func() {
			if err := writeFile(n.dir.file(incarnationFile), []byte(boot)); err != nil {
				n.cfg.Log.Warn("remember this boot of the host", "err", err)
			}
		},
	})
	h.moves = n.openMoves(h, guestVolumes{files})
	h.inventory = &inventory{
		cfg: n.cfg, self: n.id.Node, agreement: n.state, driver: h.driver, quarantine: h.loop.Quarantined, log: n.cfg.Log,
		share:     &share{store: files, log: n.cfg.Log},
		shortage:  space{n.dir.path}.shortage,
		advertise: func(found virt.Host) { n.members.gossip.SetAdvert(n.advert(found)) },
	}
	return nil
}

// lead runs a term of leadership, once every part is there.
func (n *node) lead(ctx context.Context) {
	select {
	case <-n.ready:
	case <-ctx.Done():
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { n.host.copies.run(ctx) })
	raft := n.state.raft
	wg.Go(func() { n.grantLeases(ctx) })
	wg.Go(func() { n.yieldWhenFull(ctx) })
	members := &roster{raft: raft, self: n.id.Node, log: n.cfg.Log}
	lead.New(lead.Config{
		Cluster: raft, Chooser: n.state.chooser, Hints: n.members.hints, Lifecycle: n.cfg.Lifecycle,
		Duties: []lead.Duty{members.attend, n.state.loseSilent}, Log: n.cfg.Log,
	}).Run(ctx)
}

// fail ends the node. Only the first reason is told.
func (n *node) fail(err error) {
	select {
	case n.fatal <- err:
	default:
	}
}

// run runs the loops and the servers until ctx ends or one of them fails.
func (n *node) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	servers, err := n.serve()
	if err != nil {
		return err
	}
	defer servers.close()
	wg.Go(func() { n.host.lease.Run(ctx) })
	wg.Go(func() { n.host.loop.Run(ctx) })
	wg.Go(func() { n.host.moves.loop.Run(ctx) })
	wg.Go(func() { n.host.replicas.run(ctx) })
	wg.Go(func() { n.host.inventory.run(ctx) })
	wg.Go(func() { n.host.volumes.run(ctx) })
	wg.Go(func() { n.host.images.sweep(ctx, n.state.Read) })
	wg.Go(func() { n.keepIdentity(ctx) })
	wg.Go(func() { n.tendMemory(ctx) })
	wg.Go(func() { n.watchMembers(ctx) })
	notifySystemd("READY=1")
	n.cfg.Log.Info("serving", "node", n.id.Node, "name", n.cfg.Name, "api", n.cfg.at(APIPort), "cluster", n.id.ClusterID)
	select {
	case err := <-n.fatal:
		return err
	case err := <-servers.failed:
		return err
	case <-ctx.Done():
		notifySystemd("STOPPING=1")
		n.cfg.Log.Info("stopping; instances go on running")
		n.abdicate()
		return nil
	}
}

// abdicate spares the others an election when this node leads and stops on purpose.
func (n *node) abdicate() {
	if !n.state.raft.IsLeader() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), transferTimeout)
	defer cancel()
	if err := n.state.raft.Transfer(ctx); err != nil {
		n.cfg.Log.Debug("hand the leadership over", "err", err)
	}
}

// close ends the parts, the last opened first.
func (n *node) close() {
	if n.host != nil {
		n.host.moves.close()
		if n.host.driver != nil {
			n.host.driver.Close()
		}
		if n.host.store != nil {
			n.host.store.Close()
		}
	}
	if n.members != nil && n.members.gossip != nil {
		n.members.gossip.Leave(leaveTimeout)
		n.members.gossip.Close()
	}
	if n.wire != nil {
		n.wire.port.Close()
	}
	if n.state != nil {
		n.state.barrier.close()
		n.state.raft.Close()
	}
	if n.wire != nil {
		n.wire.client.Close()
	}
}

// absolute makes a path that does not depend on where the node was started.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
