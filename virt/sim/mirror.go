package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// mirrorRetry is how long a mirror waits between two attempts to connect.
const mirrorRetry = time.Second

var _ virt.Mirrors = (*Driver)(nil)

// mirror copies the disk that a guest boots from to the other end of a socket. The driver's lock guards all of it.
type mirror struct {
	socket string
	quit   chan struct{} // closed when it ends
	wake   chan struct{} // the disk has changed; never blocks, holds one
	acked  notes         // what the other side has for certain
	ready  bool          // it had all once: from then on the guest's writes wait for it
	told   chan struct{} // closed, and replaced, when acked changes
}

// Mirror begins to copy the disk that a running guest boots from.
func (d *Driver) Mirror(ctx context.Context, id cluster.InstanceID, socket string) error {
	under, err := act(ctx, d, OpMirror, func() (bool, error) {
		r, ok := d.records[id]
		if err := onlyUp(OpMirror, id, r, ok); err != nil {
			return false, err
		}
		if r.Storage.bootFile() == nil {
			return false, fmt.Errorf("mirror %s: it boots from a volume: %w", id, virt.ErrUnsupported)
		}
		return d.mirrors[id] != nil, nil
	})
	if err != nil || under {
		return err
	}
	conn, err := d.net.Dial(ctx, socket)
	if err != nil {
		return fmt.Errorf("mirror %s: %w", id, err)
	}
	_, err = locked(d, OpMirror, func() (struct{}, error) {
		r, ok := d.records[id]
		if err := onlyUp(OpMirror, id, r, ok); err != nil {
			return struct{}{}, err
		}
		if d.mirrors[id] != nil {
			return struct{}{}, fmt.Errorf("mirror %s: another one was begun meanwhile", id)
		}
		r.Mirror = mirroring{Socket: socket}
		if err := d.put(id, r); err != nil {
			return struct{}{}, err
		}
		d.beginMirror(id, socket, conn)
		return struct{}{}, nil
	})
	if err != nil {
		conn.Close()
	}
	return err
}

// beginMirror lets a mirror run, on a connection if there is one already. The lock is held, or nobody else has the Driver yet.
func (d *Driver) beginMirror(id cluster.InstanceID, socket string, conn net.Conn) {
	m := &mirror{socket: socket, quit: make(chan struct{}), wake: make(chan struct{}, 1), told: make(chan struct{})}
	d.mirrors[id] = m
	d.loop.Go(func() { d.runMirror(id, m, conn) })
}

// runMirror sends the disk over one connection after the other, until the mirror or the driver ends.
func (d *Driver) runMirror(id cluster.InstanceID, m *mirror, conn net.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d.loop.Go(func() {
		defer cancel()
		select {
		case <-m.quit:
		case <-d.done:
		case <-ctx.Done():
		}
	})
	for ctx.Err() == nil {
		if conn != nil {
			d.sendOver(ctx, id, m, conn)
			conn = nil
			continue
		}
		timer := time.NewTimer(mirrorRetry)
		select {
		case <-timer.C:
			if c, err := d.net.Dial(ctx, m.socket); err == nil {
				conn = c
			}
		case <-ctx.Done():
		}
		timer.Stop()
	}
	if conn != nil {
		conn.Close()
	}
}

// sendOver sends the disk over one connection, and closes that.
func (d *Driver) sendOver(ctx context.Context, id cluster.InstanceID, m *mirror, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })() // what it waits for ends with ctx
	d.sendMirror(ctx, id, m, newStream(conn))
}

