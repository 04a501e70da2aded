package virttest

import (
	"io"
	"strings"
	"time"

	"github.com/kilonova/kilonova/virt"
)

// consoles are those that the backend says its guests have.
func (s *story) consoles() []virt.ConsoleKind {
	if len(s.Has.Consoles) == 0 {
		s.Skip("this backend's guests have no consoles to connect to")
	}
	return s.Has.Consoles
}

// A user opens the console of a server: it talks first. When the server is powered off, the connection ends.
func dialed(s *story) {
	for _, kind := range s.consoles() {
		id := s.started()
		s.expect(id, virt.PowerRunning)
		for range 2 { // a page was reloaded
			c, err := s.Driver.Dial(s.ctx, id, kind)
			s.must("dial "+string(kind), err)
			s.must("set a deadline", c.SetDeadline(time.Now().Add(patience)))
			first := make([]byte, 4)
			_, err = io.ReadFull(c, first)
			s.must("read from "+string(kind), err)
			if kind == virt.ConsoleVNC && string(first) != "RFB " {
				s.Errorf("a VNC server begins with %q", first)
			}
			s.must("hang up", c.Close())
		}
		c, err := s.Driver.Dial(s.ctx, id, kind)
		s.must("dial again", err)
		s.must("set a deadline", c.SetDeadline(time.Now().Add(patience)))
		s.must("stop", s.Driver.Stop(s.ctx, id, virt.Destroy))
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			s.Errorf("%s goes on after the power went: %v", kind, err)
		}
		c.Close()
	}
}

func dialRefuses(s *story) {
	id := s.built()
	for _, kind := range s.consoles() {
		_, err := s.Driver.Dial(s.ctx, id, kind)
		s.errorIs("dial "+string(kind)+" of a guest that is off", err, virt.ErrNotRunning)
		_, err = s.Driver.Dial(s.ctx, newID(), kind)
		s.errorIs("dial "+string(kind)+" of nobody", err, virt.ErrNotFound)
	}
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
	_, err := s.Driver.Dial(s.ctx, id, "telepathy")
	s.errorIs("dial a console that no guest has", err, virt.ErrUnsupported)
}

func diagnosed(s *story) {
	if !s.Has.Inside {
		s.Skip("nobody can look into this backend's guests")
	}
	id := s.built()
	_, err := s.Driver.Diagnostics(s.ctx, id)
	s.errorIs("diagnose a guest that is off", err, virt.ErrNotRunning)
	_, err = s.Driver.Diagnostics(s.ctx, newID())
	s.errorIs("diagnose nobody", err, virt.ErrNotFound)
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
	d, err := s.Driver.Diagnostics(s.ctx, id)
	s.must("diagnose", err)
	g := s.guest(id)
	if d.State != "running" || len(d.CPUs) != g.VCPUs || d.MemoryMaxMiB != g.MemoryMiB || len(d.NICs) != len(g.NICs) {
		s.Errorf("diagnostics are %+v", d)
	}
	if len(d.Disks) == 0 || d.Disks[0].ID != string(virt.DiskRoot) {
		s.Errorf("disks are %+v", d.Disks)
	}
	s.must("pause", s.Driver.Pause(s.ctx, id))
	if d, err = s.Driver.Diagnostics(s.ctx, id); err != nil || d.State != "paused" {
		s.Errorf("of a paused guest: %+v, %v", d, err)
	}
}

// These guests run no agent. The answer is clear, comes at once, and does not tell the password.
func passwordWithoutAgent(s *story) {
	if !s.Has.Inside {
		s.Skip("nobody can look into this backend's guests")
	}
	const password = "correct horse battery staple"
	id := s.built()
	s.errorIs("set a password of a guest that is off", s.Driver.SetPassword(s.ctx, id, "root", password), virt.ErrNotRunning)
	s.errorIs("set a password of nobody", s.Driver.SetPassword(s.ctx, newID(), "root", password), virt.ErrNotFound)
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
	err := s.Driver.SetPassword(s.ctx, id, "root", password)
	s.errorIs("set a password", err, virt.ErrUnsupported)
	if err != nil && strings.Contains(err.Error(), password) {
		s.Error("the error tells the password")
	}
}

func crashed(s *story) {
	if !s.Has.Inside {
		s.Skip("nobody can look into this backend's guests")
	}
	id := s.built()
	s.errorIs("interrupt a guest that is off", s.Driver.Crash(s.ctx, id), virt.ErrNotRunning)
	s.errorIs("interrupt nobody", s.Driver.Crash(s.ctx, newID()), virt.ErrNotFound)
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
	s.must("interrupt", s.Driver.Crash(s.ctx, id))
}
