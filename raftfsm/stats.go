package raftfsm

import (
	"strconv"
	"time"
)

// Stats are figures about this replica.
type Stats struct {
	Applied  uint64 // index of the newest view
	Commit   uint64 // newest index that is known to be committed
	Last     uint64 // newest index in the log
	Snapshot uint64 // index of the newest snapshot
	Term     uint64

	// Contact is when this follower last heard of the leader. Zero: never.
	Contact time.Time

	Syncs    uint64        // fdatasync calls for the log since Open
	SyncTime time.Duration // of the leader's last trial write
	LogBytes int64         // size of the log's file
}

// Stats gives figures about this replica.
func (r *Raft) Stats() Stats {
	return Stats{
		Applied:  r.View().Index(),
		Commit:   r.raft.CommitIndex(),
		Last:     r.raft.LastIndex(),
		Snapshot: r.stat("last_snapshot_index"),
		Term:     r.raft.CurrentTerm(),
		Contact:  r.raft.LastContact(),
		Syncs:    r.disk.log.syncs.Load(),
		SyncTime: time.Duration(r.canary.took.Load()),
		LogBytes: r.disk.logBytes(r.cfg.Dir),
	}
}

// stat is a figure that raft gives only as text.
func (r *Raft) stat(name string) uint64 {
	n, err := strconv.ParseUint(r.raft.Stats()[name], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
