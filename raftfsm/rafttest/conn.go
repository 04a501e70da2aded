package rafttest

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// window is how many bytes may be on their way in one direction.
const window = 1 << 20

// conn is one end of a connection.
type conn struct {
	net           *Network
	local, remote string
	in, out       *queue
	read, write   deadline
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	for {
		cut, _, relink := c.net.state(c.local, c.remote)
		n, at, changed, err := c.in.take(p, cut)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		if err := wait(changed, relink, at, &c.read); err != nil {
			return 0, err
		}
	}
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		_, delay, relink := c.net.state(c.local, c.remote)
		n, changed, err := c.out.put(p[sent:], time.Now().Add(delay))
		sent += n
		if err != nil {
			return sent, err
		}
		if n > 0 {
			continue
		}
		if err := wait(changed, relink, time.Time{}, &c.write); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.in.close(true)
	c.out.close(false)
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	delete(c.net.conns, c)
	return nil
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return addr(c.local) }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return addr(c.remote) }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.read.set(t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.write.set(t)
	return nil
}

// wait returns nil when it is worth looking again, at the latest at the time at unless that is zero.
func wait(changed, relink <-chan struct{}, at time.Time, d *deadline) error {
	limit, moved := d.get()
	if !limit.IsZero() && !time.Now().Before(limit) {
		return os.ErrDeadlineExceeded
	}
	next := at
	if next.IsZero() || !limit.IsZero() && limit.Before(next) {
		next = limit
	}
	var tick <-chan time.Time
	if !next.IsZero() {
		t := time.NewTimer(time.Until(next))
		defer t.Stop()
		tick = t.C
	}
	select {
	case <-changed:
	case <-relink:
	case <-moved:
	case <-tick:
	}
	return nil
}

// deadline is a moment that may be moved while somebody waits for it.
type deadline struct {
	mu    sync.Mutex
	at    time.Time
	moved chan struct{}
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	if d.moved != nil {
		close(d.moved)
		d.moved = nil
	}
}

func (d *deadline) get() (time.Time, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.moved == nil {
		d.moved = make(chan struct{})
	}
	return d.at, d.moved
}

// queue is one direction of a connection.
type queue struct {
	mu        sync.Mutex
	chunks    []chunk
	size      int
	ended     bool          // nothing more comes
	abandoned bool          // nobody reads any more
	changed   chan struct{} // closed and replaced when anything above changes
}

// chunk is what one Write sent.
type chunk struct {
	data []byte
	at   time.Time // when it arrives
}

func newQueue() *queue { return &queue{changed: make(chan struct{})} }

// take moves arrived bytes to p. When there are none it says when the next arrive, if that is known.
func (q *queue) take(p []byte, cut bool) (n int, at time.Time, changed <-chan struct{}, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.abandoned:
		return 0, at, nil, net.ErrClosed
	case len(q.chunks) == 0 && q.ended && !cut:
		return 0, at, nil, io.EOF
	case len(q.chunks) == 0 || cut:
		return 0, at, q.changed, nil
	}
	first := &q.chunks[0]
	if time.Now().Before(first.at) {
		return 0, first.at, q.changed, nil
	}
	n = copy(p, first.data)
	first.data = first.data[n:]
	if len(first.data) == 0 {
		q.chunks = q.chunks[1:]
	}
	q.size -= n
	q.announce()
	return n, at, nil, nil
}

// put queues what fits.
func (q *queue) put(p []byte, at time.Time) (n int, changed <-chan struct{}, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended || q.abandoned {
		return 0, nil, io.ErrClosedPipe
	}
	n = min(len(p), window-q.size)
	if n == 0 {
		return 0, q.changed, nil
	}
	q.chunks = append(q.chunks, chunk{data: append([]byte(nil), p[:n]...), at: at})
	q.size += n
	q.announce()
	return n, nil, nil
}

// close ends the queue: by its reader, who wants nothing more, or by its writer, who sends nothing more.
func (q *queue) close(reader bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if reader {
		q.abandoned = true
	} else {
		q.ended = true
	}
	q.announce()
}

func (q *queue) announce() {
	close(q.changed)
	q.changed = make(chan struct{})
}
