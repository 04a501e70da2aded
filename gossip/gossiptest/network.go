// Package gossiptest is a network in memory for gossip: machines with addresses, packets that may be lost, connections
// that may hang.
//
// A packet to a machine that is down, cut off or slow to read is lost, and a connection to it times out, as in a real
// network. (Memberlist's own MockTransport blocks for ever instead.) Nothing here needs real time, so it works in a
// testing/synctest bubble.
//
// Concurrency: a Network and its transports may be used by many goroutines.
package gossiptest

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// backlog is how many packets or connections a machine may leave unread before further ones are lost.
const backlog = 256

// Network joins transports.
type Network struct {
	mu      sync.Mutex
	hosts   map[netip.AddrPort]*Transport
	group   map[netip.AddrPort]int // machines of different groups do not reach each other
	pipes   []pipe
	packets int
}

// pipe is a connection between two machines.
type pipe struct {
	a, b      netip.AddrPort
	near, far net.Conn
}

// New makes a network without machines.
func New() *Network {
	return &Network{hosts: make(map[netip.AddrPort]*Transport), group: make(map[netip.AddrPort]int)}
}

// Transport adds a machine. One that had the address before is forgotten.
func (n *Network) Transport(addr netip.AddrPort) *Transport {
	t := &Transport{
		network: n, addr: addr, down: make(chan struct{}),
		packets: make(chan *memberlist.Packet, backlog), streams: make(chan net.Conn, backlog),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[addr] = t
	return t
}

// Cut puts machines apart: they reach each other and nobody else. Connections that this cuts are broken.
func (n *Network) Cut(addrs ...netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := 1
	for _, g := range n.group {
		next = max(next, g+1)
	}
	for _, a := range addrs {
		n.group[a] = next
	}
	var whole []pipe
	for _, p := range n.pipes {
		if n.group[p.a] == n.group[p.b] {
			whole = append(whole, p)
			continue
		}
		_ = p.near.Close()
		_ = p.far.Close()
	}
	n.pipes = whole
}

// Heal lets all machines reach each other again.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.group)
}

// Packets is how many packets were delivered.
func (n *Network) Packets() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.packets
}

// reach finds a machine as seen from another; nil when it cannot be reached. The caller holds mu.
func (n *Network) reach(from netip.AddrPort, to string) *Transport {
	addr, err := netip.ParseAddrPort(to)
	if err != nil || n.group[from] != n.group[addr] {
		return nil
	}
	return n.hosts[addr]
}

// Transport is one machine's access to the network. It is a memberlist.NodeAwareTransport.
type Transport struct {
	network *Network
	addr    netip.AddrPort
	packets chan *memberlist.Packet
	streams chan net.Conn
	down    chan struct{}
	once    sync.Once
}

var _ memberlist.NodeAwareTransport = (*Transport)(nil)

// FinalAdvertiseAddr gives the machine's address.
func (t *Transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.addr.Addr().AsSlice(), int(t.addr.Port()), nil
}

// WriteTo sends a packet.
func (t *Transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress sends a packet. That it is lost is no error, as with UDP.
func (t *Transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	now := time.Now()
	t.network.mu.Lock()
	defer t.network.mu.Unlock()
	if to := t.network.reach(t.addr, a.Addr); to != nil {
		p := &memberlist.Packet{Buf: append([]byte(nil), b...), From: net.UDPAddrFromAddrPort(t.addr), Timestamp: now}
		select {
		case to.packets <- p:
			t.network.packets++
		default:
		}
	}
	return now, nil
}

// PacketCh gives the packets that arrive.
func (t *Transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// DialTimeout connects to an address.
func (t *Transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout connects to a machine. When it cannot be reached, that takes as long as the timeout.
func (t *Transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if c := t.connect(a.Addr); c != nil {
		return c, nil
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.down:
	}
	return nil, fmt.Errorf("connect to %s: no answer", a.Addr)
}

func (t *Transport) connect(addr string) net.Conn {
	t.network.mu.Lock()
	defer t.network.mu.Unlock()
	to := t.network.reach(t.addr, addr)
	if to == nil {
		return nil
	}
	near, far := net.Pipe()
	select {
	case to.streams <- addressed{far, t.addr}:
		t.network.pipes = append(t.network.pipes, pipe{t.addr, to.addr, near, far})
		return near
	default:
		return nil
	}
}

// addressed is a connection that knows where it came from.
type addressed struct {
	net.Conn
	from netip.AddrPort
}

// RemoteAddr gives the other end's address.
func (a addressed) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(a.from) }

// StreamCh gives the connections that arrive.
func (t *Transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown takes the machine off the network.
func (t *Transport) Shutdown() error {
	t.once.Do(func() {
		close(t.down)
		t.network.mu.Lock()
		defer t.network.mu.Unlock()
		if t.network.hosts[t.addr] == t {
			delete(t.network.hosts, t.addr)
		}
	})
	return nil
}
