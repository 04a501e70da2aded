package node

import (
	"context"
	"time"
)

const (
	// membersEvery is how often the members are looked at when the state does not change: Raft's own may.
	membersEvery = time.Second

	// handOverWithin is how long a removed node waits to hear that Raft goes on without it, when another leads.
	handOverWithin = 10 * time.Second

	// handOverAtMost is how long it waits for another to lead: the others may need its vote and its log for that.
	handOverAtMost = 10 * time.Minute
)

// watchMembers cuts the connections of nodes that are no longer members, and ends this node when it is one of them.
func (n *node) watchMembers(ctx context.Context) {
	standing := n.newStanding()
	for {
		view, changed := n.state.raft.Latest()
		if view.WasRemoved(n.id.Node) {
			n.handOver(ctx)
			n.fail(errRemoved)
			return
		}
		if err := standing.ask(ctx); err != nil {
			n.fail(err)
			return
		}
		if cut := n.wire.directory.creds.Cut(n.wire.directory.trusts); cut > 0 {
			n.cfg.Log.Info("closed connections of nodes that were removed", "connections", cut)
		}
		timer := time.NewTimer(membersEvery)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// handOver returns when the others can go on without this node, which was removed. A leader has another node lead, which then
// takes this one out of Raft; the only voter waits until another one has a vote.
func (n *node) handOver(ctx context.Context) {
	raft := n.state.raft
	n.cfg.Log.Info("this node was removed; it stops when the others go on without it")
	start, succeeded := time.Now(), false
	for inRaft(raft, n.id.Node) {
		leader, known := raft.Leader()
		succeeded = succeeded || known && leader.ID != n.id.Node
		waited := time.Since(start)
		switch {
		case raft.IsLeader():
			if err := raft.RemoveMember(ctx, n.id.Node); err != nil {
				n.cfg.Log.Debug("hand over", "err", err)
			}
		case succeeded && waited > handOverWithin, waited > handOverAtMost:
			return
		}
		if !pause(ctx, retryPause) {
			return
		}
	}
}
