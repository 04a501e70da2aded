package rafttest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// backlog is how many connections may wait for Accept.
const backlog = 64

// ErrRefused is what a dial to an address gives where nobody listens.
var ErrRefused error = syscall.ECONNREFUSED

// Network connects Streams.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*Stream
	conns     map[*conn]struct{}
	cut       map[[2]string]bool
	delay     time.Duration
	changed   chan struct{} // closed and replaced when a link changes
}

// NewNetwork makes a network without hosts, faults or delay.
func NewNetwork() *Network {
	return &Network{
		listeners: map[string]*Stream{},
		conns:     map[*conn]struct{}{},
		cut:       map[[2]string]bool{},
		changed:   make(chan struct{}),
	}
}

// Listen opens a host's stream. It panics when the address is in use: a test has a mistake.
func (n *Network) Listen(addr string) *Stream {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.listeners[addr]; ok {
		panic("rafttest: " + addr + " is in use")
	}
	s := &Stream{net: n, addr: addr, incoming: make(chan *conn, backlog), closed: make(chan struct{})}
	n.listeners[addr] = s
	return s
}

// Cut stops all traffic between two hosts, in both directions.
func (n *Network) Cut(a, b string) { n.set(a, b, true) }

// Heal lets traffic between two hosts through again.
func (n *Network) Heal(a, b string) { n.set(a, b, false) }

// Isolate cuts a host off from all the others in addrs.
func (n *Network) Isolate(host string, addrs ...string) {
	for _, a := range addrs {
		if a != host {
			n.Cut(host, a)
		}
	}
}

// HealAll ends every cut.
func (n *Network) HealAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	n.announce()
}

// SetDelay makes all that is sent from now on take d to arrive.
func (n *Network) SetDelay(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = d
}

// Reset breaks every connection of a host, as the loss of its power does.
func (n *Network) Reset(host string) {
	n.mu.Lock()
	var broken []*conn
	for c := range n.conns {
		if c.local == host || c.remote == host {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		_ = c.Close()
	}
}

func (n *Network) set(a, b string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[link(a, b)] = cut
	n.announce()
}

// announce wakes everybody who waits for a link. The caller holds mu.
func (n *Network) announce() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// link names the link between two hosts.
func link(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

// state tells how things are between two hosts now, and when to look again.
func (n *Network) state(a, b string) (cut bool, delay time.Duration, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[link(a, b)], n.delay, n.changed
}

// Stream is one host's end of the network. It implements raftfsm.StreamLayer.
type Stream struct {
	net      *Network
	addr     string
	incoming chan *conn
	closed   chan struct{}
	once     sync.Once
}

// Accept implements net.Listener.
func (s *Stream) Accept() (net.Conn, error) {
	select {
	case c := <-s.incoming:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (s *Stream) Addr() net.Addr { return addr(s.addr) }

// Close implements net.Listener. Connections stay; a host that lost its power also gets a Network.Reset.
func (s *Stream) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.net.mu.Lock()
		defer s.net.mu.Unlock()
		if s.net.listeners[s.addr] == s {
			delete(s.net.listeners, s.addr)
		}
	})
	return nil
}

// Dial connects to another host, or to this one.
func (s *Stream) Dial(ctx context.Context, to string) (net.Conn, error) {
	for {
		cut, _, changed := s.net.state(s.addr, to)
		if !cut {
			return s.connect(to)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("dial %s: %w", to, ctx.Err())
		}
	}
}

func (s *Stream) connect(to string) (net.Conn, error) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	there, ok := s.net.listeners[to]
	if !ok {
		return nil, fmt.Errorf("dial %s: %w", to, ErrRefused)
	}
	up, down := newQueue(), newQueue()
	mine := &conn{net: s.net, local: s.addr, remote: to, in: down, out: up}
	theirs := &conn{net: s.net, local: to, remote: s.addr, in: up, out: down}
	select {
	case there.incoming <- theirs:
	default:
		return nil, fmt.Errorf("dial %s: %w", to, ErrRefused)
	}
	s.net.conns[mine], s.net.conns[theirs] = struct{}{}, struct{}{}
	return mine, nil
}

type addr string

func (a addr) Network() string { return "mem" }
func (a addr) String() string  { return string(a) }
