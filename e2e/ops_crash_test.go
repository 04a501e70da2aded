package e2e

import (
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
)

// Whoever carries out an operation dies in the middle of it: the daemon of the guest's host, or its libvirtd. Once it is back the
// operation is finished or undone, by itself; the guest runs once, and has lost nothing.
func TestOperations_BrokenOff(t *testing.T) {
	small := buildSmall(t)
	s := newStage(t, cloud.Options{Nodes: 2})
	s.furnishOps(small)
	l := s.begin("harmed", s.Nodes[1])
	s.run("the daemon dies while it suspends", func(s *stage) { l.on(s).suspendBroken(l.killDaemon) })
	s.run("libvirtd dies while it suspends", func(s *stage) { l.on(s).suspendBroken(l.killLibvirt) })
	s.run("the daemon dies while its disk is saved", func(s *stage) { l.on(s).snapshotBroken() })
	s.run("the daemon dies while it is rebuilt", func(s *stage) { l.on(s).rebuildBroken(l.killDaemon) })
	s.run("libvirtd dies while it is rebuilt", func(s *stage) { l.on(s).rebuildBroken(l.killLibvirt) })
}

// killDaemon kills the daemon of the guest's host, and starts it again.
func (l *life) killDaemon() {
	l.t.Helper()
	n := l.node(l.Host)
	l.must(n.Daemon.Kill())
	l.must(n.Start(l.ctx))
}

// killLibvirt kills libvirtd of the guest's host, and starts it again.
func (l *life) killLibvirt() {
	l.t.Helper()
	n := l.node(l.Host)
	l.must(n.Libvirt.Kill())
	l.must(n.StartLibvirt(l.ctx))
}

// The guest is suspended in the end, and goes on in the same memory; or, when its memory could not be saved to the end, runs on and can
// be suspended later.
func (l *life) suspendBroken(breakIt func()) {
	before := l.told()
	l.acts("suspend", nil)
	breakIt()
	l.must(l.WaitEnabled(l.ctx))
	l.become("SUSPENDED")
	l.does("ACTIVE", "resume", l.ID)
	l.goesOn(before)
}

// The daemon dies when it has copied the disk, and has not stored it. The image becomes whole all the same, and nothing is left over.
func (l *life) snapshotBroken() {
	before := l.told()
	host := l.node(l.Host)
	l.restartWith(host, "operate/capturing/after-capture=1*kill")
	l.acts("createImage", map[string]string{"name": "broken off"})
	l.dies(host)
	l.restartWith(host, "")
	image := l.saved(l.openstack(l.via, "image", "list", "--name", "broken off", "-f", "value", "-c", "ID"))
	l.imageBecomes(image, "active")
	l.become("ACTIVE")
	l.goesOn(before)
	copied := l.meet(l.via, l.boot(l.via, image, "copied"))
	if found := copied.told().Last(); found.Found < before.Count {
		l.t.Errorf("the copy found %+v on its disk, the original was at %d before the snapshot", found, before.Count)
	}
	l.remove([]string{copied.ID})
}

// restartWith starts a daemon anew with failpoints; it goes on without them once it has died of one.
func (s *stage) restartWith(n *cloud.Node, points string) {
	s.t.Helper()
	n.Env = nil
	if points != "" {
		n.Env = []string{"KILONOVA_FAILPOINTS=" + points}
	}
	s.must(n.Daemon.Kill())
	s.must(n.Start(s.ctx))
	s.must(s.WaitEnabled(s.ctx))
}

// dies waits for a daemon's end.
func (s *stage) dies(n *cloud.Node) {
	s.t.Helper()
	select {
	case <-n.Daemon.Done():
	case <-time.After(actLimit):
		s.t.Fatalf("the daemon of %s never came by its failpoint", n.Name())
	}
}

// The guest has a new disk in the end, and runs.
func (l *life) rebuildBroken(breakIt func()) {
	before := l.told()
	var found struct{ Images []struct{ ID string } }
	l.must(l.Get(l.ctx, l.via, "/image/v2/images?name="+opsImage, &found))
	l.acts("rebuild", map[string]string{"imageRef": found.Images[0].ID})
	breakIt()
	l.must(l.WaitEnabled(l.ctx))
	l.become("ACTIVE")
	l.becomes(guest.Console.HasNewDisk, before)
}
