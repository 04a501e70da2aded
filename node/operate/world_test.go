package operate

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/reconcile"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	n1    cluster.NodeID     = "6a3c8a52-0000-4000-8000-000000000001"
	n2    cluster.NodeID     = "6a3c8a52-0000-4000-8000-000000000002"
	one   cluster.InstanceID = "11111111-1111-4111-8111-111111111111"
	tiny  cluster.ImageID    = "33333333-3333-4333-8333-333333333333"
	saved cluster.ImageID    = "44444444-4444-4444-8444-444444444444"
	op1                      = "55555555-5555-4555-8555-555555555555"
)

var (
	small  = cluster.Flavor{ID: "1", Name: "small", VCPUs: 1, MemoryMiB: 64, DiskGiB: 1, Ephemeral: 1, SwapMiB: 16}
	larger = cluster.Flavor{ID: "2", Name: "larger", VCPUs: 1, MemoryMiB: 128, DiskGiB: 2, Ephemeral: 1, SwapMiB: 32}
)

// cloud is the replicated state of a test: one replica, in memory, and nobody who leads but the test.
type cloud struct {
	t     testing.TB
	mu    sync.Mutex
	state *cluster.State
	index uint64

	view     *cluster.View
	changed  chan struct{}
	noQuorum bool
}

func newCloud(t testing.TB) *cloud {
	c := &cloud{t: t, state: cluster.NewState(), changed: make(chan struct{})}
	node := func(id cluster.NodeID, name, address string) cluster.Node {
		return cluster.Node{
			ID: id, Name: name, Address: address, Zone: "nova", Voter: cluster.VoterAuto, Commands: cluster.CommandVersion,
			Capacity: cluster.Capacity{VCPUs: 64, MemoryMiB: 1 << 17, DiskGiB: 1000, VCPURatio: 4000, MemoryRatio: 1000, DiskRatio: 1000},
			Host:     cluster.HostFacts{Type: "fake", Arch: "x86_64", Ready: true}, Bridges: map[string]string{"lan": "br0"},
		}
	}
	c.must(&cluster.InitCluster{
		Authority: cluster.Authority{ClusterID: "c1", CACert: []byte("c"), CAKey: []byte("k"), GossipKeys: [][]byte{make([]byte, 32)},
			TokenKeys: []cluster.SigningKey{{ID: "k", Seed: make([]byte, 32)}}},
		Node:    node(n1, "n1", "192.0.2.1"),
		Roles:   []cluster.Role{{ID: "r1", Name: "admin", BuiltIn: true}, {ID: "r2", Name: "member", BuiltIn: true}, {ID: "r3", Name: "reader", BuiltIn: true}},
		Project: cluster.Project{ID: "p1", Name: "admin"}, Admin: cluster.User{ID: "u1", Name: "admin", PasswordHash: "x"},
	})
	c.must(&cluster.PutJoinToken{Token: cluster.JoinToken{ID: "t1", Hash: cluster.Hash{1}, Uses: 1, Expires: cluster.At(time.Now().Add(time.Hour))}})
	c.must(&cluster.EnrolNode{Token: "t1", Secret: cluster.Hash{1}, Node: node(n2, "n2", "192.0.2.2")})
	c.must(&cluster.PutImage{Image: cluster.Image{ID: tiny, Owner: "p1", Name: "tiny", Status: cluster.ImageActive,
		Visibility: cluster.Public, Format: cluster.ImageFormat{Disk: "qcow2", Container: "bare"},
		Data: &cluster.ImageData{Root: cluster.Hash{9}, Size: 1, MD5: strings.Repeat("0", 32), SHA512: strings.Repeat("0", 128), Nodes: []cluster.NodeID{n1}}}})
	return c
}

// Latest implements Cluster.
func (c *cloud) Latest() (*cluster.View, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view, c.changed
}

var errNoQuorum = cluster.Errorf(cluster.Unavailable, "no quorum")

// Read implements Cluster.
func (c *cloud) Read(context.Context) (*cluster.View, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noQuorum {
		return nil, errNoQuorum
	}
	return c.view, nil
}

// Propose implements Cluster.
func (c *cloud) Propose(_ context.Context, cmd cluster.Command) (cluster.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noQuorum {
		return cluster.Result{}, errNoQuorum
	}
	c.index++
	res, err := c.state.Apply(c.index, []cluster.Command{cmd})
	if err != nil {
		c.t.Error(err)
		return cluster.Result{}, err
	}
	c.view = c.state.View()
	close(c.changed)
	c.changed = make(chan struct{})
	return res[0], nil
}

