package raftfsm

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// The log was cut behind a snapshot before the fourth node joins. It gets the snapshot and then follows.
func TestAddMember_LateJoinerInstallsASnapshot(t *testing.T) {
	synctest.Test(t, lateJoinerInstallsASnapshot)
}

func lateJoinerInstallsASnapshot(t *testing.T) {
	l := newLab(t)
	l.seams = seams{snapEvery: 30, trailing: 5, snapCheck: 100 * time.Millisecond}
	leader := l.grow(3)
	for i := range 100 {
		l.must(leader, project(i))
		time.Sleep(10 * time.Millisecond)
	}
	if leader.Stats().Snapshot == 0 {
		t.Fatal("no snapshot was taken")
	}
	late := l.join(leader, 4)
	l.same()
	if late.Stats().Snapshot == 0 {
		t.Error("the late joiner has no snapshot: it was sent the log")
	}
	l.must(leader, project(100))
	l.same()

	// It restarts from that snapshot and the log behind it, and has the same state.
	l.stop(late)
	l.open(4)
	l.must(leader, project(101))
	l.same()
}

// A node is removed while it runs. It may not disturb the others, nor come back.
func TestRemoveMember_RemovedNodeNeverVotesAgain(t *testing.T) {
	synctest.Test(t, removedNodeNeverVotesAgain)
}

func removedNodeNeverVotesAgain(t *testing.T) {
	l := newLab(t)
	leader := l.grow(4)
	gone := l.all()[1]
	l.must(leader, cluster.Command{Time: now, Op: &cluster.RemoveNode{ID: gone.id}})
	for range 2 { // twice is the same as once
		if err := leader.RemoveMember(context.Background(), gone.id); err != nil {
			t.Fatal(err)
		}
	}
	l.wait("the spare votes instead", func() bool { return voters(leader.Raft) == 3 })
	l.net.Reset(gone.addr)
	term := leader.Stats().Term
	time.Sleep(time.Minute)
	if !leader.IsLeader() || leader.Stats().Term != term {
		t.Errorf("the removed node caused an election: term %d, then %d", term, leader.Stats().Term)
	}
	if gone.IsLeader() {
		t.Error("the removed node leads")
	}
	if err := leader.AddMember(context.Background(), gone.id, gone.addr); cluster.CodeOf(err) != cluster.Conflict {
		t.Errorf("the removed node was added again: %v", err)
	}
	l.must(leader, project(1))
	if hasProject(gone.View(), 1) {
		t.Error("the removed node still gets the log")
	}
}

// The leader is asked to remove itself. It hands over, and its successor can remove it.
func TestRemoveMember_LeaderHandsOverFirst(t *testing.T) { synctest.Test(t, leaderHandsOverFirst) }

func leaderHandsOverFirst(t *testing.T) {
	l := newLab(t)
	old := l.grow(4)
	if err := old.RemoveMember(context.Background(), old.id); !isNotApplied(err) {
		t.Fatalf("the leader removed itself: %v", err)
	}
	next := l.leader(l.all()[1:]...)
	if err := next.RemoveMember(context.Background(), old.id); err != nil {
		t.Fatal(err)
	}
	l.must(next, project(1))
}

// The leader's node is removed from the cluster. It may not vote any more, so it hands over by itself, and whoever
// leads then can take the log from it.
func TestRemoveNode_LeaderThatWasRemovedHandsOver(t *testing.T) {
	synctest.Test(t, leaderThatWasRemovedHandsOver)
}

func leaderThatWasRemovedHandsOver(t *testing.T) {
	l := newLab(t)
	old := l.grow(4)
	l.must(old, cluster.Command{Time: now, Op: &cluster.RemoveNode{ID: old.id}})
	next := l.leader(l.all()[1:]...)
	if err := next.RemoveMember(context.Background(), old.id); err != nil {
		t.Fatal(err)
	}
	l.must(next, project(1))
	if n := len(next.Members()); n != 3 {
		t.Errorf("%d members are left", n)
	}
}

// One of three nodes is dead and the operator removes a second, healthy one. The last could not go on alone.
func TestRemoveMember_LastHealthyMajorityIsKept(t *testing.T) {
	synctest.Test(t, lastHealthyMajorityIsKept)
}

func lastHealthyMajorityIsKept(t *testing.T) {
	l := newLab(t)
	leader := l.grow(3)
	second, third := l.all()[1], l.all()[2]
	l.stop(third)
	time.Sleep(10 * time.Second)
	if err := leader.RemoveMember(context.Background(), second.id); cluster.CodeOf(err) != cluster.Conflict {
		t.Errorf("a healthy voter was removed beside a dead one: %v", err)
	}
	if err := leader.RemoveMember(context.Background(), third.id); err != nil {
		t.Errorf("the dead voter was not removed: %v", err)
	}
	l.must(leader, project(1))
}

