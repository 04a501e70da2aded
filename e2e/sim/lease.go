package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/lease"
	"github.com/kilonova/kilonova/node/operate"
	"github.com/kilonova/kilonova/node/reconcile"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// quickLease is short, so that nodes are taken for dead within a round.
var quickLease = cluster.Lease{Stop: 4 * time.Second, Kill: 2 * time.Second, Dead: 7 * time.Second}

// mostDrift is by how many thousandths a machine's clock runs fast or slow: two of them differ by less than leases bear.
const mostDrift = 24

// How often a watchdog looks: while the lease is over, and otherwise.
const (
	barkEvery  = 100 * time.Millisecond
	watchAgain = 500 * time.Millisecond
)

// vigil is what a machine's daemon and its watchdog go by.
type vigil struct {
	booted time.Time
	speed  float64      // of the clock
	board  *lease.Board // in memory: it goes with the power
}

// uptime is the machine's clock. It begins anew with each boot.
func (m *machine) uptime() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(float64(time.Since(m.vigil.booted)) * m.vigil.speed)
}

// boot names the boot of the host.
func (m *machine) boot() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("boot-%d", m.boots)
}

// powerUp begins a boot of the host: what it had in memory is gone, the board with it.
func (m *machine) powerUp() {
	dir := filepath.Join(m.w.blobs.dir, fmt.Sprintf("board-%d", m.number))
	err := os.RemoveAll(dir)
	board, oerr := lease.OpenBoard(dir)
	if err = errors.Join(err, oerr); err != nil {
		panic("sim: " + err.Error()) // the temporary directory is gone
	}
	speed := 1 + float64(m.w.dice.below(2*mostDrift+1, "speed", uint64(m.number))-mostDrift)/1000
	m.set(func(m *machine) { m.vigil = vigil{time.Now(), speed, board} })
}

