package raftfsm

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/kilonova/kilonova/cluster"
)

// copyOf is a state that is equal to a view, as a backup of it gives one.
func copyOf(t testing.TB, v *cluster.View) *cluster.State {
	t.Helper()
	var b bytes.Buffer
	if _, err := v.WriteBackup(&b, "test", 1); err != nil {
		t.Fatal(err)
	}
	_, s, err := cluster.ReadBackup(&b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// restoration is what the state of a lab begins with as another cluster, whose first node is n.
func restoration(from string, n int) cluster.Command {
	node := enrol(n).Op.(*cluster.EnrolNode).Node
	return cluster.Command{Op: &cluster.RestoreCluster{
		From: from, Authority: cluster.Authority{ClusterID: "another"}, Node: node,
		Project: cluster.Project{ID: "admin", Name: "admin"}, Admin: cluster.User{ID: "admin", Name: "admin"},
	}}
}

// A cluster is restored on a machine of its own. It leads at once, knows what the backup knew, forgets nothing over a restart, and takes
// others in, which get the state by a snapshot.
func TestRestore_MakesAnotherClusterOfTheState(t *testing.T) {
	synctest.Test(t, restoreMakesAnotherCluster)
}

func restoreMakesAnotherCluster(t *testing.T) {
	l := newLab(t)
	old := l.found()
	l.must(old, project(1))
	state := copyOf(t, old.View())
	from := old.View().Authority().ClusterID
	l.stop(old)

	cfg, _ := l.config(5)
	if err := Restore(cfg, state, restoration(from, 5)); err != nil {
		t.Fatal(err)
	}
	r := l.open(5)
	if v := r.View(); v.Authority().ClusterID != "another" || !hasProject(v, 1) || !v.WasRemoved(nodeID(1)) {
		t.Error("the first view is not that of the new cluster")
	}
	l.wait("it leads", r.IsLeader)
	l.must(r, project(2))
	l.stop(r)
	r = l.open(5)
	l.wait("it leads again", r.IsLeader)
	if !hasProject(r.View(), 1) || !hasProject(r.View(), 2) {
		t.Error("it forgot something over a restart")
	}
	l.must(r, token())
	l.join(r, 6)
	l.same()
}

// What may not be restored leaves nothing behind, and a directory that holds a cluster is left alone.
func TestRestore_RefusedLeavesNothing(t *testing.T) {
	l := newLab(t)
	r := l.found()
	state := copyOf(t, r.View())
	cfg, _ := l.config(5)
	if err := Restore(cfg, state, restoration("of nobody", 5)); cluster.CodeOf(err) != cluster.Stale {
		t.Errorf("from another cluster: %v", err)
	}
	cfg.Dir = r.dir
	if err := Restore(cfg, copyOf(t, r.View()), restoration(r.View().Authority().ClusterID, 5)); !errors.Is(err, ErrExists) {
		t.Errorf("over a cluster: %v", err)
	}
	l.must(r, project(1))
}