// A voter dies for good. A spare gets its vote within half a minute, the cluster then survives another death, and
// the dead node stays a member.
func TestAutopilot_DeadVoterIsReplacedBySpare(t *testing.T) {
	synctest.Test(t, deadVoterIsReplacedBySpare)
}

func deadVoterIsReplacedBySpare(t *testing.T) {
	l := newLab(t)
	leader := l.grow(4)
	dead := l.all()[2]
	l.stop(dead)
	spare := nodeID(4)
	l.wait("the spare votes", func() bool {
		votes := map[cluster.NodeID]bool{}
		for _, m := range leader.Members() {
			votes[m.ID] = m.Voter
		}
		return votes[spare] && !votes[dead.id]
	})
	if n := len(leader.Members()); n != 4 {
		t.Errorf("%d members after a death, not 4", n)
	}
	l.stop(l.all()[1])
	l.must(leader, project(1))
}

// A node that is pinned never to vote joins two others, and then a fourth that may.
func TestAutopilot_PinnedNodeNeverVotes(t *testing.T) { synctest.Test(t, pinnedNodeNeverVotes) }

func pinnedNodeNeverVotes(t *testing.T) {
	l := newLab(t)
	leader := l.found()
	pinned := nodeRecord(2)
	pinned.Voter = cluster.VoterNever
	l.must(leader, enrolAs(pinned))
	l.open(2)
	if err := leader.AddMember(context.Background(), nodeID(2), nodeAddr(2)); err != nil {
		t.Fatal(err)
	}
	l.join(leader, 3)
	l.join(leader, 4)
	l.wait("the other three vote", func() bool { return voters(leader.Raft) == 3 })
	for _, m := range leader.Members() {
		if m.ID == pinned.ID && m.Voter {
			t.Error("the pinned node votes")
		}
		if !m.Healthy {
			t.Errorf("%s is not healthy", m.ID)
		}
	}
}

// Only the leader changes the members.
func TestAddMember_OnAFollowerNamesTheLeader(t *testing.T) {
	synctest.Test(t, onAFollowerNamesTheLeader)
}

func onAFollowerNamesTheLeader(t *testing.T) {
	l := newLab(t)
	leader := l.grow(3)
	follower := l.all()[1]
	err := follower.AddMember(context.Background(), nodeID(9), nodeAddr(9))
	var elsewhere *NotLeaderError
	if !errors.As(err, &elsewhere) || elsewhere.Leader != (Peer{leader.id, leader.addr}) {
		t.Errorf("a follower answered %v", err)
	}
	if elsewhere != nil && cluster.CodeOf(err) != cluster.Unavailable {
		t.Errorf("its code is %s", cluster.CodeOf(err))
	}
}

// A term's work runs while the node leads and has ended before the next term's begins; its context ends with the term.
func TestOnLead_RunsOncePerTerm(t *testing.T) { synctest.Test(t, runsOncePerTerm) }

func runsOncePerTerm(t *testing.T) {
	l := newLab(t)
	running := make(chan cluster.NodeID, 100)
	ended := make(chan cluster.NodeID, 100)
	l.tune = func(_ int, c *Config) {
		id := c.ID
		c.OnLead = func(ctx context.Context) {
			running <- id
			<-ctx.Done()
			ended <- id
		}
	}
	first := l.grow(3)
	if got := <-running; got != first.id {
		t.Errorf("%s leads first", got)
	}
	if err := first.Transfer(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := <-ended; got != first.id {
		t.Errorf("the term of %s ended", got)
	}
	if got := <-running; got == first.id {
		t.Error("the leader handed over to itself")
	}
}

// An instance's node hears of a commit at once: not only when the leader repeats its commit index.
func TestNotice_FollowersSeeACommitWithoutWaiting(t *testing.T) {
	synctest.Test(t, followersSeeACommitWithoutWaiting)
}

func followersSeeACommitWithoutWaiting(t *testing.T) {
	l := newLab(t)
	l.tune = func(_ int, c *Config) { c.Timing.Commit = 800 * time.Millisecond }
	leader := l.grow(3)
	time.Sleep(5 * time.Second)
	for i := range 10 {
		res := l.must(leader, project(i))
		start := time.Now()
		for _, r := range l.all() {
			if err := r.WaitApplied(context.Background(), res.Index); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took > 20*time.Millisecond {
			t.Errorf("change %d was seen everywhere only after %v", i, took)
		}
		time.Sleep(time.Second)
	}
}
