package raftfsm

import (
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// askAgain is for how long after the first attempt a question is asked once more.
const askAgain = 250 * time.Millisecond

// RequestVote implements raft.Transport.
func (t *transport) RequestVote(id raft.ServerID, to raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return overLiveConn(func() error { return t.NetworkTransport.RequestVote(id, to, req, resp) })
}

// RequestPreVote implements raft.WithPreVote.
func (t *transport) RequestPreVote(id raft.ServerID, to raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return overLiveConn(func() error { return t.NetworkTransport.RequestPreVote(id, to, req, resp) })
}

// overLiveConn asks once more when a question fails at once although the peer can be connected to: the connections that the transport has kept
// are broken when the peer was restarted, which only shows when they are used, and an election would be lost for that. A vote may be asked for
// twice: who has given it gives it again.
func overLiveConn(ask func() error) (err error) {
	var away *awayError
	began := time.Now()
	for range connsPerPeer + 1 {
		if err = ask(); err == nil || errors.As(err, &away) || time.Since(began) > askAgain {
			return err
		}
	}
	return err
}
