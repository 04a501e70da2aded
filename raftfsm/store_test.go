package raftfsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
)

func TestSeal_RoundTrip(t *testing.T) {
	l := raft.Log{Index: 7, Term: 3, Type: raft.LogCommand, Data: []byte("data")}
	l.Extensions = seal(&l, 6, 9)
	facts, err := unseal(&l)
	if err != nil || facts.commit != 6 || facts.prev != 9 || !facts.linked || l.Extensions != nil {
		t.Errorf("%+v, extensions %v, error %v", facts, l.Extensions, err)
	}
}

func TestSeal_EveryFieldIsCovered(t *testing.T) {
	for name, spoil := range map[string]func(*raft.Log){
		"index":      func(l *raft.Log) { l.Index++ },
		"term":       func(l *raft.Log) { l.Term++ },
		"type":       func(l *raft.Log) { l.Type = raft.LogNoop },
		"data":       func(l *raft.Log) { l.Data[0] ^= 1 },
		"commit":     func(l *raft.Log) { l.Extensions[5] ^= 1 },
		"before":     func(l *raft.Log) { l.Extensions[13] ^= 1 },
		"checksum":   func(l *raft.Log) { l.Extensions[1] ^= 1 },
		"version":    func(l *raft.Log) { l.Extensions[0]++ },
		"no seal":    func(l *raft.Log) { l.Extensions = nil },
		"short seal": func(l *raft.Log) { l.Extensions = l.Extensions[:5] },
	} {
		t.Run(name, func(t *testing.T) {
			l := raft.Log{Index: 7, Term: 3, Data: []byte("data")}
			l.Extensions = seal(&l, 6, 9)
			spoil(&l)
			if _, err := unseal(&l); !errors.Is(err, errCorrupt) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// loneSeal is a seal as the first version made it.
func loneSeal(l *raft.Log, commit uint64) []byte {
	b := make([]byte, loneSealLen)
	b[0] = loneSealVersion
	binary.LittleEndian.PutUint64(b[5:], commit)
	binary.LittleEndian.PutUint32(b[1:], sum(l, b))
	return b
}

func FuzzUnseal(f *testing.F) {
	l := raft.Log{Index: 7, Term: 3, Data: []byte("data")}
	f.Add(l.Data, seal(&l, 6, 5))
	f.Add(l.Data, loneSeal(&l, 6))
	f.Add([]byte{}, []byte{})
	f.Add([]byte("x"), []byte{loneSealVersion, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data, ext []byte) {
		l := raft.Log{Index: 7, Term: 3, Data: data, Extensions: ext}
		facts, err := unseal(&l)
		if err != nil {
			return
		}
		made := loneSeal(&l, facts.commit)
		if facts.linked {
			made = seal(&l, facts.commit, facts.prev)
		}
		if !bytes.Equal(made, ext) {
			t.Errorf("accepted a seal that would not be made: %x", ext)
		}
	})
}

// Raft gives the log entries that it also sends to followers and keeps in its cache. They stay as they were.
func TestLogStore_EntriesOfTheCallerAreNotTouched(t *testing.T) {
	cfg := Config{ID: "n", Addr: "192.0.2.1:1", Dir: filepath.Join(t.TempDir(), "raft")}
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	d, err := openDisk(cfg, newFault(cfg.OnFatal), func(time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	l := &raft.Log{Index: 1, Term: 1, Data: []byte("x")}
	before := d.log.syncs.Load()
	if err := errors.Join(d.log.StageCommitIndex(1), d.log.StoreLogs([]*raft.Log{l})); err != nil {
		t.Fatal(err)
	}
	if l.Extensions != nil {
		t.Error("the seal leaves the disk")
	}
	if commit, err := d.log.knownCommit(); commit != 1 || err != nil {
		t.Errorf("known to be committed: %d, %v", commit, err)
	}
	if got := d.log.syncs.Load() - before; got != syncsPerWrite {
		t.Errorf("%d syncs were counted", got)
	}
	var none raft.Log
	if err := d.log.GetLog(2, &none); !errors.Is(err, raft.ErrLogNotFound) || d.log.fault.get() != nil {
		t.Errorf("an entry that is not there: %v, and the store: %v", err, d.log.fault.get())
	}
	if err := d.close(); err != nil {
		t.Error(err)
	}
}

// A request of full entries is cut so that it gets through; one entry always goes.
func TestTrim_KeepsRequestsBelowTheLimit(t *testing.T) {
	entry := &raft.Log{Data: make([]byte, 512<<10)}
	req := &raft.AppendEntriesRequest{Entries: []*raft.Log{entry, entry, entry, entry, entry, entry}}
	trim(req)
	if len(req.Entries) != 4 {
		t.Errorf("%d entries of 512 KiB are sent", len(req.Entries))
	}
	req = &raft.AppendEntriesRequest{Entries: []*raft.Log{{Data: make([]byte, 4<<20)}, entry}}
	trim(req)
	if len(req.Entries) != 1 {
		t.Errorf("%d entries go with one that is too large alone", len(req.Entries))
	}
}

// The collectors are there while the replica is, and a replica that is opened again can register its own.
func TestMetrics_AreRegisteredUntilClose(t *testing.T) {
	l := newLab(t)
	reg := prometheus.NewRegistry()
	l.tune = func(_ int, c *Config) { c.Metrics = reg }
	r := l.found()
	for range 2 {
		families, err := reg.Gather()
		if err != nil || len(families) != 7 {
			t.Fatalf("%d families, %v", len(families), err)
		}
		l.stop(r)
		if families, err := reg.Gather(); err != nil || len(families) != 0 {
			t.Fatalf("after Close: %d families, %v", len(families), err)
		}
		r = l.open(1)
	}
}
