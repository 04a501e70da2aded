package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/lease"
)

// runtimeDir is in memory and goes with the boot, as the Filesystem Hierarchy Standard has it.
const runtimeDir = "/run/kilonova"

// watchdogDevice is the hardware watchdog that is fed while instances are guarded, where there is one.
const watchdogDevice = "/dev/watchdog"

// watchdogStart is how long a watchdog may take until it has its board.
const watchdogStart = 5 * time.Second

// RenewLease implements lease.Cluster.
func (a *agreement) RenewLease(ctx context.Context) (cluster.Grant, error) {
	grant, err := a.RenewHere(ctx, a.self)
	if !errors.Is(err, peer.ErrNotLeader) {
		return grant, err
	}
	leader, ctx, release := a.elsewhere(ctx)
	defer release()
	if leader == "" {
		return grant, err
	}
	return a.peers.Lease(ctx, leader)
}

// RenewHere implements peer.Agreement. A majority confirms after the question came that this node leads, so whoever leads later is elected
// later than it was asked.
func (a *agreement) RenewHere(ctx context.Context, node cluster.NodeID) (cluster.Grant, error) {
	warden := a.warden.Load()
	if warden == nil {
		return cluster.Grant{}, peer.ErrNotLeader
	}
	asked := time.Now()
	index, err := a.BarrierHere(ctx)
	if err != nil {
		return cluster.Grant{}, err
	}
	if err := a.raft.WaitApplied(ctx, index); err != nil {
		return cluster.Grant{}, err
	}
	grant, err := warden.Renew(node, asked, a.raft.View())
	if errors.Is(err, lease.ErrCondemned) {
		return grant, cluster.Errorf(cluster.Unavailable, "%v", err)
	}
	return grant, err
}

// WaitApplied implements lease.Cluster.
func (a *agreement) WaitApplied(ctx context.Context, index uint64) error {
	return a.raft.WaitApplied(ctx, index)
}

// beginTerm commits that a term of leadership began, and grants leases from then until the function that it returns is called.
func (a *agreement) beginTerm(ctx context.Context) (end func()) {
	term := cluster.TermID(uuid.NewString())
	propose := func(ctx context.Context, op cluster.Op) error {
		res, err := a.raft.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op})
		if err == nil && res.Err != nil {
			return res.Err
		}
		return err
	}
	for ctx.Err() == nil {
		if a.raft.View().AllKnow(cluster.LeaseCommands) {
			began := time.Now()
			if err := propose(ctx, &cluster.BeginTerm{Term: term, Leader: a.self}); err == nil {
				w := lease.NewWarden(term, began, propose)
				a.warden.Store(w)
				return func() { a.warden.CompareAndSwap(w, nil) }
			}
		}
		if !pause(ctx, retryPause) {
			break
		}
	}
	return func() {}
}

// grantLeases grants leases for as long as a term of leadership lasts.
func (n *node) grantLeases(ctx context.Context) {
	end := n.state.beginTerm(ctx)
	defer end()
	<-ctx.Done()
}

// loseSilent is a lead.Duty: whoever has been silent for too long is taken for dead.
func (a *agreement) loseSilent(ctx context.Context, view *cluster.View, patiently func(what string, do func() error)) {
	if w := a.warden.Load(); w != nil {
		w.Attend(ctx, view, patiently)
	}
}

// newHolder is this node's side of its lease.
func (n *node) newHolder(driver lease.Hypervisor, boot string) (*lease.Holder, error) {
	board, err := lease.OpenBoard(n.boardDir())
	if err != nil {
		return nil, err
	}
	cfg := lease.Config{Node: n.id.Node, Cluster: n.state, Driver: driver, Board: board, Boot: boot, Log: n.cfg.Log}
	if n.cfg.Hypervisor.Driver != "sim" {
		cfg.Watch = (&watchdog{board: board, log: n.dir.file("watchdog.log")}).run
		if _, err := os.Stat(watchdogDevice); err == nil {
			cfg.Device = watchdogDevice
		}
	}
	return lease.NewHolder(cfg)
}

// boardDir is where this node and its watchdog meet.
func (n *node) boardDir() string {
	if os.Geteuid() == 0 && n.cfg.Hypervisor.Driver != "sim" {
		return filepath.Join(runtimeDir, string(n.id.Node))
	}
	return n.dir.file("lease")
}

// watchdog is the process that ends guarded guests when this one cannot.
type watchdog struct {
	board *lease.Board
	log   string
}

// run returns when a watchdog has the board. It is a process of its own session, so that it outlives this one.
func (w *watchdog) run() error {
	if w.board.Watched() {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(w.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the watchdog's log: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(self, "node", "watchdog", w.board.Dir())
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the watchdog, or with this process
	for deadline := time.Now().Add(watchdogStart); time.Now().Before(deadline); {
		if w.board.Watched() {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("the watchdog ended at once: %w", errors.Join(err, errors.New("its log is "+w.log)))
		case <-time.After(lockPoll):
		}
	}
	return errors.New("the watchdog does not come up")
}

// lockPoll is how often it is looked whether a watchdog has come up.
const lockPoll = 10 * time.Millisecond
