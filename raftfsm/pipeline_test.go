package raftfsm

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A follower comes back at another address while the leader goes on committing. It gets everything there, and raft is not told of the
// address while it still sends to the old one: the race detector would see that.
func TestAddMember_AtAnotherAddress(t *testing.T) { synctest.Test(t, addMemberAtAnotherAddress) }

func addMemberAtAnotherAddress(t *testing.T) {
	l := newLab(t)
	leader := l.grow(3)
	moves := l.all()[2]
	l.tune = func(n int, c *Config) {
		if c.ID == moves.id {
			c.Addr = fmt.Sprintf("198.51.100.%d:7443", n)
		}
	}
	for i := range 3 {
		l.must(leader, project(i))
	}
	l.stop(moves)
	back := l.open(3)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	done := make(chan error)
	go func() { done <- leader.AddMember(ctx, back.id, "198.51.100.3:7443") }()
	for i := range 50 {
		l.must(leader, project(10+i))
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	l.same()
	if voters(leader.Raft) != 3 {
		t.Error("who has moved votes no more")
	}
	if len(leader.trans.pipes.barred) != 0 {
		t.Error("who has moved gets no pipeline any more")
	}
}
