package raftfsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// boltStore is what raft-boltdb gives: the log, and a few values that raft must not forget (term and vote).
type boltStore interface {
	raft.LogStore
	raft.StableStore
}

// A stored entry carries a seal in Log.Extensions, which never leaves this disk: a version byte, the CRC-32C of
// everything that matters in the entry, and the commit index that was known when it was written. bbolt has no
// checksums of its own, and a flipped bit in an entry may well decode to another valid command.
const (
	sealVersion = 1
	sealLen     = 1 + 4 + 8
)

// syncsPerWrite is how many times bbolt calls fdatasync in one transaction: for its pages, then for the page
// that makes them count. With the free list not written there are no others, unless the file grows.
const syncsPerWrite = 2

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errCorrupt is inside every error about a record that cannot be what was written.
var errCorrupt = errors.New("corrupt")

// logStore stands between raft and the disk. It seals entries and checks them, counts and times writes, and
// turns the first error into the end of this replica: from then on every call fails.
//
// Raft takes a failed append as an answer, but panics when it cannot read an entry or store its term. The owner of
// the replica is about to close it then, in good order, so those calls end raft's goroutine instead: see halt.
//
// It also keeps the commit index (raft.CommitTrackingLogStore), at no extra write, for fsm.replay.
type logStore struct {
	disk    boltStore
	fault   *fault
	staged  atomic.Uint64 // commit index to seal into the next entries
	syncs   atomic.Uint64
	observe func(took time.Duration) // each write
}

// StoreLogs implements raft.LogStore. The entries that it is given stay as they are.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	commit := s.staged.Load()
	sealed := make([]raft.Log, len(logs))
	refs := make([]*raft.Log, len(logs))
	for i, l := range logs {
		sealed[i] = *l
		sealed[i].Extensions = seal(l, commit)
		refs[i] = &sealed[i]
	}
	return s.write("append to the log", func() error { return s.disk.StoreLogs(refs) })
}

// StoreLog implements raft.LogStore.
func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// GetLog implements raft.LogStore.
func (s *logStore) GetLog(index uint64, l *raft.Log) error {
	_, err := s.get(index, l)
	return err
}

// get reads an entry and the commit index in its seal.
func (s *logStore) get(index uint64, l *raft.Log) (commit uint64, err error) {
	if err := s.fault.get(); err != nil {
		return 0, s.halt(err)
	}
	err = s.disk.GetLog(index, l)
	if errors.Is(err, raft.ErrLogNotFound) {
		return 0, err
	}
	if err == nil && l.Index != index {
		err = fmt.Errorf("%w: it holds index %d", errCorrupt, l.Index)
	}
	if err == nil {
		commit, err = unseal(l)
	}
	if err != nil {
		return 0, s.halt(s.failed(fmt.Sprintf("read log entry %d", index), err))
	}
	return commit, nil
}

// errParted says that this node's history and its leader's are two.
var errParted = errors.New("the leader's log is not a continuation of what this node knows to be agreed upon: two clusters go by one ID, as after " +
	"a recovery while the others lived on; one of them has to be wiped")

// DeleteRange implements raft.LogStore. Entries at the end of the log, which raft deletes to write others in their place, must not be known to be
// committed: no leader of this cluster has others.
func (s *logStore) DeleteRange(low, high uint64) error {
	if s.fault.armed.Load() && low <= s.staged.Load() {
		first, err := s.FirstIndex()
		if err != nil {
			return err
		}
		last, err := s.LastIndex()
		if err != nil {
			return err
		}
		if low > first && high >= last {
			return s.failed(fmt.Sprintf("delete entries %d to %d from the log", low, high), errParted)
		}
	}
	return s.write("delete from the log", func() error { return s.disk.DeleteRange(low, high) })
}

// FirstIndex implements raft.LogStore.
func (s *logStore) FirstIndex() (uint64, error) { return s.index(s.disk.FirstIndex) }

// LastIndex implements raft.LogStore.
func (s *logStore) LastIndex() (uint64, error) { return s.index(s.disk.LastIndex) }

func (s *logStore) index(read func() (uint64, error)) (uint64, error) {
	if err := s.fault.get(); err != nil {
		return 0, err
	}
	i, err := read()
	if err != nil {
		return 0, s.failed("read the ends of the log", err)
	}
	return i, nil
}

