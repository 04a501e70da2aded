package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
)

// What is done to a guest's disk: it is saved to images while the guest runs, looked at from a rescue system, made anew, put
// away and brought back. The guest's records tell what became of it.
func TestOperations_Disk(t *testing.T) {
	small := buildSmall(t)
	s := newStage(t, cloud.Options{Nodes: 2})
	s.furnishOps(small)
	l := s.begin("kept", s.Nodes[1])
	s.run("it is saved while it runs, and another one goes on from there", func(s *stage) { l.on(s).snapshot() })
	s.run("the newest backups are kept", func(s *stage) { l.on(s).backup() })
	s.run("it is rescued and sees its own disk", func(s *stage) { l.on(s).rescue() })
	s.run("it is shelved and brought back", func(s *stage) { l.on(s).shelve() })
	s.run("it is rebuilt and keeps its name and address", func(s *stage) { l.on(s).rebuild() })
}

// A running guest is saved to an image. It does not stop for longer than a moment. A server that is made from the image, on the
// other node, finds all that was written before the snapshot was asked for.
func (l *life) snapshot() {
	before, began := l.told(), time.Now()
	watch := l.watch()
	image := l.saved(l.openstack(l.via, "server", "image", "create", "--name", "saved", "-f", "value", "-c", "id", l.ID))
	l.imageBecomes(image, "active")
	l.took("snapshot", began)
	stood := watch.end()
	l.t.Logf("the guest said nothing for at most %s during the snapshot", stood.Round(time.Millisecond))
	l.become("ACTIVE")
	l.goesOn(before)

	other := l.other(l.Host)
	v := l.boot(l.via, image, "copied", "--availability-zone", "nova:"+other.Name())
	copied := l.meet(l.via, v)
	if found := copied.told().Last(); found.Number < 2 || found.Found < before.Count {
		l.t.Errorf("the copy found %+v on its disk, the original was at %d before the snapshot", found, before.Count)
	}
	l.openstack(l.via, "server", "delete", "--wait", v.ID)
	l.openstack(l.via, "image", "delete", image)
}

// saved reads the ID of an image from what the client printed.
func (l *life) saved(out string) string {
	l.t.Helper()
	id := anyUUID.FindString(out)
	if id == "" {
		l.t.Fatalf("no image ID in %q", out)
	}
	return id
}

// imageBecomes waits for the status of an image.
func (l *life) imageBecomes(id, want string) {
	l.t.Helper()
	l.eventually("image "+id+" becomes "+want, actLimit, func() error {
		var image struct{ Status string }
		if err := l.Get(l.ctx, l.via, "/image/v2/images/"+id, &image); err != nil || image.Status != want {
			return errors.Join(err, fmt.Errorf("it is %q", image.Status))
		}
		return nil
	})
}

// Three backups of one kind are made, and two are to be kept: the first one goes.
func (l *life) backup() {
	before := l.told()
	for i := range 3 {
		l.openstack(l.via, "server", "backup", "create", "--name", fmt.Sprintf("daily-%d", i), "--type", "daily", "--rotate", "2", l.ID)
		l.become("ACTIVE")
	}
	var left []string
	l.eventually("two backups are left", actLimit, func() error {
		var list struct {
			Images []struct{ ID, Name, Status string }
		}
		if err := l.Get(l.ctx, l.via, "/image/v2/images?backup_type=daily", &list); err != nil {
			return err
		}
		left = nil
		for _, i := range list.Images {
			if i.Status == "active" {
				left = append(left, i.Name)
			}
		}
		slices.Sort(left)
		if !slices.Equal(left, []string{"daily-1", "daily-2"}) || len(list.Images) != 2 {
			return fmt.Errorf("there are %+v", list.Images)
		}
		return nil
	})
	l.goesOn(before)
	l.refused(http.StatusBadRequest, "createBackup", map[string]any{"name": "x", "backup_type": "daily", "rotation": -1})
	for _, name := range left {
		l.openstack(l.via, "image", "delete", name)
	}
}

