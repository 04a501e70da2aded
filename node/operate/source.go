package operate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/failpoint"
	"github.com/kilonova/kilonova/virt"
)

// exportIdle is how long disks stay open that nobody reads.
const exportIdle = time.Minute

// copyBuffer is how much of a disk is in memory for each block that is sent, in bytes.
const copyBuffer = 256 << 10

// Source gives the disks of instances that move away from this node. It implements peer.DiskSource.
type Source struct {
	node    cluster.NodeID
	cluster Cluster
	driver  virt.Disks
	log     *slog.Logger

	mu     sync.Mutex
	open   map[cluster.OperationID]*exported
	closed bool
	users  sync.WaitGroup
}

// exported are the disks of one move, open. The Source's lock guards users and idle.
type exported struct {
	once  sync.Once
	disks []virt.ExportedDisk
	err   error
	users int
	idle  *time.Timer
}

// NewSource makes a Source. Close it before its driver.
func NewSource(node cluster.NodeID, c Cluster, d virt.Disks, log *slog.Logger) *Source {
	return &Source{node: node, cluster: c, driver: d, log: log, open: map[cluster.OperationID]*exported{}}
}

// Disks implements peer.DiskSource.
func (s *Source) Disks(ctx context.Context, m peer.Move) ([]peer.Disk, error) {
	disks, release, err := s.take(ctx, m)
	if err != nil {
		return nil, err
	}
	defer release()
	out := make([]peer.Disk, 0, len(disks))
	for _, d := range disks {
		p := peer.Disk{ID: string(d.ID), Format: d.Format, Overlay: d.Overlay, Bytes: d.Bytes}
		for _, x := range d.Extents {
			p.Extents = append(p.Extents, peer.Extent(x))
		}
		out = append(out, p)
	}
	return out, nil
}

// Block implements peer.DiskSource.
func (s *Source) Block(ctx context.Context, w io.Writer, m peer.Move, disk string, parts []peer.Extent) error {
	if err := failpoint.Hit(within(ctx, m.Instance), PointCopyBlock); err != nil {
		return err
	}
	disks, release, err := s.take(ctx, m)
	if err != nil {
		return err
	}
	defer release()
	for _, d := range disks {
		if string(d.ID) == disk {
			return send(w, &d, parts)
		}
	}
	return cluster.Errorf(cluster.NotFound, "instance %s has no disk %.40q here", m.Instance, disk)
}

func send(w io.Writer, d *virt.ExportedDisk, parts []peer.Extent) error {
	for _, p := range parts {
		if p.Offset < 0 || p.Length < 0 || p.Offset > d.Bytes-p.Length {
			return cluster.Errorf(cluster.Invalid, "disk %s has no %d bytes at %d", d.ID, p.Length, p.Offset)
		}
	}
	buffer := make([]byte, copyBuffer)
	for _, p := range parts {
		// Without the types around them, reader and writer would move the bytes in their own way, in small pieces.
		from := struct{ io.Reader }{io.NewSectionReader(d.File, p.Offset, p.Length)}
		n, err := io.CopyBuffer(struct{ io.Writer }{w}, from, buffer)
		if err == nil && n < p.Length {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("send %d bytes at %d of disk %s: %w", p.Length, p.Offset, d.ID, err)
		}
	}
	return nil
}

// take opens the disks of a move, unless they are open. The caller releases them.
func (s *Source) take(ctx context.Context, m peer.Move) (disks []virt.ExportedDisk, release func(), err error) {
	in, err := s.allowed(m)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, nil, cluster.Errorf(cluster.Unavailable, "node %s stops", s.node)
	}
	e := s.open[m.Operation]
	if e == nil {
		e = &exported{}
		s.open[m.Operation] = e
	}
	e.users++
	if e.idle != nil {
		e.idle.Stop()
	}
	s.users.Add(1)
	s.mu.Unlock()
	e.once.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		e.disks, e.err = s.driver.Export(ctx, in.ID, in.Op.Move.WasDisk)
	})
	release = func() { s.release(m.Operation, e) }
	if e.err != nil {
		s.drop(m.Operation, e)
		release()
		return nil, nil, refusal(e.err)
	}
	return e.disks, release, nil
}

// allowed finds the instance if the state says that the asker copies its disks from here right now.
func (s *Source) allowed(m peer.Move) (*cluster.Instance, error) {
	view, _ := s.cluster.Latest()
	in, ok := view.Instance(m.Instance)
	if !ok || in.Op == nil || in.Op.ID != m.Operation || in.Op.Step != cluster.StepCopying ||
		in.Op.Move.From != s.node || in.Op.Move.To != m.Asker || in.Wanted == cluster.WantDeleted {
		return nil, cluster.Errorf(cluster.Stale, "instance %s does not move from node %s to node %s in operation %s, as far as the former knows",
			m.Instance, s.node, m.Asker, m.Operation)
	}
	return in, nil
}

// drop forgets disks that could not be opened: the next one to ask tries again.
func (s *Source) drop(op cluster.OperationID, e *exported) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[op] == e {
		delete(s.open, op)
	}
}

func (s *Source) release(op cluster.OperationID, e *exported) {
	defer s.users.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.users--; e.users > 0 || s.closed {
		return
	}
	if e.idle == nil {
		e.idle = time.AfterFunc(exportIdle, func() { s.expire(op, e) })
	} else {
		e.idle.Reset(exportIdle)
	}
}

// expire closes disks that nobody has read for a while.
func (s *Source) expire(op cluster.OperationID, e *exported) {
	s.mu.Lock()
	if e.users > 0 || s.open[op] != e {
		s.mu.Unlock()
		return
	}
	delete(s.open, op)
	s.mu.Unlock()
	s.closeDisks(e)
}

func (s *Source) closeDisks(e *exported) {
	for _, d := range e.disks {
		if err := d.Close(); err != nil {
			s.log.Warn("close a disk that was sent", "disk", d.ID, "err", err)
		}
	}
}

// Close waits for the readers and closes every disk.
func (s *Source) Close() {
	s.mu.Lock()
	s.closed = true
	all := s.open
	s.open = nil
	s.mu.Unlock()
	s.users.Wait()
	for _, e := range all {
		if e.idle != nil {
			e.idle.Stop()
		}
		s.closeDisks(e)
	}
}

// refusal gives a driver's error the code that the other node needs to know whether to ask again.
func refusal(err error) error {
	var r *cluster.Error
	switch {
	case errors.As(err, &r):
		return err
	case errors.Is(err, virt.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return cluster.Errorf(cluster.Unavailable, "%v", err)
	case errors.Is(err, virt.ErrNotFound):
		return cluster.Errorf(cluster.NotFound, "%v", err)
	case errors.Is(err, virt.ErrUnsupported):
		return cluster.Errorf(cluster.Unsupported, "%v", err)
	}
	return cluster.Errorf(cluster.Internal, "%v", err)
}
