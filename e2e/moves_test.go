package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
)

// moveLimit is how long a guest of the stories may take to move, its images included.
const moveLimit = 3 * time.Minute

// A guest that counts, in memory and on its disk, is moved in every way between three machines. At no time does it run twice, and it
// loses nothing. TestOperations_BrokenOff tells what becomes of moves when somebody dies meanwhile.
func TestMoves(t *testing.T) {
	s := newStage(t, cloud.Options{Nodes: 3})
	m := &moves{guests: guests{small: buildSmall(t)}}
	s.furnish(&m.guests)
	s.openstack(s.Nodes[0], "flavor", "create", "--ram", "160", "--vcpus", "1", "--disk", "2", "larger")
	s.run("it boots", m.boot)
	s.run("it is resized to another node, and goes back", m.resizeAndRevert)
	s.run("it is migrated cold, and stays", m.migrateAndConfirm)
	s.run("it is migrated live", m.migrateLive)
	s.run("its disk is saved to an image while it runs", m.snapshot)
	s.run("its node is drained", m.drain)
}

// moves is what the parts of the story hand on.
type moves struct {
	guests
	v server
}

// told reads the console of the guest.
func (m *moves) told(s *stage) guest.Console {
	s.t.Helper()
	text, err := s.console(s.node(m.v.Host), m.v.ID)
	s.must(err)
	return guest.ReadConsole(text)
}

// wentOn waits until the guest counts on in the same memory, wherever it is by now, and nowhere else.
func (m *moves) wentOn(s *stage, before guest.Console) {
	s.t.Helper()
	m.counts(s, func(now guest.Console) error { return now.WentOn(before) })
}

// beganAnew waits until the guest counts on after another boot, from all that was on its disk.
func (m *moves) beganAnew(s *stage, before guest.Console) {
	s.t.Helper()
	m.counts(s, func(now guest.Console) error {
		switch last := now.Last(); {
		case len(now.Alarms) > 0:
			return fmt.Errorf("the guest raised alarm: %v", now.Alarms)
		case last.ID == before.ID || last.ID != now.ID:
			return fmt.Errorf("boot %s counts as before", now.ID)
		case last.Found < before.Count:
			return fmt.Errorf("it found %d on its disk, and had counted to %d", last.Found, before.Count)
		}
		return nil
	})
}

func (m *moves) counts(s *stage, good func(guest.Console) error) {
	s.t.Helper()
	s.eventually("the guest counts on "+m.v.Host, bootLimit, func() error {
		text, err := s.console(s.node(m.v.Host), m.v.ID)
		if err != nil {
			return err
		}
		return good(guest.ReadConsole(text))
	})
	s.qemus([]server{m.v})
}

// settled waits until nothing is under way on the server, and takes note of where it is.
func (m *moves) settled(s *stage, via *cloud.Node, status string) {
	s.t.Helper()
	s.eventually("the server is "+status, moveLimit, func() error {
		now, err := s.show(via, m.v.ID)
		if err != nil {
			return err
		}
		if now.Status != status || now.TaskState != "" {
			return fmt.Errorf("it is %s (%s) on %s: %s", now.Status, now.TaskState, now.Host, now.Fault.Message)
		}
		m.v = now
		return nil
	})
}

// act asks a node to do something to the server.
func (m *moves) act(s *stage, via *cloud.Node, name string, body any) {
	s.t.Helper()
	s.must(s.Do(s.ctx, via, cloud.Request{
		Method: http.MethodPost, Path: "/compute/v2.1/servers/" + m.v.ID + "/action", Body: map[string]any{name: body},
		Header: map[string]string{"OpenStack-API-Version": "compute 2.79"},
	}, nil, http.StatusAccepted, http.StatusNoContent))
}

func (m *moves) boot(s *stage) {
	m.v = s.boot(s.Nodes[0], "qcow2", "mover")
	s.waitConsole(s.Nodes[1], m.v.ID, `READY uuid=`+m.v.ID, bootLimit)
	m.counts(s, func(now guest.Console) error {
		if now.Count < 5 {
			return fmt.Errorf("it has counted to %d", now.Count)
		}
		return nil
	})
}

func (m *moves) resizeAndRevert(s *stage) {
	from, before := m.v.Host, m.told(s)
	flavor := s.flavor("larger")
	m.act(s, s.Nodes[1], "resize", map[string]any{"flavorRef": flavor})
	m.settled(s, s.Nodes[2], "VERIFY_RESIZE")
	m.beganAnew(s, before)
	s.t.Logf("resized from %s to %s", from, m.v.Host)
	m.act(s, s.Nodes[0], "revertResize", nil)
	m.settled(s, s.Nodes[1], "ACTIVE")
	if m.v.Host != from {
		s.t.Errorf("after the revert it is on %s, and was on %s", m.v.Host, from)
	}
	m.beganAnew(s, before)
}

