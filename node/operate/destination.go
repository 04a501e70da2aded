package operate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/failpoint"
	"github.com/kilonova/kilonova/node/reconcile"
	"github.com/kilonova/kilonova/virt"
)

// How long a source waits for an answer while this node prepares, and this node for its hypervisor to make up its mind about a
// guest that has stopped arriving.
const (
	landPatience  = 5 * time.Second
	settleTimeout = 15 * time.Second
	settlePoll    = 250 * time.Millisecond
	landTimeout   = 2 * time.Minute // making the disks
)

// Hypervisor is what a Destination needs of a driver.
type Hypervisor interface {
	domains
	Receive(ctx context.Context, g virt.Guest) (virt.Landing, error)
	Sockets() virt.Sockets
}

// Destination takes running guests in that migrate to this node. It implements peer.Landings.
type Destination struct {
	node    cluster.NodeID
	cluster Cluster
	driver  Hypervisor
	images  Images
	volumes reconcile.Volumes
	orders  Orders
	sockets Sockets
	log     *slog.Logger
	busy

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	preparing map[cluster.OperationID]*preparation
	streams   map[cluster.OperationID]*connSet
	closed    bool
}

// preparation is what a Destination does before a guest comes. The lock of the Destination guards note.
type preparation struct {
	note    string
	done    chan struct{}
	landing json.RawMessage
	err     error
}

// DestinationConfig is what a Destination is made of.
type DestinationConfig struct {
	Node    cluster.NodeID
	Cluster Cluster
	Driver  Hypervisor
	Images  Images
	Volumes reconcile.Volumes // nil: there are none
	Orders  Orders            // nil: the hypervisor never does anything late
	Sockets Sockets
	Log     *slog.Logger
}

// Orders knows what this node's hypervisor was told to start and may still do.
type Orders interface {
	// MayArrive says why no guest of an instance may come here from another node; nil: it may.
	MayArrive(id cluster.InstanceID) error
}

// NewDestination makes a Destination. Close it before its driver.
func NewDestination(c DestinationConfig) *Destination {
	ctx, cancel := context.WithCancel(context.Background())
	return &Destination{
		node: c.Node, cluster: c.Cluster, driver: c.Driver, images: c.Images, volumes: c.Volumes, orders: c.Orders, sockets: c.Sockets, log: c.Log,
		ctx: ctx, cancel: cancel,
		preparing: map[cluster.OperationID]*preparation{}, streams: map[cluster.OperationID]*connSet{},
	}
}

// allowed finds the instance if the state, as it is after everything acknowledged, says that the asker migrates it to here now.
func (d *Destination) allowed(ctx context.Context, m peer.Move) (*cluster.View, *cluster.Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	view, err := d.cluster.Read(ctx)
	if err != nil {
		return nil, nil, refusal(err)
	}
	in, ok := view.Instance(m.Instance)
	if !ok || !migrates(in, m.Operation, m.Asker, d.node) {
		return nil, nil, cluster.Errorf(cluster.Stale, "instance %s does not migrate from node %s to node %s in operation %s",
			m.Instance, m.Asker, d.node, m.Operation)
	}
	return view, in, nil
}

// Land implements peer.Landings. What was prepared is given away once: the next one to ask begins an attempt of its own.
func (d *Destination) Land(ctx context.Context, m peer.Move) (json.RawMessage, error) {
	view, in, err := d.allowed(ctx, m)
	if err != nil {
		return nil, err
	}
	if _, pending := view.Tombstone(d.node, in.ID); pending {
		return nil, cluster.Errorf(cluster.Unavailable, "the destination removes what it has of an earlier attempt")
	}
	if d.orders != nil {
		if err := d.orders.MayArrive(in.ID); err != nil {
			return nil, err
		}
	}
	p, err := d.prepare(view, in)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(landPatience)
	defer timer.Stop()
	select {
	case <-p.done:
		d.mu.Lock()
		delete(d.preparing, m.Operation)
		d.mu.Unlock()
		if p.err != nil {
			return nil, refusal(p.err)
		}
		return p.landing, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return nil, cluster.Errorf(cluster.Unavailable, "%s", p.note)
}

// prepare begins to prepare, unless that is under way.
func (d *Destination) prepare(view *cluster.View, in *cluster.Instance) (*preparation, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, cluster.Errorf(cluster.Unavailable, "node %s stops", d.node)
	}
	if p := d.preparing[in.Op.ID]; p != nil {
		return p, nil
	}
	d.tidy(view)
	p := &preparation{note: "preparing the destination", done: make(chan struct{})}
	d.preparing[in.Op.ID] = p
	d.streams[in.Op.ID] = &connSet{instance: in.ID} // an earlier attempt's were cut
	idle := d.begin(in.ID)
	d.wg.Go(func() {
		defer idle()
		defer close(p.done)
		ctx, cancel := context.WithCancel(d.ctx)
		defer cancel()
		d.wg.Go(func() { d.watch(ctx, cancel, inName(in), in.Node) })
		p.landing, p.err = d.receive(ctx, inName(in), in.Node, p)
	})
	return p, nil
}

