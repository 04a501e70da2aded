package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/reconcile"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/volume"
)

// How much is done to volumes at the same time, how often, and how soon again.
const (
	volumesAtOnce  = 4
	volumesPause   = 50 * time.Millisecond // between two looks at the state, at least
	volumesEvery   = 30 * time.Second      // when nothing changes
	volumesRetry   = time.Second           // doubled with each attempt, up to volumesAtMost
	volumesAtMost  = 30 * time.Second
	volumeAttempts = 3             // then the user is told
	volumeTimeout  = 6 * time.Hour // for one piece of work: copying a large disk takes a while
	attachedEvery  = 500 * time.Millisecond
	domainsTimeout = 20 * time.Second
)

// volumes brings the files of volumes and snapshots on this node in line with the state, and tells the state when guests have
// got them and have let go of them. Whatever a crash interrupted is due again afterwards, and doing it again is harmless.
type volumes struct {
	self    cluster.NodeID
	store   *volume.Store
	cluster reconcile.Cluster
	driver  virt.Driver
	images  reconcile.Images
	publish publisher
	log     *slog.Logger

	// Owned by run.
	under map[string]*effort // by what is worked on
	done  chan finishedWork
}

// effort is what is remembered about work on one volume or snapshot.
type effort struct {
	cancel   context.CancelFunc // of the work that is under way; nil: there is none
	what     errand
	attempts int
	retryAt  time.Time
}

// finishedWork is how one piece of work ended.
type finishedWork struct {
	what errand
	err  error
}

func newVolumes(v volumes) *volumes {
	v.under, v.done = map[string]*effort{}, make(chan finishedWork)
	return &v
}

// run works until ctx ends, and waits for what it began.
func (v *volumes) run(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	workers.Go(func() { v.watchGuests(ctx) })
	slots := make(chan struct{}, volumesAtOnce)
	for {
		view, changed := v.cluster.Latest()
		wait := v.pass(view, func(what errand) context.CancelFunc {
			bounded, cancel := context.WithCancel(ctx)
			workers.Go(func() {
				defer cancel()
				select {
				case slots <- struct{}{}:
					defer func() { <-slots }()
				case <-ctx.Done():
					return
				}
				limited, stop := context.WithTimeout(bounded, volumeTimeout)
				err := v.carryOut(limited, what)
				stop()
				if bounded.Err() != nil {
					err = nil // it was called off
				}
				select {
				case v.done <- finishedWork{what, err}:
				case <-ctx.Done():
				}
			})
			return cancel
		})
		if !v.sleep(ctx, changed, wait) {
			return
		}
	}
}

// sleep waits for news, and takes in what workers did.
func (v *volumes) sleep(ctx context.Context, changed <-chan struct{}, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case f := <-v.done:
		v.finish(ctx, f)
	case <-ctx.Done():
		return false
	}
	pacing := time.NewTimer(volumesPause)
	defer pacing.Stop()
	for {
		select {
		case f := <-v.done:
			v.finish(ctx, f)
		case <-pacing.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// pass begins what is due, calls off what another node is to do now, and returns when to look again.
func (v *volumes) pass(view *cluster.View, begin func(errand) context.CancelFunc) time.Duration {
	wait := volumesEvery
	now := time.Now()
	wanted := map[string]bool{}
	for _, what := range errands(view, v.self) {
		wanted[what.id] = true
		e := v.under[what.id]
		if e == nil {
			e = &effort{}
			v.under[what.id] = e
		}
		if e.cancel != nil {
			continue
		}
		if e.what != what { // something else is asked now
			e.what, e.attempts, e.retryAt = what, 0, time.Time{}
		}
		if left := e.retryAt.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		e.cancel = begin(what)
	}
	for id, e := range v.under {
		switch {
		case wanted[id]:
		case e.cancel != nil:
			e.cancel()
		default:
			delete(v.under, id)
		}
	}
	return wait
}

// finish decides whether to try again. What nobody answered is tried for ever; what was refused a few times is told to the user,
// which ends it, because the state then asks for it no more.
func (v *volumes) finish(ctx context.Context, f finishedWork) {
	e := v.under[f.what.id]
	e.cancel = nil
	if f.err == nil || ctx.Err() != nil {
		e.attempts, e.retryAt = 0, time.Time{}
		return
	}
	e.attempts++
	wait := min(volumesAtMost, volumesRetry<<min(e.attempts-1, 5))
	e.retryAt = time.Now().Add(wait)
	v.log.Warn("work on a volume", "what", f.what.kind, "id", f.what.id, "attempt", e.attempts, "again_in", wait, "err", f.err)
	if unsure(f.err) || e.attempts < volumeAttempts {
		return
	}
	e.attempts = 0
	if err := v.report(ctx, f.what.failed(plain(f.err.Error(), maxTrouble))); err != nil {
		v.log.Warn("tell that work on a volume failed", "id", f.what.id, "err", err)
	}
}

// report proposes what this node says.
func (v *volumes) report(ctx context.Context, r cluster.ReportVolumes) error {
	r.Node = v.self
	_, err := v.cluster.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: &r})
	return err
}
