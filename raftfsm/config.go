package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kilonova/kilonova/cluster"
)

// Limits.
const (
	// ProposeTimeout bounds Propose and Barrier when their context has no earlier deadline. It is longer than
	// a leader needs to notice that it lost its majority and short enough to answer a client within 5 s.
	ProposeTimeout = 4 * time.Second

	// maxQueued is how many proposals may wait for the next entry. At 1 KiB each it is 4 MiB.
	maxQueued = 4096

	// maxAppendEntries is how many entries one AppendEntries or one batch of the state machine holds. Group
	// commit keeps the entries few, so more would only let a lagging follower's requests grow.
	maxAppendEntries = 128

	// maxAppendBytes bounds the entries of one AppendEntries, so that a request that carries full entries
	// still fits through a slow link within rpcTimeout.
	maxAppendBytes = 2 << 20

	// logCacheEntries is how many recent entries stay in memory for followers.
	logCacheEntries = 128

	// A snapshot is taken when snapshotThreshold entries came since the last, looked at every
	// snapshotInterval to twice that. Replaying that many entries takes well below a second. As many stay after a
	// snapshot, so that a follower that was away for a while needs no snapshot.
	snapshotThreshold = 8192
	snapshotInterval  = 5 * time.Second

	// snapshotsKept is how many snapshots stay on disk.
	snapshotsKept = 2

	// rpcTimeout bounds one request to a peer; a snapshot gets as many times that as it has 256 KiB.
	rpcTimeout = 10 * time.Second

	// connsPerPeer is how many idle connections to one peer are kept.
	connsPerPeer = 3
)

// StreamLayer carries raft's connections. It must admit only peers of this cluster. Close of the listener must
// end a waiting Accept.
type StreamLayer interface {
	net.Listener

	// Dial connects to the peer port at addr, as Config.Addr of that peer names it.
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// Timing is how long silence is tolerated. Zero fields take the default.
//
// The defaults are half as long again as raft's own: on two cores that also run emulated guests a daemon may
// well not run for some hundred milliseconds, and an election that was not needed costs more than half a second
// of delay in one that was. A cut-off leader stops within Lease. Its followers look at once when Heartbeat is over (listen),
// one after the other, so that an outage ends after about 2 s and well within ProposeTimeout.
type Timing struct {
	Heartbeat time.Duration // a follower that heard nothing for this long stands for election; 1.5 s
	Election  time.Duration // a candidate without a majority starts again after this long (to twice that); 1.5 s
	Lease     time.Duration // a leader without a majority for this long steps down; 1 s
	Commit    time.Duration // an idle leader repeats its commit index this often (to twice that); 1 s
	DiskStall time.Duration // a leader whose disk does not finish a write for this long gives way; 3 s
}

func (t Timing) withDefaults() Timing {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&t.Heartbeat, 1500*time.Millisecond)
	set(&t.Election, t.Heartbeat)
	set(&t.Lease, t.Heartbeat*2/3)
	set(&t.Commit, time.Second) // the early commit notice has told it long before, and each repetition wakes the followers
	set(&t.DiskStall, 3*time.Second)
	return t
}

// Config is what Open and Bootstrap need.
type Config struct {
	ID     cluster.NodeID // this node
	Addr   string         // where peers reach this node, "ip:port"
	Dir    string         // holds the log and the snapshots; made when missing
	Stream StreamLayer    // owned by the Raft, which closes it; Bootstrap does not use it
	Log    *slog.Logger   // nil: discarded
	Timing Timing

	// SnapshotEvery is after how many entries of the log the next snapshot is taken; as many stay for followers
	// that were away. Fewer make the log smaller and late followers take snapshots sooner. 0: 8192.
	SnapshotEvery uint64

	// Metrics registers kilonova_raft_* collectors until Close. nil: none.
	Metrics prometheus.Registerer

	// OnLead runs while this node leads, once per term, after everything that earlier leaders acknowledged
	// was applied here. Its context ends with the term. The next term's call waits for it to return. nil: none.
	OnLead func(ctx context.Context)

	// OnFatal is told, once, why this replica has stopped for good. It runs on a goroutine of raft: it must
	// not block and must not call Close itself.
	OnFatal func(err error)

	seams seams
}

// seams are what tests put in place of the disk.
type seams struct {
	wrapStore func(boltStore) boltStore // the log's disk
	touch     func(path string) error   // the canary's write
	snapEvery uint64                    // SnapshotEvery
	snapCheck time.Duration             // snapshotInterval
	trailing  uint64                    // entries that stay after a snapshot
}

func (c Config) withDefaults() (Config, error) {
	if c.ID == "" || c.Dir == "" {
		return c, errors.New("open raft: the node ID and the directory must be set")
	}
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		return c, fmt.Errorf("open raft: address %q: %w", c.Addr, err)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.OnFatal == nil {
		c.OnFatal = func(error) {}
	}
	if c.seams.wrapStore == nil {
		c.seams.wrapStore = func(s boltStore) boltStore { return s }
	}
	if c.seams.touch == nil {
		c.seams.touch = touch
	}
	if c.SnapshotEvery == 0 {
		c.SnapshotEvery = snapshotThreshold
	}
	if c.seams.snapEvery == 0 {
		c.seams.snapEvery, c.seams.trailing = c.SnapshotEvery, c.SnapshotEvery
	}
	if c.seams.snapCheck == 0 {
		c.seams.snapCheck = snapshotInterval
	}
	c.Timing = c.Timing.withDefaults()
	return c, nil
}

// raftConfig is c in raft's words.
func (c Config) raftConfig(leading chan<- bool) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.ID)
	rc.HeartbeatTimeout = c.Timing.Heartbeat
	rc.ElectionTimeout = c.Timing.Election
	rc.LeaderLeaseTimeout = c.Timing.Lease
	rc.CommitTimeout = c.Timing.Commit
	rc.MaxAppendEntries = maxAppendEntries
	rc.SnapshotThreshold = c.seams.snapEvery
	rc.SnapshotInterval = c.seams.snapCheck
	rc.TrailingLogs = c.seams.trailing
	rc.NoLegacyTelemetry = true
	rc.NotifyCh = leading
	rc.Logger = newLogger(c.Log)

	// Raft tells the log what is committed; fsm.replay uses it, and has restored the snapshot too.
	rc.RestoreCommittedLogs = true
	rc.NoSnapshotRestoreOnStart = true

	// Off, since proposals are gathered before they reach raft. Its buffer can also strand a proposal at
	// shutdown without an answer.
	rc.BatchApplyCh = false

	// A removed leader becomes a follower that nobody hears; the node ends when it sees its removal in the
	// state. Shutting raft down under it would only hide why.
	rc.ShutdownOnRemove = false
	return rc
}
