package node

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/pki"
)

// knows tells whether a node of this process knows another, by name, at an address.
func (r *running) knows(name, address string) bool {
	nodes, err := r.nodes()
	n := nodes[name]
	return err == nil && n.Address == address && n.State == "up" && (n.Part == "voter" || n.Part == "leader")
}

// All three machines get other addresses, one after the other, the leader among them. Each is the same node afterwards, has its vote, and is known by
// its new address alone: to the others, in its certificates, in its own files.
func TestRelocate_EveryNodeInTurn(t *testing.T) {
	l := newLAN(t)
	all := []*running{l.first()}
	all = append(all, l.join(2, all[0]), l.join(3, all[0]))
	l.until("three voters", func() bool { return all[1].votersUp(3) && all[2].votersUp(3) })
	before, err := all[0].nodes()
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if err := all[i].stop(); err != nil {
			t.Fatal(err)
		}
		cfg := all[i].cfg
		cfg.MovedFrom, cfg.Bind = cfg.Bind, l.config(11+i).Bind
		all[i] = l.run(cfg)
		for _, r := range all {
			l.until(r.cfg.Name+" knows where "+cfg.Name+" is", func() bool { return r.knows(cfg.Name, cfg.Bind) })
		}
		l.until("it has forgotten where it was", func() bool { return len(all[i].enrolment(t).Former) == 0 })
		for _, file := range []string{peerPEM, apiPEM} {
			leaf, err := (&dataDir{path: cfg.DataDir}).leaf(file)
			if err != nil || !pki.IsFor(leaf.Leaf, cfg.Name, cfg.Bind) {
				t.Errorf("%s of %s is for %v, %v", file, cfg.Name, leaf.Leaf.IPAddresses, err)
			}
		}
	}
	for _, r := range all {
		if now, err := r.nodes(); err != nil || now[r.cfg.Name].ID != before[r.cfg.Name].ID {
			t.Errorf("%s is another node: %v", r.cfg.Name, err)
		}
	}
	if c := string(all[0].file(t, cloudsFile)); !strings.Contains(c, all[0].cfg.Bind) || strings.Contains(c, "//"+l.config(1).Bind+":") {
		t.Errorf("clouds.yaml is\n%s", c)
	}
	// Without --bind a node is where it was last.
	if err := all[2].stop(); err != nil {
		t.Fatal(err)
	}
	cfg := all[2].cfg
	cfg.Bind = ""
	l.run(cfg)
	l.until("it is back", func() bool { return all[0].knows("n3", all[2].cfg.Bind) && all[0].votersUp(3) })
}

func (r *running) enrolment(t *testing.T) enrolment {
	t.Helper()
	id, err := (&dataDir{path: r.cfg.DataDir}).enrolment()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// The only node of a cluster moves: there is nobody to ask but itself.
func TestRelocate_TheOnlyNode(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	if err := n1.stop(); err != nil {
		t.Fatal(err)
	}
	cfg := n1.cfg
	cfg.Bind = l.config(11).Bind
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "--moved-from "+n1.cfg.Bind) {
		t.Fatalf("without the operator's word: %v", err)
	}
	cfg.MovedFrom = n1.cfg.Bind
	n1 = l.run(cfg)
	l.until("it leads", func() bool { return n1.knows("n1", cfg.Bind) })
	n2 := l.join(2, n1)
	l.until("another one joins it there", func() bool { return n2.knows("n1", cfg.Bind) })
}