// StageCommitIndex implements raft.CommitTrackingLogStore. Raft starts at 0 again after a restart; what was known
// before stays known.
func (s *logStore) StageCommitIndex(index uint64) error {
	s.staged.Store(max(index, s.staged.Load()))
	return nil
}

// GetCommitIndex implements raft.CommitTrackingLogStore. It tells raft nothing: see fsm.replay.
func (s *logStore) GetCommitIndex() (uint64, error) { return 0, nil }

// knownCommit is the commit index that was known when the last entry was written. Later entries are sealed with at
// least that.
func (s *logStore) knownCommit() (uint64, error) {
	last, err := s.LastIndex()
	if err != nil || last == 0 {
		return 0, err
	}
	var l raft.Log
	commit, err := s.get(last, &l)
	if err != nil {
		return 0, err
	}
	return min(commit, last), s.StageCommitIndex(commit)
}

// Set implements raft.StableStore.
func (s *logStore) Set(key, val []byte) error {
	return s.halt(s.write("store "+string(key), func() error { return s.disk.Set(key, val) }))
}

// SetUint64 implements raft.StableStore.
func (s *logStore) SetUint64(key []byte, val uint64) error {
	return s.halt(s.write("store "+string(key), func() error { return s.disk.SetUint64(key, val) }))
}

// Get implements raft.StableStore.
func (s *logStore) Get(key []byte) ([]byte, error) {
	if err := s.fault.get(); err != nil {
		return nil, err
	}
	return s.disk.Get(key)
}

// GetUint64 implements raft.StableStore.
func (s *logStore) GetUint64(key []byte) (uint64, error) {
	if err := s.fault.get(); err != nil {
		return 0, err
	}
	return s.disk.GetUint64(key)
}

func (s *logStore) write(what string, do func() error) error {
	if err := s.fault.get(); err != nil {
		return err
	}
	start := time.Now()
	if err := do(); err != nil {
		return s.failed(what, err)
	}
	s.syncs.Add(syncsPerWrite)
	s.observe(time.Since(start))
	return nil
}

// halt ends the calling goroutine if err is not nil. While Open is on the stack it returns err: nobody is to be spared
// a panic then, and Open makes an error of it.
func (s *logStore) halt(err error) error {
	if err != nil && s.fault.armed.Load() {
		runtime.Goexit()
	}
	return err
}

func (s *logStore) failed(what string, err error) error {
	err = fmt.Errorf("%s: %w", what, err)
	s.fault.fail(err)
	return err
}

// seal makes the Extensions of an entry.
func seal(l *raft.Log, commit uint64) []byte {
	b := make([]byte, sealLen)
	b[0] = sealVersion
	binary.LittleEndian.PutUint64(b[5:], commit)
	binary.LittleEndian.PutUint32(b[1:], sum(l, b))
	return b
}

// unseal checks an entry against its seal, takes the seal off, and returns the commit index in it.
func unseal(l *raft.Log) (commit uint64, err error) {
	b := l.Extensions
	if len(b) != sealLen || b[0] != sealVersion {
		return 0, fmt.Errorf("%w: it has no seal of version %d", errCorrupt, sealVersion)
	}
	if binary.LittleEndian.Uint32(b[1:]) != sum(l, b) {
		return 0, fmt.Errorf("%w: its checksum does not match", errCorrupt)
	}
	l.Extensions = nil
	return binary.LittleEndian.Uint64(b[5:]), nil
}

// sum is the checksum of an entry and of the commit index in its seal.
func sum(l *raft.Log, seal []byte) uint32 {
	var head [17]byte
	head[0] = byte(l.Type)
	binary.LittleEndian.PutUint64(head[1:], l.Index)
	binary.LittleEndian.PutUint64(head[9:], l.Term)
	c := crc32.Update(0, castagnoli, head[:])
	c = crc32.Update(c, castagnoli, seal[5:])
	return crc32.Update(c, castagnoli, l.Data)
}

// cachedLog is the logStore behind raft's cache of recent entries.
type cachedLog struct {
	*raft.LogCache
	store *logStore
}

// StageCommitIndex implements raft.CommitTrackingLogStore.
func (c *cachedLog) StageCommitIndex(index uint64) error { return c.store.StageCommitIndex(index) }

// GetCommitIndex implements raft.CommitTrackingLogStore.
func (c *cachedLog) GetCommitIndex() (uint64, error) { return c.store.GetCommitIndex() }
