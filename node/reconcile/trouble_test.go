package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// watched is a node under test that is counted, and whose reports can be kept from arriving.
type watched struct {
	*world
	mute                               atomic.Bool // its proposals get no answer
	passes, starts, removals, listings atomic.Int64
	startError                         atomic.Pointer[error]
}

// Latest implements Cluster: it is asked once in each pass.
func (w *watched) Latest() (*cluster.View, <-chan struct{}) {
	w.passes.Add(1)
	return w.cloud.Latest()
}

// Propose implements Cluster. It refuses what would not fit into the log.
func (w *watched) Propose(ctx context.Context, c cluster.Command) (cluster.Result, error) {
	if w.mute.Load() {
		return cluster.Result{}, cluster.Errorf(cluster.Unavailable, "nobody answers")
	}
	if _, err := cluster.EncodeCommand(c); err != nil {
		return cluster.Result{}, err
	}
	return w.cloud.Propose(ctx, c)
}

// counted is a hypervisor that counts.
type counted struct {
	*sim.Driver
	w *watched
}

func (d counted) Start(ctx context.Context, id cluster.InstanceID) error {
	d.w.starts.Add(1)
	if err := d.w.startError.Load(); err != nil {
		return *err
	}
	return d.Driver.Start(ctx, id)
}

func (d counted) RemoveDisks(ctx context.Context, id cluster.InstanceID, through, keep uint64) error {
	d.w.removals.Add(1)
	return d.Driver.RemoveDisks(ctx, id, through, keep)
}

func (d counted) Domains(ctx context.Context) ([]virt.Domain, error) {
	d.w.listings.Add(1)
	return d.Driver.Domains(ctx)
}

// refuse has every start fail.
func (w *watched) refuse(err error) { w.startError.Store(&err) }

// run starts the daemon, or starts it again.
func (w *watched) run(images Images) {
	w.loop = New(Config{Node: here, Cluster: w, Driver: counted{w.sim, w}, Images: images, Log: slog.New(slog.DiscardHandler), Starts: 2,
		Incarnation: "boot-1", LastKnown: "boot-1"})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.loop.Run(ctx) }()
	w.stop = func() { cancel(); <-done }
}

func watch(t *testing.T, images Images, story func(t *testing.T, w *watched)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, err := sim.New(sim.Config{Boot: time.Second, Shutdown: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		w := &watched{world: &world{cloud: newCloud(t), sim: d, images: &shelf{}}}
		w.run(images)
		defer func() { w.stop(); d.Close() }()
		story(t, w)
	})
}

// An instance is deleted while the cluster does not answer. Its disks are removed once; until the cluster hears of it there is nothing more
// to do, and the node must not do it again and again.
func TestLoop_RemovesDisksOnceUntilItIsHeard(t *testing.T) {
	watch(t, &shelf{}, func(t *testing.T, w *watched) {
		w.create(one, here)
		w.settle(10 * time.Second)
		w.mute.Store(true)
		w.must(&cluster.DeleteInstance{ID: one, Request: "req-2"})
		w.settle(5 * time.Minute)
		if n := w.removals.Load(); n != 1 {
			t.Errorf("the disks were removed %d times", n)
		}
		w.mute.Store(false)
		w.settle(time.Minute)
		if _, ok := w.cloud.view.Instance(one); ok {
			t.Error("the instance is still there")
		}
		if _, ok := w.cloud.view.Tombstone(here, one); ok {
			t.Error("the tombstone was not settled")
		}
		if n := w.removals.Load(); n != 1 {
			t.Errorf("the disks were removed %d times", n)
		}
	})
}

// Nothing happens for ten minutes. The node looks at its hypervisor now and then, and sleeps otherwise.
func TestLoop_SleepsWhenNothingHappens(t *testing.T) {
	watch(t, &shelf{}, func(t *testing.T, w *watched) {
		w.create(one, here)
		w.settle(time.Minute)
		passes, listings := w.passes.Load(), w.listings.Load()
		w.settle(10 * time.Minute)
		most := int64(10*time.Minute/relistEvery) + 1
		if n := w.listings.Load() - listings; n > most {
			t.Errorf("%d listings in ten minutes", n)
		}
		if n := w.passes.Load() - passes; n > 2*most {
			t.Errorf("%d passes in ten minutes", n)
		}
	})
}

// slow is a shelf that an image never comes to.
type slow struct{ begun, ended atomic.Int64 }

func (s *slow) Base(cluster.BootImage) (string, string, bool) { return "", "", false }

func (s *slow) Prepare(ctx context.Context, _ cluster.BootImage, _ func(string)) error {
	s.begun.Add(1)
	defer s.ended.Add(1)
	<-ctx.Done()
	return ctx.Err()
}

// An image is large and its peers are slow. The user gives up and deletes the instance, which must not wait for the image.
func TestLoop_DeletionDoesNotWaitForAnImage(t *testing.T) {
	images := &slow{}
	watch(t, images, func(t *testing.T, w *watched) {
		w.create(one, here)
		w.settle(time.Minute)
		if images.begun.Load() != 1 {
			t.Fatalf("%d fetches", images.begun.Load())
		}
		w.must(&cluster.DeleteInstance{ID: one, Request: "req-2"})
		w.settle(10 * time.Second)
		if _, ok := w.cloud.view.Instance(one); ok || images.ended.Load() != 1 {
			t.Errorf("the instance is there: %v; fetches that ended: %d", ok, images.ended.Load())
		}
	})
}

