package raftfsm

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// anchorIndex is where the anchor stands in the log's file: behind every entry, in the page that each append writes anyway.
const anchorIndex = math.MaxUint64

// anchor is the last record of the log's file. It is written in one transaction with what it speaks of, under a seal as entries have.
//
// bbolt's pages have no checksums, only its heads have. A page number that lost a bit may lead to a page as it was some transactions ago,
// where everything is sound and old: entries that were acknowledged are not there, or a vote. So the anchor names the transaction that wrote it,
// which the head, with its checksum, has to name too; it names the seal of the last entry, and each entry's seal names the one of the entry before.
type anchor struct {
	Txid   uint64            `json:"txid"`            // transaction that wrote it
	Loose  bool              `json:"loose,omitempty"` // it may be followed by a transaction that deletes entries and cannot write an anchor
	Last   uint64            `json:"last"`            // index of the last entry; 0 when there is none
	Sum    uint32            `json:"sum"`             // checksum in its seal
	Values map[string][]byte `json:"values"`          // what raft must not forget: term and vote
}

func (a *anchor) clone() *anchor {
	b := *a
	b.Values = maps.Clone(a.Values)
	if b.Values == nil {
		b.Values = map[string][]byte{}
	}
	b.Loose = false
	return &b
}

// record is the anchor as it is stored.
func (a *anchor) record() (*raft.Log, error) {
	data, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encode the anchor: %w", err)
	}
	l := &raft.Log{Index: anchorIndex, Data: data}
	l.Extensions = seal(l, 0, 0)
	return l, nil
}

// parseAnchor reads a stored anchor.
func parseAnchor(l *raft.Log) (*anchor, error) {
	if _, err := unseal(l); err != nil {
		return nil, err
	}
	a := new(anchor)
	if err := json.Unmarshal(l.Data, a); err != nil {
		return nil, fmt.Errorf("%w: %v", errCorrupt, err)
	}
	return a, nil
}

// errNoAnchor says that the log is of a build that wrote none, or new.
var errNoAnchor = errors.New("there is no anchor")

func (s *logStore) readAnchor() (a *anchor, err error) {
	err = guarded(func() error {
		l := new(raft.Log)
		err := s.disk.GetLog(anchorIndex, l)
		if errors.Is(err, raft.ErrLogNotFound) {
			return errNoAnchor
		}
		if err == nil {
			a, err = parseAnchor(l)
		}
		return err
	})
	if err != nil && !errors.Is(err, errNoAnchor) {
		err = fmt.Errorf("read the anchor of the log: %w", err)
	}
	return a, err
}

// load takes the log as it lies on the disk, whose newest transaction is txid, and makes sure that it is what was written last: from the anchor
// back to the first entry. snapshot is the index of the newest snapshot; entries that it stands for need not be there.
func (s *logStore) load(txid, snapshot uint64) error {
	a, err := s.readAnchor()
	if err != nil {
		return err
	}
	last, sum, err := s.follow(a.Last, snapshot, func(last uint64, sum uint32) error {
		if last == a.Last && sum != a.Sum {
			return fmt.Errorf("log entry %d is not the one that was written last: %w", last, errCorrupt)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case last < a.Last || last > a.Last && !a.Loose:
		return fmt.Errorf("the log ends with entry %d, not %d: %w", last, a.Last, errCorrupt)
	case a.Txid != txid && !(a.Loose && a.Txid+1 == txid):
		return fmt.Errorf("the log is as transaction %d left it, the file is of %d: %w", a.Txid, txid, errCorrupt)
	}
	a.Last, a.Sum = last, sum // beyond the anchor's own when a deletion was cut short: those entries are as good as before
	s.txid = txid
	s.tail.Store(a)
	return nil
}

// follow reads the whole log and sees each entry follow the one before. It stops at the first that is missing from least on, or at the
// error of visit, and gives the last entry's index and checksum; 0 when there is none.
func (s *logStore) follow(least, snapshot uint64, visit func(index uint64, sum uint32) error) (last uint64, sum uint32, err error) {
	first, err := s.firstStored()
	if err != nil || first == 0 {
		return 0, 0, err
	}
	for index := first; ; index++ {
		l := new(raft.Log)
		facts, err := s.get(index, l)
		switch {
		case errors.Is(err, raft.ErrLogNotFound) && index >= least:
			return last, sum, nil
		case errors.Is(err, raft.ErrLogNotFound) && index <= snapshot:
			continue // a snapshot of the leader was ahead of the log
		case errors.Is(err, raft.ErrLogNotFound):
			return 0, 0, fmt.Errorf("log entry %d is missing: %w", index, errCorrupt)
		case err != nil:
			return 0, 0, err
		case last+1 == index && facts.linked && last != 0 && facts.prev != sum:
			return 0, 0, fmt.Errorf("log entry %d does not follow the one before it: %w", index, errCorrupt)
		}
		last, sum = index, facts.sum
		if err := visit(last, sum); err != nil {
			return 0, 0, err
		}
	}
}

// adopt gives a log that has no anchor its first one. It is new, or of a build that kept term and vote beside the entries.
func (s *logStore) adopt(txid, least, snapshot uint64) error {
	a := &anchor{Values: map[string][]byte{}}
	var err error
	a.Last, a.Sum, err = s.follow(least, snapshot, func(uint64, uint32) error { return nil })
	if err != nil {
		return err
	}
	if a.Last < least {
		return fmt.Errorf("the log ends with entry %d, not %d: %w", a.Last, least, errCorrupt)
	}
	for _, key := range []string{"CurrentTerm", "LastVoteTerm", "LastVoteCand"} {
		val, err := s.disk.Get([]byte(key))
		switch {
		case err == nil:
			a.Values[key] = val
		case !errors.Is(err, raftboltdb.ErrKeyNotFound):
			return fmt.Errorf("read %s: %w", key, err)
		}
	}
	s.txid = txid
	s.tail.Store(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commit(nil, a)
}
