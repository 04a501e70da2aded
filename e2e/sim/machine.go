package sim

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/lead"
	"github.com/kilonova/kilonova/node/lease"
	"github.com/kilonova/kilonova/node/operate"
	"github.com/kilonova/kilonova/node/reconcile"
)

// How long an entry takes to a follower.
const leastLag, mostLag = time.Millisecond, 20 * time.Millisecond

// machine is a host: what outlives its daemon.
type machine struct {
	w      *World
	number int
	id     cluster.NodeID
	driver *driver
	shelf  *shelf

	mu       sync.Mutex // guards what follows
	daemon   *daemon    // nil: none runs
	disk     []byte     // the last snapshot; nil: none
	boots    int        // of the host
	settled  string     // the boot that the reconciler was told last
	requests int        // made up so far
	skew     time.Duration
	lag      time.Duration // added to each entry's way
	dead     bool          // nobody may switch the host on
	vigil    vigil
}

// daemon is one life of the program on a machine.
type daemon struct {
	machine     *machine
	replica     *replica
	ctx         context.Context // ends when it is killed
	loop        *reconcile.Loop
	moves       *operate.Loop
	source      *operate.Source
	destination *operate.Destination
	chooser     *lead.Chooser
	lease       *lease.Holder                // nil: large clusters do without leases
	warden      atomic.Pointer[lease.Warden] // of its term; nil: it grants no leases
	kill        func()                       // returns when nothing of it is left
}

func (m *machine) running() *daemon {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.daemon
}

// freshRequest makes up the ID of a command.
func (m *machine) freshRequest() cluster.RequestID {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests++
	return cluster.RequestID(fmt.Sprintf("m%d-%d", m.number, m.requests))
}

func (m *machine) skewed() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.skew
}

func (m *machine) clock() cluster.Time { return cluster.At(time.Now().Add(m.skewed())) }

func (m *machine) set(change func(m *machine)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m)
}

// scratch is the directory for disks on their way into an image.
func (m *machine) scratch() string {
	return filepath.Join(m.w.blobs.dir, fmt.Sprintf("captures-%d", m.number))
}

// start runs a daemon, unless one runs. It finds its last snapshot and hears the rest from the leader.
func (m *machine) start(ctx context.Context) {
	m.mu.Lock()
	dead := m.dead
	m.mu.Unlock()
	if dead || m.running() != nil {
		return
	}
	m.w.trace("machine %d: daemon starts", m.number)
	m.mu.Lock()
	disk, settled, boot := m.disk, m.settled, fmt.Sprintf("boot-%d", m.boots)
	m.mu.Unlock()
	d := &daemon{machine: m, replica: newReplica(m.w, m.number, disk)}
	reach := &access{w: m.w, d: d}
	quiet := slog.New(slog.DiscardHandler)
	view := func() *cluster.View { v, _ := d.replica.latest(); return v }
	d.chooser = lead.NewChooser(m.w.cfg.Seed, view, m.w.gossip.hints, nil)
	d.loop = reconcile.New(reconcile.Config{
		Lease: d.hold(reach, boot), Volumes: sharedFiles{m.w.blobs.dir},
		Node: m.id, Cluster: reach, Driver: m.driver, Images: m.shelf, Busy: d.busy, Log: quiet,
		Starts: 2 + m.w.dice.below(3, "starts"), Incarnation: boot, LastKnown: settled,
		Settled: func() { m.set(func(m *machine) { m.settled = boot }) },
	})
	d.source = operate.NewSource(m.id, reach, m.driver, quiet)
	d.destination = operate.NewDestination(operate.DestinationConfig{
		Node: m.id, Cluster: reach, Driver: m.driver, Images: m.shelf, Volumes: sharedFiles{m.w.blobs.dir}, Orders: d.orders(),
		Sockets: m.driver.sockets, Log: quiet,
	})
	d.moves = operate.New(operate.Config{
		Node: m.id, Cluster: reach, Driver: m.driver, Images: m.shelf, Sources: &wire{w: m.w, d: d}, Store: &vault{w: m.w, d: d},
		Scratch: m.scratch(), Landings: &wire{w: m.w, d: d}, Arrivals: d.destination, Sockets: m.driver.sockets, Log: quiet,
	})
	var cancel func()
	d.ctx, cancel = context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { d.follow(d.ctx) })
	all.Go(func() { d.loop.Run(d.ctx) })
	all.Go(func() { d.moves.Run(d.ctx) })
	all.Go(func() { d.tellReady(d.ctx) })
	all.Go(func() { d.tendVolumes(d.ctx) })
	if d.lease != nil {
		all.Go(func() { d.lease.Run(d.ctx) })
	}
	all.Go(func() { m.sweepHastily(d) })
	d.kill = func() { cancel(); all.Wait(); d.source.Close(); d.destination.Close() }
	m.set(func(m *machine) { m.daemon = d })
	m.w.ledger.touch()
}

// busy tells whether disks of an instance are being made here.
func (d *daemon) busy(id cluster.InstanceID) bool { return d.moves.Busy(id) || d.destination.Busy(id) }

// stop kills the daemon, if one runs.
func (m *machine) stop() {
	d := m.running()
	if d == nil {
		return
	}
	m.w.trace("machine %d: daemon is killed", m.number)
	m.set(func(m *machine) { m.daemon = nil })
	m.w.ledger.touch()
	d.kill()
}

// powerCut takes the host down: daemon and guests at once.
func (m *machine) powerCut() {
	m.w.trace("machine %d: power cut", m.number)
	m.stop()
	m.driver.powerCut()
	m.set(func(m *machine) { m.boots++ })
	m.powerUp()
}

// snapshot puts the present state on the machine's disk.
func (m *machine) snapshot() {
	if d := m.running(); d != nil && d.replica.state != nil {
		b := d.replica.snapshot()
		m.set(func(m *machine) { m.disk = b })
	}
}

// follow applies what the leader says is committed.
func (d *daemon) follow(ctx context.Context) {
	w := d.machine.w
	for ctx.Err() == nil {
		index, changed := w.ledger.horizon(d)
		view, _ := d.replica.latest()
		if view.Index() >= index {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		d.machine.mu.Lock()
		lag := d.machine.lag
		d.machine.mu.Unlock()
		lag += w.dice.between(leastLag, mostLag, "lag", uint64(d.machine.number), w.now())
		if !pause(ctx, lag) {
			return
		}
		if now, _ := w.ledger.horizon(d); now >= index { // still in touch with a leader
			d.replica.advance(index)
		}
	}
}
