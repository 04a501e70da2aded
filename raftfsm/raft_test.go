package raftfsm

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// A single node makes a cluster, creates something, stops and starts again. What it acknowledged is there before it
// leads, because it remembered what was committed, and it leads without waiting for anybody.
func TestOpen_RestartReplaysWhatWasAcknowledged(t *testing.T) {
	synctest.Test(t, openRestartReplaysWhatWasAcknowledged)
}

func openRestartReplaysWhatWasAcknowledged(t *testing.T) {
	l := newLab(t)
	r := l.found()
	for i := range 20 {
		l.must(r, project(i))
	}
	before := r.View()
	l.stop(r)

	l.stop(l.open(1)) // once too often and too briefly to learn anything
	start := time.Now()
	r = l.open(1)
	if got := r.View().Index(); got < before.Index()-1 {
		t.Errorf("opened at index %d; %d was known to be committed", got, before.Index()-1)
	}
	l.wait("it leads", r.IsLeader)
	if took := time.Since(start); took > time.Second {
		t.Errorf("the only voter took %v to lead; it has nobody to wait for", took)
	}
	if got := r.View(); got.Index() != before.Index() || got.Hash() != before.Hash() {
		t.Errorf("index %d after the restart, %d before; equal states: %t", got.Index(), before.Index(), got.Hash() == before.Hash())
	}
}

// Three nodes agree: whoever applied the same entries has the same state, and a member that did not propose sees the
// change soon after, not only with the next one.
func TestPropose_EveryReplicaHasTheSameHashAtTheSameIndex(t *testing.T) {
	synctest.Test(t, proposeEveryReplicaHasTheSameHashAtTheSameIndex)
}

func proposeEveryReplicaHasTheSameHashAtTheSameIndex(t *testing.T) {
	l := newLab(t)
	leader := l.grow(3)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { l.must(leader, project(i)) })
	}
	wg.Wait()
	l.same()
	for i := range 100 {
		if !hasProject(l.all()[2].View(), i) {
			t.Fatalf("project %d is missing on a follower", i)
		}
	}
}

// A hundred requests are under way when the leader loses its power. Every one that was acknowledged is there
// afterwards, and repeating the others under their request IDs makes each exactly once.
func TestPropose_LeaderKilledDuringHundredCreatesEveryAckHonoured(t *testing.T) {
	synctest.Test(t, proposeLeaderKilledDuringHundredCreatesEveryAckHonoured)
}

func proposeLeaderKilledDuringHundredCreatesEveryAckHonoured(t *testing.T) {
	l := newLab(t)
	leader := l.grow(3)
	var mu sync.Mutex
	acked := map[int]bool{}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * time.Millisecond)
			res, err := leader.Propose(context.Background(), project(i))
			if err == nil && res.Err == nil {
				mu.Lock()
				acked[i] = true
				mu.Unlock()
			} else if err != nil && cluster.CodeOf(err) != cluster.Unavailable {
				t.Errorf("create %d: code %s: %v", i, cluster.CodeOf(err), err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond) // half have asked
	l.stop(leader)
	wg.Wait()

	next := l.leader()
	if len(acked) == 0 || len(acked) == 100 {
		t.Fatalf("%d of 100 were acknowledged by the first leader: it was not killed during them", len(acked))
	}
	for i := range 100 {
		if acked[i] && !hasProject(next.View(), i) {
			t.Errorf("project %d was acknowledged and is gone", i)
		}
	}
	for i := range 100 {
		l.must(next, project(i)) // refused as a duplicate, were the request not remembered
	}
	l.open(1)
	l.same()
}

// The leader's links are cut. It must not acknowledge anything, answers within five seconds, and its read barrier
// fails. The others elect a leader and go on, and after the cut heals all states are equal.
func TestPropose_PartitionedLeaderRefusesWithin5s(t *testing.T) {
	synctest.Test(t, proposePartitionedLeaderRefusesWithin5s)
}

func proposePartitionedLeaderRefusesWithin5s(t *testing.T) {
	l := newLab(t)
	old := l.grow(3)
	l.net.Isolate(old.addr, nodeAddr(2), nodeAddr(3))
	start := time.Now()
	_, err := old.Propose(context.Background(), project(1))
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the answer took %v", took)
	}
	if cluster.CodeOf(err) != cluster.Unavailable || !errors.Is(err, ErrUnknownOutcome) && !isNotApplied(err) {
		t.Errorf("a leader without a majority answered %v", err)
	}
	if _, err := old.Barrier(context.Background()); !isNotApplied(err) {
		t.Errorf("a leader without a majority gave a read barrier: %v", err)
	}
	others := []*replica{l.all()[1], l.all()[2]}
	next := l.leader(others...)
	l.must(next, project(2))
	l.net.HealAll()
	l.same()
	if !hasProject(old.View(), 2) {
		t.Error("the old leader does not have what the new one acknowledged")
	}
	if _, err := old.Propose(context.Background(), project(3)); err != nil {
		var elsewhere *NotLeaderError
		if !errors.As(err, &elsewhere) || elsewhere.Leader.ID != next.id {
			t.Errorf("the old leader does not say who leads now: %v", err)
		}
	}
}

