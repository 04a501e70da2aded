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

// held is a hypervisor whose listings can be held up at their end, as libvirt's are by a domain that it is busy with.
type held struct {
	*sim.Driver
	gate chan struct{}
}

func (d held) Domains(ctx context.Context) ([]virt.Domain, error) {
	list, err := d.Driver.Domains(ctx)
	select {
	case <-d.gate:
		return list, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// libvirt keeps a listing waiting. Meanwhile another instance is created, and a third one deleted: both are seen to at once, and what the
// listing, which is of an earlier moment, says of them at last is not believed.
func TestLoop_AListingThatWaitsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := sim.New(sim.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		w := &world{cloud: newCloud(t), sim: d, images: &shelf{}}
		gate := make(chan struct{})
		w.loop = New(Config{Node: here, Cluster: w.cloud, Driver: held{d, gate}, Images: &shelf{}, Log: slog.New(slog.DiscardHandler),
			Starts: 2, Incarnation: "boot-1", LastKnown: "boot-1"})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.loop.Run(ctx) }()
		defer func() { cancel(); <-done }()

		w.create(one, here)
		gate <- struct{}{} // the first one: nothing is done before it
		w.settle(time.Second)
		gate <- struct{}{} // one that events asked for
		w.settle(relistEvery)
		w.create(two, here) // while a listing is held up that does not know it
		w.must(&cluster.DeleteInstance{ID: one, Request: "req-2"})
		w.settle(time.Second)
		if in, _ := w.cloud.view.Instance(two); in == nil || in.Status.VM != cluster.VMActive {
			t.Errorf("the new instance is not active: %+v", in)
		}
		if _, ok := w.cloud.view.Tombstone(here, one); ok {
			t.Error("the deleted instance is still there")
		}
		gate <- struct{}{}
		w.settle(100 * time.Millisecond)
		if strange := w.loop.Quarantined(); len(strange) > 0 {
			t.Errorf("an old listing was believed: %v", strange)
		}
		if in, _ := w.cloud.view.Instance(two); in == nil || in.Status.VM != cluster.VMActive {
			t.Errorf("an old listing was believed: %+v", in)
		}
	})
}

// One listing waits for a domain for seconds. That says nothing about what listings cost, and the events after it are followed at once.
func TestDue_OneSlowListingDoesNotSlowDownTheNext(t *testing.T) {
	now := time.Now()
	d := due{}
	d.listedAt(now.Add(-time.Millisecond), now)
	now = now.Add(time.Minute)
	d.listedAt(now.Add(-2*time.Second), now)
	now = now.Add(time.Second)
	if at := d.eager(); at.After(now) {
		t.Errorf("the next one has to wait %s", at.Sub(now))
	}
}
