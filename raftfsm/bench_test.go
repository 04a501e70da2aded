package raftfsm

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kilonova/kilonova/cluster"
)

// manyInstances is how many a restarted node must know within a second.
const manyInstances = 10_000

// BenchmarkOpen_TenThousandInstances starts a node whose log holds that many creates, one entry each and no
// snapshot: the worst that the thresholds allow is less.
func BenchmarkOpen_TenThousandInstances(b *testing.B) {
	l := newLab(b)
	r := l.found()
	for _, op := range catalog() {
		c := token()
		c.Op = op
		l.must(r, c)
	}
	l.stop(r)
	want := appendCreates(b, l, manyInstances)
	for b.Loop() {
		r := l.open(1)
		for !r.IsLeader() {
			time.Sleep(time.Millisecond)
		}
		if got := r.View().Index(); got < want {
			b.Fatalf("index %d, not %d", got, want)
		}
		l.stop(r)
	}
}

// appendCreates writes committed entries of one create each into the log of node 1, which is not running, and
// gives the index of the last.
func appendCreates(b *testing.B, l *lab, count int) uint64 {
	b.Helper()
	cfg, _ := l.config(1)
	cfg, err := cfg.withDefaults()
	if err != nil {
		b.Fatal(err)
	}
	d, err := openDisk(cfg, newFault(cfg.OnFatal), func(time.Duration) {})
	if err != nil {
		b.Fatal(err)
	}
	last, err := d.log.LastIndex()
	var entry raft.Log
	if err := errors.Join(err, d.log.GetLog(last, &entry), d.log.StageCommitIndex(last+uint64(count))); err != nil {
		b.Fatal(err)
	}
	var logs []*raft.Log
	for n := range count {
		data, err := cluster.EncodeEntry([]cluster.Command{create(n)})
		if err != nil {
			b.Fatal(err)
		}
		logs = append(logs, &raft.Log{Index: last + 1 + uint64(n), Term: entry.Term, Type: raft.LogCommand, Data: data})
	}
	if err := errors.Join(d.log.StoreLogs(logs), d.close()); err != nil {
		b.Fatal(err)
	}
	return last + uint64(count)
}

// BenchmarkPropose_64Clients has three voters on one disk agree on creates, each a request of its own. It prints
// the leader's fdatasync calls per create beside what one costs here.
func BenchmarkPropose_64Clients(b *testing.B) { benchmarkPropose(b, 64) }

// BenchmarkPropose_1Client is the way of one create through an idle cluster.
func BenchmarkPropose_1Client(b *testing.B) { benchmarkPropose(b, 1) }

func benchmarkPropose(b *testing.B, clients int) {
	l := newLab(b)
	leader := l.grow(3)
	for _, op := range catalog() {
		c := token()
		c.Op = op
		l.must(leader, c)
	}
	before := leader.Stats().Syncs
	var n, made atomic.Int64
	n.Store(-1)
	b.ResetTimer()
	start := time.Now()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for int(n.Add(1)) < b.N {
				if res, err := leader.Propose(context.Background(), create(int(made.Add(1)))); err != nil || res.Err != nil {
					b.Errorf("create: %v, %v", err, res.Err)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/took.Seconds(), "creates/s")
	b.ReportMetric(float64(leader.Stats().Syncs-before)/float64(b.N), "fsyncs/create")
	b.ReportMetric(float64(measureSync(b).Microseconds()), "µs/fsync")
	l.same()
}

// measureSync is the median time of a small write with fsync on this disk.
func measureSync(b *testing.B) time.Duration {
	path := filepath.Join(b.TempDir(), "sync")
	var all []time.Duration
	for range 31 {
		start := time.Now()
		if err := touch(path); err != nil {
			b.Fatal(err)
		}
		all = append(all, time.Since(start))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
