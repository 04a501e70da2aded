package libvirt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	rpc "github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"

	"github.com/kilonova/kilonova/virt"
)

// link is the connection to libvirtd over which calls are made. The protocol library knows no deadlines, so
// each call runs in a goroutine of its own and is abandoned when its time is up. A session with an abandoned
// call takes no new ones: the next call opens another, and the old one is closed, which ends its abandoned
// calls, as soon as no live call uses it.
type link struct {
	socket  string
	uri     string
	timeout time.Duration
	log     *slog.Logger  // told at level debug how long each call took
	opening chan struct{} // holds one token: one dial at a time

	mu     sync.Mutex
	cur    *session // nil, or the one that takes new calls
	all    map[*session]bool
	closed bool
	wg     sync.WaitGroup // calls, abandoned ones included
}

func newLink(socket, uri string, timeout time.Duration, log *slog.Logger) *link {
	return &link{
		socket: socket, uri: uri, timeout: timeout, log: log,
		opening: make(chan struct{}, 1), all: map[*session]bool{},
	}
}

// session is one open connection.
type session struct {
	rpc     *rpc.Libvirt
	conn    *tripwire
	users   int  // calls that are waited for; guarded by link.mu
	retired bool // guarded by link.mu
}

// tripwire is a connection that tells when it was lost.
type tripwire struct {
	net.Conn
	once   sync.Once
	lost   chan struct{}
	opened chan struct{} // closed when opening the session ended, well or badly
}

// settleTime is how long the end of a connection is kept from the protocol library while it opens a session.
// The library's last step there and its reaction to a lost connection write and read one variable unguarded.
const settleTime = 50 * time.Millisecond

// Read passes on to the connection, and trips on any error.
func (t *tripwire) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if err != nil {
		t.once.Do(func() { close(t.lost) })
		select {
		case <-t.opened:
		case <-time.After(settleTime):
		}
	}
	return n, err
}

func (t *tripwire) isLost() bool {
	select {
	case <-t.lost:
		return true
	default:
		return false
	}
}

// ask makes one libvirt call by its deadline. An error that libvirt itself gave keeps its type; every other
// one wraps virt.ErrUnavailable and leaves the outcome unknown.
func ask[T any](ctx context.Context, k *link, what string, f func(*rpc.Libvirt) (T, error)) (T, error) {
	var zero T
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	s, err := k.acquire(ctx)
	if err != nil {
		return zero, fmt.Errorf("%s: %w: %w", what, virt.ErrUnavailable, err)
	}
	type answer struct {
		value T
		err   error
	}
	got := make(chan answer, 1)
	start := time.Now()
	defer func() { k.log.Debug("called libvirt", "call", what, "took", time.Since(start)) }() // "make bench" looks for it
	k.spawn(func() {
		v, err := f(s.rpc)
		got <- answer{v, err}
	})
	select {
	case a := <-got:
		healthy := a.err == nil || fromLibvirt(a.err)
		k.release(s, healthy)
		if !healthy {
			return zero, fmt.Errorf("%s: %w: %w", what, virt.ErrUnavailable, a.err)
		}
		if a.err != nil {
			return zero, fmt.Errorf("%s: %w", what, explain(a.err))
		}
		return a.value, nil
	case <-ctx.Done():
		k.release(s, false)
		return zero, fmt.Errorf("%s: %w: no answer: %w", what, virt.ErrUnavailable, ctx.Err())
	}
}

// tell is ask for calls that return nothing.
func tell(ctx context.Context, k *link, what string, f func(*rpc.Libvirt) error) error {
	_, err := ask(ctx, k, what, func(l *rpc.Libvirt) (struct{}, error) { return struct{}{}, f(l) })
	return err
}

// fromLibvirt tells whether libvirt answered with this error, so that the connection is sound.
func fromLibvirt(err error) bool {
	var e rpc.Error
	if !errors.As(err, &e) {
		return false
	}
	// These two say that a daemon behind libvirtd's socket went away.
	return e.Code != uint32(rpc.ErrRPC) && e.Code != uint32(rpc.ErrNoConnect)
}

// explain gives a missing domain, and what this libvirt or hypervisor cannot do, the contract's names.
func explain(err error) error {
	switch {
	case rpc.IsNotFound(err):
		return fmt.Errorf("%w: %w", virt.ErrNotFound, err)
	case hasCode(err, rpc.ErrNoSupport), hasCode(err, rpc.ErrOperationUnsupported):
		return fmt.Errorf("%w: %w", virt.ErrUnsupported, err)
	}
	return err
}

// hasCode tells whether err is libvirt's error of that number.
func hasCode(err error, code rpc.ErrorNumber) bool {
	var e rpc.Error
	return errors.As(err, &e) && e.Code == uint32(code)
}

// acquire gives the present session, or opens one.
func (k *link) acquire(ctx context.Context) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s, err := k.present(); s != nil || err != nil {
		return s, err
	}
	select {
	case k.opening <- struct{}{}:
		defer func() { <-k.opening }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s, err := k.present(); s != nil || err != nil { // another call opened it meanwhile
		return s, err
	}
	s, err := k.open(ctx)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		s.conn.Close()
		return nil, errClosed
	}
	k.cur, s.users = s, 1
	k.all[s] = true
	return s, nil
}

var errClosed = errors.New("the driver is closed")

// present gives the session that takes calls, counted as used, or nil when one must be opened.
func (k *link) present() (*session, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, errClosed
	}
	if k.cur == nil {
		return nil, nil
	}
	if k.cur.conn.isLost() {
		k.retire(k.cur)
		return nil, nil
	}
	k.cur.users++
	return k.cur, nil
}

// release ends a call's use of a session, and retires it when it is not healthy.
func (k *link) release(s *session, healthy bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s.users--
	if !healthy || s.retired {
		k.retire(s)
	}
}

// retire takes a session out of use and closes it once no live call uses it. The caller holds k.mu.
func (k *link) retire(s *session) {
	s.retired = true
	if k.cur == s {
		k.cur = nil
	}
	if s.users == 0 && k.all[s] {
		delete(k.all, s)
		s.conn.Close()
	}
}

// open dials libvirtd and opens the URI, by the context's deadline.
func (k *link) open(ctx context.Context) (*session, error) {
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "unix", k.socket)
	if err != nil {
		return nil, err
	}
	conn := &tripwire{Conn: raw, lost: make(chan struct{}), opened: make(chan struct{})}
	l := rpc.NewWithDialer(dialers.NewAlreadyConnected(conn))
	done := make(chan error, 1)
	k.spawn(func() {
		err := l.ConnectToURI(rpc.ConnectURI(k.uri))
		close(conn.opened)
		done <- err
	})
	select {
	case err = <-done:
	case <-ctx.Done():
		err = fmt.Errorf("open %s: no answer: %w", k.uri, ctx.Err())
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &session{rpc: l, conn: conn}, nil
}

// spawn runs a call in a goroutine that close waits for. Once the link is closed the call runs too, and ends at
// once, since its connection is gone; nobody waits for it then.
func (k *link) spawn(call func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		go call()
		return
	}
	k.wg.Go(call)
}

// close ends every session and waits for their calls.
func (k *link) close() {
	k.mu.Lock()
	k.closed = true
	k.cur = nil
	for s := range k.all {
		s.conn.Close()
	}
	clear(k.all)
	k.mu.Unlock()
	k.wg.Wait()
}
