package lease

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// How an order in doubt is watched.
const (
	tendEvery = 250 * time.Millisecond // until it is looked again whose instances they are
	listEvery = 2 * time.Second        // until the hypervisor is asked again
	settled   = 30 * time.Second       // for so long a hypervisor has to answer until it is believed that it does nothing any more that it was told before
)

// Order is a start that the hypervisor was told to make and has not answered, as it stands on the board.
type Order struct {
	ID    cluster.InstanceID `json:"id"`
	Index uint64             `json:"index"` // of a state, not older than the order, in which the instance was this node's
}

// order is what a Holder knows of an Order.
type order struct {
	index   uint64
	waiting bool          // somebody waits for the answer
	calm    time.Duration // by Clock; since when the hypervisor answers and nobody had to interfere; 0: it does not
}

// Ordering is called before the hypervisor is told to start an instance, and says why it must not be told. From then on the start is known to the watchdog and to
// a later daemon: should the instance be somebody else's when it is carried out at last, its guest is ended at once. What the hypervisor said is to be given to answered.
func (h *Holder) Ordering(id cluster.InstanceID) (answered func(error), err error) {
	view, _ := h.Cluster.Latest()
	if !view.AllKnow(cluster.LeaseCommands) {
		return func(error) {}, nil
	}
	if err := h.MayStart(); err != nil {
		return nil, err
	}
	if !h.owns(view, id) {
		return nil, cluster.Errorf(cluster.Unavailable, "instance %s is no longer this node's", id)
	}
	o := &order{index: view.Index(), waiting: true}
	h.mu.Lock()
	h.orders[id] = o
	h.mu.Unlock()
	if err := h.post(); err != nil {
		h.answer(id, o, err) // nobody was told
		return nil, cluster.Errorf(cluster.Unavailable, "%v", err)
	}
	return func(err error) { h.answer(id, o, err) }, nil
}

// answer strikes an order off that the hypervisor has answered while the instance is this node's. Anything else leaves it in doubt.
func (h *Holder) answer(id cluster.InstanceID, o *order, err error) {
	view, _ := h.Cluster.Latest()
	h.mu.Lock()
	defer h.mu.Unlock()
	o.waiting = false
	if !errors.Is(err, virt.ErrUnavailable) && h.held() && h.owns(view, id) && h.orders[id] == o {
		delete(h.orders, id)
	}
}

// MayArrive says why no guest of an instance may come here from another node; nil: it may. One that was told to start here before could do so meanwhile.
func (h *Holder) MayArrive(id cluster.InstanceID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.orders[id] == nil {
		return nil
	}
	return cluster.Errorf(cluster.Unavailable, "the hypervisor was told to start instance %s here some time ago, and may still do so", id)
}

func (h *Holder) owns(view *cluster.View, id cluster.InstanceID) bool {
	in, ok := view.Instance(id)
	return ok && in.Node == h.Node
}

// barred tells whether a start is not to be carried out any more, by a state that is not older than the order.
func (h *Holder) barred(view *cluster.View, id cluster.InstanceID, o *order) bool {
	return view.Index() >= o.index && !h.owns(view, id)
}

// open lists all orders, and the instances among them whose guests are to be ended wherever they are seen.
func (h *Holder) open(view *cluster.View) (all []Order, barred []cluster.InstanceID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, o := range h.orders {
		all = append(all, Order{id, o.index})
		if h.barred(view, id, o) {
			barred = append(barred, id)
		}
	}
	slices.SortFunc(all, func(a, b Order) int { return strings.Compare(string(a.ID), string(b.ID)) })
	slices.Sort(barred)
	return all, barred
}

// tend lets the watchdog, and whoever comes after this daemon, know as soon as an order is answered or is somebody else's, and strikes off what is in doubt no longer.
func (h *Holder) tend(ctx context.Context) {
	var listed time.Duration
	for pause(ctx, tendEvery) {
		view, _ := h.Cluster.Latest()
		all, barred := h.open(view)
		h.mu.Lock()
		news := h.fresh && h.held() && !(slices.Equal(all, h.ordered) && slices.Equal(barred, h.shut))
		h.mu.Unlock()
		if news {
			if err := h.post(); err != nil {
				h.Log.Warn("tell the watchdog what must not start here any more", "err", err)
			}
		}
		if len(all) == 0 {
			continue
		}
		if now := h.Clock(); now-listed >= listEvery {
			listed = now
			if err := h.review(ctx); err != nil && ctx.Err() == nil {
				h.Log.Warn("see what became of starts that were not answered", "err", err)
			}
		}
	}
}

// review looks at the hypervisor, and ends what is barred.
func (h *Holder) review(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fenceCall)
	defer cancel()
	domains, err := h.Driver.Domains(ctx)
	if err != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, o := range h.orders {
			o.calm = 0
		}
		return err
	}
	view, _ := h.Cluster.Latest()
	doomed := h.sift(view, domains)
	failed := make([]error, len(doomed))
	var wg sync.WaitGroup
	for i, id := range doomed {
		h.Log.Warn("a start that this node had ordered was carried out when the instance was no longer its own: ending it", "instance", id)
		wg.Go(func() { failed[i] = h.Driver.Stop(ctx, id, virt.Destroy) })
	}
	wg.Wait()
	return errors.Join(failed...)
}

// sift strikes off the orders that are in doubt no longer, and returns the guests that have to be ended.
func (h *Holder) sift(view *cluster.View, domains []virt.Domain) (doomed []cluster.InstanceID) {
	on := map[cluster.InstanceID]bool{}
	for _, d := range domains {
		on[d.ID] = d.Power == virt.PowerRunning || d.Power == virt.PowerPaused
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.Clock()
	for id, o := range h.orders {
		barred := h.barred(view, id, o)
		switch {
		case barred && on[id]:
			doomed = append(doomed, id)
			o.calm = 0
		case o.waiting:
			o.calm = 0
		case o.calm == 0:
			o.calm = now
		case now-o.calm >= settled && (barred || h.held() && h.owns(view, id)):
			delete(h.orders, id)
		}
	}
	return doomed
}