func (m *moves) migrateAndConfirm(s *stage) {
	from, before := m.v.Host, m.told(s)
	began := time.Now()
	m.act(s, s.Nodes[0], "migrate", map[string]any{"host": nil})
	m.settled(s, s.Nodes[1], "VERIFY_RESIZE")
	if m.v.Host == from {
		s.t.Errorf("it is still on %s", from)
	}
	s.t.Logf("the cold migration took %.1f s", time.Since(began).Seconds())
	m.beganAnew(s, before)
	m.act(s, s.Nodes[2], "confirmResize", nil)
	m.settled(s, s.Nodes[0], "ACTIVE")
	m.clean(s)
}

// clean waits until nothing of the guest is left where it is not.
func (m *moves) clean(s *stage) {
	s.t.Helper()
	for _, n := range s.Nodes {
		if n.Name() == m.v.Host {
			continue
		}
		s.eventually("nothing is left on "+n.Name(), activeLimit, func() error { return s.noGuests(n) })
	}
}

func (m *moves) migrateLive(s *stage) {
	from, before := m.v.Host, m.told(s)
	began := time.Now()
	m.act(s, s.other(from), "os-migrateLive", map[string]any{"host": nil, "block_migration": "auto"})
	m.settled(s, s.Nodes[1], "ACTIVE")
	s.t.Logf("the live migration took %.1f s", time.Since(began).Seconds())
	if m.v.Host == from {
		s.t.Errorf("it is still on %s", from)
	}
	m.wentOn(s, before)
	m.clean(s)
}

// snapshot saves the guest's disk, and boots another guest from it: that finds all that was written before.
func (m *moves) snapshot(s *stage) {
	before := m.told(s)
	s.openstack(s.Nodes[1], "server", "image", "create", "--wait", "--name", "saved", m.v.ID)
	m.settled(s, s.Nodes[2], "ACTIVE")
	m.wentOn(s, before)
	original := m.v
	m.v = s.boot(s.Nodes[2], "saved", "second")
	m.beganAnew(s, before)
	s.qemus([]server{original, m.v})
}

// drain empties the node of the guest, which goes on, and of another one that is off, which stays off.
func (m *moves) drain(s *stage) {
	from, before := m.v.Host, m.told(s)
	sleeper := s.boot(s.Nodes[0], "qcow2", "sleeper", "--availability-zone", "nova:"+from)
	s.waitConsole(s.Nodes[0], sleeper.ID, `READY uuid=`+sleeper.ID, bootLimit)
	s.openstack(s.Nodes[1], "server", "stop", sleeper.ID)
	s.waitStatus(s.Nodes[1], sleeper.ID, "SHUTOFF", moveLimit)
	said := s.kilonova(s.other(from), "node", "drain", from)
	if !strings.Contains(said, from+" is empty") {
		s.t.Errorf("node drain says %q", said)
	}
	m.settled(s, s.Nodes[2], "ACTIVE")
	off, err := s.show(s.Nodes[2], sleeper.ID)
	s.must(err)
	if m.v.Host == from || off.Host == from || off.Status != "SHUTOFF" {
		s.t.Errorf("drained was %s; the guest is on %s, the one that is off is %s on %s", from, m.v.Host, off.Status, off.Host)
	}
	m.wentOn(s, before)
	s.eventually("nothing is left on "+from, activeLimit, func() error { return s.noGuests(s.node(from)) })
}

// noGuests looks for guests and their disks on a host.
func (s *stage) noGuests(n *cloud.Node) error {
	if q, err := n.Host.QEMUs(); err != nil || len(q) > 0 {
		return fmt.Errorf("QEMUs run: %+v, %v", q, err)
	}
	domains, err := n.Host.Run(s.ctx, "virsh", "list", "--all", "--name")
	if err != nil || strings.TrimSpace(domains) != "" {
		return fmt.Errorf("libvirt has domains: %q, %v", domains, err)
	}
	dir, err := n.Host.Path(filepath.Join(n.Host.DataDir(), "instances"))
	if err != nil {
		return err
	}
	if left, err := os.ReadDir(dir); err != nil && !errors.Is(err, os.ErrNotExist) || len(left) > 0 {
		return fmt.Errorf("disks are left: %v, %v", left, err)
	}
	return nil
}

// flavor finds a flavor's ID.
func (s *stage) flavor(name string) string {
	s.t.Helper()
	var list struct{ Flavors []struct{ ID, Name string } }
	s.must(s.Get(s.ctx, s.Nodes[0], "/compute/v2.1/flavors", &list))
	for _, f := range list.Flavors {
		if f.Name == name {
			return f.ID
		}
	}
	s.t.Fatalf("there is no flavor %q", name)
	return ""
}
