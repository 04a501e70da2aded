package sim_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// pair is two hosts and a guest that runs on the first.
type pair struct {
	from, to *sim.Driver
	landing  virt.Landing
	options  virt.MigrateOptions
	wire     *sim.Net
}

func newPair(t *testing.T, files ...string) *pair {
	t.Helper()
	files = append(files, "", "")
	wire := sim.NewNet()
	p := &pair{
		from:    open(t, sim.Config{Net: wire, Sockets: "/a", File: files[0]}),
		to:      open(t, sim.Config{Net: wire, Sockets: "/b", File: files[1]}),
		options: virt.MigrateOptions{CopyDisks: []virt.DiskID{virt.DiskRoot}},
		wire:    wire,
	}
	must(t, p.from.Build(t.Context(), guest(vm)), p.from.Start(t.Context(), vm), p.from.GuestWrite(vm, "before"))
	p.receive(t)
	return p
}

// receive prepares the second host and fills in what the node would: here both hosts reach each other's sockets.
func (p *pair) receive(t *testing.T) {
	t.Helper()
	g := guest(vm)
	g.Stamp.Epoch, g.DiskEpoch, g.NICs[0].Bridge = 2, 2, "br7"
	var err error
	p.landing, err = p.to.Receive(t.Context(), g)
	must(t, err)
	p.landing.Libvirt = p.to.Sockets().Libvirt
	p.landing.Memory = filepath.Join(p.to.Sockets().Dir, "m")
	p.landing.NBD = filepath.Join(p.to.Sockets().Dir, "n")
}

func (p *pair) migrate(ctx context.Context, progress func(cluster.MoveProgress)) error {
	return p.from.Migrate(ctx, vm, p.landing, p.options, progress)
}

// only fails the test unless the guest runs on one of the hosts alone, in its first boot, with all that it wrote.
func (p *pair) only(t *testing.T, here, elsewhere *sim.Driver, wrote string) {
	t.Helper()
	if h, _ := elsewhere.Look(vm); h.Domain.Power == virt.PowerRunning {
		t.Errorf("it runs on the other host: %+v", h)
	}
	if h := look(t, here); !h.Defined || h.Domain.Power != virt.PowerRunning || h.Boot != 1 || h.Wrote != wrote {
		t.Errorf("it should run: %+v", h)
	}
}

// The guest moves with its memory and its disk. What it writes meanwhile goes with it, and the old host is left with
// disks that wait for a tombstone.
func TestMigrate_CarriesMemoryAndDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		time.Sleep(10 * time.Second)
		p.from.SetFault(sim.OpMigrate, sim.Fault{Slow: 10 * time.Second})
		go func() {
			time.Sleep(5 * time.Second)
			if err := p.from.GuestWrite(vm, "meanwhile"); err != nil {
				t.Error(err)
			}
		}()
		var last cluster.MoveProgress
		must(t, p.migrate(t.Context(), func(m cluster.MoveProgress) {
			if m.MemoryProcessed < last.MemoryProcessed {
				t.Errorf("progress went from %+v to %+v", last, m)
			}
			last = m
		}))
		if last.MemoryRemaining != 0 || last.MemoryTotal != 512<<20 || last.DiskTotal != 3<<30 {
			t.Errorf("last progress %+v", last)
		}
		p.only(t, p.to, p.from, "before\nmeanwhile\n")
		h := look(t, p.to)
		if h.Uptime != 20*time.Second || h.Domain.Stamp != p.landing.Stamp || h.Epochs[0] != 2 {
			t.Errorf("there: %+v", h)
		}
		if h := look(t, p.from); h.Defined || !h.Disks {
			t.Errorf("left behind: %+v", h)
		}
		if text := console(t, p.to, vm); strings.Contains(text, "Linux version") || !strings.Contains(text, "arrived") {
			t.Errorf("console there %q", text)
		}
	})
}

// Disks that are not copied are taken to be shared. Here they are not, and the loss has to be seen.
func TestMigrate_WhatIsNotCopiedIsNotThere(t *testing.T) {
	p := newPair(t)
	p.options.CopyDisks = nil
	must(t, p.migrate(t.Context(), nil))
	if h := look(t, p.to); h.Wrote != "" {
		t.Errorf("it holds %q", h.Wrote)
	}
}

// Whatever goes wrong before the guest was handed over, it goes on where it was, and the next attempt succeeds.
func TestMigrate_FailureLeavesTheGuestHere(t *testing.T) {
	for name, c := range map[string]struct {
		op    sim.Op
		fault sim.Fault
	}{
		"at the start":           {sim.OpMigrate, sim.Fault{Fail: 1}},
		"in the middle":          {sim.OpMigrate, sim.Fault{Fail: 1, At: 50}},
		"hangs in the middle":    {sim.OpMigrate, sim.Fault{Hang: true, At: 50}},
		"guest changes too fast": {sim.OpMigrate, sim.Fault{Restless: true, At: 70}},
		"the destination fails":  {sim.OpLand, sim.Fault{Fail: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t)
				host := p.from
				if c.op == sim.OpLand {
					host = p.to
				}
				host.SetFault(c.op, c.fault)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := p.migrate(ctx, nil); err == nil || errors.Is(err, virt.ErrUnavailable) != (ctx.Err() != nil) {
					t.Fatalf("migrate: %v", err)
				}
				p.only(t, p.from, p.to, "before\n")
				host.SetFault(c.op, sim.Fault{})
				synctest.Wait()
				must(t, p.migrate(t.Context(), nil))
				p.only(t, p.to, p.from, "before\n")
			})
		})
	}
}

