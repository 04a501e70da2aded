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

	// One that stands has this long to be elected before the next one does.
	candidacy = 2 * successionGap
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
		if _, later, _ := r.following(); later != term && !r.trans.stream.pause(candidacy) {
			return // the one that is faster got its time
		}
		if now, _, _ := r.following(); now != leader && now.ID != "" || r.raft.State() != raft.Follower {
			continue
		}
		r.cfg.Log.Info("raft: the leader's process has ended; this node stands for election", "leader", leader.ID)
		r.trans.stand()
	}
}

// listen has raft look whether it still has a leader as soon as that has been silent for too long. By itself raft looks once in one
// to two times Heartbeat, so that it finds out after up to three times. Whether others hear the leader is asked as always.
func (r *Raft) listen() {
	for wait := r.cfg.Timing.Heartbeat; r.trans.stream.pause(wait); {
		wait = r.cfg.Timing.Heartbeat
		leader, _, follows := r.following()
		if !follows {
			continue
		}
		if left := time.Until(r.raft.LastContact().Add(wait + r.turn(leader.ID))); left > 0 {
			wait = left
		} else {
			r.lookNow()
		}
	}
}

// lookNow has a follower look whether its leader is still heard of: a shorter heartbeat makes raft do so.
func (r *Raft) lookNow() {
	timing := r.raft.ReloadableConfig()
	for _, t := range []time.Duration{r.cfg.Timing.Heartbeat - 1, r.cfg.Timing.Heartbeat} {
		timing.HeartbeatTimeout = t
		if err := r.raft.ReloadConfig(timing); err != nil {
			r.cfg.Log.Debug("raft: look whether there is a leader", "err", err)
		}
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
