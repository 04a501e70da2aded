package mirror

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

const (
	here, there cluster.NodeID     = "6a3c8a52-0000-4000-8000-000000000001", "6a3c8a52-0000-4000-8000-000000000002"
	vm          cluster.InstanceID = "11111111-1111-4111-8111-111111111111"
)

// world is a guest on one node whose disk is copied to another, and a state that both see. The way between the nodes can be cut, the state
// can be out of reach, and daemons can end.
type world struct {
	t *testing.T

	mu       sync.Mutex
	state    *cluster.State
	index    uint64
	changed  chan struct{}
	cut      bool // the way between the nodes
	noQuorum bool
	mute     bool // what this node says does not get through

	guest    *guest
	replicas *copies
	receiver *Receiver
	sockets  *sim.Net
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, state: cluster.NewState(), changed: make(chan struct{}), sockets: sim.NewNet()}
	w.guest = &guest{w: w, on: true}
	w.replicas = &copies{of: map[uint64]map[uint32]uint32{}}
	node := func(id cluster.NodeID, name, address string) cluster.Node {
		return cluster.Node{ID: id, Name: name, Address: address, Zone: "nova", Voter: cluster.VoterAuto, Commands: cluster.CommandVersion,
			Capacity: cluster.Capacity{VCPUs: 64, MemoryMiB: 1 << 17, DiskGiB: 1000, VCPURatio: 4000, MemoryRatio: 1000, DiskRatio: 1000},
			Host:     cluster.HostFacts{Type: "fake", Arch: "x86_64", Ready: true}}
	}
	w.must(&cluster.InitCluster{
		Authority: cluster.Authority{ClusterID: "c1", CACert: []byte("c"), CAKey: []byte("k"), GossipKeys: [][]byte{make([]byte, 32)},
			TokenKeys: []cluster.SigningKey{{ID: "k", Seed: make([]byte, 32)}}},
		Node: node(here, "n1", "192.0.2.1"), Roles: []cluster.Role{{ID: "r1", Name: "admin", BuiltIn: true}},
		Project: cluster.Project{ID: "p1", Name: "admin"}, Admin: cluster.User{ID: "u1", Name: "admin", PasswordHash: "x"},
	})
	w.must(&cluster.PutJoinToken{Token: cluster.JoinToken{ID: "t", Hash: cluster.Hash{1}, Uses: 1, Expires: cluster.At(time.Now().Add(time.Hour))}})
	w.must(&cluster.EnrolNode{Token: "t", Secret: cluster.Hash{1}, Node: node(there, "n2", "192.0.2.2")})
	w.must(&cluster.CreateInstances{Request: "req-1", Project: "p1", User: "u1",
		Spec:  cluster.Spec{Flavor: cluster.Flavor{ID: "1", Name: "tiny", VCPUs: 1, MemoryMiB: 64, DiskGiB: 1}, Metadata: map[string]string{cluster.KeyReplicas: "2"}},
		Items: []cluster.NewInstance{{ID: vm, Name: "web", Hostname: "web", Node: here, Explanation: &cluster.Explanation{Node: here}}}})
	in := w.instance()
	w.must(&cluster.ReportInstances{Node: here, Reports: []cluster.InstanceReport{{ID: vm, Generation: in.Generation, Epoch: in.Epoch, Power: cluster.PowerRunning}}})
	w.receiver = NewReceiver(ReceiverConfig{Node: there, Cluster: w, Driver: w.replicas, Log: slog.New(slog.DiscardHandler)})
	return w
}

// apply commits an op whatever is out of reach.
func (w *world) apply(op cluster.Op) cluster.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.index++
	res, err := w.state.Apply(w.index, []cluster.Command{{Time: cluster.At(time.Now()), Op: op}})
	if err != nil {
		w.t.Fatal(err)
	}
	close(w.changed)
	w.changed = make(chan struct{})
	return res[0]
}

func (w *world) must(op cluster.Op) {
	w.t.Helper()
	if res := w.apply(op); res.Err != nil {
		w.t.Fatalf("%s: %v", op.Kind(), res.Err)
	}
}

func (w *world) instance() *cluster.Instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	in, _ := w.state.View().Instance(vm)
	return in
}

