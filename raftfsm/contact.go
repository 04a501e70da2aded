package raftfsm

import (
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// contact is what a leader knows of a follower from its answers.
type contact struct {
	last time.Time // of the last answer in time

	// The follower's log is the leader's up to this entry.
	index, term uint64

	leaderTerm  uint64 // in which that was confirmed
	commitKnown uint64 // the commit index that it was told in that term
}

// contacts are the followers of this leader. It is safe for concurrent use.
type contacts struct {
	mu       sync.Mutex
	of       map[raft.ServerID]contact
	advanced func() // called when a follower has confirmed more
}

func newContacts(advanced func()) *contacts {
	return &contacts{of: map[raft.ServerID]contact{}, advanced: advanced}
}

// heard notes an answer of a follower.
func (c *contacts) heard(
	id raft.ServerID, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse, now time.Time,
) {
	if resp.Term > req.Term {
		return // it follows somebody else
	}
	if c.note(id, req, resp.Success, now) {
		c.advanced()
	}
}

// note is heard under the lock. It tells whether there may be something to tell the follower: it confirmed more than before, or is back.
func (c *contacts) note(id raft.ServerID, req *raft.AppendEntriesRequest, accepted bool, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.of[id]
	p.last = now
	more := p.commitKnown == 0 && p.index > 0 // it was away, and has to be told again
	if index, term := confirmed(req); accepted && index > 0 && req.Term >= p.leaderTerm {
		if req.Term > p.leaderTerm {
			p.index, p.commitKnown = 0, 0
		}
		if index > p.index {
			more = true
			p.index, p.term, p.leaderTerm = index, term, req.Term
		}
		p.commitKnown = max(p.commitKnown, min(req.LeaderCommitIndex, index))
	}
	c.of[id] = p
	return more
}

// lost notes that a follower could not be asked. If it was started anew, it has its log and does not know any more how much of it is
// committed.
func (c *contacts) lost(id raft.ServerID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.of[id]; ok {
		p.commitKnown = 0
		c.of[id] = p
	}
}

// confirmed is the last entry that a follower who accepts req has in common with the leader; 0 for a heartbeat,
// which says nothing about the log.
func confirmed(req *raft.AppendEntriesRequest) (index, term uint64) {
	if n := len(req.Entries); n > 0 {
		return req.Entries[n-1].Index, req.Entries[n-1].Term
	}
	return req.PrevLogEntry, req.PrevLogTerm
}

// snapshot copies what is known.
func (c *contacts) snapshot() map[raft.ServerID]contact {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.of)
}

// forget drops everything; a new term starts with no knowledge.
func (c *contacts) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.of)
}
