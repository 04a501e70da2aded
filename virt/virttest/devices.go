package virttest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// attachable builds a guest, and starts it if it is to run.
func (s *story) attachable(running bool) cluster.InstanceID {
	s.Helper()
	if running {
		id := s.started()
		s.expect(id, virt.PowerRunning)
		return id
	}
	return s.built()
}

// eachWay tells a story for a guest that is off and for one that runs.
func eachWay(s *story, tell func(running bool)) {
	tell(false)
	if s.Has.Hotplug {
		tell(true)
	}
}

// disks fails the story unless the domain has these volumes.
func (s *story) disks(id cluster.InstanceID, want ...virt.Disk) {
	s.Helper()
	var ids []string
	for _, d := range want {
		ids = append(ids, string(d.ID))
	}
	slices.Sort(ids)
	if d, _ := s.domain(id); d.Disks != strings.Join(ids, ",") {
		s.Errorf("its disks are %q, want %q", d.Disks, strings.Join(ids, ","))
	}
}

// Volumes come and go, each twice because the answer was lost. The definition has them too, so a stop and a restart of
// the daemon change nothing.
func attachDisk(s *story) {
	if s.Volume == nil {
		s.Skip("this backend has no volumes")
	}
	eachWay(s, func(running bool) {
		id := s.attachable(running)
		a, b := s.Volume(s.T), s.Volume(s.T)
		s.disks(id)
		for range 2 {
			s.must("attach", s.Driver.AttachDisk(s.ctx, id, a))
			s.disks(id, a)
		}
		s.must("attach another", s.Driver.AttachDisk(s.ctx, id, b))
		s.disks(id, a, b)
		s.Driver = s.Reopen(s.T)
		s.disks(id, a, b)
		for range 2 {
			s.must("detach", s.Driver.DetachDisk(s.ctx, id, a.ID))
			s.disks(id, b)
		}
		s.must("stop", s.Driver.Stop(s.ctx, id, virt.Destroy))
		s.disks(id, b)
		s.must("start", s.Driver.Start(s.ctx, id))
		s.expect(id, virt.PowerRunning)
		s.disks(id, b)
	})
}

// A guest is built with a volume, as after a migration or a hard reboot, and a later build is without it.
func buildWithDisk(s *story) {
	if s.Volume == nil {
		s.Skip("this backend has no volumes")
	}
	id := newID()
	g := s.guest(id)
	vol := s.Volume(s.T)
	g.Disks = []virt.Disk{vol}
	s.must("build", s.Driver.Build(s.ctx, g))
	s.disks(id, vol)
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
	s.must("stop", s.Driver.Stop(s.ctx, id, virt.Destroy))
	s.must("attach what is there", s.Driver.AttachDisk(s.ctx, id, vol))
	g.Disks = nil
	s.must("build without it", s.Driver.Build(s.ctx, g))
	s.disks(id)
}

func attachDiskRefuses(s *story) {
	if s.Volume == nil {
		s.Skip("this backend has no volumes")
	}
	id := s.built()
	for name, spoil := range map[string]func(*virt.Disk){
		"no ID":          func(d *virt.Disk) { d.ID = "" },
		"a relative way": func(d *virt.Disk) { d.Path = "x/y" },
		"no format":      func(d *virt.Disk) { d.Format = "" },
		"an odd format":  func(d *virt.Disk) { d.Format = "json:{}" },
		"no path":        func(d *virt.Disk) { d.Path = "" },
	} {
		d := s.Volume(s.T)
		spoil(&d)
		if err := s.Driver.AttachDisk(s.ctx, id, d); err == nil {
			s.Errorf("%s: was attached", name)
		}
		s.disks(id)
	}
	vol := s.Volume(s.T)
	s.errorIs("attach to nobody", s.Driver.AttachDisk(s.ctx, newID(), vol), virt.ErrNotFound)
	s.errorIs("detach from nobody", s.Driver.DetachDisk(s.ctx, newID(), vol.ID), virt.ErrNotFound)
	s.must("detach what is not there", s.Driver.DetachDisk(s.ctx, id, vol.ID))
}

// cards fails the story unless the domain has these cards.
func (s *story) cards(id cluster.InstanceID, want ...string) {
	s.Helper()
	slices.Sort(want)
	if d, _ := s.domain(id); d.NICs != strings.Join(want, ",") {
		s.Errorf("its cards are %q, want %q", d.NICs, strings.Join(want, ","))
	}
}

func attachNIC(s *story) {
	if s.NIC == nil {
		s.Skip("this backend has no networks")
	}
	eachWay(s, func(running bool) {
		id := s.attachable(running)
		a, b := s.NIC(s.T), s.NIC(s.T)
		for range 2 {
			s.must("attach", s.Driver.AttachNIC(s.ctx, id, a))
			s.cards(id, a.MAC)
		}
		s.must("attach another", s.Driver.AttachNIC(s.ctx, id, b))
		s.Driver = s.Reopen(s.T)
		s.cards(id, a.MAC, b.MAC)
		for range 2 {
			s.must("detach", s.Driver.DetachNIC(s.ctx, id, a.MAC))
			s.cards(id, b.MAC)
		}
		s.must("stop", s.Driver.Stop(s.ctx, id, virt.Destroy))
		s.cards(id, b.MAC)
	})
	n := s.NIC(s.T)
	s.errorIs("attach to nobody", s.Driver.AttachNIC(s.ctx, newID(), n), virt.ErrNotFound)
	s.errorIs("detach from nobody", s.Driver.DetachNIC(s.ctx, newID(), n.MAC), virt.ErrNotFound)
}