// Latest implements Cluster.
func (w *world) Latest() (*cluster.View, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state.View(), w.changed
}

var errNoQuorum = cluster.Errorf(cluster.Unavailable, "no quorum")

// Read implements Cluster.
func (w *world) Read(context.Context) (*cluster.View, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noQuorum {
		return nil, errNoQuorum
	}
	return w.state.View(), nil
}

// Propose implements Cluster.
func (w *world) Propose(_ context.Context, c cluster.Command) (cluster.Result, error) {
	w.mu.Lock()
	down := w.noQuorum || w.mute
	w.mu.Unlock()
	if down {
		return cluster.Result{}, errNoQuorum
	}
	return w.apply(c.Op), nil
}

func (w *world) set(what *bool, to bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*what = to
}

func (w *world) isCut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut
}

// Replica implements Peers.
func (w *world) Replica(ctx context.Context, _ cluster.NodeID, c peer.Copy) (net.Conn, error) {
	if w.isCut() {
		return nil, errors.New("no way there")
	}
	c.Asker = here
	conn, err := w.receiver.Take(ctx, c)
	if err != nil {
		return nil, err
	}
	return &wire{conn, w}, nil
}

// wire loses what is sent while the way is cut.
type wire struct {
	net.Conn
	w *world
}

func (c *wire) Write(p []byte) (int, error) {
	if c.w.isCut() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// daemon runs the keeper of the guest's node until the function that it gives is called.
func (w *world) daemon() (end func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	k := NewKeeper(KeeperConfig{Node: here, Cluster: w, Driver: w.guest, Peers: w, Sockets: w.sockets, Dir: "/s", Log: slog.New(slog.DiscardHandler)})
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	return func() { cancel(); <-done }
}

// lead is what the leader does, and what the replica's node does with tombstones.
func (w *world) lead() {
	in := w.instance()
	if in.MayPlaceReplica() {
		was := uint64(0)
		if in.Replica != nil {
			was = in.Replica.Epoch
		}
		w.apply(&cluster.PlaceReplica{ID: vm, Epoch: in.Epoch, Was: was, Node: there})
	}
	view, _ := w.Latest()
	if g, ok := view.Tombstone(there, vm); ok && !w.receiver.Busy(vm) {
		w.apply(&cluster.ReportInstances{Node: there, Reports: []cluster.InstanceReport{{ID: vm, Epoch: g.Epoch, Gone: true}}})
	}
}

// check holds that a current replica has all that the guest was told of.
func (w *world) check() {
	w.t.Helper()
	told := w.guest.toldOf()
	r := w.instance().CurrentReplica()
	if r == nil {
		return
	}
	w.replicas.mu.Lock()
	defer w.replicas.mu.Unlock()
	for at := range told {
		if got := w.replicas.of[r.Epoch][uint32(at)]; got != uint32(at)+1 {
			w.t.Fatalf("the guest was told of %d writes, and the current replica %+v has not write %d", told, *r, at)
		}
	}
}

// guest writes numbers to a disk that is mirrored as QEMU does it. It implements virt.Mirrors for its own node.
type guest struct {
	virt.Mirrors
	w *world

	mu      sync.Mutex
	on      bool
	written int // numbers on its own disk
	told    int // of which the guest was told that they are written
	mirror  *mirrored
	over    bool // the story is: nobody waits any more
	deaf    bool // it answers nothing as long as a write waits, as QEMU does during a pause
}

type mirrored struct {
	answered int // numbers that the other side has
	ready    bool
	quit     chan struct{}
}

// toldOf is of how many numbers the guest was told.
func (g *guest) toldOf() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.told
}

