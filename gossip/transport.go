package gossip

import (
	"context"
	"errors"
	"log"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

var errClosed = errors.New("gossip is closed")

// tracked is a transport that can be shut down for good: memberlist's own leaves connections to their deadlines, so that a
// peer that hangs would hold Close up.
type tracked struct {
	memberlist.NodeAwareTransport
	ctx     context.Context
	cancel  context.CancelFunc
	streams chan net.Conn
	done    sync.WaitGroup // the relay and the connections

	mu     sync.Mutex
	open   map[*trackedConn]struct{}
	closed bool
}

// listen opens the transport and puts it under control.
func (g *Gossip) listen(ctx context.Context, m *memberlist.Config, logger *log.Logger) error {
	inner := g.config.Transport
	if inner == nil {
		t, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{m.BindAddr}, BindPort: m.BindPort, Logger: logger,
		})
		if err != nil {
			return err
		}
		m.BindPort = t.GetAutoBindPort()
		m.AdvertisePort = m.BindPort
		inner = t
	}
	t := &tracked{NodeAwareTransport: inner, streams: make(chan net.Conn), open: make(map[*trackedConn]struct{})}
	t.ctx, t.cancel = context.WithCancel(ctx)
	t.done.Go(t.relay)
	g.transport = t
	return nil
}

// relay hands incoming connections on.
func (t *tracked) relay() {
	for {
		select {
		case <-t.ctx.Done():
			return
		case c := <-t.NodeAwareTransport.StreamCh():
			c, err := t.track(c)
			if err != nil {
				continue // the listener may hold another one, and waits until it is taken
			}
			select {
			case t.streams <- c:
			case <-t.ctx.Done():
				_ = c.Close()
				return
			}
		}
	}
}

// StreamCh gives incoming connections.
func (t *tracked) StreamCh() <-chan net.Conn { return t.streams }

// DialTimeout connects to an address.
func (t *tracked) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout connects to a member. TCP connections are given up at once when the transport is shut down.
func (t *tracked) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	var c net.Conn
	var err error
	if _, tcp := t.NodeAwareTransport.(*memberlist.NetTransport); tcp {
		dialer := net.Dialer{Timeout: timeout}
		c, err = dialer.DialContext(t.ctx, "tcp", a.Addr)
	} else {
		c, err = t.NodeAwareTransport.DialAddressTimeout(a, timeout)
	}
	if err != nil {
		return nil, err
	}
	return t.track(c)
}

// track counts a connection in until it is closed. After Shutdown it closes it at once.
func (t *tracked) track(c net.Conn) (net.Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = c.Close()
		return nil, errClosed
	}
	tc := &trackedConn{Conn: c, owner: t}
	t.open[tc] = struct{}{}
	t.done.Add(1)
	return tc, nil
}

// Shutdown stops listening and closes every connection, so whoever uses one ends soon.
func (t *tracked) Shutdown() error {
	t.mu.Lock()
	t.closed = true
	open := slices.Collect(maps.Keys(t.open))
	t.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
	err := t.NodeAwareTransport.Shutdown() // while relay runs, or a listener with a connection in hand would wait for ever
	t.cancel()
	return err
}

// wait returns when the relay ended and every connection is closed.
func (t *tracked) wait() { t.done.Wait() }

// trackedConn is a connection that tells when it is closed.
type trackedConn struct {
	net.Conn
	owner *tracked
	once  sync.Once
}

// Write writes, and closes a connection that cannot be written to: memberlist forgets to when it writes a label.
func (c *trackedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		_ = c.Close()
	}
	return n, err
}

// Close closes the connection.
func (c *trackedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.owner.mu.Lock()
		delete(c.owner.open, c)
		c.owner.mu.Unlock()
		c.owner.done.Done()
	})
	return err
}
