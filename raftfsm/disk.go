package raftfsm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
	snaps  *raft.FileSnapshotStore
}

func openDisk(cfg Config, f *fault, observe func(time.Duration)) (*disk, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open raft: %w", err)
	}
	path := filepath.Join(cfg.Dir, logFile)
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout:        lockTimeout,
			NoFreelistSync: true, // found again by a scan at start; saves pages in every write
			FreelistType:   bbolt.FreelistMapType,
		},
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open raft log %s: another process uses it", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open raft log %s: %w", path, err)
	}
	d := &disk{bolt: bolt}
	d.log = &logStore{
		disk:    cfg.seams.wrapStore(bolt),
		fault:   f,
		observe: observe,
	}
	cache, err := raft.NewLogCache(logCacheEntries, d.log)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open raft: %w", err), bolt.Close())
	}
	d.cached = &cachedLog{LogCache: cache, store: d.log}
	if d.snaps, err = openSnapshots(cfg); err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return d, nil
}

// openSnapshots opens the snapshots and refuses when one of them cannot be listed: raft would pass it over and
// fall back to an older one.
func openSnapshots(cfg Config) (*raft.FileSnapshotStore, error) {
	snaps, err := raft.NewFileSnapshotStoreWithLogger(cfg.Dir, snapshotsKept, newLogger(cfg.Log))
	if err != nil {
		return nil, fmt.Errorf("open raft snapshots: %w", err)
	}
	known, err := snaps.List()
	if err != nil {
		return nil, fmt.Errorf("open raft snapshots: %w", err)
	}
	dir := filepath.Join(cfg.Dir, snapshotDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open raft snapshots: %w", err)
	}
	whole := 0
	for _, e := range entries {
		if e.IsDir() && !strings.HasSuffix(e.Name(), ".tmp") {
			whole++
		}
	}
	if whole > len(known) && len(known) < snapshotsKept {
		return nil, fmt.Errorf("open raft snapshots: one in %s is %w", dir, errCorrupt)
	}
	return snaps, nil
}

func (d *disk) close() error {
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
