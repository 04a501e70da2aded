package virttest

import (
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// moving is a running guest and a host that expects it.
type moving struct {
	id      cluster.InstanceID
	peer    virt.Driver
	landing virt.Landing
	options virt.MigrateOptions
}

// aboutToMove prepares a migration, or skips the story.
func (s *story) aboutToMove() moving {
	s.Helper()
	if s.Peer == nil || s.Connect == nil {
		s.Skip("this backend has no second host to migrate to")
	}
	m := moving{id: newID(), peer: s.Peer(s.T), options: virt.MigrateOptions{CopyDisks: []virt.DiskID{virt.DiskRoot}}}
	g := s.guest(m.id)
	g.DiskEpoch = 1
	s.must("build", s.Driver.Build(s.ctx, g))
	s.must("start", s.Driver.Start(s.ctx, m.id))
	s.expect(m.id, virt.PowerRunning)
	g.Stamp.Epoch, g.DiskEpoch = 2, 2
	for range 2 { // the answer to the first was lost
		var err error
		m.landing, err = m.peer.Receive(s.ctx, g)
		s.must("receive", err)
	}
	if m.landing.Stamp != g.Stamp || m.landing.Disks[virt.DiskRoot] == "" {
		s.Errorf("the landing is %+v", m.landing)
	}
	if _, there := s.at(m.peer, m.id); there {
		s.Error("it is defined there before it arrived")
	}
	s.Connect(s.T, m.peer, &m.landing)
	return m
}

// at gives the domain that a driver reports.
func (s *story) at(d virt.Driver, id cluster.InstanceID) (virt.Domain, bool) {
	s.Helper()
	list, err := d.Domains(s.ctx)
	s.must("list domains", err)
	for _, dom := range list {
		if dom.ID == id {
			return dom, true
		}
	}
	return virt.Domain{}, false
}

// A server moves while it runs. It runs there with its memory, and no longer here; its old disks wait for a tombstone.
func migrated(s *story) {
	m := s.aboutToMove()
	memory := s.memory(m.id)
	var last cluster.MoveProgress
	s.must("migrate", s.Driver.Migrate(s.ctx, m.id, m.landing, m.options, func(p cluster.MoveProgress) { last = p }))
	if last.MemoryTotal < 0 || last.MemoryRemaining < 0 || last.DiskRemaining < 0 {
		s.Errorf("progress was %+v", last)
	}
	if d, here := s.domain(m.id); here {
		s.Errorf("it is still here: %+v", d)
	}
	d, _ := s.at(m.peer, m.id)
	if d.Power != virt.PowerRunning || d.Stamp != m.landing.Stamp {
		s.Errorf("there it is %+v, want stamp %+v", d, m.landing.Stamp)
	}
	s.expectEpochs(m.id, 1)
	here := s.Driver
	s.Driver = m.peer
	s.sameMemory(m.id, memory)
	s.Driver = here
	s.errorIs("migrate it again", s.Driver.Migrate(s.ctx, m.id, m.landing, m.options, nil), virt.ErrNotFound)
	s.must("remove its old disks", s.Driver.RemoveDisks(s.ctx, m.id, 1, 0))
	s.must("stop there", m.peer.Stop(s.ctx, m.id, virt.Destroy))
	s.must("start there", m.peer.Start(s.ctx, m.id))
	s.must("remove there", m.peer.Remove(s.ctx, m.id))
	s.must("remove disks there", m.peer.RemoveDisks(s.ctx, m.id, virt.AllEpochs, 0))
}

// The destination cannot be reached. The guest goes on here, and the next attempt succeeds.
func migrateUnreachable(s *story) {
	m := s.aboutToMove()
	memory := s.memory(m.id)
	nowhere := m.landing
	nowhere.Libvirt += ".nowhere"
	if err := s.Driver.Migrate(s.ctx, m.id, nowhere, m.options, nil); err == nil {
		s.Error("it migrated to nowhere")
	}
	s.expect(m.id, virt.PowerRunning)
	s.sameMemory(m.id, memory)
	s.must("migrate", s.Driver.Migrate(s.ctx, m.id, m.landing, m.options, nil))
	s.must("remove there", m.peer.Remove(s.ctx, m.id))
	s.must("remove disks there", m.peer.RemoveDisks(s.ctx, m.id, virt.AllEpochs, 0))
}

// A migration is ended by the operator as soon as it began, or was over before: the guest runs in one place.
func migrateAborted(s *story) {
	m := s.aboutToMove()
	end := make(chan error, 1)
	go func() { end <- s.Driver.Migrate(s.ctx, m.id, m.landing, m.options, nil) }()
	var err error
	for over := false; !over; {
		s.must("abort", s.Driver.AbortMigrate(s.ctx, m.id))
		select {
		case err = <-end:
			over = true
		case <-time.After(20 * time.Millisecond):
		}
	}
	here, _ := s.domain(m.id)
	there, _ := s.at(m.peer, m.id)
	if (here.Power == virt.PowerRunning) == (there.Power == virt.PowerRunning) || (err == nil) != (there.Power == virt.PowerRunning) {
		s.Errorf("here %+v, there %+v, and the call said %v", here, there, err)
	}
	s.must("abort none", s.Driver.AbortMigrate(s.ctx, m.id))
	s.must("remove there", m.peer.Remove(s.ctx, m.id))
	s.must("remove disks there", m.peer.RemoveDisks(s.ctx, m.id, virt.AllEpochs, 0))
}

// Only what runs can move while it runs.
func migrateRefuses(s *story) {
	if s.Connect == nil {
		s.Skip("this backend has no second host to migrate to")
	}
	var l virt.Landing
	id := s.built()
	s.errorIs("migrate a guest that is off", s.Driver.Migrate(s.ctx, id, l, virt.MigrateOptions{}, nil), virt.ErrNotRunning)
	s.errorIs("migrate nobody", s.Driver.Migrate(s.ctx, newID(), l, virt.MigrateOptions{}, nil), virt.ErrNotFound)
}
