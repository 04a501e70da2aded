package sim

import (
	"context"
	"fmt"
	"net"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// MakeReplica records a new root disk for an epoch.
func (d *Driver) MakeReplica(ctx context.Context, id cluster.InstanceID, epoch uint64, root virt.RootDisk) error {
	return d.do(ctx, OpMakeReplica, func() error {
		r := d.records[id]
		if r.Defined && r.Storage.Epoch == epoch {
			return fmt.Errorf("make replica of %s: its domain uses the disks of epoch %d", id, epoch)
		}
		f, err := overlay(epoch, virt.DiskRoot, root)
		if err != nil {
			return fmt.Errorf("make replica of %s: %w", id, err)
		}
		r.Format = recordFormat
		r.Storage.put(f)
		return d.put(id, r)
	})
}

// ServeReplica takes what a mirror elsewhere sends. A Fault of OpServeReplica strikes the connecting, one of OpWriteReplica each write: that breaks
// the stream.
func (d *Driver) ServeReplica(ctx context.Context, id cluster.InstanceID, epoch uint64) (net.Conn, error) {
	return act(ctx, d, OpServeReplica, func() (net.Conn, error) {
		if err := d.replicaThere(id, epoch); err != nil {
			return nil, fmt.Errorf("serve replica of %s: %w", id, err)
		}
		near, far := net.Pipe()
		ctx, cancel := context.WithCancel(context.Background())
		s := &servedReplica{Conn: near, cancel: cancel, done: make(chan struct{})}
		d.held[far] = struct{}{}
		d.loop.Go(func() {
			defer close(s.done)
			defer d.release(far)
			d.serveReplica(ctx, id, epoch, newStream(far))
		})
		return s, nil
	})
}

// Discard answers what a mirror elsewhere sends, and keeps nothing of it.
func (d *Driver) Discard(ctx context.Context) (net.Conn, error) {
	return act(ctx, d, OpDiscard, func() (net.Conn, error) {
		near, far := net.Pipe()
		s := &servedReplica{Conn: near, cancel: func() {}, done: make(chan struct{})}
		d.held[far] = struct{}{}
		d.loop.Go(func() {
			defer close(s.done)
			defer d.release(far)
			for c := newStream(far); ; {
				var w diskWrite
				if c.in.Decode(&w) != nil || c.out.Encode(message{}) != nil {
					return
				}
			}
		})
		return s, nil
	})
}

// replicaThere refuses what is no replica: a disk that is not there, and one that a domain uses. The lock is held.
func (d *Driver) replicaThere(id cluster.InstanceID, epoch uint64) error {
	r := d.records[id]
	switch {
	case r.Storage.index(epoch, virt.DiskRoot) < 0:
		return virt.ErrNotFound
	case r.Defined && r.Storage.Epoch == epoch:
		return fmt.Errorf("its domain uses the disks of epoch %d", epoch)
	}
	return nil
}

// serveReplica writes until the stream ends, or something cannot be written.
func (d *Driver) serveReplica(ctx context.Context, id cluster.InstanceID, epoch uint64, s *stream) {
	for {
		var w diskWrite
		if s.in.Decode(&w) != nil {
			return
		}
		err := d.do(ctx, OpWriteReplica, func() error {
			if err := d.replicaThere(id, epoch); err != nil {
				return err
			}
			r := d.records[id]
			f := r.Storage.Files[r.Storage.index(epoch, virt.DiskRoot)]
			f.Notes, f.Bytes = w.Notes, max(f.Bytes, w.Bytes)
			r.Storage.put(f)
			return d.put(id, r)
		})
		if err != nil || s.out.Encode(message{ID: id}) != nil {
			return
		}
	}
}

// servedReplica is the near end of a connection to a replica.
type servedReplica struct {
	net.Conn
	cancel func() // a write that hangs is given up
	done   chan struct{}
}

// Close returns when nobody writes to the replica any more.
func (s *servedReplica) Close() error {
	s.cancel()
	err := s.Conn.Close()
	<-s.done
	return err
}
