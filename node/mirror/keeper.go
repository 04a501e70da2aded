package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/virt"
)

// How often a mirror is looked at, and how long its hypervisor may take to answer.
const (
	lookEvery   = 500 * time.Millisecond
	idleEvery   = 10 * time.Second // while there is none; a change of the state is seen at once
	callTimeout = 20 * time.Second
)

// Cluster is the replicated state as this package uses it.
type Cluster interface {
	// Latest returns the newest view and a channel that is closed when there is a newer one.
	Latest() (*cluster.View, <-chan struct{})

	// Read returns a view that holds everything acknowledged before the call.
	Read(ctx context.Context) (*cluster.View, error)

	// Propose commits a command.
	Propose(ctx context.Context, c cluster.Command) (cluster.Result, error)
}

// Peers connect to the replicas that other nodes keep; see peer.Client.
type Peers interface {
	Replica(ctx context.Context, node cluster.NodeID, c peer.Copy) (net.Conn, error)
}

// Sockets opens the UNIX sockets of this host.
type Sockets interface {
	Listen(path string) (net.Listener, error)
}

// KeeperConfig is what a Keeper is made of.
type KeeperConfig struct {
	Node    cluster.NodeID
	Cluster Cluster
	Driver  virt.Mirrors
	Peers   Peers
	Sockets Sockets
	Dir     string // where the sockets lie that the hypervisor connects to
	Log     *slog.Logger
}

// Keeper mirrors the disks of this node's guests. Make it with NewKeeper, then call Run.
type Keeper struct {
	KeeperConfig

	// Owned by Run.
	under    map[cluster.InstanceID]*work
	released map[cluster.InstanceID]uint64 // the epoch of the stale replica that each guest was let go on without
}

// work is what is done about one instance.
type work struct {
	replica uint64 // its epoch
	mirrors bool   // else the guest is let go on without it
	cancel  context.CancelFunc
	done    chan struct{}
	ok      bool // once done: the guest goes on
}

// NewKeeper makes a Keeper.
func NewKeeper(c KeeperConfig) *Keeper {
	return &Keeper{KeeperConfig: c, under: map[cluster.InstanceID]*work{}, released: map[cluster.InstanceID]uint64{}}
}

