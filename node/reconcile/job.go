package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/failpoint"
	"github.com/kilonova/kilonova/virt"
)

// job is what one worker does for one instance.
type job struct {
	loop    *Loop
	id      cluster.InstanceID
	in      *cluster.Instance // nil: the state has no such instance here
	view    *cluster.View
	seen    virt.Stamp // of the domain before anything is done
	actions []virt.Action
	prepare bool // fetch its images
}

// outcome is what a worker did, for the loop to remember.
type outcome struct {
	id      cluster.InstanceID
	in      *cluster.Instance
	domain  *virt.Domain // as it is now; nil: there is none
	known   bool         // domain is known; else the loop keeps what it had
	started bool
	asked   bool // the guest was asked to shut down
	gone    *virt.Stamp
	failed  virt.ActionKind
	err     error
}

// errNotOurs ends a job quietly: what it was about changed meanwhile, and the next pass decides anew.
var errNotOurs = errors.New("the cluster decided otherwise meanwhile")

func (l *Loop) start(ctx context.Context, j job) {
	if j.id == "" {
		j.id = j.in.ID
	}
	m := l.remember(j.id)
	m.busy = true
	l.touch(j.id)
	own, cancel := context.WithCancel(within(ctx, j.id, j.in))
	if j.prepare {
		m.fetching, m.epoch = cancel, j.in.Epoch
	}
	l.workers.Go(func() {
		defer cancel()
		o := j.run(own)
		if own.Err() != nil {
			o.err = errNotOurs // it was called back
		}
		select {
		case l.done <- o:
		case <-ctx.Done():
		}
	})
}

func (j *job) run(ctx context.Context) outcome {
	o := outcome{id: j.id, in: j.in}
	if j.prepare {
		o.failed, o.err = virt.ActionBuild, j.fetch(ctx)
		return o
	}
	for _, a := range j.actions {
		j.loop.Log.Info(string(a.Kind), "instance", a.ID, "epoch", a.Stamp.Epoch, "why", a.Why)
		err := failpoint.Hit(ctx, pointBefore(a.Kind))
		if err == nil {
			err = j.do(ctx, a, &o)
		}
		if err == nil {
			err = failpoint.Hit(ctx, pointAfter(a.Kind))
		}
		if err != nil {
			o.failed, o.err = a.Kind, err
			if a.Kind == virt.ActionBuild && o.domain != nil {
				o.domain.Stamp = j.seen // what was switched off is not of the present generation before it is built anew
			}
			return o
		}
	}
	return o
}

// fetch brings the instance's images here. Its progress is the instance's note.
func (j *job) fetch(ctx context.Context) error {
	for _, img := range j.in.Needs() {
		if err := j.loop.Images.Prepare(ctx, img, j.progress); err != nil {
			return fmt.Errorf("fetch image %s: %w", img.Image, err)
		}
	}
	return nil
}

func (j *job) progress(note string) {
	j.loop.outbox.put(cluster.InstanceReport{ID: j.in.ID, Generation: j.in.Generation, Epoch: j.in.Epoch, Step: note})
}