// A leader hangs in its disk while it is cut off, so it cannot step down and still thinks that it leads. The others
// elect another and acknowledge a change. A read barrier of the first must not allow a read without that change.
func TestBarrier_DeposedLeaderFails(t *testing.T) { synctest.Test(t, barrierDeposedLeaderFails) }

func barrierDeposedLeaderFails(t *testing.T) {
	l := newLab(t)
	var stalled atomic.Bool
	thaw := make(chan struct{})
	l.tune = func(n int, c *Config) {
		if n == 1 {
			c.seams.wrapStore = func(s boltStore) boltStore {
				return frozen{s, func() {
					if stalled.Load() {
						<-thaw
					}
				}}
			}
		}
	}
	old := l.grow(3)
	l.net.Isolate(old.addr, nodeAddr(2), nodeAddr(3))
	stalled.Store(true)
	go func() { _, _ = old.Propose(context.Background(), project(1)) }()
	next := l.leader(l.all()[1], l.all()[2])
	l.must(next, project(2))
	if !old.IsLeader() {
		t.Fatal("the first leader knows that it is deposed: the test tests nothing")
	}
	for _, thawed := range []bool{false, true} {
		if thawed {
			close(thaw)
		}
		if index, err := old.Barrier(context.Background()); err == nil {
			t.Errorf("the deposed leader (disk back: %t) allows reads at %d; %d is acknowledged", thawed, index, next.View().Index())
		} else if !isNotApplied(err) {
			t.Error(err)
		}
	}
}

// All three nodes lose their power and come back in another order, one of them late. Everything acknowledged is there,
// and the cluster serves as soon as two are back.
func TestOpen_PowerLossOfAllNodesLosesNothing(t *testing.T) {
	synctest.Test(t, powerLossOfAllNodesLosesNothing)
}

func powerLossOfAllNodesLosesNothing(t *testing.T) {
	l := newLab(t)
	leader := l.grow(3)
	for i := range 50 {
		l.must(leader, project(i))
	}
	for _, r := range l.all() {
		l.stop(r)
	}
	third, second := l.open(3), l.open(2)
	next := l.leader(third, second)
	for i := range 50 {
		if !hasProject(next.View(), i) {
			t.Errorf("project %d was acknowledged and is gone", i)
		}
	}
	l.must(next, project(50))
	l.open(1)
	l.same()
}

// A member asks the leader for a barrier and waits for it: it then sees what the leader acknowledged, even when the
// newest entry of the log is not a command.
func TestBarrier_FollowerSeesWhatWasAcknowledgedBefore(t *testing.T) {
	synctest.Test(t, barrierFollowerSeesWhatWasAcknowledgedBefore)
}

