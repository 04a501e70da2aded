package raftfsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// boltStore is what raft-boltdb gives: the log, and a few values that raft must not forget (term and vote).
type boltStore interface {
	raft.LogStore
	raft.StableStore
}

// A stored entry carries a seal in Log.Extensions, which never leaves this disk: a version byte, the CRC-32C of
// everything that matters in the entry, the commit index that was known when it was written, and the CRC-32C in the seal of the entry before; 0
// when there is none. bbolt's pages have no checksums, and a flipped bit in an entry may well decode to another valid command. The first
// version, which is still read, did not name the entry before.
const (
	sealVersion = 2
	sealLen     = 1 + 4 + 8 + 4

	loneSealVersion = 1
	loneSealLen     = 1 + 4 + 8
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
//
// What raft must not forget, and how the log ends, is in the anchor, which every write brings up to date.
type logStore struct {
	disk    boltStore
	fault   *fault
	staged  atomic.Uint64 // commit index to seal into the next entries
	syncs   atomic.Uint64
	observe func(took time.Duration) // each write

	mu   sync.Mutex             // one writer at a time
	txid uint64                 // of the newest transaction; under mu
	tail atomic.Pointer[anchor] // as it is on the disk; never changed, but replaced under mu
}

// StoreLogs implements raft.LogStore. The entries that it is given stay as they are. They follow each other; the first follows the last entry of
// the log, or a snapshot.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	commit := s.staged.Load()
	sealed := make([]raft.Log, len(logs))
	refs := make([]*raft.Log, len(logs), len(logs)+1)
	next := s.tail.Load().clone()
	for i, l := range logs {
		prev := uint32(0)
		if l.Index == next.Last+1 {
			prev = next.Sum
		}
		sealed[i] = *l
		sealed[i].Extensions = seal(l, commit, prev)
		refs[i] = &sealed[i]
		next.Last, next.Sum = l.Index, sealSum(sealed[i].Extensions)
	}
	return s.commit(refs, next)
}

// commit writes entries, and the anchor that speaks of them, in one transaction. The caller holds mu.
func (s *logStore) commit(entries []*raft.Log, next *anchor) error {
	next.Txid = s.txid + 1
	record, err := next.record()
	if err != nil {
		return s.failed("append to the log", err)
	}
	err = s.write("append to the log", func() error { return s.disk.StoreLogs(append(entries, record)) })
	if err == nil {
		s.tail.Store(next)
	}
	return err
}

// StoreLog implements raft.LogStore.
func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// GetLog implements raft.LogStore.
func (s *logStore) GetLog(index uint64, l *raft.Log) error {
	_, err := s.get(index, l)
	return err
}

// get reads an entry and what is in its seal.
func (s *logStore) get(index uint64, l *raft.Log) (facts sealed, err error) {
	if err := s.fault.get(); err != nil {
		return facts, s.halt(err)
	}
	if index == anchorIndex {
		return facts, raft.ErrLogNotFound
	}
	err = guarded(func() error { return s.disk.GetLog(index, l) })
	if errors.Is(err, raft.ErrLogNotFound) {
		return facts, err
	}
	if err == nil && l.Index != index {
		err = fmt.Errorf("%w: it holds index %d", errCorrupt, l.Index)
	}
	if err == nil {
		facts, err = unseal(l)
	}
	if err != nil {
		return facts, s.halt(s.failed(fmt.Sprintf("read log entry %d", index), err))
	}
	return facts, nil
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
	return s.delete(low, high)
}

// delete deletes in two transactions, for what deletes cannot write an anchor. The first says what the log will be, and that the second may or may not have
// come after it.
func (s *logStore) delete(low, high uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, err := s.FirstIndex()
	if err != nil || first == 0 {
		return err
	}
	next := s.tail.Load().clone()
	if high >= next.Last {
		if low, err = s.cut(next, low, first); err != nil {
			return err
		}
		high = s.tail.Load().Last
	}
	if low > high {
		return nil
	}
	next.Loose = true
	if err := s.commit(nil, next); err != nil {
		return err
	}
	return s.write("delete from the log", func() error { return s.disk.DeleteRange(low, high) })
}

// cut makes next end before low, and gives where to delete from: entries before a gap, which a snapshot stands for, go too, so that the
// log always ends with an entry.
func (s *logStore) cut(next *anchor, low, first uint64) (uint64, error) {
	next.Last, next.Sum = 0, 0
	if low <= first {
		return first, nil
	}
	facts, err := s.get(low-1, new(raft.Log))
	switch {
	case errors.Is(err, raft.ErrLogNotFound):
		return first, nil
	case err != nil:
		return 0, err
	}
	next.Last, next.Sum = low-1, facts.sum
	return low, nil
}

