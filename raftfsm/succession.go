package raftfsm

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// A leader whose process ends takes its connections and its listener along, and the kernel of its machine says so at once. Followers who
// learn that way that nobody leads them do not wait until the silence is as long as that of a machine that lost power.
const (
	// A follower that lost a connection asks whether its leader's process is there this often at most: the connection may end before the
	// listener does, or the answer be lost.
	obituaryTries = 20
	obituaryPause = 25 * time.Millisecond

	// Followers stand for election one after the other, so that their votes are not split. The later ones do only if the earlier
	// ones could not: their logs may be behind.
	successionGap = 150 * time.Millisecond
)

// succeed looks after each lost connection whether the leader's process is gone, and then stands for election.
func (r *Raft) succeed() {
	for {
		select {
		case <-r.trans.stream.ended:
		case <-r.trans.stream.ctx.Done():
			return
		}
		leader, term, follows := r.following()
		if !follows || !r.isGone(leader.Address) || !r.trans.stream.pause(r.turn(leader.ID)) {
			continue
		}
		if now, later, follows := r.following(); !follows || now != leader || later != term {
			continue // somebody was faster
		}
		r.cfg.Log.Info("raft: the leader's process has ended; this node stands for election", "leader", leader.ID)
		r.trans.stand()
	}
}

// following tells whom this node follows, if it could take that one's place.
func (r *Raft) following() (leader raft.Server, term uint64, follows bool) {
	leader.Address, leader.ID = r.raft.LeaderWithID()
	if leader.ID == "" || r.raft.State() != raft.Follower {
		return leader, 0, false
	}
	return leader, r.raft.CurrentTerm(), slices.ContainsFunc(r.configuration(), func(s raft.Server) bool {
		return s.ID == raft.ServerID(r.cfg.ID) && s.Suffrage == raft.Voter
	})
}

// isGone tells whether nobody listens where a node should, although its machine answers. All else proves nothing: a machine that does not
// answer may be cut off from this one alone. One that is heard of again is there.
func (r *Raft) isGone(node raft.ServerAddress) bool {
	lost := time.Now()
	for range obituaryTries {
		c, err := r.trans.stream.Dial(node, rpcTimeout)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return true
		case err == nil:
			_ = c.Close()
		case errors.Is(err, context.DeadlineExceeded):
			return false
		}
		if !r.trans.stream.pause(obituaryPause) || r.raft.LastContact().After(lost) {
			return false
		}
	}
	return false
}

// turn is how long this node lets the other voters go first.
func (r *Raft) turn(gone raft.ServerID) time.Duration {
	before := 0
	for _, s := range r.configuration() {
		if s.Suffrage == raft.Voter && s.ID != gone && strings.Compare(string(s.ID), r.self()) < 0 {
			before++
		}
	}
	return time.Duration(before) * successionGap
}

func (r *Raft) self() string { return string(r.cfg.ID) }
