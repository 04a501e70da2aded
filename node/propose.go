package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/node/lead"
	"github.com/kilonova/kilonova/node/lease"
	"github.com/kilonova/kilonova/raftfsm"
)

// Without a quorum nothing is acknowledged, and whoever asked hears of it within this time.
const proposeTimeout = 5 * time.Second

// askTimeout is how long the leader may take to answer another node before that looks again who leads. It looks earlier when it
// hears that another one leads: a leader that lost its power says nothing, and another is elected after about two seconds. What
// was asked may have been done; the same request ID makes asking again harmless.
const askTimeout = 1500 * time.Millisecond

// retryPause is how long to wait before asking again who leads.
const retryPause = 50 * time.Millisecond

// agreement is the replicated state as this node reaches it: itself when it leads, else one hop away. It implements
// rest.Backend for the API and peer.Agreement for the peers.
type agreement struct {
	raft    *raftfsm.Raft
	peers   *peer.Client
	self    cluster.NodeID
	at      string // where this node's peer port is
	chooser *lead.Chooser
	barrier *sharedBarrier
	meters  *meters
	warden  atomic.Pointer[lease.Warden] // of the term in which this node leads; nil: it grants no leases
	turn    atomic.Uint32                // whom of the voters to ask next, when nobody is known to lead
	log     *slog.Logger
}

// Propose commits a command, wherever the leader is. As long as the outcome is unknown it is asked again under the
// same request ID, which makes repeating safe.
func (a *agreement) Propose(ctx context.Context, c cluster.Command) (cluster.Result, error) {
	start := time.Now()
	res, err := a.propose(ctx, c)
	a.meters.proposed(c.Op, err, time.Since(start))
	return res, err
}

func (a *agreement) propose(ctx context.Context, c cluster.Command) (cluster.Result, error) {
	if c.ID == "" {
		c.ID = cluster.RequestID(uuid.NewString())
	}
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	for {
		res, err := a.try(ctx, c)
		switch {
		case err == nil:
			return a.settle(ctx, res)
		case !retryable(err):
			return res, err
		}
		if !pause(ctx, retryPause) {
			a.log.Warn("propose", "op", fmt.Sprintf("%T", c.Op), "request", string(c.ID), "err", err)
			return res, cluster.Errorf(cluster.Unavailable, "the cluster has no leader that answers: the outcome is unknown; try again")
		}
	}
}

// try asks once, here or at the leader.
func (a *agreement) try(ctx context.Context, c cluster.Command) (cluster.Result, error) {
	res, err := a.ProposeHere(ctx, c)
	if !errors.Is(err, peer.ErrNotLeader) {
		return res, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	leader, ctx, release := a.elsewhere(ctx)
	defer release()
	if leader == "" {
		return res, err
	}
	return a.peers.Propose(ctx, leader, c)
}

// elsewhere names the other node that leads, "" when none is known, and gives a context for one question to it: it ends when another one leads.
func (a *agreement) elsewhere(ctx context.Context) (cluster.NodeID, context.Context, context.CancelFunc) {
	leader, until, known := a.raft.LeaderUntil()
	if !known {
		leader.ID, until = a.voterInTurn(), ctx
	}
	if leader.ID == "" || leader.ID == a.self {
		return "", ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	forget := context.AfterFunc(until, cancel)
	return leader.ID, ctx, func() { forget(); cancel() }
}

// voterInTurn is whom to ask where nobody finds this node, because its address is another one than the others know, so that it does not hear who leads: each
// voter in turn, and those that do not lead say so. "": it is where it should be.
func (a *agreement) voterInTurn() cluster.NodeID {
	var voters []cluster.NodeID
	astray := false
	for _, m := range a.raft.Members() {
		switch {
		case m.ID == a.self:
			astray = m.Addr != a.at
		case m.Voter:
			voters = append(voters, m.ID)
		}
	}
	if !astray || len(voters) == 0 {
		return ""
	}
	slices.Sort(voters)
	return voters[int(a.turn.Add(1))%len(voters)]
}

// settle waits until this node has applied what it proposed, so that it reads its own writes.
func (a *agreement) settle(ctx context.Context, res cluster.Result) (cluster.Result, error) {
	if res.Err != nil {
		return res, res.Err
	}
	if err := a.raft.WaitApplied(ctx, res.Index); err != nil {
		return res, cluster.Errorf(cluster.Unavailable, "committed, and this node has not caught up: try again")
	}
	return res, nil
}

// ProposeHere implements peer.Agreement: the leader fills in its choices and commits.
func (a *agreement) ProposeHere(ctx context.Context, c cluster.Command) (cluster.Result, error) {
	if !a.raft.IsLeader() {
		return cluster.Result{}, peer.ErrNotLeader
	}
	if err := mayUse(c.Op, a.raft.View()); err != nil {
		return cluster.Result{}, err
	}
	release := a.chooser.Prepare(c.Op)
	defer release()
	res, err := a.raft.Propose(ctx, notAhead(c, time.Now()))
	if err == nil {
		err = committed(ctx, a.raft.View(), res)
	}
	return res, notLeader(err)
}

// mayUse refuses a command that not every node knows, where its proposer cannot tell: a node that nobody finds does not hear who was upgraded.
func mayUse(op cluster.Op, view *cluster.View) error {
	if op.Kind() == cluster.KindRelocateNode && !view.AllKnow(cluster.RelocateCommands) {
		return cluster.Errorf(cluster.Conflict, "A node runs a version that cannot take in another address of a node: upgrade it first")
	}
	return nil
}

// notAhead keeps one node's fast clock from the others. The state's time follows the fastest and never goes back, so a
// clock that is an hour ahead would make it forget every request that it remembers, and a retry be done twice.
func notAhead(c cluster.Command, leader time.Time) cluster.Command {
	c.Time = min(c.Time, cluster.At(leader))
	return c
}

// BarrierHere implements peer.Agreement.
func (a *agreement) BarrierHere(ctx context.Context) (uint64, error) {
	index, err := a.raft.Barrier(ctx)
	return index, notLeader(err)
}

var _ rest.Lagger = (*agreement)(nil)

// Lag implements rest.Lagger. A leader knows itself up to date: it stops leading when no majority has answered it for a
// moment, and counts from then.
func (a *agreement) Lag() time.Duration {
	if leader, known := a.raft.Leader(); known && leader.ID == a.self {
		return 0
	}
	heard := a.raft.Stats().Contact
	if heard.IsZero() {
		return -1
	}
	return time.Since(heard)
}

// Local implements rest.Backend.
func (a *agreement) Local() *cluster.View { return a.raft.View() }

// notLeader turns raftfsm's refusal into the peers' one.
func notLeader(err error) error {
	var elsewhere *raftfsm.NotLeaderError
	if errors.As(err, &elsewhere) {
		return peer.ErrNotLeader
	}
	return err
}

// retryable tells whether asking again can help: nothing that the state refused, but everything that went wrong on the
// way there.
func retryable(err error) bool {
	var refusal *cluster.Error
	return !errors.As(err, &refusal) || refusal.Code == cluster.Unavailable
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
