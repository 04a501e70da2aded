package raftfsm

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/kilonova/kilonova/cluster"
)

// fsm applies committed entries to the State and publishes views. Raft calls it from one goroutine at a time.
type fsm struct {
	state  *cluster.State
	index  uint64 // of the last command entry in state
	fault  *fault
	latest atomic.Pointer[published]
}

// published is one step of the state's history.
type published struct {
	view    *cluster.View
	seen    uint64        // index of the last entry that raft showed us, whatever its type
	changed chan struct{} // closed when there is a later step
}

func newFSM(f *fault) *fsm {
	m := &fsm{state: cluster.NewState(), fault: f}
	m.latest.Store(&published{view: m.state.View(), changed: make(chan struct{})})
	return m
}

func (m *fsm) publish(view *cluster.View, seen uint64) {
	old := m.latest.Swap(&published{view: view, seen: seen, changed: make(chan struct{})})
	close(old.changed)
}

// Apply implements raft.FSM.
func (m *fsm) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM. The answer to a command entry is a []cluster.Result, or an error when
// this replica has stopped: then nothing is applied any more, for skipping an entry would let replicas part.
func (m *fsm) ApplyBatch(logs []*raft.Log) []any {
	answers := make([]any, len(logs))
	applied := false
	for i, l := range logs {
		if err := m.fault.get(); err != nil {
			answers[i] = err
			continue
		}
		if l.Type != raft.LogCommand || l.Index <= m.index {
			continue // nothing to do, or done by replay
		}
		results, err := m.apply(l)
		if err != nil {
			err = fmt.Errorf("apply log entry %d of term %d: %w", l.Index, l.Term, err)
			m.fault.fail(err)
			answers[i] = err
			continue
		}
		answers[i], applied, m.index = results, true, l.Index
	}
	switch {
	case m.fault.get() != nil:
	case applied:
		m.publish(m.state.View(), logs[len(logs)-1].Index)
	case len(logs) > 0:
		m.publish(m.latest.Load().view, logs[len(logs)-1].Index)
	}
	return answers
}

func (m *fsm) apply(l *raft.Log) ([]cluster.Result, error) {
	commands, err := cluster.DecodeEntry(l.Data)
	if err != nil {
		return nil, err
	}
	return m.state.Apply(l.Index, commands)
}

// Snapshot implements raft.FSM. It takes what is published: nothing is copied.
func (m *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if err := m.fault.get(); err != nil {
		return nil, err
	}
	return snapshot{m.latest.Load().view}, nil
}

// Restore implements raft.FSM. A snapshot that cannot be read ends this replica. One that is older than the state,
// which replay may have brought beyond it, changes nothing. Raft closes r.
func (m *fsm) Restore(r io.ReadCloser) error {
	state, err := cluster.ReadState(r)
	if err != nil {
		err = fmt.Errorf("read snapshot: %w", err)
		m.fault.fail(err)
		return err
	}
	view := state.View()
	if view.Index() < m.index {
		return nil
	}
	m.state, m.index = state, view.Index()
	m.publish(view, view.Index())
	return nil
}

// snapshot is a view on its way to the disk.
type snapshot struct{ view *cluster.View }

// Persist implements raft.FSMSnapshot.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := s.view.WriteTo(sink); err != nil {
		return errors.Join(fmt.Errorf("write snapshot at %d: %w", s.view.Index(), err), sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("write snapshot at %d: %w", s.view.Index(), err)
	}
	return nil
}

// Release implements raft.FSMSnapshot.
func (s snapshot) Release() {}
