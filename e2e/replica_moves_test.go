package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// whileCopied is a part of what is done to a guest with a copy.
type whileCopied struct {
	story string
	play  func(*life)
}

// What is done to a guest where it is, is done to one whose disk has a copy on another node. What goes by the copy makes it stale before it begins,
// and afterwards there is a current one again.
func TestOperations_Replicated(t *testing.T) {
	tellCopied(t, []whileCopied{
		{"it is stopped and started", (*life).stopAndStart},
		{"it is rebooted softly and hard", (*life).reboot},
		{"it is paused and goes on", (*life).pause},
		{"it is suspended and goes on", (*life).sleepAndWake},
		{"it is saved while it runs", (*life).snapshot},
		{"it is rescued", (*life).rescue},
	})
}

// A guest whose disk has a copy is moved in every way, and put away and brought back. Each time it has a current copy of the disk that it then has.
func TestOperations_ReplicatedMoves(t *testing.T) {
	tellCopied(t, []whileCopied{
		{"it is migrated live to where its copy is", (*life).fliesToItsCopy},
		{"it is migrated live to where its copy is not", (*life).fliesElsewhere},
		{"it is migrated cold, and goes back", (*life).goesAndReturns},
		{"it grows", (*life).growsInPlace},
		{"it is shelved and brought back", (*life).shelve},
	})
}

// A guest whose disk has a copy gets a new disk. It has a copy of that, too, and goes on from it when its node dies.
func TestOperations_ReplicatedAnew(t *testing.T) {
	tellCopied(t, []whileCopied{
		{"it is rebuilt", (*life).rebuild},
		{"its node loses power", (*life).losesItsNode},
	})
}

func tellCopied(t *testing.T, parts []whileCopied) {
	if !wholeProgramme() {
		t.Skip("told by make test-operations; TestReplica migrates such a guest live in every run")
	}
	small := buildSmall(t)
	s := newStage(t, cloud.Options{Nodes: 3})
	s.furnishOps(small)
	s.kilonova(s.Nodes[0], "cluster", "settings", "--lease-stop", "8s", "--lease-kill", "3s", "--lease-dead", copiedDead.String())
	l := s.begin("copied", s.Nodes[0], "--property", "kilonova:ha=true", "--property", "kilonova:replicas=2")
	for _, part := range parts {
		s.run(part.story, func(s *stage) {
			on := l.on(s)
			on.mirrored("")
			part.play(on)
			on.mirrored("")
			l.server = on.refresh()
		})
	}
}

// fliesToItsCopy sends the running guest to the node that keeps its copy. Nobody could start it from the copy meanwhile, and afterwards it has one
// on another node.
func (l *life) fliesToItsCopy() { l.flies(l.mirrored("")) }

// fliesElsewhere sends the running guest to the node that has nothing of it.
func (l *life) fliesElsewhere() {
	copied := l.mirrored("")
	for _, n := range l.Nodes {
		if n.Name() != l.Host && n != copied {
			l.flies(n)
			return
		}
	}
}

func (l *life) flies(to *cloud.Node) {
	l.t.Helper()
	from, before := l.refresh().Host, l.told()
	l.via = l.Nodes[0]
	began := time.Now()
	l.acts("os-migrateLive", map[string]any{"host": to.Name(), "block_migration": "auto"})
	l.eventually("it arrives", actLimit, func() error {
		r, err := l.copied()
		if err != nil {
			return err
		}
		switch v := l.refresh(); {
		case v.Host == to.Name() && v.Status == "ACTIVE" && v.TaskState == "":
			return nil
		case v.Host == from && v.Status == "ACTIVE" && v.TaskState == "":
			l.t.Fatalf("it is back on %s: %s", from, v.Fault.Message)
		case v.TaskState == "migrating" && r.State == "current" && l.refresh().TaskState == "migrating":
			l.t.Fatalf("on its way it has the copy %+v", r)
		default:
			return fmt.Errorf("it is %s (%s) on %s", v.Status, v.TaskState, v.Host)
		}
		return nil
	})
	l.took("the live migration", began)
	l.goesOn(before)
	l.mirrored(to.Name())
}

