package raftfsm

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/kilonova/kilonova/cluster"
)

// Errors of Propose, Barrier and the membership calls. All have the code cluster.Unavailable.
var (
	// ErrNotApplied: nothing happened and nothing will. The call may be repeated anywhere.
	ErrNotApplied = cluster.Errorf(cluster.Unavailable, "not done")

	// ErrUnknownOutcome: the command may have been applied, or may yet be. It may be repeated only under the
	// same request ID.
	ErrUnknownOutcome = cluster.Errorf(cluster.Unavailable, "the outcome is unknown")

	// ErrExists: Bootstrap found a cluster in the directory.
	ErrExists = cluster.Errorf(cluster.Conflict, "the directory holds a cluster already")
)

// NotLeaderError says that another node leads. It is an ErrNotApplied.
type NotLeaderError struct {
	Leader Peer // the zero Peer: nobody is known to lead
}

// Error says who leads.
func (e *NotLeaderError) Error() string {
	if e.Leader.ID == "" {
		return "no leader is known"
	}
	return fmt.Sprintf("node %s at %s leads", e.Leader.ID, e.Leader.Addr)
}

// Unwrap gives ErrNotApplied.
func (e *NotLeaderError) Unwrap() error { return ErrNotApplied }

// Peer is where a member is.
type Peer struct {
	ID   cluster.NodeID
	Addr string
}

// notApplied wraps the reason why nothing happened.
func notApplied(reason error) error { return fmt.Errorf("%w: %w", ErrNotApplied, reason) }

// unknown wraps the reason why it cannot be said what happened.
func unknown(reason error) error { return fmt.Errorf("%w: %w", ErrUnknownOutcome, reason) }

// translate says what an error of a raft future means for the entry or the change of members that it carried.
func (r *Raft) translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader):
		return r.notLeader()
	case errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return notApplied(err)
	default:
		return unknown(err)
	}
}

// notLeader names the leader as far as it is known, or nobody while this node itself is not ready.
func (r *Raft) notLeader() error {
	leader, ok := r.Leader()
	if !ok || leader.ID == r.cfg.ID {
		return &NotLeaderError{}
	}
	return &NotLeaderError{Leader: leader}
}
