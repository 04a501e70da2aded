package mirror

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/virt"
)

// How long things may take before a replica is given up.
const (
	holdBack    = 5 * time.Second  // the guest's writes wait for a replica that does not answer
	beginWithin = 2 * time.Minute  // a replica is begun
	dialTimeout = 10 * time.Second // one attempt to connect to it
	comesBack   = 16 * time.Second // QEMU tries again, after an end of this daemon: the longest of its pauses between two attempts
	retryPause  = time.Second
)

// mirror keeps one replica until ctx ends: it is filled, called current, and, when it does not answer, called stale. What it must not leave
// half done ends with daemon.
func (k *Keeper) mirror(ctx, daemon context.Context, in *cluster.Instance) {
	l := &line{keeper: k, in: in, log: k.Log.With("instance", in.ID, "on", in.Replica.Node), lost: time.Now().Add(comesBack)}
	listener, err := k.Sockets.Listen(k.socketPath(in.ID))
	if err != nil {
		l.giveUp(ctx, fmt.Sprintf("listen for the mirror: %v", err))
		return
	}
	if in.Replica.State == cluster.ReplicaBuilding && !l.cleared(ctx) {
		listener.Close()
		if l.said(ctx, "another one was being filled") {
			k.release(daemon, in)
		}
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { l.accept(ctx, listener) })
	defer wg.Wait()
	defer l.close()
	defer listener.Close()
	if in.Replica.State == cluster.ReplicaBuilding && !l.begin(ctx) {
		return
	}
	said := in.Replica.State
	for ctx.Err() == nil {
		state, err := l.state(ctx)
		why := l.broken(state, err)
		switch {
		case why != "":
			l.giveUp(ctx, why)
		case err == nil && state == virt.MirrorReady && said == cluster.ReplicaBuilding:
			if err := k.say(ctx, in, cluster.ReplicaCurrent, ""); err == nil {
				said = cluster.ReplicaCurrent
			} else {
				l.log.Warn("call a replica current", "err", err)
			}
		}
		if !pause(ctx, lookEvery) {
			return
		}
	}
}

func (l *line) state(ctx context.Context) (virt.MirrorState, error) {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return l.keeper.Driver.Mirrored(bounded, l.in.ID)
}

// line is the way from the hypervisor to one replica.
type line struct {
	keeper *Keeper
	in     *cluster.Instance
	log    *slog.Logger

	mu     sync.Mutex
	first  net.Conn  // the connection that the hypervisor gets first
	open   net.Conn  // the far end of the one that it has; nil: none
	lost   time.Time // when there was none any more
	closed bool
}

// broken says why the replica is to be given up; "": it is not.
func (l *line) broken(state virt.MirrorState, err error) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case notRunning(err):
		l.lost = time.Now() // nothing is written, so nothing waits
	case l.open == nil && time.Since(l.lost) > holdBack: // also when the hypervisor says nothing: it may be that for which it waits
		return "its node does not answer"
	case err == nil && state == virt.MirrorNone:
		return "the hypervisor does not mirror any more"
	}
	return ""
}

// giveUp tells the state that the replica is stale. The guest is let go on when that is seen in the state, by another worker.
func (l *line) giveUp(ctx context.Context, why string) {
	if l.said(ctx, why); ctx.Err() == nil {
		<-ctx.Done() // what is to be done now stands in the state
	}
}

// said says that the replica is stale until the state has taken it in, or, false, has another.
func (l *line) said(ctx context.Context, why string) bool {
	for {
		err := l.keeper.say(ctx, l.in, cluster.ReplicaStale, why)
		if err == nil || cluster.CodeOf(err) == cluster.Stale {
			return err == nil
		}
		l.log.Warn("give a replica up", "why", why, "err", err)
		if !pause(ctx, retryPause) {
			return false
		}
	}
}

// cleared tells whether the hypervisor mirrors nothing yet. Otherwise an earlier daemon began that, and may have said that the replica is current:
// whether that will yet be so nobody here knows. Or it waits for an earlier replica, and says nothing. Either way this one is given up before
// anything is ended.
func (l *line) cleared(ctx context.Context) bool {
	for began := time.Now(); ctx.Err() == nil; {
		state, err := l.state(ctx)
		switch {
		case err == nil:
			return state == virt.MirrorNone
		case notRunning(err):
			return true
		case time.Since(began) > holdBack:
			return false
		}
		pause(ctx, retryPause)
	}
	return true
}

// begin begins to fill the replica, once the guest runs. Its node is connected to before the hypervisor is told: that would wait for it.
func (l *line) begin(ctx context.Context) bool {
	deadline := time.Now().Add(beginWithin)
	for ctx.Err() == nil {
		err := l.beginOnce(ctx)
		switch {
		case err == nil:
			return true
		case notRunning(err):
			deadline = time.Now().Add(beginWithin)
		case time.Now().After(deadline):
			l.giveUp(ctx, fmt.Sprintf("it cannot be begun: %v", err))
			return false
		default:
			l.log.Info("begin a replica", "err", err)
		}
		pause(ctx, retryPause)
	}
	return false
}

func (l *line) beginOnce(ctx context.Context) error {
	driver, id := l.keeper.Driver, l.in.ID
	bounded, cancel := context.WithTimeout(ctx, beginWithin)
	defer cancel()
	if _, err := driver.Mirrored(bounded, id); err != nil {
		return err
	}
	if err := driver.EndMirror(bounded, id); err != nil { // which an earlier attempt may have begun
		return err
	}
	conn, err := l.dial(bounded, true)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.first = conn
	l.mu.Unlock()
	err = driver.Mirror(bounded, id, l.keeper.socketPath(id))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first != nil {
		l.first.Close()
		l.first = nil
	}
	return err
}

func (l *line) dial(ctx context.Context, anew bool) (net.Conn, error) {
	r := l.in.Replica
	return l.keeper.Peers.Replica(ctx, r.Node, peer.Copy{Instance: l.in.ID, Epoch: r.Epoch, Anew: anew})
}

// accept takes the hypervisor's connections through to the replica, one at a time: it has no more than one that is of use.
func (l *line) accept(ctx context.Context, listener net.Listener) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return // it was closed
		}
		if err := l.carry(ctx, near); err != nil && ctx.Err() == nil {
			l.log.Info("the way to a replica broke", "err", err)
		}
	}
}

func (l *line) carry(ctx context.Context, near net.Conn) error {
	defer near.Close()
	far, err := l.far(ctx)
	if err != nil {
		return err
	}
	if !l.take(far) {
		far.Close()
		return ctx.Err()
	}
	p := pipe{near: near, far: far}
	p.run()
	l.mu.Lock()
	l.open, l.lost = nil, time.Now()
	l.mu.Unlock()
	return fmt.Errorf("a connection ended that was open for %v", time.Since(p.began).Round(time.Millisecond))
}

// far gives the connection that stands ready, or makes one.
func (l *line) far(ctx context.Context) (net.Conn, error) {
	l.mu.Lock()
	conn := l.first
	l.first = nil
	l.mu.Unlock()
	if conn != nil {
		return conn, nil
	}
	bounded, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return l.dial(bounded, false)
}

func (l *line) take(far net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.open = far
	return true
}

// close ends the connection. Whoever carries it sees that.
func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, c := range []net.Conn{l.first, l.open} {
		if c != nil {
			c.Close()
		}
	}
}
