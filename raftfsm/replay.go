package raftfsm

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// replay brings the state machine to where this node knew the cluster to be, before raft starts: the newest
// snapshot, then the entries that were known to be committed when the last one was written. Otherwise a restarted
// node could show nothing of its past until a leader told it again what is committed.
//
// Raft could do that itself (RestoreCommittedLogs), but 1.8.0 then overlooks changes of the members among those
// entries, and a node whose log begins with one finds no cluster. So raft starts from the snapshot, as it always
// does, and fsm passes over the entries that it has applied already.
func (m *fsm) replay(d *disk) error {
	from, err := m.restoreNewest(d.snaps)
	if err != nil {
		return err
	}
	commit, err := d.log.knownCommit()
	if err != nil {
		return err
	}
	first, err := d.log.FirstIndex()
	if err != nil {
		return err
	}
	if commit > from && first > from+1 {
		return fmt.Errorf("replay the log: entries %d to %d are missing: %w", from+1, first-1, errCorrupt)
	}
	batch := make([]*raft.Log, 0, maxAppendEntries)
	for index := from + 1; index <= commit; index++ {
		l := new(raft.Log)
		if err := d.log.GetLog(index, l); err != nil {
			return fmt.Errorf("replay the log: %w", err)
		}
		batch = append(batch, l)
		if len(batch) == cap(batch) || index == commit {
			m.ApplyBatch(batch)
			batch = batch[:0]
		}
	}
	return m.fault.get()
}

// restoreNewest restores the newest snapshot and gives the log index that it stands for; 0 when there is none.
func (m *fsm) restoreNewest(snaps *snapshots) (uint64, error) {
	all, err := snaps.List()
	if err != nil {
		return 0, fmt.Errorf("list snapshots: %w", err)
	}
	if len(all) == 0 {
		return 0, nil
	}
	meta, source, err := snaps.Open(all[0].ID)
	if err != nil {
		return 0, fmt.Errorf("open snapshot %s: %w", all[0].ID, err)
	}
	if err := errors.Join(m.Restore(source), source.Close()); err != nil {
		return 0, fmt.Errorf("snapshot %s: %w", all[0].ID, err)
	}
	return meta.Index, nil
}