// The daemon dies after it has rebooted a guest and before it could say so. The next one must not reboot it again.
func TestLoop_RebootsOnceAlthoughTheReportIsLost(t *testing.T) {
	watch(t, &shelf{}, func(t *testing.T, w *watched) {
		w.create(one, here)
		w.settle(10 * time.Second)
		w.mute.Store(true)
		w.must(&cluster.SetPower{ID: one, Request: "req-2", Wanted: cluster.WantOn, Reboot: cluster.RebootHard})
		w.settle(10 * time.Second)
		if n := w.starts.Load(); n != 2 {
			t.Fatalf("%d starts before the crash", n)
		}
		w.stop()
		w.mute.Store(false)
		w.run(&shelf{})
		w.settle(time.Minute)
		if n := w.starts.Load(); n != 2 {
			t.Errorf("%d starts, the first one included", n)
		}
		if got := w.instance(one).Status; got.VM != cluster.VMActive || got.Task != cluster.TaskNone {
			t.Errorf("status %v", got)
		}
	})
}

// A hypervisor refuses many guests at once, with pages of reasons. The reports have to fit into the log all the same, or none would ever
// arrive.
func TestLoop_LongErrorsArrive(t *testing.T) {
	watch(t, &shelf{}, func(t *testing.T, w *watched) {
		w.must(&cluster.PutQuota{Quota: cluster.Quota{Project: "p1", Limits: map[cluster.QuotaName]int64{
			cluster.QuotaInstances: -1, cluster.QuotaCores: -1, cluster.QuotaRAM: -1}}})
		w.refuse(errors.New(strings.Repeat("because \xff", 2000)))
		for i := range 250 {
			w.create(cluster.InstanceID(fmt.Sprintf("11111111-1111-4111-8111-%012d", i)), here)
		}
		w.settle(2 * time.Minute)
		v, _ := w.cloud.Latest()
		for in := range v.Instances() {
			if in.Status.VM != cluster.VMError || in.Status.Fault == nil {
				t.Fatalf("%s is %v", in.ID, in.Status)
			}
		}
	})
}

// The hypervisor is away for a while and then refuses once. That is one refusal, not the last of many.
func TestLoop_SilenceIsNoRefusal(t *testing.T) {
	watch(t, &shelf{}, func(t *testing.T, w *watched) {
		w.settle(time.Second)
		w.refuse(fmt.Errorf("start: %w", virt.ErrUnavailable))
		w.create(one, here)
		w.settle(time.Minute)
		before := w.starts.Load()
		w.refuse(errors.New("not now"))
		for w.starts.Load() == before {
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		w.startError.Store(nil)
		w.settle(time.Minute)
		if got := w.instance(one).Status; got.VM != cluster.VMActive || got.Fault != nil {
			t.Errorf("status %v", got)
		}
	})
}

// late is a shelf that gets its image, for another instance's sake, the moment after somebody looked for it.
type late struct{ asked atomic.Int64 }

func (l *late) Base(cluster.BootImage) (string, string, bool) {
	return "/base", "qcow2", l.asked.Add(1) > 1
}

func (l *late) Prepare(context.Context, cluster.BootImage, func(string)) error { return nil }

// Two instances wait for the same image, and it comes just after the node decided that one of them has to wait for it. That one is built, too.
func TestLoop_BuildsAlthoughTheImageCameBetweenTwoLooks(t *testing.T) {
	watch(t, &late{}, func(t *testing.T, w *watched) {
		w.create(one, here)
		w.settle(10 * time.Second)
		if in := w.cloud.instance(one); in.Status.VM != cluster.VMActive {
			t.Errorf("it is %s %q", in.Status.VM, in.Status.Task)
		}
	})
}

// A second hard reboot is asked for just when the first is about to start the guest. It is started once, for both: the second does not end what has just begun.
func TestLoop_BootsOnceForAllThatWasAskedFor(t *testing.T) {
	watch(t, &shelf{}, func(t *testing.T, w *watched) {
		w.create(one, here)
		w.settle(10 * time.Second)
		began := w.starts.Load()
		reboot := func(request string) {
			w.must(&cluster.SetPower{ID: one, Request: request, Wanted: cluster.WantOn, Reboot: cluster.RebootHard})
		}
		w.mu.Lock()
		w.asked = func() { reboot("req-3") }
		w.mu.Unlock()
		reboot("req-2")
		w.settle(20 * time.Second)
		if n := w.starts.Load() - began; n != 1 {
			t.Errorf("it was started %d times", n)
		}
		if in := w.instance(one); in.Boot != 2 || in.Status.Task != cluster.TaskNone || in.Status.VM != cluster.VMActive {
			t.Errorf("boot %d is wanted, and it is %+v", in.Boot, in.Status)
		}
	})
}
