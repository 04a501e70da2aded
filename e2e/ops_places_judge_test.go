package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/e2e/audit"
	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
	"github.com/kilonova/kilonova/virt"
)

// finish judges how the deeds ended, brings all guests to where they go on, and sees that they lost nothing.
func (sc *scene) finish(s *stage, plays []*play) {
	s.t.Helper()
	for _, p := range plays {
		p.judge()
	}
	copies := s.bootImages(plays)
	for _, p := range plays {
		if p.Status == "VERIFY_RESIZE" {
			p.beginsAnew(p.before)
			if p.Host == p.home {
				s.t.Errorf("%s: it is still on %s", p.cue, p.home)
			}
		}
		if p.Status != "ACTIVE" {
			a, err := p.act(p.deed.finish, nil)
			s.must(errors.Join(err, a.Want(http.StatusAccepted, http.StatusNoContent)))
		}
	}
	for _, p := range plays {
		p.become("ACTIVE")
		p.whole()
		if p.deed.name == "resize" && p.failure == "" {
			sc.grown[p.ID] = !sc.grown[p.ID]
		}
		if p.deed.name == "migrate" && p.Host != p.home {
			s.t.Errorf("%s: it went back to %s, and was on %s", p.cue, p.Host, p.home)
		}
	}
	for p, id := range copies {
		s.release(p, id)
	}
}

// judge compares what the answer, the actions and the status say.
func (p *play) judge() {
	p.t.Helper()
	want := p.deed.done
	if p.failure != "" {
		p.t.Logf("%s: it was undone: %s", p.cue, p.failure)
		want = p.deed.undone
	}
	if p.Status != want {
		p.t.Errorf("%s: its actions say %q, and it is %s", p.cue, p.failure, p.Status)
	}
	if p.deed.name == "snapshot" {
		p.image = p.imageOf(p.answer)
	}
}

// whole sees that the guest has its memory or its disk.
func (p *play) whole() {
	p.t.Helper()
	check := p.deed.kept
	if p.failure != "" {
		check = wentOnOrBegan
	}
	if p.failure != "" && (p.deed.name == "suspend" || p.deed.name == "snapshot" || p.deed.name == liveMigrate) {
		check = guest.Console.WentOn
	}
	p.becomes(check, p.before)
}

// wentOnOrBegan is what a guest has to do whose operation was undone that ends its QEMU: it is not said when.
func wentOnOrBegan(now, before guest.Console) error {
	if now.WentOn(before) == nil {
		return nil
	}
	return now.BeganAnew(before)
}

// bootImages boots a guest from every image that was made, and gives their IDs. An image that was not made is gone.
func (s *stage) bootImages(plays []*play) map[*play]string {
	s.t.Helper()
	copies := map[*play]string{}
	for _, p := range plays {
		switch {
		case p.image == "":
		case p.failure != "":
			s.goes("/image/v2/images/" + p.image)
		default:
			p.imageBecomes(p.image, "active")
			copies[p] = s.ordered("copy", p.image)
		}
	}
	return copies
}

// release sees that a guest that was booted from a play's image has all that was acknowledged when that was asked for, and removes both.
func (s *stage) release(p *play, id string) {
	s.t.Helper()
	copied := s.arrived(id)
	if found := copied.told().Last().Found; found < p.before.Count {
		s.t.Errorf("%s: the copy found %d on its disk, and %d was acknowledged before", p.cue, found, p.before.Count)
	}
	copied.release()
	s.must(s.Do(s.ctx, s.Nodes[0], cloud.Request{Method: http.MethodDelete, Path: "/image/v2/images/" + p.image}, nil, http.StatusNoContent))
}

// disagree says where the cluster, libvirt and the disks of the nodes do not say the same, and what was left over.
func (sc *scene) disagree(s *stage) error {
	a, err := audit.Ask(s.ctx, func(ctx context.Context, path string, into any) error { return s.getAny(ctx, path, into) }, sc.project)
	if err != nil {
		return err
	}
	a.Hosts = map[string]map[string]*audit.Held{}
	for _, n := range s.Nodes {
		if a.Hosts[n.Name()], err = s.holds(n); err != nil {
			return err
		}
		dir, err := n.Host.Path(n.Host.DataDir())
		if err != nil {
			return err
		}
		a.Left[n.Name()] = audit.Files(dir, "captures")
		for id := range a.Hosts[n.Name()] {
			if half := filepath.Join("instances", id, "capture.qcow2"); exists(filepath.Join(dir, half)) {
				a.Left[n.Name()] = append(a.Left[n.Name()], half)
			}
		}
	}
	if faults := a.Faults(); len(faults) > 0 {
		return errors.New(strings.Join(faults, "\n"))
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// holds tells what a host has of guests, in libvirt and on its disk.
func (s *stage) holds(n *cloud.Node) (map[string]*audit.Held, error) {
	all := map[string]*audit.Held{}
	of := func(id string) *audit.Held {
		if all[id] == nil {
			all[id] = &audit.Held{Power: virt.PowerOff}
		}
		return all[id]
	}
	for _, list := range []struct {
		which []string
		note  func(h *audit.Held)
	}{
		{nil, func(h *audit.Held) { h.Defined = true }},
		{[]string{"--state-running"}, func(h *audit.Held) { h.Power = virt.PowerRunning }},
		{[]string{"--state-paused"}, func(h *audit.Held) { h.Power = virt.PowerPaused }},
		{[]string{"--with-managed-save"}, func(h *audit.Held) { h.Saved = true }},
	} {
		ids, err := n.Host.Run(s.ctx, append([]string{"virsh", "list", "--all", "--uuid"}, list.which...)...)
		if err != nil {
			return nil, err
		}
		for _, id := range strings.Fields(ids) {
			list.note(of(id))
		}
	}
	path, err := n.Host.Path(filepath.Join(n.Host.DataDir(), "instances"))
	if err != nil {
		return nil, err
	}
	places, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, place := range places {
		if err := disksIn(filepath.Join(path, place.Name()), of(place.Name())); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// disksIn notes the disks in an instance's folder. Those of the highest epoch are its own.
func disksIn(dir string, h *audit.Held) error {
	files, err := filepath.Glob(filepath.Join(dir, "disks-*", "*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		epoch, err := strconv.ParseUint(strings.TrimPrefix(filepath.Base(filepath.Dir(f)), "disks-"), 10, 64)
		if err != nil {
			return fmt.Errorf("read the epoch of %s: %w", f, err)
		}
		h.Storage.Files = append(h.Storage.Files, audit.File{Epoch: epoch, ID: virt.DiskID(filepath.Base(f))})
		h.Storage.Epoch = max(h.Storage.Epoch, epoch)
	}
	return nil
}
