package peernet

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// maxHandshakes bounds the connections that have not proved themselves yet. Further ones wait in the kernel.
const maxHandshakes = 256

// maxPerSource is how many of them may come from one address, so that one machine alone cannot keep the others out. A node
// that forwards many requests at once needs a good many.
const maxPerSource = 128

// joinPatience is how long a machine that wants to join waits for the handler when many do. Members wait for longer.
const joinPatience = time.Second

// Port is the open peer port.
type Port struct {
	listener net.Listener
	creds    *Credentials
	trust    Trust
	config   *tls.Config
	log      *slog.Logger
	protos   map[string]*protoListener
	slots    chan struct{}
	done     chan struct{}
	once     sync.Once
	wg       sync.WaitGroup

	mu      sync.Mutex
	sources map[netip.Addr]int // handshakes under way
}

// Listen opens the peer port on an address such as 192.0.2.11:7443. Connections are handed to the listener of
// their protocol; nobody accepting there makes them wait.
func Listen(addr string, c *Credentials, trust Trust, log *slog.Logger) (*Port, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &Port{
		listener: l,
		creds:    c,
		trust:    trust,
		sources:  map[netip.Addr]int{},
		config:   c.serverConfig(trust),
		log:      log,
		protos:   map[string]*protoListener{},
		slots:    make(chan struct{}, maxHandshakes),
		done:     make(chan struct{}),
	}
	for _, proto := range []string{ProtoRaft, ProtoHTTP, ProtoJoin} {
		p.protos[proto] = &protoListener{port: p, conns: make(chan net.Conn), done: make(chan struct{})}
	}
	p.wg.Add(1)
	go p.accept()
	return p, nil
}

// Addr is the address that the port listens on.
func (p *Port) Addr() net.Addr { return p.listener.Addr() }

// Proto is the listener of one protocol's connections. Closing it ends its Accept, and its protocol is refused from
// then on; the Port stays open.
func (p *Port) Proto(proto string) net.Listener { return p.protos[proto] }

// Close stops accepting and waits for handshakes under way. Connections that were handed over stay open.
func (p *Port) Close() error {
	var err error
	p.once.Do(func() {
		close(p.done)
		err = p.listener.Close()
	})
	p.wg.Wait()
	return err
}

func (p *Port) accept() {
	defer p.wg.Done()
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			p.log.Warn("accept on the peer port", "err", err)
			select { // out of file descriptors, most likely: let some go
			case <-time.After(100 * time.Millisecond):
				continue
			case <-p.done:
				return
			}
		}
		source, ok := p.enter(conn)
		if !ok {
			conn.Close()
			continue
		}
		select {
		case p.slots <- struct{}{}:
		case <-p.done:
			conn.Close()
			return
		}
		p.wg.Go(func() {
			defer p.leave(source)
			p.admit(conn)
		})
	}
}

// enter counts a connection to its source, unless that has as many as it may.
func (p *Port) enter(conn net.Conn) (netip.Addr, bool) {
	from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sources[from.Addr()] >= maxPerSource {
		return netip.Addr{}, false
	}
	p.sources[from.Addr()]++
	return from.Addr(), true
}

// leave makes room for the next connection, of its source and of all.
func (p *Port) leave(source netip.Addr) {
	<-p.slots
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sources[source]--; p.sources[source] <= 0 {
		delete(p.sources, source)
	}
}

// admit does the handshake and hands the connection over.
func (p *Port) admit(raw net.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	p.wg.Go(func() {
		select {
		case <-p.done:
			cancel()
		case <-ctx.Done():
		}
	})
	conn := tls.Server(raw, p.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		p.log.Info("refused on the peer port", "from", raw.RemoteAddr().String(), "err", err)
		raw.Close()
		return
	}
	state := conn.ConnectionState()
	l, ok := p.protos[state.NegotiatedProtocol]
	if !ok {
		conn.Close()
		return
	}
	var out net.Conn
	if state.NegotiatedProtocol == ProtoJoin {
		out = struct{ net.Conn }{conn} // net/http serves no TLS connection with an ALPN that it does not know
		time.AfterFunc(joinPatience, cancel)
	} else {
		kept, err := p.creds.keep(conn, nodeOf(state), p.trust)
		if err != nil {
			p.log.Info("refused on the peer port", "from", raw.RemoteAddr().String(), "err", err)
			return
		}
		out = kept
	}
	select {
	case l.conns <- out:
	case <-l.done:
		out.Close()
	case <-ctx.Done(): // nobody accepts this protocol, or the port closes
		out.Close()
	}
}

// protoListener is the part of a Port that serves one protocol.
type protoListener struct {
	port  *Port
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// Accept waits for the next connection of the protocol.
func (l *protoListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-l.port.done:
		return nil, net.ErrClosed
	}
}

// Close ends a waiting Accept. The Port owns the socket, which stays open for the other protocols.
func (l *protoListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr is the port's address.
func (l *protoListener) Addr() net.Addr { return l.port.Addr() }
