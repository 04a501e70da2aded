package operate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/failpoint"
	"github.com/kilonova/kilonova/virt"
)

// How long a migration may stand still before it is aborted, and how long a daemon that stops waits for its abort.
const (
	stallTimeout = 5 * time.Minute
	abortTimeout = 20 * time.Second
)

// Landings reach the destinations of running guests. See peer.Landings.
type Landings interface {
	Land(ctx context.Context, destination cluster.NodeID, m peer.Move) (json.RawMessage, error)
	Arrival(ctx context.Context, destination cluster.NodeID, m peer.Move) (peer.Arrival, error)
	Stream(ctx context.Context, destination cluster.NodeID, m peer.Move, which peer.Stream) (net.Conn, error)
}

// errAborted says why a migration ended that its user did not want any more.
//
//lint:ignore ST1005 users read it as it is
var errAborted = errors.New("It was aborted.")

// errDestinationRemoved says why a migration ended whose destination is no node any more.
//
//lint:ignore ST1005 users read it as it is
var errDestinationRemoved = errors.New("The destination was removed from the cluster.")

// migrate sends the running guest of an instance to its destination. Whatever happens on the way, it ends with a verdict by what
// both hosts have.
func (w *work) migrate(ctx context.Context, in *cluster.Instance) error {
	if err := failpoint.Hit(ctx, PointMigrateBegun); err != nil {
		return err
	}
	here, err := w.sight(ctx)
	if err != nil {
		return undecided{err}
	}
	if in.Op.Move.To == "" {
		return w.conclude(ctx, in, errDestinationRemoved)
	}
	if !here.alive(in.Wanted) {
		return w.conclude(ctx, in, errors.New("the guest does not run any more"))
	}
	if w.latest().Op.Move.Signal == cluster.SignalAbort {
		return w.conclude(ctx, in, errAborted)
	}
	if err := w.stopEarlier(ctx); err != nil {
		return undecided{err}
	}
	landing, err := w.land(ctx, in)
	if err != nil {
		return err
	}
	if err := failpoint.Hit(ctx, PointMigrateLanding); err != nil {
		return err
	}
	return w.conclude(ctx, in, w.fly(ctx, in, landing))
}

// stopEarlier ends the migration that an earlier daemon of this node began, if it is under way: its streams ended with that daemon.
func (w *work) stopEarlier(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return w.Driver.AbortMigrate(ctx, w.key.instance)
}

// sight looks what this host has of the guest.
func (w *work) sight(ctx context.Context) (sighting, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return sight(ctx, w.Driver, w.key.instance, 0)
}

// domains lists what a hypervisor has.
type domains interface {
	Domains(ctx context.Context) ([]virt.Domain, error)
}

// sight looks what a host has of a guest, of one epoch or, with 0, of any.
func sight(ctx context.Context, d domains, id cluster.InstanceID, epoch uint64) (sighting, error) {
	all, err := d.Domains(ctx)
	if err != nil {
		return sighting{}, err
	}
	for _, one := range all {
		if one.ID == id && (epoch == 0 || one.Stamp.Epoch == epoch) {
			return sighting{defined: true, power: one.Power, name: one.Name}, nil
		}
	}
	return sighting{}, nil
}

// land lets the destination prepare, for as long as it tells that it goes on.
func (w *work) land(ctx context.Context, in *cluster.Instance) (virt.Landing, error) {
	var l virt.Landing
	said := ""
	for {
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		raw, err := w.Landings.Land(bounded, in.Op.Move.To, inName(in))
		cancel()
		if err == nil {
			w.progressed()
			if err := json.Unmarshal(raw, &l); err != nil {
				return l, giveUp{fmt.Errorf("read where the guest is to land: %w", err)}
			}
			return l, nil
		}
		if cluster.CodeOf(err) != cluster.Unavailable {
			return l, unreached(err)
		}
		if note := err.Error(); note != said { // the destination is at it
			said = note
			w.progressed()
			w.note(ctx, note, nil)
		} else if w.stuck() {
			return l, err
		}
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return l, ctx.Err()
		}
		if w.latest().Op.Move.Signal == cluster.SignalAbort {
			return l, cancelled{errAborted}
		}
	}
}

// fly sends the guest. What it returns is a hint at best; see conclude.
func (w *work) fly(ctx context.Context, in *cluster.Instance, l virt.Landing) error {
	options := w.Options
	view, _ := w.Cluster.Latest()
	options.CopyDisks = copied(view, in)
	if len(options.CopyDisks) > 0 && in.Op.Move.CopyDisks == "no" {
		return fmt.Errorf("the disks of instance %s are not shared between the nodes, and shall not be copied: allow a block migration", in.ID)
	}
	p, paths, err := w.openProxy(ctx, in.Op.Move.To, inName(in))
	if err != nil {
		return err
	}
	defer p.close()
	l.Libvirt, l.Memory, l.NBD = paths[peer.StreamLibvirt], paths[peer.StreamMemory], paths[peer.StreamDisks]
	f := &flight{work: w, began: time.Now()}
	done := make(chan error, 1)
	going, cancel := context.WithCancel(context.WithoutCancel(ctx)) // on ctx's end it is aborted, which takes its time
	defer cancel()
	go func() { done <- w.Driver.Migrate(going, in.ID, l, options, f.progress) }()
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return f.why(err)
		case <-w.poke:
			f.obey(going)
		case <-tick.C:
			f.obey(going)
			f.tell(going)
		case <-ctx.Done():
			f.abort(going)
			select {
			case err := <-done:
				return f.why(err)
			case <-time.After(abortTimeout):
			}
			cancel()
			return f.why(<-done)
		}
	}
}

