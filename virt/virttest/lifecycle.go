package virttest

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// The scheduler counts on these figures; a host without processors or memory could take nothing.
func hostSaysWhatItOffers(s *story) {
	h, err := s.Driver.Host(s.ctx)
	s.must("describe host", err)
	if h.Type == "" || h.Version <= 0 || h.CPU.Count < 1 || h.CPU.Arch == "" || h.MemoryMiB < 1 {
		s.Errorf("host is %+v", h)
	}
	if h.DiskFreeGiB > h.DiskGiB || h.DiskGiB < 0 {
		s.Errorf("%d of %d GiB of disk are free", h.DiskFreeGiB, h.DiskGiB)
	}
	if h.Confinement == "" {
		s.Error("confinement is not reported")
	}
}

// The node was killed between build and its report, so it builds again. That must change nothing.
func buildTwice(s *story) {
	id := newID()
	g := s.guest(id)
	s.must("build", s.Driver.Build(s.ctx, g))
	first, ok := s.domain(id)
	if !ok || first.Power != virt.PowerOff || first.Stamp != g.Stamp {
		s.Fatalf("after the first build: %+v (%v)", first, ok)
	}
	disk := s.fingerprint(id)
	s.must("build again", s.Driver.Build(s.ctx, g))
	if second, _ := s.domain(id); second.Stamp != first.Stamp || second.Power != first.Power || second.Name != first.Name {
		s.Errorf("the second build made %+v of %+v", second, first)
	}
	if again := s.fingerprint(id); again != disk {
		s.Error("the second build replaced the disk")
	}
}

// fingerprint is that of the disk, where there is one to look at.
func (s *story) fingerprint(id cluster.InstanceID) string {
	s.Helper()
	if s.Disk == nil {
		return ""
	}
	sum := s.Disk(s.T, id)
	if sum == "" {
		s.Fatal("the guest has no disk")
	}
	return sum
}

// A server was resized while it was off: the next build brings the new generation, on the same disk.
func buildRefreshes(s *story) {
	id := newID()
	g := s.guest(id)
	s.must("build", s.Driver.Build(s.ctx, g))
	disk := s.fingerprint(id)
	g.Stamp.Generation, g.Stamp.Epoch = 7, 3
	g.MemoryMiB *= 2
	s.must("build the new generation", s.Driver.Build(s.ctx, g))
	if d, _ := s.domain(id); d.Stamp != g.Stamp {
		s.Errorf("stamp is %+v, want %+v", d.Stamp, g.Stamp)
	}
	if s.fingerprint(id) != disk {
		s.Error("the disk was replaced")
	}
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
}

// A build of a running guest must not touch it: not even its stamp, which says what it was started for.
func buildLeavesRunning(s *story) {
	id := newID()
	g := s.guest(id)
	s.must("build", s.Driver.Build(s.ctx, g))
	s.must("start", s.Driver.Start(s.ctx, id))
	old := g.Stamp
	g.Stamp.Generation = 2
	s.must("build while it runs", s.Driver.Build(s.ctx, g))
	if d := s.expect(id, virt.PowerRunning); d.Stamp != old {
		s.Errorf("stamp is %+v, want %+v", d.Stamp, old)
	}
}

// What cannot be built is refused before anything is made of it.
func buildRefuses(s *story) {
	for name, spoil := range map[string]func(*virt.Guest){
		"no processors":     func(g *virt.Guest) { g.VCPUs = 0 },
		"negative memory":   func(g *virt.Guest) { g.MemoryMiB = -1 },
		"negative disk":     func(g *virt.Guest) { g.Root.SizeGiB = -1 },
		"another cluster's": func(g *virt.Guest) { g.Stamp.Cluster = "someone-else" },
	} {
		if name == "another cluster's" && !s.Guards {
			continue
		}
		id := newID()
		g := s.guest(id)
		spoil(&g)
		if err := s.Driver.Build(s.ctx, g); err == nil {
			s.Errorf("%s: was built", name)
		}
		if _, there := s.domain(id); there {
			s.Errorf("%s: left a domain", name)
		}
	}
}

// hostileTexts is what users type, some of them on purpose.
var hostileTexts = []string{
	"../../etc/passwd", "a\x00b", "<domain type='kvm'>&amp;]]></domain>", `"; rm -rf / #`, "\u202eevil", "line\nbreak",
	"\xff\xfe not UTF-8", strings.Repeat("x", 10_000), "",
}

// A name may hold anything. It stays text: the domain is ours, has its own name, and runs.
func buildHostileText(s *story) {
	for _, text := range hostileTexts {
		id := newID()
		g := s.guest(id)
		g.Name, g.Owner = text, virt.Owner{ProjectID: text, ProjectName: text, UserID: text, UserName: text, FlavorName: text}
		g.Properties = map[string]string{"os_distro": text, text: text}
		s.must(fmt.Sprintf("build %.40q", text), s.Driver.Build(s.ctx, g))
		d, ok := s.domain(id)
		if !ok || d.Stamp != g.Stamp {
			s.Errorf("%.40q: stamp is %+v (%v)", text, d.Stamp, ok)
		}
		if strings.ContainsAny(d.Name, "/<>&\x00\n") || len(d.Name) > 255 {
			s.Errorf("%.40q became part of the domain's name: %.80q", text, d.Name)
		}
		s.must("remove", s.Driver.Remove(s.ctx, id))
		s.must("remove disks", s.Driver.RemoveDisks(s.ctx, id, virt.AllEpochs, 0))
	}
}

