package raftfsm

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kilonova/kilonova/cluster"
)

// LogEnd is where this node's log ends.
func (r *Raft) LogEnd() cluster.LogEnd {
	return cluster.LogEnd{LastTerm: r.stat("last_log_term"), Last: r.raft.LastIndex(), Term: r.raft.CurrentTerm()}
}

// Recover makes a cluster of one voter, cfg.ID, out of what this node's directory holds: every entry of its log, committed or not, and c after
// them, whose op is a *cluster.RecoverCluster. It is for a cluster whose quorum is gone for good; no Raft may be open on the directory. seen is the
// newest term that any survivor knows of. Nothing is skipped: what cannot be read is an error, and then the log is as it was.
//
// Carried out again after a crash, it completes what it began.
func Recover(cfg Config, c cluster.Command, seen uint64) (err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return err
	}
	op, ok := c.Op.(*cluster.RecoverCluster)
	if !ok {
		return fmt.Errorf("recover: %T is no recovery", c.Op)
	}
	d, err := openDisk(cfg, newFault(cfg.OnFatal), func(time.Duration) {})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.recover(cfg, c, op.ID, seen); err != nil {
		return fmt.Errorf("recover %s: %w", cfg.Dir, err)
	}
	return nil
}

func (d *disk) recover(cfg Config, c cluster.Command, id string, seen uint64) error {
	m := newFSM(d.log.fault)
	from, err := m.restoreNewest(d.snaps)
	if err != nil {
		return err
	}
	if done := m.state.View().Recovered(); done != nil && done.ID == id {
		return d.dropLog()
	}
	last, err := m.replayAll(d, from)
	if err != nil {
		return err
	}
	term, err := d.log.GetUint64(currentTerm)
	if err != nil {
		return fmt.Errorf("read the term: %w", err)
	}
	results, err := m.state.Apply(last+1, []cluster.Command{c})
	if err != nil {
		return err
	}
	if refusal := results[0].Err; refusal != nil {
		return refusal
	}
	term = max(term, seen) + 1 // nobody has an entry of it, and nobody voted in it
	if err := d.log.SetUint64(currentTerm, term); err != nil {
		return err
	}
	if err := d.writeSnapshot(cfg, m.state.View(), term); err != nil {
		return err
	}
	return d.dropLog()
}

// replayAll applies every entry of the log after a snapshot, and gives the index of the last.
func (m *fsm) replayAll(d *disk, from uint64) (last uint64, err error) {
	first, err := d.log.FirstIndex()
	if err != nil {
		return 0, err
	}
	if last, err = d.log.LastIndex(); err != nil {
		return 0, err
	}
	last = max(last, from)
	switch {
	case last == 0:
		return 0, errors.New("the log is empty: this node has nothing of the cluster")
	case last > from && first > from+1:
		return 0, fmt.Errorf("entries %d to %d are missing: %w", from+1, first-1, errCorrupt)
	}
	for index := from + 1; index <= last; index++ {
		l := new(raft.Log)
		if err := d.log.GetLog(index, l); err != nil {
			return 0, err
		}
		m.Apply(l)
		if err := m.fault.get(); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// dropLog deletes all entries: the newest snapshot stands for them.
func (d *disk) dropLog() error {
	first, err := d.log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := d.log.LastIndex()
	if err != nil || last == 0 {
		return err
	}
	return d.log.DeleteRange(first, last)
}
