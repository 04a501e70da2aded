package cluster

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
)

func backup(t testing.TB, s *State) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := s.View().WriteBackup(&b, "test", 7); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A backup is read back: it says what it is of, and gives that state.
func TestReadBackup_GivesTheSameState(t *testing.T) {
	w := busyTown(t)
	head, s, err := ReadBackup(bytes.NewReader(backup(t, w.s)))
	if err != nil {
		t.Fatal(err)
	}
	v := w.s.View()
	if head.ClusterID != "c1" || head.Index != v.Index() || head.Hash != v.Hash() || head.Commands != CommandVersion ||
		head.Version != "test" || head.Created != 7 || head.Nodes != 2 || head.Instances == 0 {
		t.Errorf("it says %+v", head)
	}
	if s.View().Hash() != v.Hash() {
		t.Error("the state is another")
	}
}

// A cluster that was never made has nothing to be backed up.
func TestWriteBackup_OfNoClusterIsRefused(t *testing.T) {
	var b bytes.Buffer
	if _, err := NewState().View().WriteBackup(&b, "test", 7); CodeOf(err) != Unavailable || b.Len() != 0 {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
}

// A backup with any one bit turned, or cut anywhere, or with anything behind it, is not read at all.
func TestReadBackup_RefusesEveryFlippedBitAndEveryCut(t *testing.T) {
	b := backup(t, busyTown(t).s)
	refused := func(what string, at int, b []byte) {
		t.Helper()
		_, s, err := ReadBackup(bytes.NewReader(b))
		if s != nil || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnknownCommand) {
			t.Fatalf("%s at %d: %v", what, at, err)
		}
	}
	for i := range b {
		b[i] ^= 1 << (i % 8)
		refused("flipped", i, b)
		b[i] ^= 1 << (i % 8)
	}
	for n := 0; n < len(b); n += 7 {
		refused("cut", n, b[:n])
	}
	refused("longer", len(b), append(bytes.Clone(b), 0))
	refused("a snapshot that is no backup", 0, snapshot(t, busyTown(t).s))
}

// rehead gives a backup another head, with the right digest.
func rehead(t testing.TB, b []byte, change func(*BackupHead)) []byte {
	t.Helper()
	head, s, err := ReadBackup(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	change(&head)
	var out bytes.Buffer
	w := newRecordWriter(&out)
	w.text(backupMagic)
	w.number(uint64(backupVersion), 4)
	w.record(&head)
	sum := w.digest()
	w.text(string(sum[:]))
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	return append(out.Bytes(), snapshot(t, s)...)
}

// A backup of a newer build says which build can read it, and a head from another backup is noticed.
func TestReadBackup_RefusesANewerOneAndAForeignHead(t *testing.T) {
	b := backup(t, busyTown(t).s)
	newer := rehead(t, b, func(h *BackupHead) { h.Commands, h.Version = CommandVersion+1, "99.0" })
	if _, _, err := ReadBackup(bytes.NewReader(newer)); !errors.Is(err, ErrUnknownCommand) || !strings.Contains(err.Error(), "kilonova 99.0") {
		t.Errorf("a newer one: %v", err)
	}
	for what, change := range map[string]func(*BackupHead){
		"cluster": func(h *BackupHead) { h.ClusterID = "c9" },
		"index":   func(h *BackupHead) { h.Index++ },
		"hash":    func(h *BackupHead) { h.Hash[0] ^= 1 },
	} {
		if _, s, err := ReadBackup(bytes.NewReader(rehead(t, b, change))); !errors.Is(err, ErrCorrupt) || s != nil {
			t.Errorf("another %s: %v", what, err)
		}
	}
	if _, _, err := ReadBackup(bytes.NewReader(rehead(t, b, func(*BackupHead) {}))); err != nil {
		t.Errorf("the same head: %v", err)
	}
}

// Whatever the bytes, a reader never panics and never gives a state with an error.
func FuzzReadBackup(f *testing.F) {
	b := backup(f, busyTown(f).s)
	f.Add(b)
	f.Add(b[:len(backupMagic)+4])
	f.Add([]byte(backupMagic))
	f.Add(rehead(f, b, func(h *BackupHead) { h.Commands++ }))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, s, err := ReadBackup(bytes.NewReader(b))
		if (s == nil) != (err != nil) || err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnknownCommand) {
			t.Fatalf("state %v with %v", s != nil, err)
		}
		if len(b) < len(backupMagic)+4+sha256.Size && err == nil {
			t.Fatal("it is too short to be one")
		}
	})
}

