package raftfsm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kilonova/kilonova/cluster"
)

// Where the first entries of a cluster stand. Both are of term 1, in which nobody ever led.
const (
	firstTerm    = 1
	firstCommand = 2 // after the configuration
)

// Bootstrap makes a cluster of one voter, cfg.ID, whose state begins with the command first. Only the node that
// creates a cluster calls it, before Open. It gives ErrExists when the directory holds anything, and the refusal
// when the state refuses first. After a crash in the middle the directory is as if it had not been called.
func Bootstrap(cfg Config, first cluster.Command) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	entry, err := cluster.EncodeEntry([]cluster.Command{first})
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	if err := rehearse(first); err != nil {
		return err
	}
	return establish(cfg, func(whole Config) error { return writeFirst(whole, entry) })
}

// establish makes the directory of a first node as a whole: after a crash in the middle it is as if nothing had been done. ErrExists when it
// holds anything.
func establish(cfg Config, write func(whole Config) error) error {
	if entries, err := os.ReadDir(cfg.Dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("bootstrap %s: %w", cfg.Dir, ErrExists)
	}
	whole := cfg
	whole.Dir = cfg.Dir + ".new" // left by a crash: incomplete, and nobody's
	if err := os.RemoveAll(whole.Dir); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	if err := write(whole); err != nil {
		return fmt.Errorf("bootstrap %s: %w", cfg.Dir, err)
	}
	if err := os.Remove(cfg.Dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("bootstrap: %w", err)
	}
	if err := os.Rename(whole.Dir, cfg.Dir); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return syncDir(filepath.Dir(cfg.Dir))
}

// rehearse finds out whether an empty state takes the command.
func rehearse(first cluster.Command) error {
	results, err := cluster.NewState().Apply(firstCommand, []cluster.Command{first})
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	if refusal := results[0].Err; refusal != nil {
		return fmt.Errorf("bootstrap: %w", refusal)
	}
	return nil
}

func writeFirst(cfg Config, entry []byte) (err error) {
	d, err := openDisk(cfg, newFault(cfg.OnFatal), func(time.Duration) {})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := raft.BootstrapCluster(cfg.raftConfig(nil), d.log, d.log, d.snaps, nil, cfg.alone()); err != nil {
		return err
	}
	return d.log.StoreLog(&raft.Log{Index: firstCommand, Term: firstTerm, Type: raft.LogCommand, Data: entry})
}

// alone is a configuration of which this node is the only member.
func (c Config) alone() raft.Configuration {
	return raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: raft.ServerID(c.ID), Address: raft.ServerAddress(c.Addr),
	}}}
}

// syncDir makes a rename in the directory last.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
