package raftfsm

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// stream is the StreamLayer as raft wants it. It keeps count of all connections, because raft's transport leaves
// accepted ones, and the goroutines that read them, behind when it is closed.
type stream struct {
	StreamLayer
	addr   string
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{} // filled when a peer has closed a connection that it had opened

	mu     sync.Mutex
	closed bool
	conns  map[*trackedConn]struct{}
	served sync.WaitGroup // accepted connections that raft has not closed yet, and who hands on what they ask
}

func newStream(layer StreamLayer, addr string) *stream {
	ctx, cancel := context.WithCancel(context.Background())
	return &stream{StreamLayer: layer, addr: addr, ctx: ctx, cancel: cancel, ended: make(chan struct{}, 1), conns: map[*trackedConn]struct{}{}}
}

// Addr implements net.Listener with the advertised address; raft tells it to peers.
func (s *stream) Addr() net.Addr { return address(s.addr) }

// Accept implements net.Listener.
func (s *stream) Accept() (net.Conn, error) {
	c, err := s.StreamLayer.Accept()
	if err != nil {
		return nil, err
	}
	return s.track(c, true)
}

// Dial implements raft.StreamLayer. Closing the stream ends it.
func (s *stream) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	c, err := s.StreamLayer.Dial(ctx, string(addr))
	if err != nil {
		return nil, &awayError{err}
	}
	return s.track(c, false)
}

// awayError says that a peer could not be connected to.
type awayError struct{ err error }

// Error implements error.
func (e *awayError) Error() string { return e.err.Error() }

// Unwrap gives the reason.
func (e *awayError) Unwrap() error { return e.err }

// pause waits, or returns false when the stream is closed first.
func (s *stream) pause(d time.Duration) bool { return waitTimer(s.ctx, d) }

func (s *stream) track(c net.Conn, accepted bool) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	t := &trackedConn{Conn: c, from: s, accepted: accepted}
	s.conns[t] = struct{}{}
	if accepted {
		s.served.Add(1)
	}
	return t, nil
}

// Close implements net.Listener. It ends all connections and dials too.
func (s *stream) Close() error {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	open := make([]net.Conn, 0, len(s.conns))
	for t := range s.conns {
		open = append(open, t.Conn)
	}
	s.mu.Unlock()
	err := s.StreamLayer.Close()
	for _, c := range open {
		_ = c.Close()
	}
	return err
}

// wait returns when raft has let go of every accepted connection. Call it after Close.
func (s *stream) wait() { s.served.Wait() }

// trackedConn takes itself off its stream when closed.
type trackedConn struct {
	net.Conn
	from     *stream
	accepted bool
	once     sync.Once
}

// Read implements net.Conn. It notes the end of a connection.
func (t *trackedConn) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if err != nil && t.accepted {
		select {
		case t.from.ended <- struct{}{}:
		default:
		}
	}
	return n, err
}

// Close implements net.Conn.
func (t *trackedConn) Close() error {
	t.once.Do(func() {
		t.from.mu.Lock()
		delete(t.from.conns, t)
		t.from.mu.Unlock()
		if t.accepted {
			t.from.served.Done()
		}
	})
	return t.Conn.Close()
}

// address is a TCP address that was given as text.
type address string

// Network implements net.Addr.
func (a address) Network() string { return "tcp" }

// String implements net.Addr.
func (a address) String() string { return string(a) }
