package sim_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// libvirt hangs now and then. The caller's deadline must end the call, and the outcome is unknown.
func TestFault_HangEndsWithTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sim.Config{})
		must(t, d.Build(t.Context(), guest(vm)))
		d.SetFault(sim.OpStart, sim.Fault{Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		began := time.Now()
		err := d.Start(ctx, vm)
		if !errors.Is(err, virt.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("start: %v", err)
		}
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("took %v", took)
		}
		d.SetFault(sim.OpStart, sim.Fault{})
		must(t, d.Start(t.Context(), vm))
	})
}

func TestFault_SlowTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sim.Config{})
		d.SetFault(sim.OpBuild, sim.Fault{Slow: time.Minute})
		began := time.Now()
		must(t, d.Build(t.Context(), guest(vm)))
		if took := time.Since(began); took != time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

func TestFault_FailsAsOftenAsAskedAndWithoutEffect(t *testing.T) {
	d := open(t, sim.Config{})
	d.SetFault(sim.OpBuild, sim.Fault{Fail: 2})
	for range 2 {
		if err := d.Build(t.Context(), guest(vm)); !errors.Is(err, sim.ErrInjected) {
			t.Fatalf("build: %v", err)
		}
	}
	if p := power(t, d, vm); p != -1 {
		t.Fatalf("a failed build left a domain: %v", p)
	}
	must(t, d.Build(t.Context(), guest(vm)))
}

// The worst answer: it was done, and the caller is told otherwise.
func TestFault_LostAnswerTookEffect(t *testing.T) {
	d := open(t, sim.Config{})
	must(t, d.Build(t.Context(), guest(vm)))
	d.SetFault(sim.OpStart, sim.Fault{Lose: 1})
	if err := d.Start(t.Context(), vm); !errors.Is(err, virt.ErrUnavailable) {
		t.Fatalf("start: %v", err)
	}
	if p := power(t, d, vm); p != virt.PowerRunning {
		t.Fatalf("power %v", p)
	}
	must(t, d.Start(t.Context(), vm))
}

// A failing simulation must fail again in the same way when it is looked at.
func TestFault_SameSeedFailsTheSameCalls(t *testing.T) {
	pattern := func(seed uint64) (s string) {
		d := open(t, sim.Config{Seed: seed})
		d.SetFault(sim.OpHost, sim.Fault{FailRate: 0.5})
		for range 64 {
			if _, err := d.Host(t.Context()); err != nil {
				s += "x"
			} else {
				s += "."
			}
		}
		return s
	}
	if a, b := pattern(1), pattern(1); a != b {
		t.Errorf("seed 1 gave\n%s\n%s", a, b)
	}
	if pattern(1) == pattern(2) {
		t.Error("another seed changed nothing")
	}
}

func TestFault_GuestCrashesAfterItsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sim.Config{})
		d.SetFault(sim.OpStart, sim.Fault{GuestCrash: 5 * time.Second})
		must(t, d.Build(t.Context(), guest(vm)), d.Start(t.Context(), vm))
		drain(d)
		<-d.Events()
		if p := power(t, d, vm); p != virt.PowerCrashed {
			t.Fatalf("power %v", p)
		}
		if err := d.Start(t.Context(), vm); err == nil {
			t.Error("a crashed domain started without being stopped")
		}
		d.SetFault(sim.OpStart, sim.Fault{})
		must(t, d.Stop(t.Context(), vm, virt.Destroy), d.Start(t.Context(), vm))
	})
}

// libvirtd is stopped and started again. Guests go on, and the hints tell of both.
func TestSetDown_CallsFailAndGuestsGoOn(t *testing.T) {
	d := open(t, sim.Config{})
	must(t, d.Build(t.Context(), guest(vm)), d.Start(t.Context(), vm))
	drain(d)
	d.SetDown(true)
	if ev := <-d.Events(); ev.ID != "" {
		t.Errorf("hint %+v", ev)
	}
	if _, err := d.Domains(t.Context()); !errors.Is(err, virt.ErrUnavailable) {
		t.Errorf("domains: %v", err)
	}
	d.SetDown(false)
	<-d.Events()
	if p := power(t, d, vm); p != virt.PowerRunning {
		t.Errorf("power %v", p)
	}
}

func TestGuestKnobs_ChangeOnlyRunningGuests(t *testing.T) {
	d := open(t, sim.Config{})
	must(t, d.Build(t.Context(), guest(vm)))
	if d.CrashGuest(vm) == nil || d.PowerOffGuest(vm) == nil || d.PauseGuest("nobody") == nil {
		t.Error("a guest that is off did something")
	}
	for _, c := range []struct {
		do   func() error
		want virt.Power
	}{
		{func() error { return d.CrashGuest(vm) }, virt.PowerCrashed},
		{func() error { return d.PowerOffGuest(vm) }, virt.PowerOff},
		{func() error { return d.PauseGuest(vm) }, virt.PowerPaused},
		{d.PowerCut, virt.PowerOff},
	} {
		must(t, d.Stop(t.Context(), vm, virt.Destroy), d.Start(t.Context(), vm), c.do())
		if p := power(t, d, vm); p != c.want {
			t.Errorf("power %v, want %v", p, c.want)
		}
	}
}