// tidy forgets what belongs to operations that are over. The lock is held.
func (d *Destination) tidy(view *cluster.View) {
	under := map[cluster.OperationID]bool{}
	for in := range view.UnderWay() {
		under[in.Op.ID] = true
	}
	for op, p := range d.preparing {
		select {
		case <-p.done:
			if !under[op] {
				delete(d.preparing, op)
			}
		default:
		}
	}
	for op, set := range d.streams {
		if !under[op] {
			set.close()
			delete(d.streams, op)
		}
	}
}

// watch calls a preparation back when its operation went on or away.
func (d *Destination) watch(ctx context.Context, callBack func(), m peer.Move, source cluster.NodeID) {
	for {
		view, changed := d.cluster.Latest()
		if in, ok := view.Instance(m.Instance); !ok || !migrates(in, m.Operation, source, d.node) {
			callBack()
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// migrates tells whether an instance's running guest is on its way between two nodes, in an operation.
func migrates(in *cluster.Instance, op cluster.OperationID, from, to cluster.NodeID) bool {
	return in.Op != nil && in.Op.ID == op && in.Op.Step == cluster.StepMigrating &&
		in.Node == from && in.Op.Move.To == to && in.Wanted != cluster.WantDeleted
}

// receive brings the images here and lets the hypervisor prepare.
func (d *Destination) receive(ctx context.Context, m peer.Move, source cluster.NodeID, p *preparation) (json.RawMessage, error) {
	m.Asker = source
	view, in, err := d.allowed(ctx, m)
	if err != nil {
		return nil, err
	}
	for _, img := range in.Needs() {
		err := d.images.Prepare(ctx, img, func(note string) {
			d.mu.Lock()
			defer d.mu.Unlock()
			p.note = note
		})
		if err != nil {
			return nil, fmt.Errorf("fetch image %s: %w", img.Image, err)
		}
	}
	g, err := reconcile.Whole(arriving(in), view, d.node, d.images, d.volumes)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, landTimeout)
	defer cancel()
	if d.driver.Sockets().Dir == "" {
		return nil, fmt.Errorf("receive running guests: %w", virt.ErrUnsupported)
	}
	l, err := d.driver.Receive(ctx, g)
	if err != nil {
		return nil, err
	}
	if err := failpoint.Hit(within(ctx, m.Instance), PointLandReceived); err != nil {
		return nil, err
	}
	return json.Marshal(l)
}

// arriving is the instance as it will be when it is here. Its guest comes with the devices that it has at its source, which may lag behind what was
// committed: a volume that was attached a moment before is not plugged in there any more. So it counts as being of an older generation, and
// is brought up to date here.
func arriving(in *cluster.Instance) *cluster.Instance {
	next := in.Clone()
	m := next.Op.Move
	next.Node, next.Epoch, next.Epochs.Disk, next.Spec.Flavor = m.To, m.Epoch, 0, m.Flavor
	next.Generation = max(next.Generation, 1) - 1
	return next
}

// Stream implements peer.Landings.
func (d *Destination) Stream(ctx context.Context, m peer.Move, which peer.Stream) (net.Conn, error) {
	if err := failpoint.Hit(within(ctx, m.Instance), PointLandStream); err != nil {
		return nil, err
	}
	if _, _, err := d.allowed(ctx, m); err != nil {
		return nil, err
	}
	s := d.driver.Sockets()
	var paths []string
	switch which {
	case peer.StreamLibvirt:
		paths = []string{s.Libvirt}
	case peer.StreamMemory, peer.StreamDisks:
		// The source chose by the length of its own directory's name.
		paths = []string{socketPath(s.Dir, m, which), filepath.Join(s.Dir, shortName(m, which))}
	default:
		return nil, cluster.Errorf(cluster.Invalid, "a migration has no stream %.20q", string(which))
	}
	var conn net.Conn
	var err error
	for _, path := range paths {
		if conn, err = d.sockets.Dial(ctx, path); err == nil {
			break
		}
	}
	if err != nil {
		return nil, cluster.Errorf(cluster.Unavailable, "connect to the hypervisor: %v", err)
	}
	d.mu.Lock()
	set := d.streams[m.Operation]
	d.mu.Unlock()
	if set == nil || !set.add(conn) {
		conn.Close()
		return nil, cluster.Errorf(cluster.Conflict, "the destination does not wait for this guest")
	}
	return &heldConn{Conn: conn, set: set}, nil
}

// heldConn is a connection that its set closes, too.
type heldConn struct {
	net.Conn
	set *connSet
}

// Close may be called more than once.
func (c *heldConn) Close() error {
	c.set.drop(c.Conn)
	return nil
}

// CloseWrite ends what goes to the socket.
func (c *heldConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// Arrival implements peer.Landings.
func (d *Destination) Arrival(ctx context.Context, m peer.Move) (peer.Arrival, error) {
	if err := failpoint.Hit(within(ctx, m.Instance), PointLandArrival); err != nil {
		return peer.Arrival{}, refusal(fmt.Errorf("%w: %w", virt.ErrUnavailable, err))
	}
	_, in, err := d.allowed(ctx, m)
	if err != nil {
		return peer.Arrival{}, err
	}
	d.cut(m.Operation)
	return d.settled(ctx, in)
}

// Settled implements Arrivals: what Arrival says to the source of a migration, for one whose source is dead. Nothing of its guest arrives
// here any more after it.
func (d *Destination) Settled(ctx context.Context, in *cluster.Instance) (peer.Arrival, error) {
	d.mu.Lock()
	var ops []cluster.OperationID
	for op, set := range d.streams {
		if set.instance == in.ID {
			ops = append(ops, op)
		}
	}
	d.mu.Unlock()
	for _, op := range ops {
		d.cut(op)
	}
	return d.settled(ctx, in)
}

// settled waits until the hypervisor has made up its mind about a guest whose streams are cut.
func (d *Destination) settled(ctx context.Context, in *cluster.Instance) (peer.Arrival, error) {
	for deadline := time.Now().Add(settleTimeout); ; {
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		s, err := sight(bounded, d.driver, in.ID, in.Op.Move.Epoch)
		cancel()
		if err != nil {
			return peer.Arrival{}, refusal(err)
		}
		a := peer.Arrival{Defined: s.defined, Running: s.power == virt.PowerRunning}
		a.Off = a.Defined && (s.power == virt.PowerOff || s.power == virt.PowerCrashed)
		if !a.Defined || a.Running || a.Off || time.Now().After(deadline) {
			return a, nil
		}
		select { // it stands still: it is being given up, or let go on
		case <-time.After(settlePoll):
		case <-ctx.Done():
			return peer.Arrival{}, refusal(errors.Join(virt.ErrUnavailable, ctx.Err()))
		}
	}
}

// cut ends the streams of a migration, so that nothing arrives any more.
func (d *Destination) cut(op cluster.OperationID) {
	d.mu.Lock()
	set := d.streams[op]
	delete(d.streams, op)
	d.mu.Unlock()
	if set != nil {
		set.close()
	}
}

// Close ends preparations and streams, and waits for the former. Whoever serves the latter sees their end.
func (d *Destination) Close() {
	d.cancel()
	d.mu.Lock()
	d.closed = true
	all := d.streams
	d.streams = nil
	d.mu.Unlock()
	for _, set := range all {
		set.close()
	}
	d.wg.Wait()
}