// sendMirror sends the disk as it is, again whenever it has changed, until the connection breaks.
func (d *Driver) sendMirror(ctx context.Context, id cluster.InstanceID, m *mirror, s *stream) {
	replies := make(chan error)
	gone := make(chan struct{})
	defer close(gone)
	d.loop.Go(func() {
		for {
			var reply message
			err := s.in.Decode(&reply)
			select {
			case replies <- err:
			case <-gone:
				return
			}
			if err != nil {
				return
			}
		}
	})
	for sent := (*notes)(nil); ; {
		w, err := locked(d, OpMirror, func() (diskWrite, error) {
			r := d.records[id]
			f := r.Storage.bootFile()
			if d.mirrors[id] != m || f == nil {
				return diskWrite{}, errors.New("it is over")
			}
			return diskWrite{ID: f.ID, Bytes: f.Bytes, Notes: f.Notes}, nil
		})
		if err != nil {
			return
		}
		wake := m.wake
		if sent == nil || *sent != w.Notes {
			if s.out.Encode(w) != nil {
				return
			}
			sent, wake = &w.Notes, nil
		}
		select {
		case err := <-replies:
			if err != nil {
				return
			}
			d.acknowledge(id, m, *sent)
		case <-wake:
		case <-ctx.Done():
			return
		}
	}
}

// acknowledge takes note of what the other side has.
func (d *Driver) acknowledge(id cluster.InstanceID, m *mirror, n notes) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.records[id]
	if f := r.Storage.bootFile(); f != nil && f.Notes == n {
		m.ready = true
	}
	m.acked = n
	close(m.told)
	m.told = make(chan struct{})
}

// Mirrored tells how far the mirror is.
func (d *Driver) Mirrored(ctx context.Context, id cluster.InstanceID) (virt.MirrorState, error) {
	return act(ctx, d, OpMirrored, func() (virt.MirrorState, error) {
		r, ok := d.records[id]
		if !ok || !r.Defined || !r.up() {
			return virt.MirrorNone, fmt.Errorf("look at the mirror of %s: %w", id, virt.ErrNotRunning)
		}
		switch m := d.mirrors[id]; {
		case m == nil:
			return virt.MirrorNone, nil
		case !m.ready && !r.Mirror.Synced:
			return virt.MirrorCopying, nil
		case !r.Mirror.Synced:
			r.Mirror.Synced = true
			return virt.MirrorReady, d.put(id, r)
		}
		return virt.MirrorReady, nil
	})
}

// EndMirror lets the guest's writes go on without the other side.
func (d *Driver) EndMirror(ctx context.Context, id cluster.InstanceID) error {
	return d.do(ctx, OpEndMirror, func() error {
		r, ok := d.records[id]
		if !ok || r.Mirror.Socket == "" {
			return nil
		}
		return d.endMirror(id, &r)
	})
}

// endMirror ends the mirror of a guest, and records it. The lock is held.
func (d *Driver) endMirror(id cluster.InstanceID, r *record) error {
	if r.Mirror.Socket == "" {
		return nil
	}
	r.Mirror = mirroring{}
	return d.put(id, *r)
}

// followMirror ends a mirror that its record knows nothing of any more, and has one look at the disk that may have changed. The lock
// is held.
func (d *Driver) followMirror(id cluster.InstanceID, r *record) {
	m := d.mirrors[id]
	switch {
	case m == nil:
	case r == nil || r.Mirror.Socket != m.socket:
		delete(d.mirrors, id)
		close(m.quit)
	default:
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
}

// mirrorsAgain goes on with the mirrors that an earlier Driver on the same file had. Until the other side has what is on their disks, the guests'
// writes wait. Nobody else has the Driver yet.
func (d *Driver) mirrorsAgain() {
	for id, r := range d.records {
		if r.Mirror.Socket != "" {
			d.beginMirror(id, r.Mirror.Socket, nil)
		}
	}
}

// settledWrite waits until the guest may be told that so many bytes of text are written: at once, or when its mirror has them.
func (d *Driver) settledWrite(id cluster.InstanceID, bytes int) error {
	for {
		d.mu.Lock()
		m, r := d.mirrors[id], d.records[id]
		up := r.up()
		if m == nil || !up || !m.ready && !r.Mirror.Synced || len(m.acked.Text) >= bytes {
			d.mu.Unlock()
			if !up {
				return fmt.Errorf("guest %s: it went off before its write was answered", id)
			}
			return nil
		}
		told := m.told
		d.mu.Unlock()
		select {
		case <-told:
		case <-m.quit:
		case <-d.done:
			return fmt.Errorf("guest %s: nobody is there to answer its write", id)
		}
	}
}
