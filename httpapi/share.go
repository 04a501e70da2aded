package httpapi

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Share is what one source may have of a port: one address, or, where addresses are many, one /64. Whoever has it all is turned
// away before anything is read from them, which costs next to nothing, and everybody else is served.
type Share struct {
	Open  int // connections at a time
	Burst int // connections at once, after a while without any
	Rate  int // connections a second, on and on
}

// What one source may have. A quarter of the places is enough for a proxy that keeps its connections. A TLS handshake takes some tenths of a
// millisecond, so that the rate is a small part of one core.
var (
	APIShare  = Share{Open: MaxConnections / 4, Burst: 1024, Rate: 256}
	JoinShare = Share{Open: 128, Burst: 256, Rate: 32} // machines that are no members yet
)

// sourceBits is how much of an IPv6 address is the source's: the rest is whatever it likes.
const sourceBits = 64

// ShareListener gives each source its share of what l accepts.
func ShareListener(l net.Listener, share Share) net.Listener {
	return &shareListener{Listener: l, share: share, now: time.Now, sources: map[netip.Addr]*source{}}
}

type shareListener struct {
	net.Listener
	share Share
	now   func() time.Time

	mu      sync.Mutex
	sources map[netip.Addr]*source
	swept   time.Time
}

// source is one that has connections, or had some lately.
type source struct {
	open  int
	spent float64 // of the burst
	at    time.Time
}

// Accept gives the next connection of a source that has not all of its share. Others are closed.
func (l *shareListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, known := sourceOf(c.RemoteAddr())
		if !known {
			return c, nil
		}
		if l.enter(from) {
			return &sharedConn{Conn: c, leave: func() { l.leave(from) }}, nil
		}
		_ = c.Close() // nothing was written that could be lost
	}
}

// sourceOf is false for what has no address, such as a socket of this machine.
func sourceOf(addr net.Addr) (netip.Addr, bool) {
	from, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.Addr{}, false
	}
	ip := from.Addr().Unmap().WithZone("")
	if ip.Is6() {
		if prefix, err := ip.Prefix(sourceBits); err == nil {
			ip = prefix.Addr()
		}
	}
	return ip, true
}

func (l *shareListener) enter(from netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.sweep(now)
	s := l.sources[from]
	if s == nil {
		s = &source{at: now}
		l.sources[from] = s
	}
	s.spent = l.left(s, now)
	s.at = now
	if s.open >= l.share.Open || s.spent+1 > float64(l.share.Burst) {
		return false
	}
	s.open++
	s.spent++
	return true
}

// left is how much of its burst a source has not got back.
func (l *shareListener) left(s *source, now time.Time) float64 {
	return max(0, s.spent-now.Sub(s.at).Seconds()*float64(l.share.Rate))
}

func (l *shareListener) leave(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sources[from].open--
}

// sweep forgets, once in a while, sources that have nothing and have their burst back.
func (l *shareListener) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Minute {
		return
	}
	l.swept = now
	for from, s := range l.sources {
		if s.open == 0 && l.left(s, now) == 0 {
			delete(l.sources, from)
		}
	}
}

// sharedConn gives its place back when it is closed.
type sharedConn struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close may be called more than once.
func (c *sharedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.leave)
	return err
}
