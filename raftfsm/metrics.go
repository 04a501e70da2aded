package raftfsm

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the kilonova_raft_* collectors of one replica.
type metrics struct {
	to     prometheus.Registerer
	mine   []prometheus.Collector
	commit prometheus.Histogram
	batch  prometheus.Histogram
	write  prometheus.Histogram
}

func newMetrics(r *Raft) *metrics {
	const space, part = "kilonova", "raft"
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: space, Subsystem: part, Name: name, Help: help, Buckets: buckets,
		})
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: space, Subsystem: part, Name: name, Help: help,
		}, value)
	}
	seconds := prometheus.ExponentialBuckets(0.00025, 2, 16)
	m := &metrics{
		to:     r.cfg.Metrics,
		commit: histogram("commit_seconds", "From the start of an entry to its results, on the leader.", seconds),
		batch:  histogram("entry_commands", "Commands in one entry.", prometheus.ExponentialBuckets(1, 2, 12)),
		write:  histogram("write_seconds", "One write to the log's disk.", seconds),
	}
	m.mine = []prometheus.Collector{
		m.commit, m.batch, m.write,
		gauge("applied_index", "Index of the newest view.", func() float64 { return float64(r.View().Index()) }),
		gauge("commit_index", "Newest index known to be committed.", func() float64 { return float64(r.raft.CommitIndex()) }),
		gauge("leader", "1 while this node leads.", func() float64 {
			if r.IsLeader() {
				return 1
			}
			return 0
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: space, Subsystem: part, Name: "syncs_total", Help: "Calls of fdatasync for the log.",
		}, func() float64 { return float64(r.disk.log.syncs.Load()) }),
	}
	return m
}

// register makes the collectors public, which may be asked for values from then on.
func (m *metrics) register() error {
	if m.to == nil {
		return nil
	}
	for i, c := range m.mine {
		if err := m.to.Register(c); err != nil {
			m.mine = m.mine[:i]
			return fmt.Errorf("register raft metrics: %w", err)
		}
	}
	return nil
}

func (m *metrics) unregister() {
	if m.to == nil {
		return
	}
	for _, c := range m.mine {
		m.to.Unregister(c)
	}
}

func (m *metrics) wrote(took time.Duration) { m.write.Observe(took.Seconds()) }
