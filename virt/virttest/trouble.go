package virttest

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// An operator runs a guest of his own on the node. It is reported, and every order against it is refused.
func strangers(s *story) {
	if s.Stranger == nil {
		s.Skip("this backend cannot have a domain that its driver did not make")
	}
	s.leaveAlone(virt.Stamp{})
}

// A host was moved from one cluster to another without being wiped. The old cluster's guests are not ours.
func foreigners(s *story) {
	if s.Stranger == nil {
		s.Skip("this backend cannot have a domain that its driver did not make")
	}
	s.leaveAlone(virt.Stamp{Cluster: "another-cluster", Generation: 1, Epoch: 1})
}

func (s *story) leaveAlone(stamp virt.Stamp) {
	id := newID()
	if stamp.Cluster != "" {
		stamp.Instance = id
	}
	s.Stranger(s.T, id, stamp)
	if d := s.expect(id, virt.PowerRunning); d.Stamp != stamp {
		s.Errorf("stamp is %+v, want %+v", d.Stamp, stamp)
	}
	if !s.Guards {
		return
	}
	for act, err := range map[string]error{
		"build":        s.Driver.Build(s.ctx, s.guest(id)),
		"start":        s.Driver.Start(s.ctx, id),
		"stop":         s.Driver.Stop(s.ctx, id, virt.Destroy),
		"remove":       s.Driver.Remove(s.ctx, id),
		"remove disks": s.Driver.RemoveDisks(s.ctx, id, virt.AllEpochs, 0),
	} {
		if err == nil {
			s.Errorf("%s: was carried out on a domain that is not ours", act)
		}
	}
	if d := s.expect(id, virt.PowerRunning); d.Stamp != stamp {
		s.Errorf("afterwards its stamp is %+v", d.Stamp)
	}
}

// The daemon is restarted under a running guest, which never notices.
func reopen(s *story) {
	running, off := s.started(), s.built()
	before := s.expect(running, virt.PowerRunning)
	s.Driver = s.Reopen(s.T)
	if after := s.expect(running, virt.PowerRunning); after.Stamp != before.Stamp || after.Name != before.Name {
		s.Errorf("%+v became %+v", before, after)
	}
	if d := s.expect(off, virt.PowerOff); d.Stamp.Instance != off {
		s.Errorf("stamp is %+v", d.Stamp)
	}
	s.must("stop", s.Driver.Stop(s.ctx, running, virt.Destroy))
	s.must("start", s.Driver.Start(s.ctx, off))
}

// A guest's process is killed. Its domain must not be reported as running, and can be started again.
func dies(s *story) {
	if s.Die == nil {
		s.Skip("this backend's guests have no process that could die")
	}
	id := s.started()
	s.expect(id, virt.PowerRunning)
	s.Die(s.T, id)
	s.expect(id, virt.PowerCrashed)
	s.must("clear away what crashed", s.Driver.Stop(s.ctx, id, virt.Destroy))
	s.expect(id, virt.PowerOff)
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
}

// A hint must come soon after a change, or the reconciler would wait for its timer.
func events(s *story) {
	id := s.built()
	s.must("start", s.Driver.Start(s.ctx, id))
	s.hint(id)
	s.must("stop", s.Driver.Stop(s.ctx, id, virt.Destroy))
	s.hint(id)
}

// hint waits for an event of the instance.
func (s *story) hint(id cluster.InstanceID) {
	s.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case e, ok := <-s.Driver.Events():
			if !ok {
				s.Fatal("the events ended")
			}
			if e.ID == id {
				return
			}
		case <-timer.C:
			s.Fatalf("no event within %v", patience)
		}
	}
}

// Closing ends the events, twice is once, and what is called afterwards fails instead of hanging.
func eventsEnd(s *story) {
	id := s.started()
	s.must("close", s.Driver.Close())
	s.must("close again", s.Driver.Close())
	timeout := time.After(patience)
	for open := true; open; {
		select {
		case _, open = <-s.Driver.Events():
		case <-timeout:
			s.Fatal("the events go on")
		}
	}
	if _, err := s.Driver.Domains(s.ctx); err == nil {
		s.Error("a closed driver lists domains")
	}
	s.Driver = s.Reopen(s.T)
	s.expect(id, virt.PowerRunning) // closing leaves guests alone
}

// The hypervisor takes calls and answers none. Each call must come back by its deadline and say that its
// outcome is unknown; when the hypervisor is itself again, so is the driver.
func hangs(s *story) {
	if s.Hang == nil {
		s.Skip("this backend cannot hang")
	}
	id := s.built()
	resume := s.Hang(s.T)
	const limit, slack = 500 * time.Millisecond, 3 * time.Second
	for act, call := range map[string]func(context.Context) error{
		"list":   func(ctx context.Context) error { _, err := s.Driver.Domains(ctx); return err },
		"host":   func(ctx context.Context) error { _, err := s.Driver.Host(ctx); return err },
		"start":  func(ctx context.Context) error { return s.Driver.Start(ctx, id) },
		"remove": func(ctx context.Context) error { return s.Driver.Remove(ctx, newID()) },
	} {
		ctx, cancel := context.WithTimeout(s.ctx, limit)
		began := time.Now()
		err := call(ctx)
		cancel()
		s.errorIs(act, err, virt.ErrUnavailable)
		if took := time.Since(began); took > limit+slack {
			s.Errorf("%s: took %v with a deadline of %v", act, took, limit)
		}
	}
	resume()
	s.eventually("an answer", func() bool {
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
		defer cancel()
		return s.Driver.Start(ctx, id) == nil
	})
	s.expect(id, virt.PowerRunning)
}

func deadlinePassed(s *story) {
	id := s.built()
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if err := s.Driver.Start(ctx, id); err == nil {
		s.Error("start: succeeded after its deadline")
	}
	if _, err := s.Driver.Domains(ctx); err == nil {
		s.Error("list: succeeded after its deadline")
	}
	s.expect(id, virt.PowerOff)
}

// What the guest prints is kept, over a stop and the end of the domain, until its disks go.
func console(s *story) {
	id := s.started()
	if s.Prints == "" {
		s.readConsole(id)
		s.Skip("this backend's guests print nothing")
	}
	s.eventually("output on the console", func() bool { return bytes.Contains(s.readConsole(id), []byte(s.Prints)) })
	s.must("remove", s.Driver.Remove(s.ctx, id))
	if !bytes.Contains(s.readConsole(id), []byte(s.Prints)) {
		s.Error("the log went with the domain")
	}
	s.must("remove disks", s.Driver.RemoveDisks(s.ctx, id, virt.AllEpochs, 0))
	_, err := s.Driver.Console(s.ctx, id)
	s.errorIs("console of a removed guest", err, virt.ErrNotFound)
}

func (s *story) readConsole(id cluster.InstanceID) []byte {
	s.Helper()
	r, err := s.Driver.Console(s.ctx, id)
	s.must("open console", err)
	defer r.Close()
	text, err := io.ReadAll(r)
	s.must("read console", err)
	return text
}

func consoleMissing(s *story) {
	_, err := s.Driver.Console(s.ctx, newID())
	s.errorIs("console", err, virt.ErrNotFound)
}
