package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
)

const (
	// opsAsSmall is another flavor with as much disk as opsSmall, so that a guest may be resized to and fro.
	opsAsSmall = "tinyish"

	// The places where moves are held until somebody has died.
	pointCopied = "operate/copying/after-import" // at the destination, for each disk
	pointSent   = "operate/migrating/sent"       // at the source, when libvirt has said that the guest is gone

	slowMiBps = "8" // makes a guest take some seconds to move
)

// Six guests live on one of three nodes. At once one is resized, one is migrated cold, one alive, one is suspended, one saved and
// one rebuilt; in the middle of all that somebody dies: the leader, the libvirtd or the daemon of either end. Every operation is
// finished by itself, or the live migration undone; no guest runs twice, and none has lost anything that it had written, or its memory
// where that is to be kept.
func TestOperations_BrokenOff(t *testing.T) {
	w := newWard(t)
	s := newStage(t, cloud.Options{Nodes: 3, Flags: []string{"--live-migration-mibps", slowMiBps}})
	s.furnishOps(buildSmall(t))
	s.must(s.Do(s.ctx, s.Nodes[0], cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/flavors", Body: map[string]any{
		"flavor": map[string]any{"name": opsAsSmall, "ram": 136, "vcpus": 1, "disk": 1},
	}}, nil, http.StatusOK))
	s.run("six guests count", func(s *stage) { w.fill(s, &w.flown, &w.grown, &w.moved, &w.slept, &w.saved, &w.renewed) })
	s.run("the leader dies", func(s *stage) { w.round(s, true, w.killLeader) })
	s.run("the libvirtd of those that stay and of the destination dies", func(s *stage) { w.round(s, true, w.killLibvirt) })
	if !wholeProgramme() {
		return
	}
	s.run("the daemon of those that stay and of the source dies", func(s *stage) { w.round(s, true, w.killDaemon) })
	s.run("what was saved in between is whole", w.bootSaved)
	s.run("the daemon of the destination dies", func(s *stage) { w.round(s, false, w.killDaemon) })
	s.run("the libvirtd of the source dies", func(s *stage) { w.round(s, false, w.killLibvirt) })
}

// round begins an operation with each guest, breaks something, and sees how they end. Those at home take part when they are to.
func (w *ward) round(s *stage, all bool, breakIt func(s *stage)) {
	began := time.Now()
	w.on(s)
	before := map[*life]guest.Console{}
	for _, l := range w.guests() {
		before[l] = l.told()
	}
	from := w.flown.Host
	release := w.hold(s, pointCopied, w.grown, w.moved)
	w.grown.acts("resize", map[string]string{"flavorRef": s.flavor(w.nextFlavor())})
	w.moved.acts("migrate", nil)
	w.held(s, w.grown, w.moved)
	w.flown.does("PAUSED", "pause", w.flown.ID) // see flies
	w.flies(s)
	if all {
		w.image = s.imageOf(w.saved.acts("createImage", map[string]string{"name": "in between"}))
		w.renewed.acts("rebuild", map[string]string{"imageRef": s.imageID(opsImage)})
		w.slept.acts("suspend", nil)
	}
	breakIt(s)
	release()
	for _, l := range []*life{w.grown, w.moved} {
		l.become("VERIFY_RESIZE")
		l.beginsAnew(before[l])
		l.does("ACTIVE", "resize", "confirm", l.ID)
	}
	w.flown.lands(before[w.flown])
	if all {
		w.stayed(before)
	}
	s.took("all ended", began)
	w.flown.again(from)
	for _, l := range []*life{w.grown, w.moved, w.flown} {
		if l.Host == from {
			s.t.Errorf("%s is still on %s", l.Name, from)
		}
	}
}

// stayed sees how the operations end of those that do not move.
func (w *ward) stayed(before map[*life]guest.Console) {
	w.saved.imageBecomes(w.image, "active")
	w.saved.become("ACTIVE")
	w.saved.goesOn(before[w.saved])
	w.savedAt = before[w.saved].Count
	w.slept.become("SUSPENDED")
	w.slept.does("ACTIVE", "resume", w.slept.ID)
	w.slept.goesOn(before[w.slept])
	w.renewed.become("ACTIVE")
	w.renewed.becomes(guest.Console.HasNewDisk, before[w.renewed])
}

// again lets a live migration be tried once more that was undone, and not forgotten.
func (l *life) again(from string) {
	l.t.Helper()
	if l.Host != from {
		return
	}
	l.t.Logf("the live migration was undone: %s", l.lastMessage())
	before := l.told()
	l.does("PAUSED", "pause", l.ID)
	l.acts("os-migrateLive", map[string]any{"host": nil, "block_migration": "auto"})
	l.lands(before)
}

// lands waits until the live migration of a paused guest has ended, one way or the other, and lets it go on.
func (l *life) lands(before guest.Console) {
	l.t.Helper()
	l.become("PAUSED")
	l.does("ACTIVE", "unpause", l.ID)
	l.goesOn(before)
}

// lastMessage is what the newest live migration of a server says about how it ended.
func (l *life) lastMessage() string {
	l.t.Helper()
	var list struct {
		InstanceActions []struct{ Action, Message string }
	}
	l.must(l.Get(l.ctx, l.via, "/compute/v2.1/servers/"+l.ID+"/os-instance-actions", &list))
	for _, a := range list.InstanceActions { // the newest comes first
		if a.Action == "live-migration" && a.Message != "" {
			return a.Message
		}
		if a.Action == "live-migration" {
			break
		}
	}
	l.t.Errorf("nothing says how the newest live migration of %+v ended", list.InstanceActions)
	return ""
}

// bootSaved boots the image that was saved when the daemon died: it has all that was on the disk when it was asked for. Those that
// stay are done with.
func (w *ward) bootSaved(s *stage) {
	w.on(s)
	for _, l := range []**life{&w.slept, &w.saved, &w.renewed} {
		(*l).release()
		*l = nil
	}
	copied := s.fromDisks("copied", w.image)
	if found := copied.told().Last(); found.Found < w.savedAt {
		s.t.Errorf("the copy found %+v on its disk, the original was at %d before it was saved", found, w.savedAt)
	}
	copied.release()
}
