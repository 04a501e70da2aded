package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// As package node has them.
const (
	proposeTimeout = 5 * time.Second
	retryPause     = 50 * time.Millisecond
)

// lostAnswers is how many of a hundred answers get lost between two nodes.
const lostAnswers = 1

// access is the replicated state as one daemon reaches it. It implements reconcile.Cluster, and serves clients.
type access struct {
	w *World
	d *daemon
}

// Latest implements reconcile.Cluster.
func (a *access) Latest() (*cluster.View, <-chan struct{}) { return a.d.replica.latest() }

// Read implements reconcile.Cluster: a barrier at the leader, then the local copy.
func (a *access) Read(ctx context.Context) (*cluster.View, error) {
	if a.w.cfg.Bug == BugSkipConfirm {
		view, _ := a.Latest()
		if view.Authority() != nil {
			return view, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	for {
		index, err := a.barrier(ctx)
		if err == nil {
			err = a.d.replica.wait(ctx, index)
		}
		if err == nil {
			view, _ := a.Latest()
			return view, nil
		}
		if !pause(ctx, retryPause) {
			return nil, cluster.Errorf(cluster.Unavailable, "no quorum answers")
		}
	}
}

func (a *access) barrier(ctx context.Context) (uint64, error) {
	leader := a.w.ledger.leaderFor(a.d)
	if leader == nil || !a.hop(ctx, leader, "to") {
		return 0, errLost
	}
	index, ok := a.w.ledger.barrier(leader)
	if !ok || !a.hop(ctx, leader, "from") {
		return 0, errLost
	}
	return index, nil
}

// hop takes the time of a message and tells whether it came through.
func (a *access) hop(ctx context.Context, leader *daemon, way string) bool {
	if leader == a.d {
		return true
	}
	now := a.w.now()
	n := uint64(a.d.machine.number)
	return pause(ctx, a.w.dice.between(leastHop, mostHop, way, n, now)) &&
		a.w.net.reaches(a.d.machine, leader.machine) && leader.machine.running() == leader &&
		(a.w.calm() || !a.w.dice.chance(lostAnswers, "lost "+way, n, now))
}

// Propose implements reconcile.Cluster: as long as the outcome is not known it asks again under the same ID.
func (a *access) Propose(ctx context.Context, c cluster.Command) (cluster.Result, error) {
	if c.ID == "" {
		c.ID = a.d.machine.freshRequest()
	}
	c.Time = c.Time.Add(a.d.machine.skewed())
	if r, ok := c.Op.(*cluster.ReportInstances); ok {
		if a.w.cfg.Bug == BugLostGone {
			r.Reports = slices.DeleteFunc(r.Reports, func(r cluster.InstanceReport) bool { return r.Gone })
		}
		// The loop walks a map, so the order says nothing. Sorted, the same seed gives the same entry.
		slices.SortFunc(r.Reports, func(x, y cluster.InstanceReport) int { return strings.Compare(string(x.ID), string(y.ID)) })
	}
	if o, ok := c.Op.(*cluster.AdvanceOperation); ok && o.Done && a.w.cfg.Bug == BugLostStep {
		return cluster.Result{}, cluster.Errorf(cluster.Unavailable, "nobody heard it")
	}
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	for {
		res, err := a.try(ctx, c)
		switch {
		case err == nil && res.Err != nil:
			return res, res.Err
		case err == nil && a.d.replica.wait(ctx, res.Index) != nil:
			return res, cluster.Errorf(cluster.Unavailable, "committed, and this node has not caught up")
		case err == nil:
			return res, nil
		case !errors.Is(err, errLost) && ctx.Err() == nil:
			return res, fmt.Errorf("propose %T: %w", c.Op, err)
		}
		if !pause(ctx, retryPause) {
			return res, cluster.Errorf(cluster.Unavailable, "the outcome is unknown")
		}
	}
}

func (a *access) try(ctx context.Context, c cluster.Command) (cluster.Result, error) {
	leader := a.w.ledger.leaderFor(a.d)
	if leader == nil || !a.hop(ctx, leader, "to") {
		return cluster.Result{}, errLost
	}
	res, err := a.w.ledger.propose(ctx, leader, c)
	if err != nil {
		return res, err
	}
	if !a.hop(ctx, leader, "from") {
		return cluster.Result{}, errLost
	}
	return res, nil
}

// pause waits, or returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
