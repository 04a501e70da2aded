package raftfsm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kilonova/kilonova/cluster"
)

// brittle is a disk whose writes fail while broken is set.
type brittle struct {
	boltStore
	broken *atomic.Bool
}

func (b brittle) SetUint64(key []byte, val uint64) error {
	if b.broken.Load() {
		return syscall.EIO
	}
	return b.boltStore.SetUint64(key, val)
}

func (b brittle) StoreLogs(logs []*raft.Log) error {
	if b.broken.Load() {
		return syscall.EIO
	}
	return b.boltStore.StoreLogs(logs)
}

// One fsync of the log fails on the only node, and the next would work again. The node acknowledges nothing more,
// says why, and is whole again after a restart.
func TestFault_FsyncErrorIsFatal(t *testing.T) { synctest.Test(t, fsyncErrorIsFatal) }

func fsyncErrorIsFatal(t *testing.T) {
	l := newLab(t)
	var broken atomic.Bool
	l.seams.wrapStore = func(s boltStore) boltStore { return brittle{s, &broken} }
	r := l.found()
	l.must(r, project(1))

	broken.Store(true)
	if _, err := r.Propose(context.Background(), project(2)); cluster.CodeOf(err) != cluster.Unavailable {
		t.Errorf("a change that the disk did not take: %v", err)
	}
	broken.Store(false)
	if err := <-r.fatal; !errors.Is(err, syscall.EIO) {
		t.Errorf("the node died of %v", err)
	}
	if _, err := r.Propose(context.Background(), project(3)); !isNotApplied(err) {
		t.Errorf("a node with a failed disk answered %v", err)
	}
	if _, err := r.Barrier(context.Background()); err == nil {
		t.Error("a node with a failed disk gave a read barrier")
	}
	time.Sleep(time.Minute) // raft would stand for election and panic, for it cannot store its term
	l.stop(r)
	r = l.open(1)
	l.wait("it leads again", r.IsLeader)
	if !hasProject(r.View(), 1) || hasProject(r.View(), 3) {
		t.Error("after the restart the state is not what was acknowledged")
	}
	l.must(r, project(4))
}

// The term of a leader ends for a follower whose disk cannot store the next one. It stops, and does not panic.
func TestFault_TermThatCannotBeStoredStopsTheNode(t *testing.T) {
	synctest.Test(t, termThatCannotBeStoredStopsTheNode)
}

func termThatCannotBeStoredStopsTheNode(t *testing.T) {
	l := newLab(t)
	var broken atomic.Bool
	l.tune = func(n int, c *Config) {
		if n == 2 {
			c.seams.wrapStore = func(s boltStore) boltStore { return brittle{s, &broken} }
		}
	}
	leader := l.grow(3)
	second, third := l.all()[1], l.all()[2]
	broken.Store(true)
	l.net.Cut(leader.addr, third.addr)
	l.net.Cut(leader.addr, second.addr)
	if err := <-second.fatal; !errors.Is(err, syscall.EIO) {
		t.Errorf("the node died of %v", err)
	}
	l.net.HealAll()
	l.leader(leader, third)
}

// The disk of a follower fails. The other two go on.
func TestFault_FollowerWithFailedDiskStopsAlone(t *testing.T) {
	synctest.Test(t, followerWithFailedDiskStopsAlone)
}

func followerWithFailedDiskStopsAlone(t *testing.T) {
	l := newLab(t)
	var broken atomic.Bool
	l.tune = func(n int, c *Config) {
		if n == 2 {
			c.seams.wrapStore = func(s boltStore) boltStore { return brittle{s, &broken} }
		}
	}
	leader := l.grow(3)
	broken.Store(true)
	l.must(leader, project(1))
	if err := <-l.all()[1].fatal; !errors.Is(err, syscall.EIO) {
		t.Errorf("the node died of %v", err)
	}
	l.must(leader, project(2))
	time.Sleep(time.Minute)
	if l.all()[2].Err() != nil || leader.Err() != nil {
		t.Error("the failure of one disk spread")
	}
}

// An entry that no build can decode is committed. Every replica stops before it and says which entry it is; none
// skips it.
func TestFault_UndecodableEntryStopsEveryReplica(t *testing.T) {
	synctest.Test(t, undecodableEntryStopsEveryReplica)
}

func undecodableEntryStopsEveryReplica(t *testing.T) {
	l := newLab(t)
	leader := l.grow(3)
	l.must(leader, project(1))
	index := leader.View().Index()
	f := leader.raft.Apply([]byte("not an entry"), time.Second)
	_ = f.Error()
	for _, r := range l.all() {
		err := <-r.fatal
		if !errors.Is(err, cluster.ErrCorrupt) && !errors.Is(err, cluster.ErrUnknownCommand) ||
			!strings.Contains(err.Error(), "log entry") {
			t.Errorf("%s says: %v", r.id, err)
		}
		if got := r.View().Index(); got != index {
			t.Errorf("%s shows index %d after it stopped at %d", r.id, got, index)
		}
		if _, err := r.Propose(context.Background(), project(2)); !isNotApplied(err) {
			t.Errorf("%s answered %v after it stopped", r.id, err)
		}
	}
}

