package raftfsm

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kilonova/kilonova/cluster"
)

// currentTerm is the key under which raft keeps its term.
var currentTerm = []byte("CurrentTerm")

// Restore makes a cluster of one voter, cfg.ID, out of the state of another one. first is applied to that state, which is the caller's no
// longer, and what comes of it is the beginning of the new log: no replica ever sees the state without the command. It gives ErrExists when
// the directory holds anything, and the refusal when the state refuses first. After a crash in the middle the directory is as if it had not
// been called.
func Restore(cfg Config, state *cluster.State, first cluster.Command) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	view, err := applyFirst(state, first)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return establish(cfg, func(whole Config) error { return writeState(whole, view) })
}

// applyFirst applies a command to a state that nobody else has, as its next entry.
func applyFirst(state *cluster.State, c cluster.Command) (*cluster.View, error) {
	results, err := state.Apply(state.View().Index()+1, []cluster.Command{c})
	if err != nil {
		return nil, err
	}
	if refusal := results[0].Err; refusal != nil {
		return nil, refusal
	}
	return state.View(), nil
}

// writeState makes a disk that holds nothing but a snapshot.
func writeState(cfg Config, view *cluster.View) (err error) {
	d, err := openDisk(cfg, newFault(cfg.OnFatal), func(time.Duration) {})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.log.SetUint64(currentTerm, firstTerm); err != nil {
		return err
	}
	return d.writeSnapshot(cfg, view, firstTerm)
}

// writeSnapshot writes a view as the newest snapshot, in a configuration of this node alone.
func (d *disk) writeSnapshot(cfg Config, view *cluster.View, term uint64) error {
	_, encoder := raft.NewInmemTransport(raft.ServerAddress(cfg.Addr)) // the store wants one, for a field that raft no longer reads
	sink, err := d.snaps.Create(raft.SnapshotVersionMax, view.Index(), term, cfg.alone(), view.Index(), encoder)
	if err != nil {
		return fmt.Errorf("write snapshot at %d: %w", view.Index(), err)
	}
	return snapshot{view}.Persist(sink)
}