func (c *cloud) quorum(there bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noQuorum = !there
}

func (c *cloud) must(op cluster.Op) {
	c.t.Helper()
	res, err := c.Propose(context.Background(), cluster.Command{Time: cluster.At(time.Now()), Op: op})
	if err != nil || res.Err != nil {
		c.t.Fatalf("%T: %v, %v", op, err, res.Err)
	}
}

func (c *cloud) instance() *cluster.Instance {
	v, _ := c.Latest()
	in, ok := v.Instance(one)
	if !ok {
		return &cluster.Instance{}
	}
	return in
}

// shelf has every image here.
type shelf struct{}

// Base implements Images.
func (shelf) Base(cluster.BootImage) (string, string, bool) { return "/base", "qcow2", true }

// Prepare implements Images.
func (shelf) Prepare(context.Context, cluster.BootImage, func(string)) error { return nil }

// vault is the image store of a node.
type vault struct {
	mu       sync.Mutex
	imported []string // the content of each file
	fail     int      // as many of the next calls of Replicate find too few nodes
}

// refuse makes the next calls of Replicate find too few nodes.
func (v *vault) refuse(times int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fail = times
}

// Import implements ImageStore.
func (v *vault) Import(_ context.Context, path string) (*cluster.ImageData, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.imported = append(v.imported, string(b))
	return &cluster.ImageData{Root: cluster.Hash{7}, Size: int64(len(b)), VirtualSize: 1 << 30, MD5: strings.Repeat("1", 32), SHA512: strings.Repeat("1", 128)}, nil
}

// Replicate implements ImageStore.
func (v *vault) Replicate(context.Context, cluster.Hash) ([]cluster.NodeID, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail > 0 {
		v.fail--
		return nil, cluster.Errorf(cluster.Unavailable, "too few nodes")
	}
	return []cluster.NodeID{n1, n2}, nil
}

// host is one node: its hypervisor, which outlives the daemon, and the daemon's loops.
type host struct {
	*world
	id    cluster.NodeID
	sim   *sim.Driver
	net   *sim.Net
	vault *vault
	dir   string
	doubt atomic.Bool // an earlier start is in doubt

	source      *Source
	destination *Destination
	stop        func()
}

// world is two nodes under test.
type world struct {
	*cloud
	hosts map[cluster.NodeID]*host
	mu    sync.Mutex
	cut   bool // between the nodes
}

// in runs a story in virtual time.
func in(t *testing.T, story func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{cloud: newCloud(t), hosts: map[cluster.NodeID]*host{}}
		for _, id := range []cluster.NodeID{n1, n2} {
			network := sim.NewNet()
			d, err := sim.New(sim.Config{Boot: time.Second, Shutdown: time.Second, Sockets: "/sockets", Net: network})
			if err != nil {
				t.Fatal(err)
			}
			h := &host{world: w, id: id, sim: d, net: network, vault: &vault{}, dir: filepath.Join(t.TempDir(), "captures")}
			w.hosts[id] = h
			h.start()
			defer func() { h.stop(); d.Close() }()
		}
		w.create()
		story(t, w)
	})
}

// start runs a daemon; a second one is a restart of it.
func (h *host) start() {
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("on", h.id[len(h.id)-1:])
	}
	h.source = NewSource(h.id, h, h.sim, log)
	h.destination = NewDestination(DestinationConfig{Node: h.id, Cluster: h, Driver: h.sim, Images: shelf{}, Orders: h, Sockets: h.net, Log: log})
	loop := New(Config{Node: h.id, Cluster: h, Driver: h.sim, Images: shelf{}, Sources: wire{h.world, h.id}, Store: h.vault, Scratch: h.dir, Log: log,
		Landings: wire{h.world, h.id}, Arrivals: h.destination, Sockets: h.net})
	rec := reconcile.New(reconcile.Config{Node: h.id, Cluster: h, Driver: h.sim, Images: shelf{}, Log: log, Starts: 2,
		Incarnation: "b", LastKnown: "b", Busy: func(id cluster.InstanceID) bool { return loop.Busy(id) || h.destination.Busy(id) }})
	var wg sync.WaitGroup
	wg.Go(func() { rec.Run(ctx) })
	wg.Go(func() { loop.Run(ctx) })
	h.stop = func() { cancel(); wg.Wait(); h.source.Close(); h.destination.Close() }
}