// losesItsNode cuts the power of the guest's node. It goes on from its copy, and at no instant has it two QEMUs.
func (l *life) losesItsNode() {
	w := l.witnessed()
	defer w.close()
	l.goesOnFromReplica()
	l.must(w.close())
}

// sleepAndWake suspends the guest, and lets it go on in the same memory.
func (l *life) sleepAndWake() {
	before := l.told()
	l.does("SUSPENDED", "suspend", l.ID)
	l.does("ACTIVE", "resume", l.ID)
	l.goesOn(before)
}

// goesAndReturns moves the guest with its power off to another node, and takes it back from there.
func (l *life) goesAndReturns() {
	from, before := l.refresh().Host, l.told()
	l.acts("migrate", map[string]any{"host": nil})
	l.become("VERIFY_RESIZE")
	if l.Host == from {
		l.t.Errorf("it is still on %s", from)
	}
	l.beginsAnew(before)
	l.refused(http.StatusConflict, "os-migrateLive", map[string]any{"host": nil, "block_migration": "auto"})
	l.does("ACTIVE", "resize", "revert", l.ID)
	if l.Host != from {
		l.t.Errorf("it went back to %s, and was on %s", l.Host, from)
	}
	l.beginsAnew(before)
}

// growsInPlace gives the guest a larger disk, and its next copy one as large.
func (l *life) growsInPlace() {
	before := l.told()
	l.openstack(l.via, "server", "resize", "--flavor", opsLarge, l.ID)
	l.become("VERIFY_RESIZE")
	l.beginsAnew(before)
	before = l.told()
	l.does("ACTIVE", "resize", "confirm", l.ID)
	l.goesOn(before)
}

// The node of the copy of a guest's disk is drained: the copy is made anew on the third, and the guest goes on. The guest's
// own node loses power and is removed by force: after the time of a lease the guest goes on from its copy with all that it had
// written, at no instant with two QEMUs.
func TestOperations_ReplicatedLeaves(t *testing.T) {
	tellCopied(t, []whileCopied{
		{"the node of its copy is drained", (*life).copyLeaves},
		{"its node is removed", (*life).isOrphaned},
	})
}

// copyLeaves drains the node that keeps the guest's copy, which has nothing else.
func (l *life) copyLeaves() {
	copied := l.mirrored("")
	l.via = l.node(l.refresh().Host)
	before := l.told()
	said := l.kilonova(l.via, "node", "drain", copied.Name())
	if !strings.Contains(said, "is empty") {
		l.t.Errorf("the drain says %q", said)
	}
	l.goesOn(before)
	l.mirrored(copied.Name())
	l.kilonova(l.via, "node", "undrain", copied.Name())
}

// isOrphaned cuts the power of the guest's node, for good, and takes it out of the cluster before it can be taken for dead.
func (l *life) isOrphaned() {
	dead := l.node(l.refresh().Host)
	copied := l.mirrored("")
	l.isGuarded()
	l.via = copied
	w := l.witnessed()
	defer w.close()
	before := l.told()
	began := time.Now()
	l.must(dead.Host.PowerCut())
	said := ""
	l.eventually("it is removed", actLimit, func() error { // the dead node may have led
		out, err := copied.Kilonova(l.ctx, "node", "remove", "--force", dead.Name())
		if said += out; err != nil && strings.Contains(err.Error(), "could not be found") {
			return nil // of an earlier attempt nobody heard
		}
		return err
	})
	if !strings.Contains(said, "go on elsewhere") || !strings.Contains(said, l.ID) {
		l.t.Errorf("the removal says %q", said)
	}
	l.eventually("the guest is where its copy was", actLimit, func() error {
		if v := l.refresh(); v.Host != copied.Name() || v.Status != "ACTIVE" || v.TaskState != "" {
			return fmt.Errorf("it is %s (%s) on %s: %s", v.Status, v.TaskState, v.Host, v.Fault.Message)
		}
		return nil
	})
	l.took("until it went on, of which "+copiedDead.String()+" were to be waited", began)
	l.beginsAnew(before)
	l.must(w.close())
}
