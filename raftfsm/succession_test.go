package raftfsm

import (
	"context"
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

// The follower whose turn is first lacks what the killed leader acknowledged last. It stands in vain, and the next one does not
// take its attempt for a success.
func TestSuccession_WhoLacksEntriesKeepsNobodyBack(t *testing.T) {
	synctest.Test(t, whoLacksEntriesKeepsNobodyBack)
}

func whoLacksEntriesKeepsNobodyBack(t *testing.T) {
	l := newLab(t)
	leader := l.grow(3)
	late, other := l.all()[1], l.all()[2]
	l.net.SetDelay(5 * time.Millisecond)
	l.net.Cut(leader.addr, late.addr)
	l.must(leader, project(1))
	l.stop(leader)
	l.net.Heal(leader.addr, late.addr)
	start := time.Now()
	if next := l.leader(); next != other {
		t.Error("one leads that lacks an acknowledged entry")
	}
	if took := time.Since(start); took > soon {
		t.Errorf("the cluster had no leader for %v", took)
	}
	if _, ok := other.View().ProjectNamed("project 1"); !ok {
		t.Error("the last entry is lost")
	}
}

// The leader's machine falls silent, at any moment between two of raft's own looks. The others find that out as soon as it has been
// silent for too long, and do not wait for an answer from it any longer.
func TestSuccession_SilentLeaderIsReplacedInTime(t *testing.T) {
	synctest.Test(t, silentLeaderIsReplacedInTime)
}

func silentLeaderIsReplacedInTime(t *testing.T) {
	const inTime = 2500 * time.Millisecond // Heartbeat and all turns; raft alone needs up to three times Heartbeat
	l := newLab(t)
	l.net.SetDelay(time.Millisecond)
	l.grow(5)
	slow := 0
	for i := range 12 {
		leader := l.leader()
		var others []*replica
		for _, r := range l.all() {
			if r != leader {
				others = append(others, r)
			}
		}
		time.Sleep(5*time.Second + time.Duration(i)*237*time.Millisecond)
		named, until, known := others[0].LeaderUntil()
		if !known || named.ID != leader.id || until.Err() != nil {
			t.Fatalf("%v is named as the leader (%v), want %v", named.ID, until.Err(), leader.id)
		}
		for _, o := range others {
			l.net.Cut(leader.addr, o.addr)
		}
		start := time.Now()
		next := l.leader(others...)
		took := time.Since(start)
		t.Logf("after %v", took)
		if took > inTime {
			slow++
		}
		if until.Err() == nil {
			t.Error("what waits for the silent leader goes on waiting")
		}
		l.must(next, project(i))
		l.net.HealAll()
		l.wait("the old leader follows", func() bool { l, known := leader.Leader(); return known && l.ID != leader.id })
	}
	if slow > 2 { // votes that are split take another round
		t.Errorf("%d of 12 took longer than %v", slow, inTime)
	}
	l.same()
}

// Followers were restarted since they last spoke to each other, so that the connections which they kept are broken. That costs the
// next election nothing.
func TestSuccession_BrokenConnectionsCostNoElection(t *testing.T) {
	synctest.Test(t, brokenConnectionsCostNoElection)
}

func brokenConnectionsCostNoElection(t *testing.T) {
	l := newLab(t)
	l.grow(3)
	again := func(r *replica) {
		n := 0
		for n = 1; nodeID(n) != r.id; n++ {
		}
		l.open(n)
		l.wait("all vote", func() bool { return len(l.all()) == 3 && voters(l.leader().Raft) == 3 })
		time.Sleep(2 * time.Second)
	}
	for i := range 8 {
		for range 3 { // whoever has led keeps connections
			if err := l.leader().Transfer(context.Background()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		leader := l.leader()
		for _, r := range l.all() {
			if r != leader && r.id != l.all()[i%3].id {
				l.stop(r)
				again(r)
			}
		}
		l.must(leader, project(i))
		time.Sleep(time.Second + time.Duration(i)*41*time.Millisecond)
		l.stop(leader)
		start := time.Now()
		l.leader()
		if took := time.Since(start); took > soon {
			t.Errorf("election %d took %v", i, took)
		}
		again(leader)
	}
}