func barrierFollowerSeesWhatWasAcknowledgedBefore(t *testing.T) {
	l := newLab(t)
	leader := l.grow(3)
	follower := l.all()[1]
	for i := range 30 {
		l.must(leader, project(i))
		index, err := leader.Barrier(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if err := follower.WaitApplied(context.Background(), index); err != nil {
			t.Fatal(err)
		}
		if !hasProject(follower.View(), i) {
			t.Fatalf("project %d was acknowledged before the barrier and is not seen after it", i)
		}
	}
	if err := leader.Transfer(context.Background()); err != nil {
		t.Fatal(err)
	}
	next := l.leader(l.all()[1:]...) // the first may still be about to hear that it does not lead any more
	index, err := next.Barrier(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := leader.WaitApplied(ctx, index); err != nil {
		t.Errorf("after an election the barrier's index %d does not come to view: %v", index, err)
	}
}

// An entry is committed, and a follower shows it already, while the leader itself has not applied it. A barrier taken
// now must wait for it, or of two reads, one after the other, the second could see less.
func TestBarrier_WaitsForWhatIsCommittedAndNotYetApplied(t *testing.T) {
	synctest.Test(t, waitsForWhatIsCommittedAndNotYetApplied)
}

func waitsForWhatIsCommittedAndNotYetApplied(t *testing.T) {
	l := newLab(t)
	leader := l.grow(3)
	time.Sleep(5 * time.Second) // until the last change of the voters is committed
	before := leader.fsm.latest.Load()
	l.must(leader, project(1))
	after := leader.fsm.latest.Load()
	leader.fsm.publish(before.view, before.seen) // as if it were slow
	done := make(chan uint64, 1)
	go func() {
		index, err := leader.Barrier(context.Background())
		if err != nil {
			t.Error(err)
		}
		done <- index
	}()
	time.Sleep(time.Second)
	select {
	case index := <-done:
		t.Errorf("the barrier allows reads at %d; %d is committed", index, after.seen)
	default:
		leader.fsm.publish(after.view, after.seen)
		if index := <-done; index != after.view.Index() {
			t.Errorf("the barrier gives %d, not %d", index, after.view.Index())
		}
	}
}

// A cluster is made once. A directory that holds anything is left alone.
func TestBootstrap_TwiceIsRefused(t *testing.T) {
	l := newLab(t)
	r := l.found()
	l.must(r, project(1))
	l.stop(r)
	cfg, _ := l.config(1)
	if err := Bootstrap(cfg, firstOf(1)); !errors.Is(err, ErrExists) {
		t.Errorf("bootstrap over a cluster: %v", err)
	}
	r = l.open(1)
	l.wait("the cluster is still there", func() bool { return hasProject(r.View(), 1) })
}

// The first command is bad. There is no cluster then, and a good one may follow.
func TestBootstrap_RefusedCommandLeavesNothing(t *testing.T) {
	l := newLab(t)
	cfg, _ := l.config(1)
	bad := firstOf(1)
	bad.Op.(*cluster.InitCluster).Roles = nil
	if err := Bootstrap(cfg, bad); cluster.CodeOf(err) != cluster.Invalid {
		t.Errorf("bootstrap without roles: %v", err)
	}
	if err := Bootstrap(cfg, firstOf(1)); err != nil {
		t.Error(err)
	}
}

// Two processes are started on one directory. The second says so at once.
func TestOpen_DirectoryInUseIsRefused(t *testing.T) {
	l := newLab(t)
	l.found()
	cfg, _ := l.config(1)
	cfg.Stream = l.net.Listen("192.0.2.99:7443")
	if _, err := Open(cfg); err == nil {
		t.Fatal("two replicas share a log")
	} else {
		t.Log(err)
	}
}

// A proposal is larger than a command may be, and another cannot be encoded. Neither reaches the log.
func TestPropose_BadCommandsAreRefusedBeforeTheLog(t *testing.T) {
	l := newLab(t)
	r := l.found()
	before := r.Stats().Last
	huge := project(1)
	huge.Op.(*cluster.PutProject).Project.Description = string(make([]byte, cluster.MaxCommandBytes+1))
	if _, err := r.Propose(context.Background(), huge); cluster.CodeOf(err) != cluster.TooLarge {
		t.Errorf("a huge command: %v", err)
	}
	if _, err := r.Propose(context.Background(), cluster.Command{Time: now}); err == nil {
		t.Error("a command without an op was accepted")
	}
	if after := r.Stats().Last; after != before {
		t.Errorf("the log went from %d to %d", before, after)
	}
}

// The proposer gives up before its command is in an entry: nothing happened, and it is told so.
func TestPropose_CancelledBeforeItsEntryIsKnownNotApplied(t *testing.T) {
	l := newLab(t)
	r := l.found()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Propose(ctx, project(1)); !isNotApplied(err) && !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("a cancelled proposal: %v", err)
	}
}

// Nobody leads on a member that was never added to a cluster.
func TestOpen_EmptyMemberServesNothing(t *testing.T) { synctest.Test(t, openEmptyMemberServesNothing) }

func openEmptyMemberServesNothing(t *testing.T) {
	l := newLab(t)
	r := l.open(1)
	time.Sleep(time.Second)
	_, err := r.Propose(context.Background(), project(1))
	var elsewhere *NotLeaderError
	if !errors.As(err, &elsewhere) || elsewhere.Leader.ID != "" {
		t.Errorf("propose on an empty member: %v", err)
	}
	if _, err := r.Barrier(context.Background()); !isNotApplied(err) {
		t.Errorf("barrier on an empty member: %v", err)
	}
	if r.View().Index() != 0 || r.Stats().Term != 0 {
		t.Errorf("an empty member made itself a cluster: index %d, term %d", r.View().Index(), r.Stats().Term)
	}
}