// A volume was extended under a guest; the same order comes again. Nothing ever becomes smaller.
func resizeDisk(s *story) {
	if !s.Has.Files {
		s.Skip("this backend has no real disks")
	}
	eachWay(s, func(running bool) {
		id := s.attachable(running)
		const size = 5 << 30
		for range 2 {
			s.must("grow", s.Driver.ResizeDisk(s.ctx, id, virt.DiskRoot, size))
		}
		if err := s.Driver.ResizeDisk(s.ctx, id, virt.DiskRoot, size/2); err == nil {
			s.Error("a disk was shrunk")
		}
		if err := s.Driver.ResizeDisk(s.ctx, id, "no-such-disk", size); err == nil {
			s.Error("a disk was grown that is not there")
		}
	})
	s.errorIs("grow a disk of nobody", s.Driver.ResizeDisk(s.ctx, newID(), virt.DiskRoot, 1<<30), virt.ErrNotFound)
}

// expectEpochs fails the story when the instance's disks are not those of the epochs, where that can be looked at.
func (s *story) expectEpochs(id cluster.InstanceID, want ...uint64) {
	s.Helper()
	if s.Epochs == nil {
		return
	}
	if got := s.Epochs(s.T, id); !slices.Equal(got, want) {
		s.Errorf("it has disks of the epochs %v, want %v", got, want)
	}
}

// A server is rebuilt. Its new disks are made beside the old ones, which go with their tombstone and not before, and
// what the domain uses never goes.
func epochs(s *story) {
	id := newID()
	g := s.guest(id)
	for epoch := uint64(1); epoch <= 3; epoch++ {
		g.Stamp.Epoch, g.DiskEpoch = epoch, epoch
		s.must("build", s.Driver.Build(s.ctx, g))
	}
	s.expectEpochs(id, 1, 2, 3)
	s.must("remove what is not there", s.Driver.RemoveDisks(s.ctx, newID(), 3, 0))
	for range 2 {
		s.must("remove the first", s.Driver.RemoveDisks(s.ctx, id, 1, 0))
		s.expectEpochs(id, 2, 3)
	}
	if err := s.Driver.RemoveDisks(s.ctx, id, 3, 2); err == nil {
		s.Error("disks that a defined domain uses were removed")
	}
	s.expectEpochs(id, 2, 3)
	s.must("remove all but those that it uses", s.Driver.RemoveDisks(s.ctx, id, virt.AllEpochs, 3))
	s.expectEpochs(id, 3)
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
	s.must("remove", s.Driver.Remove(s.ctx, id))
	s.must("keep", s.Driver.RemoveDisks(s.ctx, id, 3, 3))
	s.expectEpochs(id, 3)
	s.must("remove the rest", s.Driver.RemoveDisks(s.ctx, id, virt.AllEpochs, 0))
	s.expectEpochs(id)
	_, err := s.Driver.Console(s.ctx, id)
	s.errorIs("console when the last disk is gone", err, virt.ErrNotFound)
}

// A server is rescued twice and then goes back to its own disk, which nobody touched.
func rescue(s *story) {
	id := newID()
	g := s.guest(id)
	s.must("build", s.Driver.Build(s.ctx, g))
	disk := s.fingerprint(id)
	g.Rescue = &g.Root
	for range 2 {
		s.must("build for rescue", s.Driver.Build(s.ctx, g))
		s.must("start", s.Driver.Start(s.ctx, id))
		s.expect(id, virt.PowerRunning)
		s.must("stop", s.Driver.Stop(s.ctx, id, virt.Destroy))
	}
	g.Rescue = nil
	s.must("build as it was", s.Driver.Build(s.ctx, g))
	if s.fingerprint(id) != disk {
		s.Error("its own disk changed")
	}
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
}

// A guest has more disks than its root: they are made with it and go with it, and Domain.Disks leaves them out.
func madeDisks(s *story) {
	if !s.Has.Files {
		s.Skip("this backend has no real disks")
	}
	id := newID()
	g := s.guest(id)
	g.DiskEpoch = 1
	g.Disks = []virt.Disk{
		{ID: virt.DiskSwap, Make: virt.MadeDisk{SizeMiB: 8, Use: "swap"}},
		{ID: virt.DiskEphemeral, Make: virt.MadeDisk{SizeMiB: 64, Use: "ephemeral"}},
	}
	for range 2 {
		s.must("build", s.Driver.Build(s.ctx, g))
		s.disks(id)
	}
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
	s.must("remove", s.Driver.Remove(s.ctx, id))
	s.must("remove disks", s.Driver.RemoveDisks(s.ctx, id, 1, 0))
	s.expectEpochs(id)
}

// Disks that cannot be are refused before a domain is made of them.
func buildRefusesDisks(s *story) {
	made := virt.MadeDisk{SizeMiB: 1, Use: "swap"}
	for name, disks := range map[string][]virt.Disk{
		"two of one ID":       {{ID: virt.DiskSwap, Make: made}, {ID: virt.DiskSwap, Make: made}},
		"no ID":               {{Make: made}},
		"neither":             {{ID: "v1"}},
		"both":                {{ID: "v1", Make: made, Path: "/dev/null", Format: "raw"}},
		"a relative path":     {{ID: "v1", Path: "v1", Format: "raw"}},
		"a format not named":  {{ID: "v1", Path: "/dev/null"}},
		"a format of its own": {{ID: "v1", Path: "/dev/null", Format: "nbd"}},
	} {
		id := newID()
		g := s.guest(id)
		g.Disks = disks
		if err := s.Driver.Build(s.ctx, g); err == nil {
			s.Errorf("%s: was built", name)
		}
		if d, there := s.domain(id); there {
			s.Errorf("%s: left %s", name, fmt.Sprintf("%+v", d))
		}
	}
}