func startTwice(s *story) {
	id := s.started()
	s.expect(id, virt.PowerRunning)
	s.must("start again", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
}

func startMissing(s *story) {
	s.errorIs("start", s.Driver.Start(s.ctx, newID()), virt.ErrNotFound)
	s.errorIs("stop", s.Driver.Stop(s.ctx, newID(), virt.Destroy), virt.ErrNotFound)
	s.errorIs("shut down", s.Driver.Stop(s.ctx, newID(), virt.Shutdown), virt.ErrNotFound)
}

func stopTwice(s *story) {
	id := s.started()
	for range 2 {
		s.must("stop", s.Driver.Stop(s.ctx, id, virt.Destroy))
		if d := s.expect(id, virt.PowerOff); d.Stamp.Instance != id {
			s.Errorf("stamp is %+v", d.Stamp)
		}
	}
	s.must("press the button of one that is off", s.Driver.Stop(s.ctx, id, virt.Shutdown))
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
}

// Pressing the power button returns at once; whether the guest heeds it is the guest's affair.
func stopByButton(s *story) {
	id := s.started()
	s.expect(id, virt.PowerRunning)
	s.must("press the button", s.Driver.Stop(s.ctx, id, virt.Shutdown))
	if _, ok := s.domain(id); !ok {
		s.Error("the domain is gone")
	}
}

func removeMissing(s *story) {
	s.must("remove", s.Driver.Remove(s.ctx, newID()))
	s.must("remove disks", s.Driver.RemoveDisks(s.ctx, newID(), virt.AllEpochs, 0))
}

// The instance moved away. Its domain goes, but its disk is kept until a tombstone says otherwise: it may be
// the only copy.
func removeRunning(s *story) {
	id := newID()
	g := s.guest(id)
	s.must("build", s.Driver.Build(s.ctx, g))
	s.must("start", s.Driver.Start(s.ctx, id))
	s.expect(id, virt.PowerRunning)
	for range 2 {
		s.must("remove", s.Driver.Remove(s.ctx, id))
		if d, there := s.domain(id); there {
			s.Fatalf("still there: %+v", d)
		}
	}
	disk := s.fingerprint(id)
	s.must("build again", s.Driver.Build(s.ctx, g))
	if s.fingerprint(id) != disk {
		s.Error("building again replaced the disk that was kept")
	}
}

func removeDisks(s *story) {
	id := s.built()
	if err := s.Driver.RemoveDisks(s.ctx, id, virt.AllEpochs, 0); err == nil {
		s.Error("the disks of a defined domain were removed")
	}
	s.fingerprint(id)
	s.must("remove", s.Driver.Remove(s.ctx, id))
	for range 2 {
		s.must("remove disks", s.Driver.RemoveDisks(s.ctx, id, virt.AllEpochs, 0))
		if s.Disk != nil && s.Disk(s.T, id) != "" {
			s.Error("the disk is still there")
		}
	}
}

// What is no instance ID must never become a path, or a key that nobody can find again.
func hostileIDs(s *story) {
	if !s.Guards {
		s.Skip("this driver leaves IDs to its caller")
	}
	for _, id := range []cluster.InstanceID{"", "..", "../" + newID(), newID() + "/..", "web-1", cluster.InstanceID(strings.ToUpper(string(newID())))} {
		g := s.guest(id)
		for act, err := range map[string]error{
			"build":        s.Driver.Build(s.ctx, g),
			"start":        s.Driver.Start(s.ctx, id),
			"stop":         s.Driver.Stop(s.ctx, id, virt.Destroy),
			"remove disks": s.Driver.RemoveDisks(s.ctx, id, virt.AllEpochs, 0),
			"pause":        s.Driver.Pause(s.ctx, id),
			"save":         s.Driver.Save(s.ctx, id),
			"stamp":        s.Driver.Stamp(s.ctx, g.Stamp),
			"capture":      s.Driver.Capture(s.ctx, id, virt.DiskRoot, filepath.Join(s.TempDir(), "x"), false, nil),
			"detach":       s.Driver.DetachDisk(s.ctx, id, "v1"),
			"import":       s.Driver.Import(s.ctx, id, 1, virt.ExportedDisk{ID: virt.DiskRoot, Format: "raw"}, g.Root, 0),
		} {
			if err == nil {
				s.Errorf("%s %q: was accepted", act, id)
			}
		}
		if r, err := s.Driver.Console(s.ctx, id); err == nil {
			r.Close()
			s.Errorf("console %q: was accepted", id)
		}
	}
}

// Eight workers act at once, each on its own instance.
func many(s *story) {
	const workers = 8
	ids := make([]cluster.InstanceID, workers)
	guests := make([]virt.Guest, workers)
	for i := range ids {
		ids[i] = newID()
		guests[i] = s.guest(ids[i])
	}
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() {
			if err := cycle(s.ctx, s.Driver, guests[i]); err != nil {
				s.Errorf("%s: %v", id, err)
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if d, there := s.domain(id); there {
			s.Errorf("left behind: %+v", d)
		}
	}
}

// cycle takes one guest through its life.
func cycle(ctx context.Context, d virt.Driver, g virt.Guest) error {
	id := g.Stamp.Instance
	for _, act := range []func() error{
		func() error { return d.Build(ctx, g) },
		func() error { return d.Start(ctx, id) },
		func() error { return d.Stop(ctx, id, virt.Destroy) },
		func() error { return d.Remove(ctx, id) },
		func() error { return d.RemoveDisks(ctx, id, virt.AllEpochs, 0) },
	} {
		if err := act(); err != nil {
			return err
		}
	}
	return nil
}
