package virttest

import (
	"fmt"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// memory is the fingerprint of the guest's memory, where it can be looked at.
func (s *story) memory(id cluster.InstanceID) string {
	s.Helper()
	if s.Memory == nil {
		return ""
	}
	return s.Memory(s.T, id)
}

// sameMemory fails the story when the guest does not live in the boot of the fingerprint any more.
func (s *story) sameMemory(id cluster.InstanceID, want string) {
	s.Helper()
	if got := s.memory(id); got != want {
		s.Errorf("the guest lost its memory: %s became %s", want, got)
	}
}

func pauseTwice(s *story) {
	id := s.started()
	before := s.memory(id)
	for range 2 {
		s.must("pause", s.Driver.Pause(s.ctx, id))
		s.expect(id, virt.PowerPaused)
	}
	for range 2 {
		s.must("unpause", s.Driver.Unpause(s.ctx, id))
		s.expect(id, virt.PowerRunning)
	}
	s.sameMemory(id, before)
}

// The daemon is restarted while a guest is paused. It is still paused, and goes on.
func pauseReopen(s *story) {
	id := s.started()
	before := s.memory(id)
	s.must("pause", s.Driver.Pause(s.ctx, id))
	s.Driver = s.Reopen(s.T)
	s.expect(id, virt.PowerPaused)
	s.must("unpause", s.Driver.Unpause(s.ctx, id))
	s.expect(id, virt.PowerRunning)
	s.sameMemory(id, before)
}

func pausedStops(s *story) {
	id := s.started()
	s.must("pause", s.Driver.Pause(s.ctx, id))
	s.must("stop", s.Driver.Stop(s.ctx, id, virt.Destroy))
	s.expect(id, virt.PowerOff)
}

// What needs a guest that runs says so when it is off, and nothing comes of it.
func offIsNotRunning(s *story) {
	id := s.built()
	s.errorIs("pause", s.Driver.Pause(s.ctx, id), virt.ErrNotRunning)
	s.errorIs("unpause", s.Driver.Unpause(s.ctx, id), virt.ErrNotRunning)
	if s.Has.Saves {
		s.errorIs("save", s.Driver.Save(s.ctx, id), virt.ErrNotRunning)
	}
	if d := s.expect(id, virt.PowerOff); d.Saved {
		s.Error("it has saved memory")
	}
}

// Every call about a domain that was not built says that there is none.
func missingIsNotFound(s *story) {
	id := newID()
	stamp := virt.Stamp{Cluster: s.ClusterID, Instance: id, Generation: 1, Epoch: 1}
	s.errorIs("pause", s.Driver.Pause(s.ctx, id), virt.ErrNotFound)
	s.errorIs("unpause", s.Driver.Unpause(s.ctx, id), virt.ErrNotFound)
	s.errorIs("save", s.Driver.Save(s.ctx, id), virt.ErrNotFound)
	s.errorIs("stamp", s.Driver.Stamp(s.ctx, stamp), virt.ErrNotFound)
}

// A server is suspended, and the daemon restarted. Its memory is kept until it goes on, and then it is gone.
func saveTwice(s *story) {
	if !s.Has.Saves {
		s.Skip("this backend does not save memory")
	}
	id := s.started()
	before := s.memory(id)
	for range 2 {
		s.must("save", s.Driver.Save(s.ctx, id))
		if d := s.expect(id, virt.PowerOff); !d.Saved {
			s.Fatalf("it has no saved memory: %+v", d)
		}
	}
	s.must("press the button of one that is off", s.Driver.Stop(s.ctx, id, virt.Shutdown))
	s.Driver = s.Reopen(s.T)
	if d := s.expect(id, virt.PowerOff); !d.Saved {
		s.Fatalf("after a restart of the daemon it has no saved memory: %+v", d)
	}
	s.must("start", s.Driver.Start(s.ctx, id))
	if d := s.expect(id, virt.PowerRunning); d.Saved {
		s.Error("the saved memory is still there while it runs")
	}
	s.sameMemory(id, before)
}

func savePaused(s *story) {
	if !s.Has.Saves {
		s.Skip("this backend does not save memory")
	}
	id := s.started()
	before := s.memory(id)
	s.must("pause", s.Driver.Pause(s.ctx, id))
	s.must("save", s.Driver.Save(s.ctx, id))
	if d := s.expect(id, virt.PowerOff); !d.Saved {
		s.Fatalf("it has no saved memory: %+v", d)
	}
	s.must("start", s.Driver.Start(s.ctx, id))
	s.must("unpause", s.Driver.Unpause(s.ctx, id)) // whether it goes on paused is the hypervisor's affair
	s.expect(id, virt.PowerRunning)
	s.sameMemory(id, before)
}

// A suspended server is stopped for good: what was in its memory must not come back.
func saveDropped(s *story) {
	if !s.Has.Saves {
		s.Skip("this backend does not save memory")
	}
	id := s.started()
	before := s.memory(id)
	s.must("save", s.Driver.Save(s.ctx, id))
	for range 2 {
		s.must("stop", s.Driver.Stop(s.ctx, id, virt.Destroy))
		if d := s.expect(id, virt.PowerOff); d.Saved {
			s.Fatal("it still has saved memory")
		}
	}
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
	if s.Memory != nil && s.memory(id) == before {
		s.Error("the memory that was dropped came back")
	}
}

// A suspended server is deleted, and its ID used again: the new one must boot.
func saveRemoved(s *story) {
	if !s.Has.Saves {
		s.Skip("this backend does not save memory")
	}
	id := s.started()
	s.must("save", s.Driver.Save(s.ctx, id))
	s.must("remove", s.Driver.Remove(s.ctx, id))
	s.must("build", s.Driver.Build(s.ctx, s.guest(id)))
	if d := s.expect(id, virt.PowerOff); d.Saved {
		s.Error("the new domain has the old one's memory")
	}
}

// A decision changed nothing that the domain is made of, so it only gets the new stamp: running or not, and over a
// restart.
func stamped(s *story) {
	for _, power := range []virt.Power{virt.PowerOff, virt.PowerRunning} {
		id := s.built()
		if power == virt.PowerRunning {
			s.must("start", s.Driver.Start(s.ctx, id))
		}
		before := s.expect(id, power)
		memory := ""
		if power == virt.PowerRunning {
			memory = s.memory(id)
		}
		want := before
		want.Stamp.Generation, want.Stamp.Epoch = 7, 3
		for range 2 {
			s.must("stamp", s.Driver.Stamp(s.ctx, want.Stamp))
			s.sameDomain(id, want)
		}
		s.Driver = s.Reopen(s.T)
		s.sameDomain(id, want)
		if power == virt.PowerRunning {
			s.sameMemory(id, memory)
			s.must("stop", s.Driver.Stop(s.ctx, id, virt.Destroy))
			if d := s.expect(id, virt.PowerOff); d.Stamp != want.Stamp {
				s.Errorf("after a stop the stamp is %+v, want %+v", d.Stamp, want.Stamp)
			}
		}
	}
}

// sameDomain fails the story when the domain is not as described, but for the hypervisor's words.
func (s *story) sameDomain(id cluster.InstanceID, want virt.Domain) {
	s.Helper()
	got, _ := s.domain(id)
	got.Reason = want.Reason
	if got != want {
		s.Errorf("domain is %s, want %s", fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want))
	}
}

// Somebody else's domain must not become ours by a stamp.
func stampForeign(s *story) {
	if s.Stranger == nil {
		s.Skip("this backend cannot have a domain that its driver did not make")
	}
	id := newID()
	theirs := virt.Stamp{Cluster: "another-cluster", Instance: id, Generation: 1, Epoch: 1}
	s.Stranger(s.T, id, theirs)
	if err := s.Driver.Stamp(s.ctx, virt.Stamp{Cluster: s.ClusterID, Instance: id, Generation: 1, Epoch: 1}); err == nil {
		s.Error("a domain of another cluster was stamped")
	}
	if d := s.expect(id, virt.PowerRunning); d.Stamp != theirs {
		s.Errorf("its stamp is %+v", d.Stamp)
	}
}