// restored makes another cluster of a town's state.
func (w *town) restored() {
	w.t.Helper()
	w.do(&RestoreCluster{
		From: "c1", Authority: Authority{ClusterID: "c2"}, Node: someNode("new", "192.0.2.1"),
		Project: Project{ID: "other", Name: "admin"}, Admin: User{ID: "other", Name: "admin", PasswordHash: "$new"},
	})
}

// A cluster is restored from a backup. None of its former nodes is part of it, and none of its instances has a node. The one that was made
// of shared volumes alone can be brought back; whatever was on a node alone is in error. Nothing is placed before the operator confirms.
func TestRestoreCluster_NothingIsPlacedBeforeTheOperatorConfirms(t *testing.T) {
	w := haven(t)
	w.active("b") // with a disk of its own
	w.do(create("waits", ""))
	w.do(create("c", "n2"))
	w.do(&DeleteInstance{ID: "c"})
	w.do(someConsole("b", "1"))
	w.restored()

	v := w.s.View()
	if v.Authority().ClusterID != "c2" || !v.WasRemoved(first) || !v.WasRemoved("n2") || !v.Restored().Held() || v.Restored().From != "c1" {
		t.Errorf("restored: %+v", v.Restored())
	}
	for n := range v.Nodes() {
		if n.ID != "new" {
			t.Errorf("node %s of the former cluster is here", n.ID)
		}
	}
	for in := range v.Instances() {
		if in.Node != "" {
			t.Errorf("instance %s is on node %s", in.ID, in.Node)
		}
	}
	if in := w.instance("a"); in.Status.VM != VMOffloaded || !in.Mode.InVolumes {
		t.Errorf("the instance in shared volumes is %+v", in.Status)
	}
	if _, ok := v.Instance("c"); ok {
		t.Error("the instance that was being deleted is there")
	}
	if in := w.instance("b"); in.Status.VM != VMError || !strings.Contains(in.Status.Fault.Message, "host-n1") {
		t.Errorf("the instance with a local disk is %+v, %+v", in.Status, in.Status.Fault)
	}
	for range v.JoinTokens() {
		t.Error("a join token of the former cluster is left")
	}
	if u, _ := v.UserNamed("admin"); u.ID != root || u.PasswordHash != "$new" {
		t.Errorf("the administrator is %+v", u)
	}

	w.do(&UnshelveInstance{ID: "a"})
	place := func(id string) Op {
		in := w.instance(id)
		return &PlaceInstance{ID: in.ID, Generation: in.Generation, Epoch: in.Epoch, Node: "new", Explanation: *explain("new")}
	}
	w.refuse(place("waits"), NoRoom, "has not confirmed")
	w.do(create("born", "new"))
	if in := w.instance("born"); in.Node != "" {
		t.Error("a new instance was placed before the operator confirmed")
	}
	w.do(&ConfirmRestore{By: By{User: root}})
	w.refuse(&ConfirmRestore{}, Conflict, "already")
	w.do(place("waits"))
	w.do(place("born"))
	if in := w.instance("a"); in.Status.Task != TaskUnshelving {
		t.Errorf("the instance that is brought back is %+v", in.Status)
	}
}

// The ways in which a state may not become another cluster.
func TestRestoreCluster_RefusesWhatWouldMixClusters(t *testing.T) {
	w := newTown(t)
	ok := RestoreCluster{
		From: "c1", Authority: Authority{ClusterID: "c2"}, Node: someNode("new", "192.0.2.9"),
		Project: Project{ID: "x", Name: "admin"}, Admin: User{ID: "x", Name: "admin"},
	}
	for what, c := range map[string]struct {
		change func(*RestoreCluster)
		code   Code
	}{
		"the same cluster ID":   {func(o *RestoreCluster) { o.Authority.ClusterID = "c1" }, Conflict},
		"another former one":    {func(o *RestoreCluster) { o.From = "c9" }, Stale},
		"a node of the former":  {func(o *RestoreCluster) { o.Node.ID = first }, Conflict},
		"an administrator with": {func(o *RestoreCluster) { o.Admin.Name = "\x00" }, Invalid},
	} {
		o := ok
		c.change(&o)
		t.Log(what)
		w.refuse(&o, c.code, "")
	}
	w.refuse(&ConfirmRestore{}, Conflict, "not restored")
	if r, err := NewState().Apply(1, []Command{{Op: &ok}}); err != nil || r[0].Err == nil || r[0].Err.Code != NotFound {
		t.Errorf("without a cluster: %+v, %v", r, err)
	}
}