// write writes one number more, and returns when the guest is told.
func (g *guest) write() {
	g.mu.Lock()
	g.written++
	mine := g.written
	g.mu.Unlock()
	for {
		g.mu.Lock()
		if g.over {
			g.mu.Unlock()
			return
		}
		if m := g.mirror; m == nil || m.answered >= mine || !m.ready && m.answered+1 < mine {
			g.told = mine
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
}

// Mirror implements virt.Mirrors.
func (g *guest) Mirror(ctx context.Context, _ cluster.InstanceID, socket string) error {
	conn, err := g.w.sockets.Dial(ctx, socket)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m := &mirrored{quit: make(chan struct{})}
	g.mirror = m
	go g.run(m, conn, socket)
	return nil
}

// run sends what the other side has not answered, over one connection after the other.
func (g *guest) run(m *mirrored, conn net.Conn, socket string) {
	for {
		if conn != nil {
			stop := make(chan struct{})
			go func(conn net.Conn) {
				select {
				case <-m.quit:
				case <-stop:
				}
				conn.Close()
			}(conn)
			g.send(m, conn)
			close(stop)
		}
		select {
		case <-m.quit:
			return
		case <-time.After(time.Second):
		}
		conn, _ = g.w.sockets.Dial(context.Background(), socket)
	}
}

func (g *guest) send(m *mirrored, conn net.Conn) {
	for {
		select {
		case <-m.quit:
			return
		default:
		}
		g.mu.Lock()
		at, written := m.answered, g.written
		m.ready = m.ready || at == written
		g.mu.Unlock()
		if at == written {
			if !lives(conn) {
				return
			}
			continue
		}
		b := binary.BigEndian.AppendUint32(nil, uint32(at))
		if _, err := conn.Write(binary.BigEndian.AppendUint32(b, uint32(at)+1)); err != nil {
			return
		}
		if _, err := io.ReadFull(conn, b[:1]); err != nil {
			return
		}
		g.mu.Lock()
		m.answered++
		g.mu.Unlock()
	}
}

// lives waits a little, and tells whether the other side is still there.
func lives(conn net.Conn) bool {
	conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	defer conn.SetReadDeadline(time.Time{})
	_, err := conn.Read(make([]byte, 1))
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// Mirrored implements virt.Mirrors.
func (g *guest) Mirrored(ctx context.Context, _ cluster.InstanceID) (virt.MirrorState, error) {
	if err := g.hears(ctx); err != nil {
		return virt.MirrorNone, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.on:
		return virt.MirrorNone, virt.ErrNotRunning
	case g.mirror == nil:
		return virt.MirrorNone, nil
	case g.mirror.ready:
		return virt.MirrorReady, nil
	}
	return virt.MirrorCopying, nil
}

// EndMirror implements virt.Mirrors.
func (g *guest) EndMirror(ctx context.Context, _ cluster.InstanceID) error {
	if err := g.hears(ctx); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mirror != nil {
		close(g.mirror.quit)
		g.mirror = nil
	}
	return nil
}

// hears waits until the hypervisor hears what it is told.
func (g *guest) hears(ctx context.Context) error {
	for {
		g.mu.Lock()
		waits := g.deaf && !g.over && g.mirror != nil && g.mirror.ready && g.mirror.answered < g.written
		g.mu.Unlock()
		if !waits {
			return nil
		}
		if !pause(ctx, 100*time.Millisecond) {
			return virt.ErrUnavailable
		}
	}
}

// Discard implements virt.Mirrors.
func (g *guest) Discard(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		var b [8]byte
		for {
			if _, err := io.ReadFull(far, b[:]); err != nil {
				return
			}
			if _, err := far.Write(b[:1]); err != nil {
				return
			}
		}
	}()
	return near, nil
}

// copies are the replicas on the other node. It implements virt.Mirrors for that.
type copies struct {
	virt.Mirrors
	mu sync.Mutex
	of map[uint64]map[uint32]uint32 // epoch -> what is written where
}

// MakeReplica implements virt.Mirrors.
func (c *copies) MakeReplica(_ context.Context, _ cluster.InstanceID, epoch uint64, _ virt.RootDisk) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[epoch] = map[uint32]uint32{}
	return nil
}

// ServeReplica implements virt.Mirrors.
func (c *copies) ServeReplica(_ context.Context, _ cluster.InstanceID, epoch uint64) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[epoch] == nil {
		return nil, virt.ErrNotFound
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		var b [8]byte
		for {
			if _, err := io.ReadFull(far, b[:]); err != nil {
				return
			}
			c.mu.Lock()
			c.of[epoch][binary.BigEndian.Uint32(b[:])] = binary.BigEndian.Uint32(b[4:])
			c.mu.Unlock()
			if _, err := far.Write(b[:1]); err != nil {
				return
			}
		}
	}()
	return near, nil
}

var quiet = slog.New(slog.DiscardHandler)
