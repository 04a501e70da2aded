package raftfsm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kilonova/kilonova/cluster"
)

func recovery(id string, leader int, lost ...int) cluster.Command {
	op := &cluster.RecoverCluster{ID: id, Leader: nodeID(leader)}
	for _, n := range lost {
		op.Lost = append(op.Lost, nodeID(n))
	}
	return cluster.Command{Time: now, Op: op}
}

// Of five voters three are gone for good. One of the two that are left is recovered: it leads alone, with everything that was acknowledged, takes the
// other one in again, and the two go on. The three come back with their old logs: they are refused, and the cluster is as it was.
func TestRecover_SurvivorsGoOnWithEverythingAcknowledged(t *testing.T) {
	synctest.Test(t, survivorsGoOn)
}

func survivorsGoOn(t *testing.T) {
	l := newLab(t)
	leader := l.grow(5)
	for i := range 10 {
		l.must(leader, project(i))
	}
	l.same()
	for _, r := range l.all()[2:] {
		l.stop(r)
	}
	a, b := l.all()[0], l.all()[1]
	time.Sleep(10 * time.Second)
	if _, err := a.Propose(context.Background(), project(90)); !isNotApplied(err) {
		t.Errorf("without a quorum: %v", err)
	}
	ends := []cluster.LogEnd{a.LogEnd(), b.LogEnd()}
	if ends[1].Beyond(ends[0]) {
		t.Fatalf("the first one has less: %+v", ends)
	}
	l.stop(a)
	cfg, _ := l.config(1)
	for range 2 { // the second time as after a crash before the order was crossed out
		if err := Recover(cfg, recovery("r1", 1, 3, 4, 5), ends[1].Term); err != nil {
			t.Fatal(err)
		}
	}
	a = l.open(1)
	l.wait("it leads alone", a.IsLeader)
	for i := range 10 {
		if !hasProject(a.View(), i) {
			t.Errorf("project %d, which was acknowledged, is gone", i)
		}
	}
	if end := a.LogEnd(); end.Term <= ends[1].Term || len(a.Members()) != 1 {
		t.Errorf("it is at %+v with %d members", end, len(a.Members()))
	}
	if err := a.AddMember(context.Background(), nodeID(2), nodeAddr(2)); err != nil {
		t.Fatal(err)
	}
	l.must(a, project(11))
	l.same()
	if err := a.AddMember(context.Background(), nodeID(3), nodeAddr(3)); cluster.CodeOf(err) != cluster.Conflict {
		t.Errorf("a voter that was given up came back: %v", err)
	}
	before := a.View().Hash()
	back := l.open(3)
	time.Sleep(time.Minute)
	if back.IsLeader() || hasProject(back.View(), 11) || a.View().Hash() != before || !a.IsLeader() {
		t.Error("a voter that was given up had a part again")
	}
	l.stop(back)
}

// A log that cannot be read as a whole is recovered by nobody: not up to where it breaks, either.
func TestRecover_OfADamagedLogChangesNothing(t *testing.T) {
	l := newLab(t)
	r := l.found()
	for i := range 5 {
		l.must(r, project(i))
	}
	end := r.LogEnd()
	l.stop(r)
	cfg, _ := l.config(1)
	mend := damage(t, cfg, 6)
	if err := Recover(cfg, recovery("r1", 1), 0); !errors.Is(err, errCorrupt) {
		t.Errorf("recovered from a damaged log: %v", err)
	}
	mend()
	r = l.open(1)
	l.wait("it leads again", r.IsLeader)
	if got := r.LogEnd(); got.Last < end.Last || r.View().Recovered() != nil {
		t.Errorf("the log ended at %+v, now at %+v", end, got)
	}
}

// An empty directory has nothing to go on with, and only a recovery recovers.
func TestRecover_OfNothingIsRefused(t *testing.T) {
	l := newLab(t)
	cfg, _ := l.config(1)
	if err := Recover(cfg, recovery("r1", 1), 0); err == nil {
		t.Error("an empty directory was recovered")
	}
	if err := Recover(cfg, project(1), 0); err == nil {
		t.Error("recovered with another command")
	}
}

// Two nodes meet whose histories parted, as after a recovery while the others lived on. The one whose log would have to be written over, although it
// knows that its entries were agreed upon, stops.
func TestLogStore_CommittedEntriesAreNeverWrittenOver(t *testing.T) {
	l := newLab(t)
	r := l.found()
	l.must(r, project(1))
	l.must(r, project(2))
	last, err := r.disk.log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.disk.log.DeleteRange(last-1, last); !errors.Is(err, errParted) {
		t.Errorf("committed entries were deleted from the end: %v", err)
	}
	if err := r.Err(); !errors.Is(err, errParted) {
		t.Errorf("the node died of %v", err)
	}
}

// damage turns a bit of an entry on disk, and gives what turns it back.
func damage(t *testing.T, cfg Config, index uint64) (mend func()) {
	t.Helper()
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	d, err := openDisk(cfg, newFault(cfg.OnFatal), func(time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	var entry raft.Log
	if err := errors.Join(d.bolt.GetLog(index, &entry), d.close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cfg.Dir, logFile)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	turned := bytes.Clone(entry.Data)
	turned[len(turned)-3] ^= 4
	write(bytes.ReplaceAll(sound, entry.Data, turned))
	return func() { write(sound) }
}