// Run keeps mirrors until ctx ends. It leaves them as they are: the guests' writes wait for the next daemon.
func (k *Keeper) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for ctx.Err() == nil {
		view, changed := k.Cluster.Latest()
		again := lookEvery
		if !k.pass(ctx, view, &all) {
			again = idleEvery
		}
		timer := time.NewTimer(again)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// pass begins what is to be done and is not, and ends what is not to be done any more. It tells whether there is anything to look after.
func (k *Keeper) pass(ctx context.Context, view *cluster.View, all *sync.WaitGroup) bool {
	wanted := map[cluster.InstanceID]*cluster.Instance{}
	for in := range view.InstancesOn(k.Node) {
		if k.concerns(in) {
			wanted[in.ID] = in
		}
	}
	for id, w := range k.under {
		in := wanted[id]
		if in == nil || w.mirrors && (in.Replica.Epoch != w.replica || !in.Mirrors()) {
			w.cancel() // a guest that is let go on gets there, before anything else is begun with it
		}
		select {
		case <-w.done:
			if delete(k.under, id); w.ok {
				k.released[id] = w.replica
			}
		default:
		}
	}
	for id, in := range wanted {
		if k.under[id] != nil || !in.Mirrors() && k.released[id] == in.Replica.Epoch {
			continue
		}
		own, cancel := context.WithCancel(ctx)
		w := &work{replica: in.Replica.Epoch, mirrors: in.Mirrors(), cancel: cancel, done: make(chan struct{})}
		k.under[id] = w
		all.Go(func() {
			defer close(w.done)
			defer cancel()
			if w.mirrors {
				k.mirror(own, ctx, in)
			} else {
				w.ok = k.release(own, in)
			}
		})
	}
	return len(wanted)+len(k.under) > 0
}

// concerns tells whether there is something to be done about an instance. One that is given up is not touched: its guest, if it still runs, waits.
func (k *Keeper) concerns(in *cluster.Instance) bool {
	return in.Replica != nil && in.Node == k.Node && !in.GivenUp() && in.Wanted != cluster.WantDeleted
}

// release lets a guest go on without its replica, once the state says that it is stale. Until the hypervisor has heard of that, what it still
// sends is answered here: with a write that waits for its answer, QEMU may hear nothing (a pause, or the end of the mirror itself, first waits for
// all writes, and its monitor for that).
func (k *Keeper) release(ctx context.Context, in *cluster.Instance) bool {
	var wg sync.WaitGroup
	defer wg.Wait()
	over, end := context.WithCancel(ctx)
	defer end()
	answering := false
	for {
		err := k.saysStale(ctx, in)
		if err == nil && !answering {
			wg.Go(func() { k.standIn(over, in) })
			answering = true
		}
		if err == nil {
			err = k.letGo(ctx, in)
		}
		switch {
		case err == nil:
			return true
		case cluster.CodeOf(err) == cluster.Stale:
			return false // there is another replica, or another node
		}
		k.Log.Warn("let a guest go on without its replica", "instance", in.ID, "err", err)
		if !pause(ctx, time.Second) {
			return false
		}
	}
}

// saysStale returns when the state says that the replica is stale, as seldom it does not yet.
func (k *Keeper) saysStale(ctx context.Context, in *cluster.Instance) error {
	if in.Replica.State == cluster.ReplicaStale || in.Replica.Of != in.Epoch {
		return nil
	}
	return k.say(ctx, in, cluster.ReplicaStale, "it is not asked for any more")
}

// standIn answers in place of a stale replica what the hypervisor sends, until ctx ends.
func (k *Keeper) standIn(ctx context.Context, in *cluster.Instance) {
	listener, err := k.Sockets.Listen(k.socketPath(in.ID))
	if err != nil {
		k.Log.Warn("listen in place of a stale replica", "instance", in.ID, "err", err)
		return
	}
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		near, err := listener.Accept()
		if err != nil {
			return // it was closed
		}
		wg.Go(func() {
			defer near.Close()
			defer context.AfterFunc(ctx, func() { near.Close() })()
			far, err := k.Driver.Discard(ctx)
			if err != nil {
				k.Log.Warn("answer in place of a stale replica", "instance", in.ID, "err", err)
				return
			}
			p := pipe{near: near, far: far}
			p.run()
		})
	}
}

func (k *Keeper) letGo(ctx context.Context, in *cluster.Instance) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return k.Driver.EndMirror(bounded, in.ID)
}

// say tells the state about a replica. Without an error it is so.
func (k *Keeper) say(ctx context.Context, in *cluster.Instance, s cluster.ReplicaState, note string) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	res, err := k.Cluster.Propose(bounded, cluster.Command{Time: cluster.At(time.Now()), Op: &cluster.ReportReplica{
		Node: k.Node, ID: in.ID, Epoch: in.Epoch, Replica: in.Replica.Epoch, State: s, Note: note}})
	if err == nil && res.Err != nil {
		err = res.Err
	}
	if err != nil {
		return fmt.Errorf("say that the replica is %s: %w", s, err)
	}
	k.Log.Info("said of a replica", "instance", in.ID, "on", in.Replica.Node, "state", s, "why", note)
	return nil
}

// BeforeStart implements reconcile.Replicas. What a guest that is started now writes goes to its own disk alone at first.
func (k *Keeper) BeforeStart(ctx context.Context, in *cluster.Instance) error {
	view, err := k.Cluster.Read(ctx)
	if err != nil {
		return err
	}
	now, ok := view.Instance(in.ID)
	if !ok || now.CurrentReplica() == nil || now.Node != k.Node {
		return nil
	}
	return k.say(ctx, now, cluster.ReplicaStale, "the guest was started anew")
}

// socketPath is where the hypervisor finds the mirror of a guest. AppArmor lets guests use sockets of such names; see virt/libvirt.
func (k *Keeper) socketPath(id cluster.InstanceID) string {
	return filepath.Join(k.Dir, "replica.tunnelmigrate.dest.instance-"+filepath.Base(string(id)))
}

// notRunning tells whether there is no guest that could write.
func notRunning(err error) bool { return errors.Is(err, virt.ErrNotRunning) }

// pause waits, or returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
