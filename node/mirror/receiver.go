package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/reconcile"
	"github.com/kilonova/kilonova/virt"
)

// readTimeout is how long the cluster may take to tell whose replica is here.
const readTimeout = 5 * time.Second

// Images puts base images on this node; see reconcile.Images.
type Images = reconcile.Images

// ReceiverConfig is what a Receiver is made of.
type ReceiverConfig struct {
	Node    cluster.NodeID
	Cluster Cluster
	Driver  virt.Mirrors // nil: the hypervisor cannot
	Images  Images
	Log     *slog.Logger
}

// Receiver keeps replicas of other nodes' disks on this node. It implements peer.Replicas. Make it with NewReceiver, then call Run.
type Receiver struct {
	ReceiverConfig

	mu     sync.Mutex
	taken  map[cluster.InstanceID]*session
	closed bool
}

// session is one connection to a replica. Whoever holds turn makes or ends it.
type session struct {
	turn chan struct{} // holds one token
	busy bool          // the replica's disk is being made; guarded by the Receiver's lock

	// Guarded by the Receiver's lock.
	conn  net.Conn // nil: none
	epoch uint64
	asker cluster.NodeID
}

// NewReceiver makes a Receiver.
func NewReceiver(c ReceiverConfig) *Receiver {
	return &Receiver{ReceiverConfig: c, taken: map[cluster.InstanceID]*session{}}
}

// Run ends the connections that the state does not allow any more, and all of them when ctx ends.
func (r *Receiver) Run(ctx context.Context) {
	for ctx.Err() == nil {
		view, changed := r.Cluster.Latest()
		r.end(func(id cluster.InstanceID, s *session) bool {
			in, ok := view.Instance(id)
			return !ok || !r.keeps(in, s.epoch, s.asker)
		})
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.end(func(cluster.InstanceID, *session) bool { return true })
}

// keeps tells whether this node keeps a replica of the asker's instance that is of use.
func (r *Receiver) keeps(in *cluster.Instance, epoch uint64, asker cluster.NodeID) bool {
	return in.Mirrors() && in.Replica.Node == r.Node && in.Replica.Epoch == epoch && in.Node == asker && in.Wanted != cluster.WantDeleted
}

// end closes the connections that a function names, and returns when nobody writes on them any more.
func (r *Receiver) end(which func(cluster.InstanceID, *session) bool) {
	r.mu.Lock()
	var conns []net.Conn
	for id, s := range r.taken {
		if s.conn != nil && which(id, s) {
			conns = append(conns, s.conn)
			s.conn = nil
		}
	}
	r.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

// Busy tells whether the disk of an instance's replica is being made here.
func (r *Receiver) Busy(id cluster.InstanceID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.taken[id]
	return s != nil && s.busy
}

// Take implements peer.Replicas.
func (r *Receiver) Take(ctx context.Context, c peer.Copy) (net.Conn, error) {
	if r.Driver == nil {
		return nil, cluster.Errorf(cluster.Unsupported, "The hypervisor of this node keeps no replicas.")
	}
	s, err := r.session(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() { s.turn <- struct{}{} }()
	conn, err := r.take(ctx, c, s)
	if err == nil {
		return conn, nil
	}
	var refusal *cluster.Error
	if !errors.As(err, &refusal) {
		r.Log.Warn("take a replica", "instance", c.Instance, "from", c.Asker, "err", err)
		refusal = cluster.Errorf(cluster.Unavailable, "The replica cannot be written now: %v", err)
	}
	return nil, refusal
}

// session waits for its turn, and ends the connection before.
func (r *Receiver) session(ctx context.Context, c peer.Copy) (*session, error) {
	if _, _, err := r.allowed(ctx, c); err != nil {
		return nil, err
	}
	r.mu.Lock()
	s := r.taken[c.Instance]
	if s == nil {
		s = &session{turn: make(chan struct{}, 1)}
		s.turn <- struct{}{}
		r.taken[c.Instance] = s
	}
	r.mu.Unlock()
	select {
	case <-s.turn:
	case <-ctx.Done():
		return nil, cluster.Errorf(cluster.Unavailable, "The replica is being made.")
	}
	r.end(func(_ cluster.InstanceID, one *session) bool { return one == s })
	return s, nil
}

// allowed finds the instance if the state, as it is after everything acknowledged, says that its replica is here.
func (r *Receiver) allowed(ctx context.Context, c peer.Copy) (*cluster.View, *cluster.Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	view, err := r.Cluster.Read(ctx)
	if err != nil {
		return nil, nil, cluster.Errorf(cluster.Unavailable, "The cluster does not answer: %v", err)
	}
	in, ok := view.Instance(c.Instance)
	if !ok || !r.keeps(in, c.Epoch, c.Asker) || c.Anew && in.Replica.State != cluster.ReplicaBuilding {
		return nil, nil, cluster.Errorf(cluster.Stale, "replica %d of instance %s is not kept for node %s here", c.Epoch, c.Instance, c.Asker)
	}
	return view, in, nil
}

func (r *Receiver) take(ctx context.Context, c peer.Copy, s *session) (net.Conn, error) {
	view, in, err := r.allowed(ctx, c)
	if err != nil {
		return nil, err
	}
	if c.Anew {
		if err := r.make(ctx, view, in, s); err != nil {
			return nil, err
		}
	}
	conn, err := r.Driver.ServeReplica(ctx, c.Instance, c.Epoch)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	if !r.closed {
		s.conn, s.epoch, s.asker = conn, c.Epoch, c.Asker
	}
	closed := r.closed
	r.mu.Unlock()
	// What changed while it was begun is looked for once more: Run may have looked before.
	if _, _, err := r.allowed(ctx, c); err != nil || closed {
		conn.Close()
		return nil, errors.Join(err, cluster.Errorf(cluster.Unavailable, "The replica is not wanted any more."))
	}
	return conn, nil
}

// make makes the replica's disk, on the image that the instance's own lies on.
func (r *Receiver) make(ctx context.Context, view *cluster.View, in *cluster.Instance, s *session) error {
	if _, pending := view.Tombstone(r.Node, in.ID); pending {
		return cluster.Errorf(cluster.Unavailable, "The node removes what it has of an earlier replica.")
	}
	r.setBusy(s, true)
	defer r.setBusy(s, false)
	for _, img := range in.Images {
		if err := r.Images.Prepare(ctx, img, func(string) {}); err != nil {
			return fmt.Errorf("fetch image %s: %w", img.Image, err)
		}
	}
	g, err := reconcile.Guest(in, view, in.Node, r.Images)
	if err != nil {
		return err
	}
	return r.Driver.MakeReplica(ctx, in.ID, in.Replica.Epoch, g.Root)
}

func (r *Receiver) setBusy(s *session, busy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.busy = busy
}