// copied lists the disks that the guest takes with it: its own, not its volumes. One that boots from a volume has no root of its own.
func copied(view *cluster.View, in *cluster.Instance) []virt.DiskID {
	ids := []virt.DiskID{virt.DiskRoot}
	for _, a := range view.VolumesOf(in.ID) {
		if a.Boot {
			ids = nil
		}
	}
	if in.Spec.Flavor.Ephemeral > 0 {
		ids = append(ids, virt.DiskEphemeral)
	}
	if in.Spec.Flavor.SwapMiB > 0 {
		ids = append(ids, virt.DiskSwap)
	}
	return ids
}

// flight is one attempt to send a guest.
type flight struct {
	*work
	began time.Time

	mu     sync.Mutex
	latest cluster.MoveProgress
	moved  time.Time // when latest changed
	hit    bool      // the failpoint was

	// Of the goroutine of fly alone.
	told            cluster.MoveProgress
	aborted, forced bool
	reason          error // why it was aborted
}

// progress takes in what the driver tells.
func (f *flight) progress(p cluster.MoveProgress) {
	f.mu.Lock()
	first := !f.hit
	f.hit = true
	if p != f.latest || f.moved.IsZero() {
		f.latest, f.moved = p, time.Now()
	}
	f.mu.Unlock()
	f.progressed()
	if first {
		_ = failpoint.Hit(within(context.Background(), f.key.instance), PointMigrateSending) // there is no way back from here but the verdict
	}
}

// tell passes progress on to the user, and gives a migration up that stands still.
func (f *flight) tell(ctx context.Context) {
	f.mu.Lock()
	p, moved := f.latest, f.moved
	f.mu.Unlock()
	if p != f.told {
		f.told = p
		f.note(ctx, "migrating", &p)
	}
	if moved.IsZero() {
		moved = f.began
	}
	if time.Since(moved) > stallTimeout && f.reason == nil {
		f.reason = fmt.Errorf("nothing was sent for %s", stallTimeout)
		f.abort(ctx)
	}
}

// obey does what the operator asked for meanwhile. What fails is tried again at the next tick.
func (f *flight) obey(ctx context.Context) {
	switch f.work.latest().Op.Move.Signal {
	case cluster.SignalAbort:
		f.reason = errAborted
		f.abort(ctx)
	case cluster.SignalForce:
		if f.forced {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if err := f.Driver.ForceMigrate(ctx, f.key.instance); err != nil {
			f.log.Warn("force a migration to complete", "err", err)
			return
		}
		f.forced = true
	}
}

func (f *flight) abort(ctx context.Context) {
	if f.aborted {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := f.Driver.AbortMigrate(ctx, f.key.instance); err != nil {
		f.log.Warn("abort a migration", "err", err)
		return
	}
	f.aborted = true
}

// why prefers the reason for which a migration was aborted to what the driver made of it.
func (f *flight) why(err error) error {
	if err != nil && f.reason != nil {
		return f.reason
	}
	return err
}

// conclude finds out where the guest is, after an attempt that ended with err. nil: at the destination.
func (w *work) conclude(ctx context.Context, in *cluster.Instance, err error) error {
	if hit := failpoint.Hit(ctx, PointMigrateSent); hit != nil {
		return undecided{hit}
	}
	if err == nil {
		return nil
	}
	w.log.Info("look where the guest is", "err", err)
	if err := w.stopEarlier(ctx); err != nil {
		return undecided{err}
	}
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	here, lookErr := w.sight(bounded)
	if lookErr != nil {
		return undecided{lookErr}
	}
	v := judge(in.Wanted, here, nil)
	dead := false
	if v == unclear {
		there, askErr := w.askArrival(bounded, in)
		if dead = errors.Is(askErr, errDead); askErr != nil && !dead {
			w.note(ctx, "waiting for the destination to say whether the guest has arrived", nil)
			return undecided{fmt.Errorf("ask whether the guest has arrived: %w", askErr)}
		}
		v = judge(in.Wanted, here, &there)
	}
	if v == arrived {
		return nil
	}
	//lint:ignore ST1005 users read it as it is
	failed := fmt.Errorf("Migration of instance %s failed: %w", in.ID, err)
	if here.power == virt.PowerPaused && in.Wanted == cluster.WantOn { // it was handed over, and nobody took it
		if dead && w.sharesVolumes(in) {
			return beheaded{giveUp{failed}}
		}
		if err := w.Driver.Unpause(bounded, in.ID); err != nil {
			return undecided{fmt.Errorf("let the guest go on that has not arrived: %w", err)}
		}
	}
	if errors.Is(err, errAborted) {
		return cancelled{err}
	}
	return giveUp{failed}
}

// errDead says that there is nobody to ask: an operator has given the destination up, and it has not answered for long.
var errDead = errors.New("the destination is dead")

// askArrival asks the destination what became of the guest. With errDead nobody answers any more, and a guest that may have run there is
// gone with it: what is left of it here is the one that survives.
func (w *work) askArrival(ctx context.Context, in *cluster.Instance) (peer.Arrival, error) {
	view, _ := w.Cluster.Latest()
	n, there := view.Node(in.Op.Move.To)
	if !there {
		return peer.Arrival{}, errDead
	}
	a, err := w.Landings.Arrival(ctx, n.ID, inName(in))
	if err != nil && n.Dead() && w.stuck() {
		return peer.Arrival{}, errDead
	}
	return a, err
}

// sharesVolumes tells whether the guest has volumes, which its copy at a destination that died since may have written to: what it had in
// memory here does not fit them any more.
func (w *work) sharesVolumes(in *cluster.Instance) bool {
	view, _ := w.Cluster.Latest()
	for range view.VolumesOf(in.ID) {
		return true
	}
	return false
}
