package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// How often and how long, as shares of a lease.
const (
	renewals    = 5 // in the time of a lease
	patience    = 4 // a request may take this part of it
	fenceEvery  = 250 * time.Millisecond
	fenceAtMost = time.Second // timers stand still while the machine sleeps, and the lease does not
	fenceCall   = 5 * time.Second
	guardsEvery = 200 * time.Millisecond // words about instances are gathered for so long
)

// Cluster is the replicated state as a Holder uses it.
type Cluster interface {
	// Latest returns the newest view and a channel that is closed when there is a newer one.
	Latest() (*cluster.View, <-chan struct{})

	// Propose commits a command.
	Propose(ctx context.Context, c cluster.Command) (cluster.Result, error)

	// WaitApplied returns when this node has applied an index.
	WaitApplied(ctx context.Context, index uint64) error

	// RenewLease asks the leader for a lease.
	RenewLease(ctx context.Context) (cluster.Grant, error)
}

// Hypervisor is what a Holder needs of virt.Driver.
type Hypervisor interface {
	Domains(ctx context.Context) ([]virt.Domain, error)
	Stop(ctx context.Context, id cluster.InstanceID, how virt.StopMode) error
}

// Config is what a Holder is made of.
type Config struct {
	Node    cluster.NodeID
	Cluster Cluster
	Driver  Hypervisor
	Board   *Board
	Watch   func() error // sees that a watchdog runs; nil: this node's guests end with its daemon, and need none
	Device  string       // hardware watchdog; "": none
	Boot    string       // names this boot of the machine
	Clock   Clock        // nil: BootTime
	Log     *slog.Logger
}

// Holder is a node's side. Make it with NewHolder, then call Run.
type Holder struct {
	Config

	mu     sync.Mutex
	until  time.Duration // by Clock; 0: never had one
	grant  cluster.Grant
	fenced map[cluster.InstanceID]bool
	orders map[cluster.InstanceID]*order
	fresh  bool // the state of a grant was seen

	posted  []cluster.InstanceID // what the watchdog knows of
	shut    []cluster.InstanceID // what it knows to be barred
	ordered []Order              // and to be ordered
	posting sync.Mutex           // one notice after the other
}

// NewHolder reads from the board what an earlier daemon and its watchdog left there.
func NewHolder(c Config) (*Holder, error) {
	if c.Clock == nil {
		c.Clock = BootTime
	}
	h := &Holder{Config: c, fenced: map[cluster.InstanceID]bool{}, orders: map[cluster.InstanceID]*order{}}
	if n, err := c.Board.Read(); err == nil && n.Boot == c.Boot { // the daemon was restarted: the lease is the machine's
		h.until, h.grant = n.Until, cluster.Grant{Stop: n.Stop, Kill: n.Kill}
		for _, o := range n.Orders {
			h.orders[o.ID] = &order{index: o.Index}
		}
	}
	return h, h.recall()
}

// recall takes in what was fenced, also by the watchdog.
func (h *Holder) recall() error {
	ids, err := h.Board.Fenced()
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		h.fenced[id] = true
	}
	return nil
}

// Held tells whether this node holds a lease now. Nothing may be started without.
func (h *Holder) Held() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held()
}

func (h *Holder) held() bool { return h.Clock() < h.until }

// Left is how long the lease lasts if nobody renews it; negative when it is over.
func (h *Holder) Left() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.until - h.Clock()
}

// MayStart says why no guest may be started now; nil: it may. As long as there are nodes that know no leases, there are none.
func (h *Holder) MayStart() error {
	view, _ := h.Cluster.Latest()
	if h.Held() || !view.AllKnow(cluster.LeaseCommands) {
		return nil
	}
	return cluster.Errorf(cluster.Unavailable, "this node holds no lease: it does not reach the leader of the cluster")
}

// Fenced tells whether an instance that does not run was ended for want of a lease, or may have been, rather than by its guest.
func (h *Holder) Fenced(in *cluster.Instance) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fenced[in.ID] || in.Guarded() && !h.held()
}

// Started forgets that an instance was fenced.
func (h *Holder) Started(id cluster.InstanceID) {
	h.mu.Lock()
	was := h.fenced[id]
	delete(h.fenced, id)
	h.mu.Unlock()
	if !was {
		return
	}
	if err := h.Board.Forget(id); err != nil {
		h.Log.Warn("forget that an instance was fenced", "instance", id, "err", err)
	}
}

// Run holds the lease until ctx ends, and returns when all that it began has ended. The lease is not given back: the guests go on running, and
// whoever comes after has to renew it in time.
func (h *Holder) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { h.renew(ctx) })
	wg.Go(func() { h.fence(ctx) })
	wg.Go(func() { h.guard(ctx) })
	wg.Go(func() { h.tend(ctx) })
}

