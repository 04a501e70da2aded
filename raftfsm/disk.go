package raftfsm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	logFile     = "raft.db"
	snapshotDir = "snapshots"

	// lockTimeout is how long another process may hold the log before Open gives up.
	lockTimeout = time.Second
)

// disk is everything that a replica keeps in its directory.
type disk struct {
	bolt   *raftboltdb.BoltStore
	log    *logStore
	cached *cachedLog
	snaps  *snapshots
}

// openDisk opens a replica's directory: a new one, one that this build wrote, or one of a former build, to which it adds what protects it. What is
// there is looked at as a whole first. If any of it is not what was written, openDisk says so and changes nothing.
func openDisk(cfg Config, f *fault, observe func(time.Duration)) (*disk, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open raft: %w", err)
	}
	was, err := inspect(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open raft: %w", err)
	}
	d := new(disk)
	if d.snaps, err = openSnapshots(cfg, was.anchored); err != nil {
		return nil, err
	}
	path := filepath.Join(cfg.Dir, logFile)
	if d.bolt, err = openBolt(path, was.empty); err != nil {
		return nil, fmt.Errorf("open raft log %s: %w", path, err)
	}
	d.log = &logStore{
		disk:    cfg.seams.wrapStore(d.bolt),
		fault:   f,
		observe: observe,
	}
	cache, err := raft.NewLogCache(logCacheEntries, d.log)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open raft: %w", err), d.close())
	}
	d.cached = &cachedLog{LogCache: cache, store: d.log}
	if err := d.load(cfg.Dir, was); err != nil {
		return nil, errors.Join(fmt.Errorf("open raft log: %w", damaged(path, err)), d.close())
	}
	return d, nil
}

// openBolt opens the log. bbolt opens it for writing, and when it has, raft-boltdb is told that it is open for reading: it would make its
// buckets otherwise, which are there unless the log is empty, in a transaction of its own at every start. A start writes nothing.
func openBolt(path string, empty bool) (*raftboltdb.BoltStore, error) {
	options := &bbolt.Options{
		Timeout:        lockTimeout,
		NoFreelistSync: true, // found again by a scan at start; saves pages in every write
		FreelistType:   bbolt.FreelistMapType,
	}
	options.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		options.ReadOnly = !empty
		return os.OpenFile(name, flag, mode)
	}
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: options})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, errInUse
	}
	return bolt, err
}

// load reads the log, and gives it an anchor when it has none yet.
func (d *disk) load(dir string, was found) error {
	snapshot := uint64(0)
	known, err := d.snaps.List()
	if err != nil {
		return err
	}
	if len(known) > 0 {
		snapshot = known[0].Index
	}
	err = errNoAnchor
	if !was.empty {
		err = d.log.load(was.txid, snapshot)
	}
	switch {
	case errors.Is(err, errNoAnchor) && was.anchored:
		return fmt.Errorf("%w: %w", errCorrupt, err)
	case errors.Is(err, errNoAnchor):
		if err := d.adopt(dir, snapshot); err != nil {
			return err
		}
		return writeFormat(dir)
	case err == nil && !was.anchored: // a crash came between
		return writeFormat(dir)
	}
	return err
}

// adopt gives the log its first anchor.
func (d *disk) adopt(dir string, snapshot uint64) error {
	txid, err := newestTransaction(filepath.Join(dir, logFile)) // a new log has had another since it was looked at
	if err != nil {
		return err
	}
	last, err := d.bolt.LastIndex()
	if err != nil {
		return err
	}
	return d.log.adopt(txid, last, snapshot)
}

// close closes the log, unless bbolt was left in the middle of something: then it would wait for that for ever.
func (d *disk) close() error {
	if errors.Is(d.log.fault.get(), errFaulted) {
		return nil
	}
	if err := d.bolt.Close(); err != nil {
		return fmt.Errorf("close raft log: %w", err)
	}
	return nil
}

// logBytes is the size of the log's file.
func (d *disk) logBytes(dir string) int64 {
	info, err := os.Stat(filepath.Join(dir, logFile))
	if err != nil {
		return 0
	}
	return info.Size()
}
