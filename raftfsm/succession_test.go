package raftfsm

import (
	"testing"
	"testing/synctest"
	"time"
)

// soon is how long a cluster may be without a leader whose process was killed.
const soon = 700 * time.Millisecond

// The process of the leader is killed, again and again. Its machine says so, and the others do not wait for the silence to grow long.
func TestSuccession_KilledLeaderIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, killedLeaderIsReplacedAtOnce)
}

func killedLeaderIsReplacedAtOnce(t *testing.T) {
	l := newLab(t)
	l.grow(5)
	for i := range 6 {
		leader := l.leader()
		l.must(leader, project(i))
		time.Sleep(3*time.Second + time.Duration(i)*37*time.Millisecond)
		l.stop(leader)
		start := time.Now()
		next := l.leader()
		took := time.Since(start)
		l.must(next, project(100+i))
		t.Logf("after %v", took)
		if took > soon {
			t.Errorf("the cluster had no leader for %v", took)
		}
		n := 0
		for n = 1; nodeID(n) != leader.id; n++ {
		}
		l.open(n)
		l.wait("all five are there", func() bool { return len(l.all()) == 5 && voters(next.Raft) == 5 })
		time.Sleep(5 * time.Second)
	}
	l.same()
}

// Every connection of the leader breaks, but it is there. Nobody takes its place.
func TestSuccession_LeaderThatListensStays(t *testing.T) { synctest.Test(t, leaderThatListensStays) }

func leaderThatListensStays(t *testing.T) {
	l := newLab(t)
	leader := l.grow(3)
	for range 5 {
		term := leader.raft.CurrentTerm()
		l.net.Reset(leader.addr)
		time.Sleep(2 * time.Second)
		if !leader.IsLeader() || leader.raft.CurrentTerm() != term {
			t.Fatal("another one leads, although the leader was there all the time")
		}
	}
}

// A follower's process is killed. The leader stays, and so does its term: the others have nobody to succeed.
func TestSuccession_KilledFollowerChangesNothing(t *testing.T) {
	synctest.Test(t, killedFollowerChangesNothing)
}

func killedFollowerChangesNothing(t *testing.T) {
	l := newLab(t)
	leader := l.grow(3)
	term := leader.raft.CurrentTerm()
	l.stop(l.all()[2])
	time.Sleep(10 * time.Second)
	if !leader.IsLeader() || leader.raft.CurrentTerm() != term {
		t.Error("another one leads")
	}
}