// renew asks for the lease again and again.
func (h *Holder) renew(ctx context.Context) {
	for ctx.Err() == nil {
		view, _ := h.Cluster.Latest()
		stop := view.Settings().Lease.Stop
		err := h.ask(ctx, stop/patience)
		wait := stop / renewals
		if err != nil {
			h.Log.Debug("renew the lease", "err", err, "left", h.Left())
			wait /= renewals
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// ask renews the lease once. It counts from before the question was sent.
func (h *Holder) ask(ctx context.Context, patience time.Duration) error {
	asked := h.Clock()
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	g, err := h.Cluster.RenewLease(bounded)
	if err != nil {
		return err
	}
	if !h.upToDate() {
		// The instances may be elsewhere by now. What says so is in the state of the grant, and what the watchdog did is on the board.
		if err := h.Cluster.WaitApplied(bounded, g.Index); err != nil {
			return fmt.Errorf("see the state of the lease: %w", err)
		}
		if err := h.recall(); err != nil {
			return err
		}
	}
	h.take(asked, g)
	if err := h.post(); err != nil {
		return err
	}
	return h.comeBack(ctx)
}

// upToDate tells whether this daemon has seen the state of a grant since its lease was over last.
func (h *Holder) upToDate() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fresh && h.held()
}

func (h *Holder) take(asked time.Duration, g cluster.Grant) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.held() {
		h.Log.Info("this node holds a lease", "for", g.Stop)
	}
	h.until, h.grant, h.fresh = max(h.until, asked+g.Stop), g, true
}

// comeBack says that a node which was taken for dead is back.
func (h *Holder) comeBack(ctx context.Context) error {
	view, _ := h.Cluster.Latest()
	self, ok := view.Node(h.Node)
	if !ok || self.Lost == nil || !h.Held() {
		return nil
	}
	_, err := h.Cluster.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: &cluster.ReturnNode{Node: h.Node, Lost: self.Lost.At}})
	if err != nil {
		return fmt.Errorf("say that this node is back: %w", err)
	}
	h.Log.Info("this node was taken for dead and is back")
	return nil
}

// guarded lists the instances that this node has to end when its lease does: those that the cluster counts on it for, and those for which it is
// about to say so.
func (h *Holder) guarded(view *cluster.View) []*cluster.Instance {
	var all []*cluster.Instance
	for in := range view.InstancesOn(h.Node) {
		if in.Guarded() || view.WantsGuard(in) {
			all = append(all, in)
		}
	}
	return all
}

// post tells the watchdog.
func (h *Holder) post() error {
	h.posting.Lock()
	defer h.posting.Unlock()
	view, _ := h.Cluster.Latest()
	ids := []cluster.InstanceID{}
	for _, in := range h.guarded(view) {
		ids = append(ids, in.ID)
	}
	orders, barred := h.open(view)
	h.mu.Lock()
	n := Notice{
		Until: h.until, Grace: h.grant.Kill / 2, Stop: h.grant.Stop, Kill: h.grant.Kill,
		Boot: h.Boot, Device: h.Device, Instances: ids, Orders: orders, Barred: barred,
	}
	h.mu.Unlock()
	if n.watches() && h.Watch != nil {
		if err := h.Watch(); err != nil {
			return fmt.Errorf("start the watchdog: %w", err)
		}
	}
	if err := h.Board.Post(n); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.posted, h.shut, h.ordered = ids, barred, orders
	return nil
}

// fence ends the guarded instances whenever there is no lease.
func (h *Holder) fence(ctx context.Context) {
	for {
		left := h.Left()
		if left <= 0 {
			if err := h.end(ctx); err != nil && ctx.Err() == nil {
				h.Log.Warn("end what is guarded: the lease is over", "err", err)
			}
		}
		if !pause(ctx, min(max(left, fenceEvery), fenceAtMost)) {
			return
		}
	}
}

// end ends what is guarded and runs.
func (h *Holder) end(ctx context.Context) error {
	view, _ := h.Cluster.Latest()
	all := h.guarded(view)
	if len(all) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, fenceCall)
	defer cancel()
	domains, err := h.Driver.Domains(ctx)
	if err != nil {
		return err
	}
	var ids []cluster.InstanceID
	for _, d := range domains {
		on := d.Power == virt.PowerRunning || d.Power == virt.PowerPaused
		if on && slices.ContainsFunc(all, func(in *cluster.Instance) bool { return in.ID == d.ID }) {
			ids = append(ids, d.ID)
		}
	}
	if len(ids) == 0 || h.Held() {
		return nil
	}
	h.Log.Warn("the lease is over: ending what may be started elsewhere", "instances", len(ids))
	h.mu.Lock()
	for _, id := range ids {
		h.fenced[id] = true
	}
	h.mu.Unlock()
	if err := h.Board.Fence(ids); err != nil {
		h.Log.Warn("note what is fenced", "err", err) // it is ended all the same
	}
	failed := make([]error, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() { failed[i] = h.Driver.Stop(ctx, id, virt.Destroy) })
	}
	wg.Wait()
	return errors.Join(failed...)
}

// guard says of each instance that it is guarded as soon as the watchdog knows, and that it is not when it need not be.
func (h *Holder) guard(ctx context.Context) {
	for {
		view, changed := h.Cluster.Latest()
		if view.AllKnow(cluster.LeaseCommands) && h.Held() {
			if err := h.say(ctx, view); err != nil && ctx.Err() == nil {
				h.Log.Warn("say which instances are guarded", "err", err)
				if !pause(ctx, time.Second) {
					return
				}
			}
		}
		if !pause(ctx, guardsEvery) {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Second): // the lease may have begun
		case <-ctx.Done():
			return
		}
	}
}

func (h *Holder) say(ctx context.Context, view *cluster.View) error {
	op := &cluster.GuardInstances{Node: h.Node}
	for in := range view.InstancesOn(h.Node) {
		if in.Wanted == cluster.WantDeleted {
			continue
		}
		if wanted := view.WantsGuard(in); wanted != in.Guarded() {
			op.Guards = append(op.Guards, cluster.Guard{ID: in.ID, Epoch: in.Epoch, Off: !wanted})
		}
	}
	if len(op.Guards) == 0 {
		return nil
	}
	if err := h.post(); err != nil { // before the cluster counts on it
		return err
	}
	op.Guards = slices.DeleteFunc(op.Guards, func(g cluster.Guard) bool { return !g.Off && !h.isPosted(g.ID) })
	_, err := h.Cluster.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op})
	return err
}

func (h *Holder) isPosted(id cluster.InstanceID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.posted, id)
}

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
