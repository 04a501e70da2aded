package raftfsm

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A node was down for minutes, as for maintenance of its machine. It must not wait for what it missed until the leader, which has
// knocked in vain all the time, finds it worth another try.
func TestTransport_ReturningNodeCatchesUpAtOnce(t *testing.T) {
	synctest.Test(t, returningNodeCatchesUpAtOnce)
}

func returningNodeCatchesUpAtOnce(t *testing.T) {
	l := newLab(t)
	leader := l.grow(3)
	slow := 0
	for i, away := range []time.Duration{time.Second, 10 * time.Second, time.Minute, 5 * time.Minute, 20 * time.Minute} {
		var gone *replica
		for _, r := range l.all() {
			if r.id != leader.id {
				gone = r
			}
		}
		l.stop(gone)
		time.Sleep(away)
		res := l.must(leader, project(i))
		back := l.open(3)
		start := time.Now()
		if err := back.WaitApplied(context.Background(), res.Index); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		t.Logf("after %v away: caught up in %v", away, took)
		if took > 2*dialRetry+50*time.Millisecond {
			slow++
		}
	}
	if slow > 1 { // the leader may just be pausing
		t.Errorf("%d of 5 returning nodes caught up late", slow)
	}
}

// A node was started anew and missed nothing. It cannot know that, and hears it from the leader's first messages: users of the node
// wait for it.
func TestNotice_RestartedNodeHearsWhatIsCommitted(t *testing.T) {
	synctest.Test(t, restartedNodeHearsWhatIsCommitted)
}

func restartedNodeHearsWhatIsCommitted(t *testing.T) {
	l := newLab(t)
	leader := l.grow(3)
	for i := range 5 {
		res := l.must(leader, project(i))
		time.Sleep(10 * time.Second)
		follower := l.all()[2]
		l.stop(follower)
		time.Sleep(300 * time.Millisecond)
		back := l.open(3)
		start := time.Now()
		if err := back.WaitApplied(context.Background(), res.Index); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 500*time.Millisecond { // a heartbeat comes at least every 300 ms
			t.Errorf("restart %d: the newest change is seen only after %v", i, took)
		}
	}
}
