package operate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
)

// dialTimeout is how long the other node and its hypervisor may take to take up a stream.
const dialTimeout = 15 * time.Second

// maxStreams is how many connections one migration may have open at the same time: one to the daemon, one or more for memory, one
// or two for each disk.
const maxStreams = 256

// proxy carries the streams of one migration from sockets on this host to the destination. Close it.
type proxy struct {
	dial func(ctx context.Context, which peer.Stream) (net.Conn, error)
	log  *slog.Logger

	cancel    context.CancelFunc
	listeners []net.Listener
	wg        sync.WaitGroup
	conns     connSet
}

// openProxy listens on the sockets of a migration.
func (w *work) openProxy(ctx context.Context, to cluster.NodeID, m peer.Move) (p *proxy, paths map[peer.Stream]string, err error) {
	dir := w.Driver.Sockets().Dir
	if dir == "" {
		return nil, nil, giveUp{errors.New("the hypervisor cannot migrate running guests")}
	}
	ctx, cancel := context.WithCancel(ctx)
	p = &proxy{cancel: cancel, log: w.log, dial: func(ctx context.Context, which peer.Stream) (net.Conn, error) {
		return w.Landings.Stream(ctx, to, m, which)
	}}
	paths = map[peer.Stream]string{}
	for _, which := range []peer.Stream{peer.StreamLibvirt, peer.StreamMemory, peer.StreamDisks} {
		path := socketPath(dir, m, which)
		l, err := w.Sockets.Listen(path)
		if err != nil {
			p.close()
			return nil, nil, fmt.Errorf("listen for the streams of a migration: %w", err)
		}
		paths[which] = path
		p.listeners = append(p.listeners, l)
		p.wg.Go(func() { p.accept(ctx, l, which) })
	}
	return p, paths, nil
}

func (p *proxy) accept(ctx context.Context, l net.Listener, which peer.Stream) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // it was closed
		}
		if !p.conns.add(conn) {
			conn.Close()
			continue
		}
		p.wg.Go(func() {
			defer p.conns.drop(conn)
			p.carry(ctx, conn, which)
		})
	}
}

// carry connects one connection through, until both of its directions have ended.
func (p *proxy) carry(ctx context.Context, conn net.Conn, which peer.Stream) {
	bounded, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	far, err := p.dial(bounded, which)
	if err != nil {
		p.log.Warn("connect a migration to its destination", "stream", which, "err", err)
		conn.Close()
		return
	}
	if !p.conns.add(far) {
		far.Close()
		conn.Close()
		return
	}
	defer p.conns.drop(far)
	peer.Splice(conn, far)
}

// close ends every stream and waits for that.
func (p *proxy) close() {
	p.cancel()
	for _, l := range p.listeners {
		l.Close()
	}
	p.conns.close()
	p.wg.Wait()
}

// connSet is the open connections of something that can end. The zero value is ready.
type connSet struct {
	instance cluster.InstanceID // whose streams they are, at a destination

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// add tells whether there is room for a connection. The caller drops it.
func (s *connSet) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= maxStreams {
		return false
	}
	if s.conns == nil {
		s.conns = map[net.Conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *connSet) drop(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	c.Close()
}

// close closes the connections, and those that are added later are refused.
func (s *connSet) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
}