// settle lets the nodes work for d of virtual time.
func (w *world) settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) setCut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

// create makes the instance of the story on n1, running, with something on its disk.
func (w *world) create() {
	w.t.Helper()
	w.must(&cluster.CreateInstances{
		Request: "req-1", Project: "p1", User: "u1", Spec: cluster.Spec{Image: tiny, Flavor: small},
		Items: []cluster.NewInstance{{ID: one, Name: "web", Hostname: "web", Node: n1, Explanation: &cluster.Explanation{Node: n1}}},
	})
	w.settle(5 * time.Second)
	if err := w.hosts[n1].sim.GuestWrite(one, "written on n1"); err != nil {
		w.t.Fatal(err)
	}
}

// begin begins a move to a node.
func (w *world) begin(what cluster.OperationKind, to cluster.NodeID) {
	w.t.Helper()
	o := &cluster.BeginMove{ID: one, Operation: op1, What: what}
	if what == cluster.OpResize {
		f := larger
		o.Flavor = &f
	}
	w.must(o)
	w.must(&cluster.PlaceMove{ID: one, Operation: op1, Node: to, Explanation: cluster.Explanation{Node: to}})
}

// power is what the instance's domain does on a node; PowerUnknown: there is none.
func (w *world) power(on cluster.NodeID) virt.Power {
	if held, _ := w.hosts[on].sim.Look(one); held.Defined {
		return held.Domain.Power
	}
	return virt.PowerUnknown
}

// expect compares the instance with what it should be. Exactly one domain of it may run, and only on its node.
func (w *world) expect(when string, on cluster.NodeID, vm cluster.VMState, p virt.Power) {
	w.t.Helper()
	got := w.instance()
	if got.Node != on || got.Status.VM != vm || got.Status.Task != cluster.TaskNone || w.power(on) != p {
		w.t.Fatalf("%s: on %s, %s/%q, domain %v, op %+v; want on %s, %s, domain %v", when, got.Node, got.Status.VM, got.Status.Task, w.power(got.Node), got.Op, on, vm, p)
	}
	other := n1
	if on == n1 {
		other = n2
	}
	if p := w.power(other); p == virt.PowerRunning {
		w.t.Fatalf("%s: the guest runs on %s, too", when, other)
	}
}

// disk is what was written on the instance's disk on a node.
func (w *world) disk(on cluster.NodeID) string {
	held, _ := w.hosts[on].sim.Look(one)
	return held.Wrote
}

// wire is how a node reaches the other one.
type wire struct {
	w    *world
	self cluster.NodeID
}

func (x wire) other(id cluster.NodeID, m *peer.Move) (*host, error) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	m.Asker = x.self
	if x.w.cut {
		return nil, fmt.Errorf("dial %s: connection refused", id)
	}
	return x.w.hosts[id], nil
}

// Land implements Landings.
func (x wire) Land(ctx context.Context, destination cluster.NodeID, m peer.Move) (json.RawMessage, error) {
	h, err := x.other(destination, &m)
	if err != nil {
		return nil, err
	}
	return h.destination.Land(ctx, m)
}

// Arrival implements Landings.
func (x wire) Arrival(ctx context.Context, destination cluster.NodeID, m peer.Move) (peer.Arrival, error) {
	h, err := x.other(destination, &m)
	if err != nil {
		return peer.Arrival{}, err
	}
	return h.destination.Arrival(ctx, m)
}

// Stream implements Landings.
func (x wire) Stream(ctx context.Context, destination cluster.NodeID, m peer.Move, which peer.Stream) (net.Conn, error) {
	h, err := x.other(destination, &m)
	if err != nil {
		return nil, err
	}
	return h.destination.Stream(ctx, m, which)
}

// Disks implements DiskSources.
func (x wire) Disks(ctx context.Context, source cluster.NodeID, m peer.Move) ([]peer.Disk, error) {
	h, err := x.other(source, &m)
	if err != nil {
		return nil, err
	}
	return h.source.Disks(ctx, m)
}

// Block implements DiskSources.
func (x wire) Block(ctx context.Context, source cluster.NodeID, m peer.Move, disk string, parts []peer.Extent, into []byte) error {
	h, err := x.other(source, &m)
	if err != nil {
		return err
	}
	var b strings.Builder
	err = h.source.Block(ctx, &b, m, disk, parts)
	copy(into, b.String())
	return err
}