// A rescued guest runs from another disk, and its own is beside it, whole. After that it runs from its own again.
func (l *life) rescue() {
	before := l.told()
	l.does("RESCUE", "rescue", "--image", opsImage, l.ID)
	l.eventually("the rescue system sees the guest's disk", bootLimit, func() error {
		text, err := l.console(l.via, l.ID)
		if err != nil {
			return err
		}
		seen := regexp.MustCompile(`SEEN (\S+) boot=(\d+) count=(\d+) records=(\d+) intact`).FindStringSubmatch(text)
		if seen == nil || seen[1] == "vda2" {
			return fmt.Errorf("it saw %q; its console: %s", seen, text[max(0, len(text)-600):])
		}
		return nil
	})
	l.alone()
	l.refused(http.StatusConflict, "pause", nil)
	l.does("ACTIVE", "unrescue", l.ID)
	l.beginsAnew(before)
}

// A shelved guest runs nowhere and takes no room; what is left is an image. Brought back it finds all on its disk.
func (l *life) shelve() {
	before := l.told()
	address := l.ip()
	l.does("SHELVED_OFFLOADED", "shelve", "--offload", "--wait", l.ID)
	if all, err := l.Lab.QEMUs(); err != nil || len(all) > 0 {
		l.t.Errorf("a shelved guest has a QEMU: %+v, %v", all, err)
	}
	for _, n := range l.Nodes {
		l.eventually("no disk is left on "+n.Name(), activeLimit, func() error { return l.noDisks(n) })
	}
	l.does("ACTIVE", "unshelve", l.ID)
	l.beginsAnew(before)
	if l.refresh().ip() != address {
		l.t.Errorf("the address was %s and is %s", address, l.ip())
	}
}

// noDisks looks for disks of guests on a host.
func (s *stage) noDisks(n *cloud.Node) error {
	dir, err := n.Host.Path(filepath.Join(n.Host.DataDir(), "instances"))
	if err != nil {
		return err
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		return fmt.Errorf("disks are left: %v, %v", left, err)
	}
	return nil
}

// A rebuilt guest has a new disk, and the ID and address that it had.
func (l *life) rebuild() {
	before, was := l.told(), l.server
	l.does("ACTIVE", "rebuild", "--image", opsImage, "--name", "renewed", l.ID)
	l.becomes(guest.Console.HasNewDisk, before)
	if v := l.refresh(); v.ip() != was.ip() || v.Name != "renewed" || v.Addresses["lan"][0].MAC != was.Addresses["lan"][0].MAC {
		l.t.Errorf("the server was %+v and is %+v", was, v)
	}
	if text, err := l.console(l.via, l.ID); err != nil || !strings.Contains(text, "META uuid="+l.ID+" name=renewed") {
		l.t.Errorf("the guest does not know its new name: %v", err)
	}
}

// pauses measures how long a guest's console says nothing.
type pauses struct {
	stop, done chan struct{}
	longest    time.Duration
}

// watch looks at the console's log on the guest's host, again and again.
func (l *life) watch() *pauses {
	l.t.Helper()
	path := l.consoleFile()
	p := &pauses{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		size, said := int64(0), time.Now()
		for {
			select {
			case <-p.stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if info, err := os.Stat(path); err == nil && info.Size() != size {
				size, said = info.Size(), time.Now()
			}
			p.longest = max(p.longest, time.Since(said))
		}
	}()
	return p
}

// end stops watching and returns the longest pause.
func (p *pauses) end() time.Duration {
	close(p.stop)
	<-p.done
	return p.longest
}

// consoleFile is where the guest's host keeps what its serial console says, as libvirt knows it.
func (l *life) consoleFile() string {
	l.t.Helper()
	host := l.node(l.Host).Host
	xml, err := host.Run(l.ctx, "virsh", "dumpxml", l.ID)
	l.must(err)
	m := regexp.MustCompile(`<log file='([^']+)'`).FindStringSubmatch(xml)
	if m == nil {
		l.t.Fatalf("the domain of %s names no log: %s", l.Name, xml)
	}
	path, err := host.Path(m[1])
	l.must(err)
	return path
}
