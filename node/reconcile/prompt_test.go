package reconcile

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// definer is a hypervisor that takes long to write a definition, once it is told to.
type definer struct {
	*sim.Driver
	takes time.Duration
}

func (d *definer) Build(ctx context.Context, g virt.Guest) error {
	time.Sleep(d.takes)
	return d.Driver.Build(ctx, g)
}

func (d *definer) Stamp(ctx context.Context, s virt.Stamp) error {
	time.Sleep(d.takes)
	return d.Driver.Stamp(ctx, s)
}

// A user waits for a guest to be paused, off, or on, and not for its definition: that takes the hypervisor half a minute here. The
// definition follows all the same.
func TestLoop_TellsOfThePowerBeforeTheDefinitionIsUpToDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := sim.New(sim.Config{Boot: time.Second, Shutdown: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		slow := &definer{Driver: s}
		w := &world{cloud: newCloud(t), sim: s, images: &shelf{}}
		w.loop = New(Config{Node: here, Cluster: w.cloud, Driver: slow, Images: w.images, Log: slog.New(slog.DiscardHandler), Starts: 2})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); w.loop.Run(ctx) }()
		defer func() { cancel(); <-done; s.Close() }()
		w.create(one, here)
		w.settle(10 * time.Second)
		slow.takes = 30 * time.Second
		for _, step := range []struct {
			action string
			want   cluster.VMState
			within time.Duration
		}{
			{"pause", cluster.VMPaused, soon}, {"unpause", cluster.VMActive, soon},
			{"suspend", cluster.VMSuspended, time.Minute}, // the definition is saved with the memory, so it comes first
			{"resume", cluster.VMActive, soon},
		} {
			w.must(&cluster.SetPower{ID: one, Request: "req-" + step.action, Action: step.action})
			w.tells(step.action, step.want, step.within)
		}
		w.must(&cluster.SetPower{ID: one, Request: "req-stop", Wanted: cluster.WantOff})
		w.tells("stop", cluster.VMStopped, soon)
	})
}

// soon is less than a definition takes.
const soon = 5 * time.Second

// tells waits for a state, and longer for the definition that belongs to it.
func (w *world) tells(what string, want cluster.VMState, within time.Duration) {
	w.t.Helper()
	w.settle(within)
	in := w.instance(one)
	if in.Status.VM != want || in.Status.Task != cluster.TaskNone {
		w.t.Errorf("after %s it is %s (%s)", what, in.Status.VM, in.Status.Task)
	}
	w.settle(2 * time.Minute)
	domains, err := w.sim.Domains(w.t.Context())
	if err != nil || len(domains) != 1 || domains[0].Stamp.Generation != w.instance(one).Generation {
		w.t.Errorf("after %s the domain is %+v, %v, the instance of generation %d", what, domains, err, w.instance(one).Generation)
	}
}