// What carries the disks takes them and brings them nowhere, as a relay does whose other end is refused. The destination does not wait for
// ever for what never comes, and the guest goes on where it was.
func TestMigrate_DisksThatNeverArriveAreMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.landing.NBD = "/a/nowhere"
		nowhere, err := p.wire.Listen(p.landing.NBD)
		must(t, err)
		go func() {
			for c, err := nowhere.Accept(); err == nil; c, err = nowhere.Accept() {
				go io.Copy(io.Discard, c)
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.migrate(ctx, nil); err == nil || ctx.Err() != nil {
			t.Errorf("migrate: %v", err)
		}
		p.only(t, p.from, p.to, "before\n")
		nowhere.Close()
	})
}

// What carries the disks breaks off on the way, as a relay does whose node dies, and the destination takes that for the end. A guest whose
// last writes did not come does not land, and goes on where it was.
func TestMigrate_DisksThatBreakOffAreMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		there := p.landing.NBD
		p.landing.NBD = "/a/n"
		relay, err := p.wire.Listen(p.landing.NBD)
		must(t, err)
		defer relay.Close()
		go func() {
			in, err := relay.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, in)
			if out, err := p.wire.Dial(t.Context(), there); err != nil {
				t.Error(err)
			} else {
				out.Close()
			}
		}()
		if err := p.migrate(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "not all of it came") {
			t.Errorf("migrate: %v", err)
		}
		p.only(t, p.from, p.to, "before\n")
	})
}

// The destination took the guest and its answer was lost, or it did not and nobody can tell. The guest must not go on
// here; the next attempt finds out.
func TestMigrate_LostAnswerIsFoundOutNextTime(t *testing.T) {
	for name, fault := range map[string]sim.Fault{"it landed": {Lose: 1}, "it did not": {Hang: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t)
				p.to.SetFault(sim.OpLand, fault)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := p.migrate(ctx, nil); !errors.Is(err, virt.ErrUnavailable) {
					t.Fatalf("migrate: %v", err)
				}
				if h := look(t, p.from); h.Domain.Power != virt.PowerPaused {
					t.Fatalf("it goes on here: %+v", h)
				}
				p.to.SetFault(sim.OpLand, sim.Fault{})
				synctest.Wait()
				must(t, p.migrate(t.Context(), nil))
				p.only(t, p.to, p.from, "before\n")
			})
		})
	}
}

// A guest that changes its memory faster than it is sent would never arrive. The operator ends it in one way or the
// other. A second call meanwhile waits for the first.
func TestMigrate_RestlessGuestIsForcedOrAborted(t *testing.T) {
	for _, force := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t)
			p.from.SetFault(sim.OpMigrate, sim.Fault{Restless: true, At: 70})
			ends := make(chan error, 2)
			for range 2 {
				go func() { ends <- p.migrate(t.Context(), nil) }()
			}
			time.Sleep(time.Hour)
			p.only(t, p.from, p.to, "before\n")
			if force {
				must(t, p.from.ForceMigrate(t.Context(), vm), <-ends, <-ends)
				p.only(t, p.to, p.from, "before\n")
				return
			}
			must(t, p.from.AbortMigrate(t.Context(), vm), p.from.AbortMigrate(t.Context(), vm))
			if a, b := <-ends, <-ends; a == nil || b == nil {
				t.Errorf("aborted: %v, %v", a, b)
			}
			p.only(t, p.from, p.to, "before\n")
			must(t, p.from.AbortMigrate(t.Context(), vm))
			if p.from.ForceMigrate(t.Context(), vm) == nil {
				t.Error("forced a migration that is over")
			}
		})
	}
}

// The source's daemon was killed when the guest had just been handed over. The next one finds out where it is.
func TestMigrate_SurvivesTheDeathOfItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "sim.json")
		p := newPair(t, file)
		p.to.SetFault(sim.OpLand, sim.Fault{Lose: 1})
		if err := p.migrate(t.Context(), nil); !errors.Is(err, virt.ErrUnavailable) {
			t.Fatalf("migrate: %v", err)
		}
		must(t, p.from.Close())
		wire := sim.NewNet() // the old names are gone with the old process
		again := open(t, sim.Config{File: file, Net: wire, Sockets: "/a"})
		if err := again.Migrate(t.Context(), vm, p.landing, p.options, nil); err == nil {
			t.Fatal("it reached a host that is not there")
		}
		if h := look(t, again); h.Domain.Power != virt.PowerPaused {
			t.Fatalf("it goes on here: %+v", h)
		}
	})
}

// Nobody may bring a guest to a host that did not ask for it, or for another decision.
func TestLand_UnexpectedGuestIsRefused(t *testing.T) {
	p := newPair(t)
	p.landing.Stamp.Epoch = 9
	if err := p.migrate(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "nobody prepared") {
		t.Errorf("another stamp: %v", err)
	}
	p.only(t, p.from, p.to, "before\n")
	p.receive(t)
	must(t, p.to.RemoveDisks(t.Context(), vm, virt.AllEpochs, 0))
	if err := p.migrate(t.Context(), nil); err == nil {
		t.Error("it landed after its disks were removed")
	}
	p.only(t, p.from, p.to, "before\n")
}

// Other hosts are strangers to the daemon's socket. What they send is refused at worst, and changes nothing.
func FuzzDaemon(f *testing.F) {
	f.Add([]byte(`{"call":"query","id":"x"}`))
	f.Add([]byte(`{"call":"begin","id":"` + string(vm) + `","record":{"format":1},"memory":"../x","nbd":"virtd","landing":{"stamp":{}}}{"call":"finish"}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		wire := sim.NewNet()
		d := open(t, sim.Config{Net: wire, Sockets: "/c"})
		c, err := wire.Dial(t.Context(), "/c/virtd")
		must(t, err)
		feed(c, data)
		if all := d.LookAll(); len(all) != 0 {
			t.Errorf("it made %+v", all)
		}
	})
}