// A data directory is copied to another machine, and its operator says that it moved. While the node runs the copy does not start. It is copied while the node is off, and both are
// started: the one that is where the cluster does not expect it ends, and says where the node goes on.
func TestRelocate_ACopyIsFoundOut(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	n2 := l.join(2, n1)
	l.until("two nodes", func() bool { return n1.votersUp(1) && n2.votersUp(1) })
	copied := n2.cfg
	copied.MovedFrom, copied.Bind, copied.DataDir = copied.Bind, l.config(12).Bind, filepath.Join(l.dirs, "copy")
	l.until("it is copied", func() bool { // between two files that the node writes
		return os.RemoveAll(copied.DataDir) == nil && exec.Command("cp", "-a", n2.cfg.DataDir, copied.DataDir).Run() == nil
	})
	if err := Run(t.Context(), copied); !errors.Is(err, errElsewhere) || !strings.Contains(err.Error(), n2.cfg.Bind) {
		t.Fatalf("a copy of a node that runs: %v", err)
	}
	if err := n2.stop(); err != nil {
		t.Fatal(err)
	}
	l.run(copied)
	l.until("the copy is the node", func() bool { nodes, err := n1.nodes(); return err == nil && nodes["n2"].Address == copied.Bind })
	n2 = l.run(n2.cfg)
	select {
	case <-n2.done:
	case <-time.After(30 * time.Second):
		t.Fatal("both run")
	}
	if err := n2.stop(); !errors.Is(err, errElsewhere) || !strings.Contains(err.Error(), copied.Bind) {
		t.Errorf("the other ended with %v", err)
	}
}

// What another node says of this one's address counts when it is newer than what this one knows.
func TestStanding_TheNewerRecordSaysWhereANodeIs(t *testing.T) {
	w := cluster.NewState()
	n := cluster.Node{ID: "n1", Name: "n1", Address: "192.0.2.1", Zone: "z", Voter: cluster.VoterAuto}
	if _, err := w.Apply(5, []cluster.Command{{Time: 1, Op: &cluster.InitCluster{
		Authority: cluster.Authority{ClusterID: "c"}, Node: n, Roles: []cluster.Role{{ID: "r", Name: cluster.RoleAdmin}},
		Project: cluster.Project{ID: "p", Name: "admin"}, Admin: cluster.User{ID: "u", Name: "admin"},
	}}}); err != nil {
		t.Fatal(err)
	}
	s := &standing{self: "n1", at: func(a string) bool { return a == "192.0.2.1" || a == "192.0.2.7" }, view: w.View}
	for _, c := range []struct {
		answer peer.Standing
		want   error
	}{
		{peer.Standing{}, nil},
		{peer.Standing{Removed: true}, errRemoved},
		{peer.Standing{Address: "192.0.2.1", Revision: 9}, nil},
		{peer.Standing{Address: "192.0.2.7", Revision: 9}, nil},
		{peer.Standing{Address: "192.0.2.8", Revision: 9}, errElsewhere},
		{peer.Standing{Address: "192.0.2.8", Revision: 4}, nil},
		{peer.Standing{Address: "192.0.2.8", Revision: 5}, nil},
	} {
		if err := s.judge(c.answer); !errors.Is(err, c.want) || err != nil && c.want == nil {
			t.Errorf("%+v: %v", c.answer, err)
		}
	}
}

// A machine gets another name. The cluster lists the node under it, its certificates name it, and it is remembered.
func TestRename_IsInTheListAndInTheCertificates(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	n2 := l.join(2, n1)
	l.until("two nodes", func() bool { return n1.votersUp(1) && n2.votersUp(1) })
	if err := n2.stop(); err != nil {
		t.Fatal(err)
	}
	cfg := n2.cfg
	cfg.Name = "renamed"
	n2 = l.run(cfg)
	named := func() bool {
		leaf, err := (&dataDir{path: cfg.DataDir}).leaf(apiPEM)
		return err == nil && pki.IsFor(leaf.Leaf, "renamed", cfg.Bind) && n2.enrolment(t).Name == "renamed"
	}
	l.until("it has its new name", func() bool {
		nodes, err := n1.nodes()
		_, old := nodes["n2"]
		return err == nil && !old && nodes["renamed"].State == "up" && named()
	})
	if err := n2.ask(http.MethodPost, "/tokens", map[string]any{}, nil); err != nil {
		t.Errorf("it takes no part: %v", err)
	}
}