// hold makes the daemon's side of its lease. A large cluster does without: nodes by the thousand would renew theirs all the time.
func (d *daemon) hold(reach *access, boot string) reconcile.Lease {
	m := d.machine
	if !m.w.leased() {
		return nil
	}
	holder, err := lease.NewHolder(lease.Config{
		Node: m.id, Cluster: reach, Driver: m.driver, Board: m.meeting(), Boot: boot, Clock: m.uptime, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic("sim: the board cannot be read: " + err.Error())
	}
	d.lease = holder
	if m.w.cfg.Bug == BugNoLease {
		return nil
	}
	return holder
}

// orders is what the hypervisor was told to start; nil: nobody writes that down.
func (d *daemon) orders() operate.Orders {
	if d.lease == nil {
		return nil
	}
	return d.lease
}

// meeting is the board of this boot.
func (m *machine) meeting() *lease.Board {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.vigil.board
}

// watch is the machine's watchdog, which is a model: it does to simulated guests what lease.Watch does to processes, past the hypervisor. What starts is
// looked at in the same moment, too (driver.running), as the real one looks within a tenth of a second.
func (m *machine) watch(ctx context.Context) {
	for wait := watchAgain; pause(ctx, wait); {
		if wait = watchAgain; m.bark() {
			wait = barkEvery
		}
	}
}

// bark ends what is barred, and what is guarded when the lease is over and the daemon's grace, too, and tells whether there is any such thing.
func (m *machine) bark() bool {
	n, err := m.meeting().Read()
	if err != nil || n.Boot != m.boot() || m.w.cfg.Bug == BugNoWatchdog {
		return false
	}
	prey := n.Barred
	if m.uptime() >= n.Until+n.Grace {
		for _, id := range n.Instances {
			if h, _ := m.driver.Look(id); up(h) {
				_ = m.meeting().Fence([]cluster.InstanceID{id}) // it is ended all the same
			}
		}
		prey = append(prey, n.Instances...)
	}
	for _, id := range prey {
		if h, _ := m.driver.Look(id); up(h) {
			m.w.trace("machine %d: the watchdog ends %s", m.number, id)
			_ = m.driver.CrashGuest(id) // it may have stopped at this very moment
		}
	}
	return len(prey) > 0
}

func up(h sim.Held) bool {
	return h.Domain.Power == virt.PowerRunning || h.Domain.Power == virt.PowerPaused
}

// WaitApplied implements lease.Cluster.
func (a *access) WaitApplied(ctx context.Context, index uint64) error {
	return a.d.replica.wait(ctx, index)
}

// RenewLease implements lease.Cluster.
func (a *access) RenewLease(ctx context.Context) (cluster.Grant, error) {
	asked := time.Now()
	leader := a.w.ledger.leaderFor(a.d)
	if leader == nil || !a.hop(ctx, leader, "to") {
		return cluster.Grant{}, errLost
	}
	grant, err := leader.grant(ctx, a.d.machine.id)
	if err == nil && !a.hop(ctx, leader, "from") {
		err = errLost
	}
	if err == nil {
		a.w.records.renewed(a.d.machine.id, asked)
	}
	return grant, err
}

// grant is a leader's answer, as package node gives it: a majority confirms after the question came that it leads.
func (d *daemon) grant(ctx context.Context, node cluster.NodeID) (cluster.Grant, error) {
	warden, w := d.warden.Load(), d.machine.w
	if warden == nil {
		return cluster.Grant{}, errLost
	}
	asked := time.Now()
	if !pause(ctx, w.dice.between(leastHop, mostHop, "majority", w.dice.draw(string(node)), w.now())) {
		return cluster.Grant{}, errLost
	}
	index, ok := w.ledger.barrier(d)
	if !ok || d.replica.wait(ctx, index) != nil {
		return cluster.Grant{}, errLost
	}
	view, _ := d.replica.latest()
	return warden.Renew(node, asked, view)
}

// grantLeases commits that a term began, and grants leases until it ends, as package node does.
func (w *World) grantLeases(ctx context.Context, d *daemon) {
	reign := &throne{w: w, d: d}
	propose := func(ctx context.Context, op cluster.Op) error {
		res, err := reign.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op})
		if err == nil && res.Err != nil {
			return res.Err
		}
		return err
	}
	term := cluster.TermID(uuid(5, w.dice.draw("term", w.now())))
	for ctx.Err() == nil {
		began := time.Now()
		if w.cfg.Bug == BugYoungLeader {
			began = began.Add(-time.Hour)
		}
		if propose(ctx, &cluster.BeginTerm{Term: term, Leader: d.machine.id}) == nil {
			d.warden.Store(lease.NewWarden(term, began, propose))
			break
		}
		pause(ctx, retryPause)
	}
	<-ctx.Done()
	d.warden.Store(nil)
}

// loseSilent is the leader's duty of that name.
func (w *World) loseSilent(ctx context.Context, d *daemon, view *cluster.View, patiently func(string, func() error)) {
	if warden := d.warden.Load(); warden != nil && w.cfg.Bug != BugIdleLeader {
		warden.Attend(ctx, view, patiently)
	}
}

// renewed takes down when a node asked that was granted its lease.
func (r *records) renewed(node cluster.NodeID, asked time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if asked.After(r.asked[node]) {
		r.asked[node] = asked
	}
}

// lost looks at a node that a leader took for dead: nobody may have granted it a lease that it asked for since. Records are locked.
func (w *World) lost(op cluster.Op, refusal *cluster.Error) {
	o, ok := op.(*cluster.LoseNode)
	if !ok || o.Term == "" || refusal != nil {
		return
	}
	if silent := time.Since(w.records.asked[o.Node]); silent < quickLease.Dead {
		w.broken(CheckLease, "node %s is taken for dead %v after it asked for the lease that it was granted", o.Node, silent)
	}
}

// mayFence tells whether a node may have ended a guarded guest for want of a lease: it was granted none that it asked for in the time of one.
// Records are locked.
func (w *World) mayFence(node cluster.NodeID) bool {
	return time.Since(w.records.asked[node]) >= quickLease.Stop*(1000-mostDrift)/1000
}

// mayHold tells whether a node may hold a lease now, by the slowest clock that there is.
func (w *World) mayHold(node cluster.NodeID) bool {
	w.records.mu.Lock()
	defer w.records.mu.Unlock()
	return !w.leased() || time.Since(w.records.asked[node]) <= quickLease.Stop*1000/(1000-mostDrift)
}
