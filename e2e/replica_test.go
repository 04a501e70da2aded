package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// copiedDead is after how long a silent node is taken for dead in this story. The copy's node may be the leader: when it is cut off, the others
// have time to elect another before the guest's node has to end it.
const copiedDead = 13 * time.Second

// replica is what the cluster says of the copy of a guest's disk.
type replica struct {
	Node, State, Why string
}

// A guest on a local disk asks for a copy of it on another node, and to be started elsewhere when its node dies. It is migrated live, with
// a copy of its own there. Its node loses power: it goes on from the copy, with all that it had written. The copy's node is cut off: the guest goes on, and its copy is made anew. Its node loses
// power while its copy is stale: it waits for its node. But for the migration, at no instant has it two QEMUs.
func TestReplica(t *testing.T) {
	small := buildSmall(t)
	s := newStage(t, cloud.Options{Nodes: 3})
	s.furnishOps(small)
	s.kilonova(s.Nodes[0], "cluster", "settings", "--lease-stop", "8s", "--lease-kill", "3s", "--lease-dead", copiedDead.String())
	var l *life
	var w *witness
	s.run("its disk is copied", func(s *stage) {
		l = s.begin("precious", s.Nodes[0], "--property", "kilonova:ha=true", "--property", "kilonova:replicas=2")
		l.mirrored("")
		l.isGuarded()
	})
	s.run("it is migrated live to where its copy is", func(s *stage) { l.on(s).fliesToItsCopy() })
	w = l.witnessed() // a migration has two QEMUs
	defer w.close()
	s.run("its node loses power", func(s *stage) { l.on(s).goesOnFromReplica() })
	s.run("the node of its copy is cut off", func(s *stage) { l.on(s).replicaCutOff() })
	s.run("its node loses power when its copy is stale", func(s *stage) { l.on(s).staleIsNotStarted() })
	s.run("it never had two QEMUs", func(s *stage) { s.must(w.close()) })
}

// copied is what there is of the guest's copy.
func (l *life) copied() (replica, error) {
	var out struct{ Replica *replica }
	err := l.Get(l.ctx, l.via, "/cluster/v1/instances/"+l.ID+"/replica", &out)
	if err != nil || out.Replica == nil {
		return replica{}, err
	}
	return *out.Replica, nil
}

// mirrored waits until the guest has a current copy, on another node than those named, and gives its node.
func (l *life) mirrored(not string) (on *cloud.Node) {
	l.t.Helper()
	began := time.Now()
	var r replica
	l.eventually("it has a current copy", actLimit, func() (err error) {
		if r, err = l.copied(); err == nil && (r.State != "current" || r.Node == not) {
			err = fmt.Errorf("its copy is %+v", r)
		}
		return err
	})
	l.took("until it had a current copy", began)
	if r.Node == l.refresh().Host {
		l.t.Fatalf("its copy is on its own node: %+v", r)
	}
	return l.node(r.Node)
}

func (l *life) goesOnFromReplica() {
	dead := l.node(l.refresh().Host)
	copied := l.mirrored("")
	before := l.told()
	began := time.Now()
	l.must(dead.Host.PowerCut())
	l.comesUpElsewhere(dead, began)
	if on := l.refresh().Host; on != copied.Name() {
		l.t.Fatalf("it is on %s, its copy was on %s", on, copied.Name())
	}
	l.beginsAnew(before)
	l.must(dead.PowerOn(l.ctx))
	l.must(dead.WaitReady(l.ctx))
	l.mirrored(copied.Name())
	l.isGuarded()
}

// The guest stands still with its writes until the cluster has said that its copy is stale, and goes on. Healed, it has a copy again.
func (l *life) replicaCutOff() {
	copied := l.mirrored("")
	l.via = l.node(l.refresh().Host)
	before := l.told()
	l.must(copied.Host.Unplug())
	l.eventually("its copy is given up", actLimit, func() error {
		r, err := l.copied()
		if err == nil && r.State == "current" && r.Node == copied.Name() {
			err = fmt.Errorf("its copy is %+v", r)
		}
		return err
	})
	l.goesOn(before)
	l.must(copied.Host.Plug())
	l.mirrored("")
	l.isGuarded()
}

// No node takes another copy, and the one that there is was given up. When its node dies, the guest waits, though the copy's node is there.
func (l *life) staleIsNotStarted() {
	home := l.node(l.refresh().Host)
	copied := l.mirrored("")
	for _, n := range l.Nodes {
		l.openstack(home, "compute", "service", "set", "--disable", n.Name(), "nova-compute")
	}
	l.does("SHUTOFF", "stop", l.ID)
	l.does("ACTIVE", "start", l.ID) // from then on the copy lacks something
	l.eventually("its copy is stale", actLimit, func() error {
		r, err := l.copied()
		if err == nil && r.State != "stale" {
			err = fmt.Errorf("its copy is %+v", r)
		}
		return err
	})
	l.via = copied
	before := l.told()
	l.must(home.Host.PowerCut())
	for end := time.Now().Add(copiedDead + 5*time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if on := l.hosts(); len(on) > 0 {
			l.t.Fatalf("with a stale copy it runs on %v", on)
		}
	}
	l.must(home.PowerOn(l.ctx))
	l.must(home.WaitReady(l.ctx))
	l.beginsAnew(before)
	for _, n := range l.Nodes {
		l.openstack(home, "compute", "service", "set", "--enable", n.Name(), "nova-compute")
	}
	l.mirrored("")
}
