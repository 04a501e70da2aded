package raftfsm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// The state in testdata/format1.tar.gz, and where its log ends.
const (
	formerState = "4ad6f5a98761ed59da164cc057d06df072551d33befa1e069fe9126e8d6ea43f"
	formerLast  = 45
	formerTerm  = 2
)

// unpack puts the directory of a former build where node 1 of the lab has its own.
func unpack(t *testing.T, dir string) {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", "format1.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	plain, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for in := tar.NewReader(plain); ; {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, head.Name)
		if head.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		b, err := io.ReadAll(in)
		if err == nil {
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A directory of a build whose log had no anchor is opened, holds what it held, term included, and is protected from then on: a log
// without anchor, or a snapshot without preamble, is no longer taken for one of a former build. It writes on.
func TestFormat_ADirectoryOfAFormerBuildIsOpenedAndProtected(t *testing.T) {
	l := newLab(t)
	cfg, _ := l.config(1)
	unpack(t, cfg.Dir)
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	d, err := openDisk(cfg, newFault(cfg.OnFatal), func(time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	last, err := d.log.LastIndex()
	if term, err2 := d.log.GetUint64(currentTerm); last != formerLast || term != formerTerm || errors.Join(err, err2) != nil {
		t.Errorf("the log ends at %d in term %d, %v", last, term, errors.Join(err, err2))
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	if f, err := inspect(cfg.Dir); !f.anchored || err != nil {
		t.Errorf("after that it is %+v, %v", f, err)
	}
	r := l.open(1)
	l.wait("it leads", r.IsLeader)
	if got := fmt.Sprint(r.View().Hash()); got != formerState {
		t.Errorf("the state is %s", got)
	}
	l.must(r, project(50))
	l.stop(r)

	newest, err := d.snaps.List()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cfg.Dir, snapshotDir, newest[0].ID, metaFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = []byte(strings.Replace(string(b), `"Index":36`, `"Index":37`, 1))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openDisk(cfg, newFault(cfg.OnFatal), func(time.Duration) {}); !errors.Is(err, errCorrupt) {
		t.Errorf("a snapshot whose index was changed: %v", err)
	}
}

// The checksum of the newest snapshot's state, in its meta.json, is no base64 any more, so that raft's store passes the snapshot over. The node does not
// go back to the one before.
func TestFormat_ASnapshotThatRaftPassesOverStopsTheNode(t *testing.T) {
	dir := soundDirectory(t)
	cfg, err := Config{ID: nodeID(1), Addr: nodeAddr(1), Dir: dir}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, snapshotDir, "*", metaFile))
	if err != nil || len(found) != 2 {
		t.Fatalf("snapshots: %v, %v", found, err)
	}
	b, err := os.ReadFile(found[1])
	if err != nil {
		t.Fatal(err)
	}
	b = []byte(strings.Replace(string(b), `"CRC":"`, `"CRC":"!`, 1))
	if err := os.WriteFile(found[1], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openDisk(cfg, newFault(cfg.OnFatal), func(time.Duration) {}); !errors.Is(err, errCorrupt) || !strings.Contains(err.Error(), metaFile) {
		t.Errorf("opened without its newest snapshot: %v", err)
	}
}

// A directory that lost its log, or whose log is empty, is not a new one.
func TestFormat_ALostLogIsNotANewOne(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"no file":      os.Remove,
		"nothing left": func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			r := l.found()
			l.must(r, project(1))
			l.stop(r)
			if err := lose(filepath.Join(r.dir, logFile)); err != nil {
				t.Fatal(err)
			}
			cfg, _ := l.config(1)
			cfg.Stream = l.net.Listen(cfg.Addr)
			if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), whatToDo) {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

// A node starts and ends without an entry in between. Its log is byte for byte what it was.
func TestFormat_AStartAloneWritesNothing(t *testing.T) {
	dir := soundDirectory(t)
	before := contents(t, dir)
	cfg, err := Config{ID: nodeID(1), Addr: nodeAddr(1), Dir: dir}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	d, err := openDisk(cfg, newFault(cfg.OnFatal), func(time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	if contents(t, dir) != before {
		t.Error("opening and closing changed something")
	}
}

// A page number in the file leads to a page as it was a transaction ago: every byte there is sound, and the newest entry, or vote, is missing. The
// heads of the file say that there was another transaction.
func TestAnchor_AnOldPageIsNotTheLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raft")
	cfg, err := Config{ID: nodeID(1), Addr: nodeAddr(1), Dir: dir}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, logFile)
	d, err := openDisk(cfg, newFault(cfg.OnFatal), func(time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	entry := &raft.Log{Index: 1, Term: 7, Data: []byte("a")}
	if err := errors.Join(d.log.SetUint64(currentTerm, 7), d.log.StoreLog(entry), d.close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, oneTransactionLater(t, b), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openDisk(cfg, newFault(cfg.OnFatal), func(time.Duration) {}); !errors.Is(err, errCorrupt) || !strings.Contains(err.Error(), "transaction") {
		t.Errorf("opened what was a transaction ago: %v", err)
	}
}

// oneTransactionLater makes the heads of a log's file say that there was another transaction, whose pages are not there.
func oneTransactionLater(t *testing.T, b []byte) []byte {
	t.Helper()
	p := &boltPages{file: bytes.NewReader(b), size: int64(len(b))}
	if err := p.readHeads(); err != nil {
		t.Fatal(err)
	}
	newest := b[int64(p.head.txid%2)*p.page:][pageHeadBytes:][:headBytes]
	other := b[int64((p.head.txid+1)%2)*p.page:][pageHeadBytes:][:headBytes]
	copy(other, newest)
	boltOrder.PutUint64(other[48:], p.head.txid+1)
	sum := fnv.New64a()
	sum.Write(other[:headBytes-8])
	boltOrder.PutUint64(other[56:], sum.Sum64())
	return b
}

// A deletion at the end of the log is cut short by a crash: the anchor tells of it and the entries are still there. They are kept, and the log is
// whole.
func TestAnchor_ADeletionThatWasCutShortLosesNothing(t *testing.T) {
	cfg, err := Config{ID: nodeID(1), Addr: nodeAddr(1), Dir: filepath.Join(t.TempDir(), "raft")}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	var stopped atomic.Bool
	cfg.seams.wrapStore = func(s boltStore) boltStore { return undeleting{s, &stopped} }
	for i, last := range []uint64{5, 2, 3} {
		d, err := openDisk(cfg, newFault(cfg.OnFatal), func(time.Duration) {})
		if err != nil {
			t.Fatal(err)
		}
		switch i {
		case 0:
			for index := uint64(1); index <= 5; index++ {
				err = errors.Join(err, d.log.StoreLog(&raft.Log{Index: index, Term: 1, Data: []byte("x")}))
			}
			stopped.Store(true)
			err = errors.Join(err, d.log.DeleteRange(3, 5))
			stopped.Store(false)
		case 1:
			if was, _ := d.log.LastIndex(); was != 5 {
				t.Errorf("after the crash it ends with %d", was)
			}
			err = d.log.DeleteRange(3, 5)
		case 2:
			err = d.log.StoreLog(&raft.Log{Index: 3, Term: 2, Data: []byte("y")})
		}
		now, err2 := d.log.LastIndex()
		if i > 0 && now != last || errors.Join(err, err2) != nil {
			t.Errorf("step %d: it ends with %d, %v", i, now, errors.Join(err, err2))
		}
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// undeleting is a disk that does not come to deleting anything while stopped is set.
type undeleting struct {
	boltStore
	stopped *atomic.Bool
}

func (u undeleting) DeleteRange(low, high uint64) error {
	if u.stopped.Load() {
		return nil
	}
	return u.boltStore.DeleteRange(low, high)
}

// Whatever stands where an anchor should be, it is read or refused.
func FuzzParseAnchor(f *testing.F) {
	a := &anchor{Txid: 7, Last: 5, Sum: 9, Values: map[string][]byte{"CurrentTerm": binary.BigEndian.AppendUint64(nil, 3)}}
	l, err := a.record()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(l.Data, true)
	f.Add([]byte("{}"), true)
	f.Add([]byte(`{"values":{"CurrentTerm":"AA=="}}`), true)
	f.Add([]byte("null"), false)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		l := &raft.Log{Index: anchorIndex, Data: data}
		if sealed {
			l.Extensions = seal(l, 0, 0)
		}
		a, err := parseAnchor(l)
		if err == nil && !sealed {
			t.Error("an anchor without a seal was believed")
		}
		if err == nil {
			_ = a.clone()
		}
	})
}

// Whatever a file holds, its pages are walked to an end.
func FuzzCheckPages(f *testing.F) {
	path := filepath.Join(f.TempDir(), "small.db")
	small, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: minPageSize, NoFreelistSync: true})
	if err != nil {
		f.Fatal(err)
	}
	err = small.Update(func(tx *bbolt.Tx) error {
		conf, err := tx.CreateBucket(confBucket)
		if err != nil {
			return err
		}
		logs, err := tx.CreateBucket(logsBucket)
		if err != nil {
			return err
		}
		for i := range 64 {
			err = errors.Join(err, logs.Put(binary.BigEndian.AppendUint64(nil, uint64(i)), make([]byte, 60)))
		}
		return errors.Join(err, conf.Put([]byte("k"), []byte("v")))
	})
	if err := errors.Join(err, small.Close()); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := checkPages(bytes.NewReader(b), int64(len(b))); err != nil {
		f.Fatal(err)
	}
	f.Add(b, uint32(0), byte(0))
	for at := 2 * minPageSize; at < len(b); at += 97 {
		f.Add(b, uint32(at), byte(1))
	}
	f.Fuzz(func(_ *testing.T, b []byte, at uint32, with byte) {
		b = bytes.Clone(b)
		if int(at) < len(b) {
			b[at] ^= with
		}
		_, _ = checkPages(bytes.NewReader(b), int64(len(b)))
	})
}

// Whatever a snapshot begins with, it has a preamble that says what its meta says, or none, or is refused.
func FuzzReadPreamble(f *testing.F) {
	meta := raft.SnapshotMeta{Version: 1, ID: "2-7-1", Index: 7, Term: 2}
	head, err := preamble(meta)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(head)
	f.Add(head[:len(head)-2])
	f.Add([]byte("kilonova state\n\x00"))
	f.Add([]byte(preambleMagic + "\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := readPreamble(bytes.NewReader(b), meta)
		if err == nil && (n != int64(len(head)) || !bytes.Equal(b[:n], head)) {
			t.Errorf("took %q", b)
		}
	})
}

// The file is cut while the node runs and has it in its memory. The node ends with an error, not with a signal.
func TestFault_AFileThatIsCutUnderANodeIsAnError(t *testing.T) {
	l := newLab(t)
	r := l.found()
	for i := range 50 {
		l.must(r, project(i))
	}
	if err := os.Truncate(filepath.Join(r.dir, logFile), 0); err != nil {
		t.Fatal(err)
	}
	go func() { _ = r.disk.log.GetLog(5, new(raft.Log)) }() // ends there
	if err := <-r.fatal; !errors.Is(err, errFaulted) {
		t.Errorf("read from a file that is gone: %v", err)
	}
}
