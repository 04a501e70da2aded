package operate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/failpoint"
	"github.com/kilonova/kilonova/virt"
)

// How failures are met: what may pass is tried again until patience has gone by without any progress, what was refused a few times.
const (
	patience    = 2 * time.Minute
	retryAfter  = time.Second // doubled with each attempt in a row, up to retryAtMost
	retryAtMost = 10 * time.Second
	maxRefusals = 3

	tellEvery   = 2 * time.Second // between two reports of progress, at least
	readTimeout = 10 * time.Second
	callTimeout = 30 * time.Second // one short call of the driver
)

// errGone ends a worker quietly: the operation went on without it, or away.
var errGone = errors.New("the operation is another or at another step by now")

// giveUp is an error that no repetition will mend.
type giveUp struct{ error }

// Unwrap gives the error itself.
func (g giveUp) Unwrap() error { return g.error }

// undecided is an error from which nothing may be concluded, however long it lasts: the cluster does not answer, say, or a guest
// may run at its destination.
type undecided struct{ error }

// Unwrap gives the error itself.
func (u undecided) Unwrap() error { return u.error }

// beheaded is the end of a migration whose guest must not go on where it stands still: it has run elsewhere since.
type beheaded struct{ error }

// Unwrap gives the error itself.
func (b beheaded) Unwrap() error { return b.error }

// cancelled is the end of an operation that its user asked for.
type cancelled struct{ error }

// work is one step of one operation, on its way.
type work struct {
	*Loop
	key    workKey
	log    *slog.Logger
	cancel context.CancelFunc

	mu    sync.Mutex
	in    *cluster.Instance // the newest that the loop saw at this step
	poke  chan struct{}     // holds one: in is newer
	moved time.Time         // when there was progress last
	told  time.Time         // when progress was told last

	stored *cluster.ImageData // of a capture: what is in the image store here already; of run alone
}

func newWork(l *Loop, key workKey, in *cluster.Instance) *work {
	return &work{
		Loop: l, key: key, in: in, poke: make(chan struct{}, 1), moved: time.Now(),
		log: l.Log.With("instance", key.instance, "operation", key.operation, "step", key.step),
	}
}

// tell gives the worker a newer record of its instance. It never blocks.
func (w *work) tell(in *cluster.Instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.in == in {
		return
	}
	w.in = in
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

// latest is the newest record of the instance at this step.
func (w *work) latest() *cluster.Instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.in
}

// progressed notes that something went on, which renews the worker's patience.
func (w *work) progressed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.moved = time.Now()
}

func (w *work) stuck() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.moved) > patience
}

// run does the step until it is done, or cannot be, and tells the state. It leaves nothing running.
func (w *work) run(ctx context.Context) {
	w.log.Info("begin a step")
	err := w.persist(ctx)
	if ctx.Err() != nil || errors.Is(err, errGone) {
		w.log.Info("leave a step to others", "err", err)
		return
	}
	end := cluster.AdvanceOperation{Done: err == nil}
	if err != nil {
		w.log.Warn("a step cannot be done", "err", err)
		end.Error = err.Error()
		var c cancelled
		end.Cancelled = errors.As(err, &c)
		var b beheaded
		end.Anew = errors.As(err, &b)
	}
	w.advance(ctx, end)
	_ = failpoint.Hit(ctx, advanced[w.key.step]) // there is nothing left to fail
}

// persist repeats the step for as long as that may help.
func (w *work) persist(ctx context.Context) error {
	pause, refusals := retryAfter, 0
	for {
		before := time.Now()
		err := w.once(ctx)
		var c cancelled
		var g giveUp
		var u undecided
		switch {
		case err == nil, ctx.Err() != nil, errors.Is(err, errGone), errors.As(err, &c), errors.As(err, &g):
			return err
		case errors.As(err, &u): // for as long as it takes
		case !passing(err):
			if refusals++; refusals == maxRefusals {
				return err
			}
		case w.stuck():
			return err
		}
		if time.Since(before) > retryAtMost {
			pause = retryAfter
		}
		w.log.Info("a step is tried again", "again_in", pause, "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, retryAtMost)
	}
}

// once confirms that the step is still this worker's, and does it.
func (w *work) once(ctx context.Context) error {
	view, in, err := w.confirm(ctx)
	if err != nil {
		return err
	}
	switch w.key.step {
	case cluster.StepCopying:
		return w.copy(ctx, in)
	case cluster.StepCapturing:
		return w.capture(ctx, view, in)
	case cluster.StepMigrating:
		return w.migrate(ctx, in)
	case cluster.StepAsking:
		return w.tellArrival(ctx, in)
	}
	return giveUp{fmt.Errorf("step %q is not one of this loop", w.key.step)}
}

// confirm asks the cluster, not this node's memory, whether the step is this node's to carry out.
func (w *work) confirm(ctx context.Context) (*cluster.View, *cluster.Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	view, err := w.Cluster.Read(ctx)
	if err != nil {
		return nil, nil, undecided{fmt.Errorf("confirm operation %s: %w", w.key.operation, err)}
	}
	in, ok := view.Instance(w.key.instance)
	if !ok || in.Op == nil || in.Op.ID != w.key.operation || in.Op.Step != w.key.step || in.Executor() != w.Node || in.Wanted == cluster.WantDeleted {
		return nil, nil, errGone
	}
	return view, in, nil
}

// passing tells whether an error may pass by itself: somebody did not answer, or was not as far as this node yet.
func passing(err error) bool {
	for _, is := range []error{virt.ErrUnavailable, context.DeadlineExceeded, errUnreached, failpoint.ErrHit} {
		if errors.Is(err, is) {
			return true
		}
	}
	var refusal *cluster.Error
	return errors.As(err, &refusal) && (refusal.Code == cluster.Unavailable || refusal.Code == cluster.Stale)
}

// note tells the user what is being done, at most every tellEvery; that it is lost does no harm.
func (w *work) note(ctx context.Context, text string, p *cluster.MoveProgress) {
	w.mu.Lock()
	due := time.Since(w.told) >= tellEvery
	if due {
		w.told = time.Now()
	}
	w.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellEvery)
	defer cancel()
	if err := w.propose(ctx, cluster.AdvanceOperation{Note: text, Progress: p}); err != nil {
		w.log.Debug("tell of progress", "err", err)
	}
}

// advance proposes the step's end until the state has it, or needs it no more.
func (w *work) advance(ctx context.Context, end cluster.AdvanceOperation) {
	for pause := retryAfter; ; pause = min(2*pause, retryAtMost) {
		err := w.propose(ctx, end)
		if err == nil {
			w.log.Info("ended a step", "done", end.Done, "error", end.Error)
			return
		}
		if ctx.Err() != nil || cluster.CodeOf(err) == cluster.NotFound {
			return
		}
		w.log.Warn("tell that a step has ended", "again_in", pause, "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

func (w *work) propose(ctx context.Context, o cluster.AdvanceOperation) error {
	o.Node, o.ID, o.Operation, o.Step = w.Node, w.key.instance, w.key.operation, w.key.step
	return propose(ctx, w.Cluster, &o)
}

// propose commits an op. A refusal is an error.
func propose(ctx context.Context, c Cluster, op cluster.Op) error {
	res, err := c.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op})
	if err == nil && res.Err != nil {
		return res.Err
	}
	return err
}
