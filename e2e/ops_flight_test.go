package e2e

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
)

// A guest that is on its way to another node is stopped, and another time hurried, by an operator; then the power of both ends goes.
func TestOperations_InFlight(t *testing.T) {
	w := newWard(t)
	s := newStage(t, cloud.Options{Nodes: 3, Flags: []string{"--live-migration-mibps", slowMiBps}})
	s.furnishOps(buildSmall(t))
	s.run("it counts", func(s *stage) { w.fill(s, &w.flown) })
	s.run("it is stopped, and then hurried", w.stopAndHurry)
	s.run("both its ends lose power while it moves", func(s *stage) { w.cutBoth(s, false) })
	s.run("both its ends lose power when it has moved", func(s *stage) { w.cutBoth(s, true) })
}

// stopAndHurry lets an operator stop a live migration, which leaves the guest where it is, and then hurry one, which ends it. The
// guest does not notice, but for standing still when it is hurried.
func (w *ward) stopAndHurry(s *stage) {
	w.on(s)
	l := w.flown
	from, before := l.Host, l.told()
	w.flies(s)
	number := l.underWay()
	l.openstack(l.via, "--os-compute-api-version", "2.24", "server", "migration", "abort", l.ID, number)
	l.become("ACTIVE")
	l.goesOn(before)
	if l.Host != from {
		s.t.Errorf("it is on %s although it was stopped", l.Host)
	}
	s.eventually("nothing is left at the other end", actLimit, func() error { return s.noGuests(w.otherEnd(l)) })
	l.migrationEnded(number, "cancelled")
	if !wholeProgramme() {
		return
	}

	began, before := time.Now(), l.told()
	w.flies(s)
	number = l.underWay()
	l.openstack(l.via, "--os-compute-api-version", "2.22", "server", "migration", "force", "complete", l.ID, number)
	l.become("ACTIVE")
	s.took("a hurried migration", began)
	l.goesOn(before)
	if l.Host == from {
		s.t.Errorf("it is still on %s although it was hurried", from)
	}
	l.migrationEnded(number, "completed")
}

// underWay is the number of the live migration that runs, and tells of its progress.
func (l *life) underWay() (number string) {
	l.t.Helper()
	l.eventually("the migration runs", actLimit, func() error {
		var list struct {
			Migrations []struct {
				ID     int64
				Status string
				Memory int64 `json:"memory_total_bytes"`
			}
		}
		err := l.Do(l.ctx, l.via, cloud.Request{Path: "/compute/v2.1/servers/" + l.ID + "/migrations",
			Header: map[string]string{"X-OpenStack-Nova-API-Version": "2.79"}}, &list, http.StatusOK)
		if err != nil || len(list.Migrations) != 1 || list.Migrations[0].Status != "running" || list.Migrations[0].Memory == 0 {
			return fmt.Errorf("there are %+v, %v", list, err)
		}
		number = fmt.Sprint(list.Migrations[0].ID)
		return nil
	})
	return number
}

// migrationEnded looks how a migration stands in the list of all.
func (l *life) migrationEnded(number, want string) {
	l.t.Helper()
	var list struct {
		Migrations []struct {
			ID     int64
			Status string
		}
	}
	l.must(l.Get(l.ctx, l.via, "/compute/v2.1/os-migrations?instance_uuid="+l.ID, &list))
	for _, m := range list.Migrations {
		if fmt.Sprint(m.ID) == number && m.Status != want {
			l.t.Errorf("migration %s is %s, want %s", number, m.Status, want)
		}
	}
}

// cutBoth cuts the power of both ends of a live migration: while it goes on, or, late, when the guest runs at its destination and
// nobody knows. It then runs once, from the disk that it had last written to.
func (w *ward) cutBoth(s *stage, late bool) {
	w.on(s)
	l := w.flown
	from, before := l.Host, l.told()
	to := w.otherEnd(l)
	release := func() {}
	if late {
		release = w.hold(s, pointSent, l)
	}
	w.flies(s)
	if late {
		w.held(s, l)
		before = w.heardAt(s, to, before)
	}
	var cuts sync.WaitGroup
	for _, n := range []*cloud.Node{w.home, w.away} {
		cuts.Go(func() {
			if err := n.Host.PowerCut(); err != nil {
				s.t.Error(err)
			}
		})
	}
	cuts.Wait()
	release()
	for _, n := range []*cloud.Node{w.home, w.away} {
		s.must(n.PowerOn(s.ctx))
	}
	w.isBack(s)
	l.become("ACTIVE")
	l.beginsAnew(before)
	s.t.Logf("it went from %s to %s, and is on %s", from, to.Name(), l.Host)
	if late && l.Host != to.Name() {
		s.t.Errorf("it had moved to %s, and is on %s", to.Name(), l.Host)
	}
	others := slices.DeleteFunc([]*cloud.Node{w.home, w.away}, func(n *cloud.Node) bool { return n.Name() == l.Host })
	s.eventually("nothing is left at the other end", actLimit, func() error { return s.noGuests(others[0]) })
}

// oopsBytes is enough of a console to show what a kernel says when it breaks.
const oopsBytes = 8 << 10

// heardAt waits until a guest has counted on at its destination, and reads there what it said: the cluster does not know yet.
func (w *ward) heardAt(s *stage, to *cloud.Node, before guest.Console) (now guest.Console) {
	s.t.Helper()
	there := &life{stage: s, server: w.flown.server, via: w.away}
	there.Host = to.Name()
	path := there.consoleFile()
	s.eventually("the guest counts on at its destination", bootLimit, func() error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		now = guest.ReadConsole(string(text))
		if now.ID != before.ID || now.Count <= before.Count {
			return fmt.Errorf("boot %s is at %d, and boot %s was at %d; its log there has %d bytes and ends with\n%s",
				now.ID, now.Count, before.ID, before.Count, len(text), text[max(0, len(text)-oopsBytes):])
		}
		now.Boots = before.Boots // its log there begins where it arrived
		return nil
	})
	return now
}