// A node that stopped at an undecodable entry is started again. It stops there again, however often.
func TestFault_UndecodableEntryIsNotSkippedByARestart(t *testing.T) {
	l := newLab(t)
	r := l.found()
	_ = r.raft.Apply([]byte("not an entry"), time.Second).Error()
	<-r.fatal
	before := r.View().Index()
	l.stop(r)
	for range 2 {
		cfg, fatal := l.config(1)
		cfg.Stream = l.net.Listen(cfg.Addr)
		r, err := Open(cfg)
		if err == nil { // the entry is not known to be committed until this node leads again
			err = <-fatal
			if got := r.View().Index(); got != before {
				t.Errorf("it shows index %d, not %d", got, before)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		if !errors.Is(err, cluster.ErrCorrupt) && !errors.Is(err, cluster.ErrUnknownCommand) {
			t.Errorf("started again: %v", err)
		}
	}
}

// A bit flips in an entry on disk while the node is down. It does not start, and names the entry.
func TestFault_FlippedBitInTheLogStopsTheNode(t *testing.T) {
	l := newLab(t)
	r := l.found()
	for i := range 5 {
		l.must(r, project(i))
	}
	l.stop(r)
	cfg, _ := l.config(1)
	damage(t, cfg, 6)
	cfg.Stream = l.net.Listen(cfg.Addr)
	if _, err := Open(cfg); !errors.Is(err, errCorrupt) || !strings.Contains(err.Error(), "log entry 6") {
		t.Errorf("opened a log with a flipped bit: %v", err)
	}
}

// A bit flips in the newest snapshot, and in the record about it. The node does not fall back to an older one.
func TestFault_FlippedBitInASnapshotStopsTheNode(t *testing.T) {
	for _, file := range []string{"state.bin", "meta.json"} {
		t.Run(file, func(t *testing.T) { flippedBitInASnapshot(t, file) })
	}
}

func flippedBitInASnapshot(t *testing.T, file string) {
	l := newLab(t)
	r := l.found()
	for i := range 2 {
		l.must(r, project(i))
		if err := r.raft.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
	}
	l.stop(r)
	found, err := filepath.Glob(filepath.Join(r.dir, snapshotDir, "*", file))
	if err != nil || len(found) != 2 {
		t.Fatalf("snapshots: %v, %v", found, err)
	}
	newest := found[1]
	b, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if err := os.WriteFile(newest, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _ := l.config(1)
	cfg.Stream = l.net.Listen(cfg.Addr)
	if r, err := Open(cfg); err == nil {
		t.Errorf("opened with a corrupt %s, at index %d", file, r.View().Index())
		_ = r.Close()
	} else {
		t.Log(err)
	}
}

// The disk of the leader hangs: writes neither fail nor end, so its heartbeats go on. Another node takes over, and
// when the disk comes back the old leader follows.
func TestCanary_StalledDiskHandsOver(t *testing.T) { synctest.Test(t, stalledDiskHandsOver) }

func stalledDiskHandsOver(t *testing.T) {
	l := newLab(t)
	var stalled atomic.Bool
	thaw := make(chan struct{})
	end := sync.OnceFunc(func() { close(thaw) })
	defer end()
	l.tune = func(n int, c *Config) {
		if n != 1 {
			return
		}
		block := func() {
			if stalled.Load() {
				<-thaw
			}
		}
		c.seams.touch = func(path string) error { block(); return touch(path) }
		c.seams.wrapStore = func(s boltStore) boltStore { return frozen{s, block} }
	}
	old := l.grow(3)
	stalled.Store(true)
	start := time.Now()
	go func() { _, _ = old.Propose(context.Background(), project(1)) }() // hangs in the disk
	next := l.leader(l.all()[1], l.all()[2])
	t.Logf("another node led after %v", time.Since(start))
	l.must(next, project(2))
	if _, err := old.Propose(context.Background(), project(3)); cluster.CodeOf(err) != cluster.Unavailable {
		t.Errorf("the stalled leader answered %v", err)
	}
	end()
	l.wait("the old leader follows", func() bool { p, ok := old.Leader(); return ok && p.ID == next.id })
	l.same()
}

// frozen is a disk whose writes may hang.
type frozen struct {
	boltStore
	block func()
}

func (f frozen) StoreLogs(logs []*raft.Log) error {
	f.block()
	return f.boltStore.StoreLogs(logs)
}
