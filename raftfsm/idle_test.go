package raftfsm

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// counted counts what is sent over the connections that it dials.
type counted struct {
	StreamLayer
	sent *atomic.Int64
}

func (c counted) Dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := c.StreamLayer.Dial(ctx, addr)
	return countedConn{conn, c.sent}, err
}

type countedConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c countedConn) Write(p []byte) (int, error) {
	c.sent.Add(1)
	return c.Conn.Write(p)
}

// Nobody wants anything of three nodes. Their leader sends heartbeats, which raft sends ten times in the time after which a follower would
// stand for election, and little else: each message wakes two processes.
func TestRaft_AnIdleLeaderSaysLittleButThatItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int64
		l := newLab(t)
		l.wrap = func(s StreamLayer) StreamLayer { return counted{s, &sent} }
		l.grow(3)
		time.Sleep(10 * time.Second)
		sent.Store(0)
		const minutes = 5
		time.Sleep(minutes * time.Minute)
		heartbeats := 2 * time.Minute / (l.all()[0].cfg.Timing.Heartbeat / 10) // at most, to two followers, a minute
		if got := sent.Load() / minutes; got > int64(heartbeats)*9/10 {
			t.Errorf("an idle cluster sends %d messages a minute, and %d heartbeats would be the most", got, heartbeats)
		} else {
			t.Logf("%d messages a minute", got)
		}
	})
}