// FirstIndex implements raft.LogStore.
func (s *logStore) FirstIndex() (uint64, error) {
	if err := s.fault.get(); err != nil || s.tail.Load().Last == 0 {
		return 0, err
	}
	return s.firstStored()
}

// firstStored is the first index in the file; 0 when there is no entry.
func (s *logStore) firstStored() (first uint64, err error) {
	err = guarded(func() error {
		first, err = s.disk.FirstIndex()
		return err
	})
	if err != nil {
		return 0, s.failed("read the ends of the log", err)
	}
	if first == anchorIndex {
		return 0, nil
	}
	return first, nil
}

// LastIndex implements raft.LogStore.
func (s *logStore) LastIndex() (uint64, error) {
	if err := s.fault.get(); err != nil {
		return 0, err
	}
	return s.tail.Load().Last, nil
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
	facts, err := s.get(last, &l)
	if err != nil {
		return 0, err
	}
	return min(facts.commit, last), s.StageCommitIndex(facts.commit)
}

// Set implements raft.StableStore.
func (s *logStore) Set(key, val []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.tail.Load().clone()
	next.Values[string(key)] = bytes.Clone(val)
	return s.halt(s.commit(nil, next))
}

// SetUint64 implements raft.StableStore.
func (s *logStore) SetUint64(key []byte, val uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, val))
}

// Get implements raft.StableStore. Raft knows the error of what is not there by its text.
func (s *logStore) Get(key []byte) ([]byte, error) {
	if err := s.fault.get(); err != nil {
		return nil, err
	}
	val, ok := s.tail.Load().Values[string(key)]
	if !ok {
		return nil, raftboltdb.ErrKeyNotFound
	}
	return bytes.Clone(val), nil
}

// GetUint64 implements raft.StableStore.
func (s *logStore) GetUint64(key []byte) (uint64, error) {
	val, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(val) != 8 {
		return 0, s.failed("read "+string(key), fmt.Errorf("%w: it has %d bytes", errCorrupt, len(val)))
	}
	return binary.BigEndian.Uint64(val), nil
}

func (s *logStore) write(what string, do func() error) error {
	if err := s.fault.get(); err != nil {
		return err
	}
	start := time.Now()
	if err := guarded(do); err != nil {
		return s.failed(what, err)
	}
	s.txid++
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

// errFaulted says that the file's memory map could not be read, or that bbolt found nonsense in it. bbolt is not to be called again.
var errFaulted = errors.New("the file of the log cannot be read any more")

// guarded makes an error of what would end the process: the file was cut or cannot be read while it is mapped into memory, or bbolt panics.
func guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errFaulted, p)
		}
	}()
	return do()
}

// sealed is what a seal says.
type sealed struct {
	commit uint64 // index that was known to be committed
	sum    uint32 // of the entry and the seal
	prev   uint32 // sum of the entry before
	linked bool   // prev means something
}

// seal makes the Extensions of an entry.
func seal(l *raft.Log, commit uint64, prev uint32) []byte {
	b := make([]byte, sealLen)
	b[0] = sealVersion
	binary.LittleEndian.PutUint64(b[5:], commit)
	binary.LittleEndian.PutUint32(b[13:], prev)
	binary.LittleEndian.PutUint32(b[1:], sum(l, b))
	return b
}

// sealSum is the checksum in a seal.
func sealSum(b []byte) uint32 { return binary.LittleEndian.Uint32(b[1:]) }

// unseal checks an entry against its seal, takes the seal off, and returns what is in it.
func unseal(l *raft.Log) (facts sealed, err error) {
	b := l.Extensions
	switch {
	case len(b) == sealLen && b[0] == sealVersion:
		facts.linked, facts.prev = true, binary.LittleEndian.Uint32(b[13:])
	case len(b) == loneSealLen && b[0] == loneSealVersion:
	default:
		return sealed{}, fmt.Errorf("%w: it has no seal of version %d", errCorrupt, sealVersion)
	}
	if sealSum(b) != sum(l, b) {
		return sealed{}, fmt.Errorf("%w: its checksum does not match", errCorrupt)
	}
	l.Extensions = nil
	facts.sum, facts.commit = sealSum(b), binary.LittleEndian.Uint64(b[5:])
	return facts, nil
}

// sum is the checksum of an entry and of what else is in its seal.
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
