package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// ward is up to six guests, and where they are. Some stay at home, the others go away and come back.
type ward struct {
	points string // the file with the failpoints of all nodes

	home, away, leads     *cloud.Node // the guests are on the first two, both of which are told everything by way of away
	grown, moved, flown   *life
	slept, saved, renewed *life

	image   string // the last that was made of saved
	savedAt int    // how far that had counted before
}

// newWard prepares a file of failpoints for the nodes of the test.
func newWard(t *testing.T) *ward {
	t.Helper()
	w := &ward{points: filepath.Join(t.TempDir(), "points")}
	setPoints(t, w.points, "")
	t.Setenv("KILONOVA_FAILPOINTS", "@"+w.points)
	return w
}

// guests are those that there are.
func (w *ward) guests() []*life {
	return slices.DeleteFunc([]*life{w.grown, w.moved, w.flown, w.slept, w.saved, w.renewed}, func(l *life) bool { return l == nil })
}

// on is the ward for a part of the story.
func (w *ward) on(s *stage) {
	for _, l := range w.guests() {
		l.stage, l.via = s, w.away
	}
}

// setPoints says what happens where, to all nodes at once.
func setPoints(t *testing.T, file, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(file+".new", []byte(text), 0o600), os.Rename(file+".new", file)); err != nil {
		t.Fatal(err)
	}
}

// fill boots the guests at home. The node that leads is to have none.
func (w *ward) fill(s *stage, guests ...**life) {
	w.leads = s.leader()
	for _, n := range s.Nodes {
		switch {
		case n == w.leads:
		case w.home == nil:
			w.home = n
		default:
			w.away = n
		}
	}
	s.openstack(w.home, "compute", "service", "set", "--disable", w.leads.Name(), "nova-compute")
	one := s.plainServer("patient")
	one["availability_zone"] = "nova:" + w.home.Name()
	one["min_count"], one["max_count"] = len(guests), len(guests)
	s.must(s.Do(s.ctx, w.home, cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers", Body: map[string]any{"server": one}},
		nil, http.StatusAccepted))
	all, err := s.servers(w.home)
	s.must(err)
	for i, l := range guests {
		v := s.settled(all[i].ID)
		if v.Status != "ACTIVE" || v.Host != w.home.Name() {
			s.t.Fatalf("%s is %s on %s: %s", v.Name, v.Status, v.Host, v.Fault.Message)
		}
		*l = s.meet(w.away, v)
	}
}

// otherEnd is where a guest goes that moves.
func (w *ward) otherEnd(l *life) *cloud.Node {
	if l.Host == w.home.Name() {
		return w.away
	}
	return w.home
}

// nextFlavor is the one of the two flavors that the guest that is resized does not have.
func (w *ward) nextFlavor() string {
	if w.grown.Host == w.home.Name() {
		return opsAsSmall
	}
	return opsSmall
}

// hold makes guests wait at a place in what is done with them, until release is called.
func (w *ward) hold(s *stage, point string, guests ...*life) (release func()) {
	s.t.Helper()
	var text strings.Builder
	for _, l := range guests {
		fmt.Fprintf(&text, "%s@%s=wait:%s\n", point, l.ID, w.mark(l))
	}
	setPoints(s.t, w.points, text.String())
	return func() {
		setPoints(s.t, w.points, "")
		for _, l := range guests {
			if err := os.Remove(w.mark(l)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				s.t.Error(err)
			}
		}
	}
}

// mark is the file that says that a guest waits.
func (w *ward) mark(l *life) string { return w.points + "-" + l.ID }

// held waits until guests wait.
func (w *ward) held(s *stage, guests ...*life) {
	s.t.Helper()
	for _, l := range guests {
		s.eventually(l.Name+" is half way", actLimit, func() error {
			_, err := os.Stat(w.mark(l))
			if err != nil {
				v, _ := s.show(l.via, l.ID)
				err = fmt.Errorf("it is %s (%s) %s: %w", v.Status, v.TaskState, v.Fault.Message, err)
			}
			return err
		})
	}
}

// flies begins a live migration, and waits until both ends have a QEMU. A guest that takes long to arrive should be paused meanwhile: the
// longer it runs on, the more QEMU before 9.0 misses of what an emulated guest writes (see guest.CommandLine).
func (w *ward) flies(s *stage) {
	s.t.Helper()
	w.flown.acts("os-migrateLive", map[string]any{"host": nil, "block_migration": "auto"})
	to := w.otherEnd(w.flown)
	s.eventually(w.flown.Name+" is on its way to "+to.Name(), actLimit, func() error {
		all, err := to.Host.QEMUs()
		for _, q := range all {
			if q.UUID == w.flown.ID {
				return err
			}
		}
		return fmt.Errorf("it has no QEMU there: %+v, %v", all, err)
	})
}

// imageOf is the image that an answer tells of.
func (s *stage) imageOf(a cloud.Answer) string {
	s.t.Helper()
	var made struct {
		ID string `json:"image_id"`
	}
	s.must(json.Unmarshal(a.Body, &made))
	return made.ID
}

// killLeader kills the daemon that leads, and starts it again when another one does.
func (w *ward) killLeader(s *stage) {
	leads := s.leader()
	s.must(leads.Daemon.Kill())
	s.eventually("another node leads", activeLimit, func() error {
		now, err := s.Leader(s.ctx)
		if err == nil && now == leads {
			err = errors.New("the dead one does")
		}
		return err
	})
	s.must(leads.Start(s.ctx))
	w.isBack(s)
}

// killDaemon kills the daemon at home, and starts it again.
func (w *ward) killDaemon(s *stage) {
	s.must(w.home.Daemon.Kill())
	s.must(w.home.Start(s.ctx))
	w.isBack(s)
}

// killLibvirt kills the libvirtd at home, and starts it again, as often as it takes, as systemd does: one that was killed in the middle of
// something may leave what the next one ends at.
func (w *ward) killLibvirt(s *stage) {
	s.must(w.home.Libvirt.Kill())
	s.eventually("libvirtd runs again", activeLimit, func() error { return w.home.StartLibvirt(s.ctx) })
	w.isBack(s)
}

// isBack waits until both nodes that have guests take guests.
func (w *ward) isBack(s *stage) {
	s.t.Helper()
	s.eventually("both ends take guests", 2*time.Minute, func() error {
		members, err := s.Members(s.ctx, w.away)
		for _, m := range members {
			if m.Name != w.leads.Name() && (m.State != "up" || m.Status != "enabled") {
				err = errors.Join(err, fmt.Errorf("%s is %s and %s %s", m.Name, m.State, m.Status, m.Why))
			}
		}
		return err
	})
}