// do carries out one action and notes in o what the domain is after it.
func (j *job) do(ctx context.Context, a virt.Action, o *outcome) error {
	switch a.Kind {
	case virt.ActionBuild:
		return j.bounded(ctx, func(ctx context.Context) error { return j.build(ctx, a, o) })
	case virt.ActionStart, virt.ActionUnpause:
		return j.bounded(ctx, func(ctx context.Context) error { return j.switchOn(ctx, a, o) })
	case virt.ActionRefresh:
		return j.bounded(ctx, func(ctx context.Context) error { return j.refresh(ctx, a, o) })
	}
	timeout := callTimeout
	if a.Kind == virt.ActionSave {
		timeout = saveTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return j.switchOff(ctx, a, o)
}

func (j *job) build(ctx context.Context, a virt.Action, o *outcome) error {
	if err := j.confirm(ctx); err != nil {
		return err
	}
	g, err := j.guest()
	if err != nil {
		return err
	}
	if err := j.loop.Driver.Build(ctx, g); err != nil {
		return err
	}
	o.have(a.ID, a.Stamp, virt.PowerOff)
	return nil
}

// switchOn lets a guest run.
func (j *job) switchOn(ctx context.Context, a virt.Action, o *outcome) error {
	if err := j.confirm(ctx); err != nil {
		return err
	}
	if a.Kind == virt.ActionUnpause {
		if err := j.loop.Driver.Unpause(ctx, a.ID); err != nil {
			return err
		}
		o.have(a.ID, a.Stamp, virt.PowerRunning)
		return nil
	}
	if r := j.loop.Replicas; r != nil {
		if err := r.BeforeStart(ctx, j.in); err != nil {
			return err
		}
	}
	if err := j.order(ctx, a.ID); err != nil {
		return err
	}
	o.have(a.ID, a.Stamp, virt.PowerRunning)
	o.started = true
	return nil
}

// order tells the hypervisor to start a guest. Whoever holds the lease knows of it before.
func (j *job) order(ctx context.Context, id cluster.InstanceID) error {
	answered := func(error) {}
	if l := j.loop.Lease; l != nil {
		var err error
		if answered, err = l.Ordering(id); err != nil {
			return err
		}
	}
	j.loop.Log.Debug("tell the hypervisor to start", "instance", id) // "make bench" looks for it
	err := j.loop.Driver.Start(ctx, id)
	answered(err)
	return err
}

// switchOff does what ends or halts a guest, or removes it.
func (j *job) switchOff(ctx context.Context, a virt.Action, o *outcome) error {
	driver := j.loop.Driver
	switch a.Kind {
	case virt.ActionStop:
		if err := driver.Stop(ctx, a.ID, a.Stop); err != nil {
			return err
		}
		if o.asked = a.Stop == virt.Shutdown; !o.asked {
			o.have(a.ID, a.Stamp, virt.PowerOff)
		}
	case virt.ActionPause:
		if err := driver.Pause(ctx, a.ID); err != nil {
			return err
		}
		o.have(a.ID, a.Stamp, virt.PowerPaused)
	case virt.ActionSave:
		if err := driver.Save(ctx, a.ID); err != nil {
			return err
		}
		o.have(a.ID, a.Stamp, virt.PowerOff)
		o.domain.Saved = true
	case virt.ActionRemove:
		if err := driver.Remove(ctx, a.ID); err != nil {
			return err
		}
		o.known, o.domain = true, nil
	case virt.ActionRemoveDisks:
		if err := driver.RemoveDisks(ctx, a.ID, a.Stamp.Epoch, a.Keep); err != nil {
			return err
		}
		o.gone = &a.Stamp
	}
	return nil
}

// bounded runs one of the costly actions in its turn.
func (j *job) bounded(ctx context.Context, f func(context.Context) error) error {
	select {
	case j.loop.slots <- struct{}{}:
		defer func() { <-j.loop.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return f(ctx)
}

// confirm asks the cluster, not this node's memory, whether the instance is still this node's to run.
func (j *job) confirm(ctx context.Context) error {
	view, err := j.loop.Cluster.Read(ctx)
	if err != nil {
		return fmt.Errorf("confirm instance %s before it is started: %w", j.id, err)
	}
	in, ok := view.Instance(j.id)
	if !ok || in.Node != j.loop.Node || in.Epoch != j.in.Epoch {
		return errNotOurs
	}
	now, hold := in.Desired()
	if then, _ := j.in.Desired(); now != then || hold || in.Boot != j.in.Boot { // one boot for all that were asked for, not each in turn
		return errNotOurs
	}
	if l := j.loop.Lease; l != nil {
		return l.MayStart()
	}
	return nil
}

// guest describes the instance's domain as it is to be.
func (j *job) guest() (virt.Guest, error) {
	return Whole(j.in, j.view, j.loop.Node, j.loop.Images, j.loop.Volumes)
}

func (o *outcome) have(id cluster.InstanceID, s virt.Stamp, p virt.Power) {
	o.known, o.domain = true, &virt.Domain{ID: id, Stamp: s, Power: p}
}

// finish takes in what a worker did.
func (l *Loop) finish(o outcome) {
	m := l.remember(o.id)
	m.busy, m.fetching = false, nil
	l.touch(o.id)
	if o.err == nil {
		m.attempts, m.refusals = 0, 0
	}
	l.dirty[o.id] = struct{}{}
	if o.known {
		l.observe(o)
	}
	if o.asked && m.asked.IsZero() {
		m.asked = time.Now()
	}
	if o.started {
		m.boot, m.asked = o.in.Boot, time.Time{}
		delete(l.resume, o.id)
		l.settled()
		l.runsAgain(o.id)
		l.outbox.put(running(o.in))
	}
	if o.gone != nil {
		l.runsAgain(o.id) // elsewhere
		l.buried[o.id] = o.gone.Epoch
		l.outbox.put(cluster.InstanceReport{ID: o.id, Epoch: o.gone.Epoch, Gone: true})
	}
	if o.err != nil && !errors.Is(o.err, errNotOurs) {
		l.failed(o, m)
	}
}

// fenced tells whether a guest that is off is so because this node lost its lease.
func (l *Loop) fenced(in *cluster.Instance) bool {
	wanted, _ := in.Desired() // what an operation stops is off in its name
	return l.Lease != nil && wanted == cluster.WantOn && l.Lease.Fenced(in)
}

func (l *Loop) runsAgain(id cluster.InstanceID) {
	if l.Lease != nil {
		l.Lease.Started(id)
	}
}

func (l *Loop) observe(o outcome) {
	if o.domain == nil {
		delete(l.observed, o.id)
		return
	}
	d := *o.domain
	old := l.observed[o.id]
	d.Name = old.Name
	if d.Disks == "" && d.NICs == "" {
		d.Disks, d.NICs = old.Disks, old.NICs
	}
	l.observed[o.id] = d
	if d.Power != virt.PowerRunning {
		l.remember(o.id).asked = time.Time{}
	}
}

// failed decides whether to try again. What the hypervisor or the cluster could not answer says nothing about
// the instance, and is tried for ever; what it refused is tried a few times and then told to the user.
func (l *Loop) failed(o outcome, m *memory) {
	unsure := errors.Is(o.err, virt.ErrUnavailable) || cluster.CodeOf(o.err) == cluster.Unavailable
	m.attempts++
	wait := min(retryAtMost, retryAfter<<min(m.attempts-1, 5))
	if unsure {
		wait = min(wait, unsureAtMost)
	} else {
		m.refusals++
	}
	m.retryAt = time.Now().Add(wait)
	l.Log.Warn(string(o.failed), "instance", o.id, "attempt", m.attempts, "again_in", wait, "err", o.err)
	if errors.Is(o.err, virt.ErrUnavailable) {
		l.hint(virt.Event{ID: o.id}) // it may have been done all the same
	}
	if o.in == nil || o.in.Wanted == cluster.WantDeleted {
		return
	}
	if unsure {
		if m.attempts == maxAttempts {
			l.outbox.put(cluster.InstanceReport{ID: o.id, Generation: o.in.Generation, Epoch: o.in.Epoch, Step: "waiting: " + o.err.Error()})
		}
		return
	}
	if m.refusals < maxAttempts {
		return
	}
	m.attempts, m.refusals = 0, 0
	l.outbox.put(cluster.InstanceReport{
		ID: o.id, Generation: o.in.Generation, Epoch: o.in.Epoch, Power: cluster.PowerNoState,
		Error:  fmt.Sprintf("Build of instance %s aborted: the hypervisor could not %s it.", o.id, o.failed),
		Detail: o.err.Error(),
	})
}
