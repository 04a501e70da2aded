package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	here  cluster.NodeID     = "6a3c8a52-0000-4000-8000-000000000001"
	there cluster.NodeID     = "6a3c8a52-0000-4000-8000-000000000002"
	one   cluster.InstanceID = "11111111-1111-4111-8111-111111111111"
	two   cluster.InstanceID = "22222222-2222-4222-8222-222222222222"
)

// cloud is the replicated state of a test: one replica, in memory.
type cloud struct {
	t        *testing.T
	mu       sync.Mutex
	state    *cluster.State
	index    uint64
	view     *cluster.View
	changed  chan struct{}
	noQuorum bool
	reports  int
	asked    func() // is called once, when somebody reads next
}

func newCloud(t *testing.T) *cloud {
	c := &cloud{t: t, state: cluster.NewState(), changed: make(chan struct{})}
	node := func(id cluster.NodeID, name, address string) cluster.Node {
		return cluster.Node{
			ID: id, Name: name, Address: address, Zone: "nova", Voter: cluster.VoterAuto, Commands: cluster.CommandVersion,
			Capacity: cluster.Capacity{VCPUs: 64, MemoryMiB: 1 << 17, DiskGiB: 1000, VCPURatio: 4000, MemoryRatio: 1000, DiskRatio: 1000},
			Host:     cluster.HostFacts{Type: "fake", Arch: "x86_64", Ready: true}, Bridges: map[string]string{"lan": "br0"},
		}
	}
	c.must(&cluster.InitCluster{
		Authority: cluster.Authority{ClusterID: "c1", CACert: []byte("c"), CAKey: []byte("k"), GossipKeys: [][]byte{make([]byte, 32)},
			TokenKeys: []cluster.SigningKey{{ID: "k", Seed: make([]byte, 32)}}},
		Node:    node(here, "n1", "192.0.2.1"),
		Roles:   []cluster.Role{{ID: "r1", Name: "admin", BuiltIn: true}, {ID: "r2", Name: "member", BuiltIn: true}, {ID: "r3", Name: "reader", BuiltIn: true}},
		Project: cluster.Project{ID: "p1", Name: "admin"}, Admin: cluster.User{ID: "u1", Name: "admin", PasswordHash: "x"},
	})
	second := cluster.JoinToken{ID: "t1", Hash: cluster.Hash{1}, Uses: 1, Expires: cluster.At(time.Now().Add(time.Hour))}
	c.must(&cluster.PutJoinToken{Token: second})
	c.must(&cluster.EnrolNode{Token: "t1", Secret: cluster.Hash{1}, Node: node(there, "n2", "192.0.2.2")})
	c.must(&cluster.PutImage{Image: cluster.Image{ID: "33333333-3333-4333-8333-333333333333", Owner: "p1", Name: "tiny", Status: cluster.ImageActive,
		Visibility: cluster.Public, Format: cluster.ImageFormat{Disk: "qcow2", Container: "bare"},
		Data: &cluster.ImageData{Root: cluster.Hash{9}, Size: 1, MD5: strings.Repeat("0", 32), SHA512: strings.Repeat("0", 128), Nodes: []cluster.NodeID{here}}}})
	return c
}

func (c *cloud) Latest() (*cluster.View, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view, c.changed
}

func (c *cloud) Read(context.Context) (*cluster.View, error) {
	c.mu.Lock()
	asked := c.asked
	c.asked = nil
	c.mu.Unlock()
	if asked != nil {
		asked()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noQuorum {
		return nil, cluster.Errorf(cluster.Unavailable, "no quorum")
	}
	return c.view, nil
}

func (c *cloud) Propose(_ context.Context, cmd cluster.Command) (cluster.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noQuorum {
		return cluster.Result{}, cluster.Errorf(cluster.Unavailable, "no quorum")
	}
	c.index++
	c.reports++
	res, err := c.state.Apply(c.index, []cluster.Command{cmd})
	if err != nil {
		c.t.Error(err)
		return cluster.Result{}, err
	}
	c.view = c.state.View()
	close(c.changed)
	c.changed = make(chan struct{})
	if res[0].Err != nil {
		return res[0], res[0].Err
	}
	return res[0], nil
}

func (c *cloud) must(op cluster.Op) {
	c.t.Helper()
	if _, err := c.Propose(c.t.Context(), cluster.Command{Time: cluster.At(time.Now()), Op: op}); err != nil {
		c.t.Fatalf("%T: %v", op, err)
	}
}

func (c *cloud) create(id cluster.InstanceID, on cluster.NodeID) {
	c.t.Helper()
	c.must(&cluster.CreateInstances{
		Request: "req-1", Project: "p1", User: "u1",
		Spec: cluster.Spec{Image: "33333333-3333-4333-8333-333333333333",
			Flavor: cluster.Flavor{ID: "1", Name: "tiny", VCPUs: 1, MemoryMiB: 64, DiskGiB: 1}},
		Items: []cluster.NewInstance{{ID: id, Name: "web", Hostname: "web", Node: on, Explanation: &cluster.Explanation{Node: on}}},
	})
}

func (c *cloud) instance(id cluster.InstanceID) *cluster.Instance {
	v, _ := c.Latest()
	in, ok := v.Instance(id)
	if !ok {
		return &cluster.Instance{}
	}
	return in
}

// shelf has every image, or none.
type shelf struct {
	mu      sync.Mutex
	empty   bool
	fetches int
}

func (s *shelf) Base(cluster.BootImage) (string, string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return "/base", "qcow2", !s.empty
}

func (s *shelf) Prepare(_ context.Context, _ cluster.BootImage, progress func(string)) error {
	progress("fetching image: 0 %")
	time.Sleep(time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetches++
	s.empty = false
	return nil
}

// world is a node under test.
type world struct {
	*cloud
	sim    *sim.Driver
	images *shelf
	lease  Lease // nil: nothing needs one
	deaf   bool  // every event is lost
	loop   *Loop
	stop   func()
	boots  []string
}

func newWorld(t *testing.T) *world {
	d, err := sim.New(sim.Config{Boot: time.Second, Shutdown: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{cloud: newCloud(t), sim: d, images: &shelf{}}
	t.Cleanup(func() { w.stop(); d.Close() })
	w.start("boot-1", "boot-1")
	return w
}

// silent is a hypervisor whose events are lost.
type silent struct{ *sim.Driver }

func (silent) Events() <-chan virt.Event { return nil }

// start runs a daemon; a second one is a restart of it.
func (w *world) start(boot, last string) {
	driver := virt.Driver(w.sim)
	if w.deaf {
		driver = silent{w.sim}
	}
	w.loop = New(Config{Lease: w.lease, Node: here, Cluster: w.cloud, Driver: driver, Images: w.images, Log: slog.New(slog.DiscardHandler), Starts: 2,
		Incarnation: boot, LastKnown: last, Settled: func() { w.boots = append(w.boots, boot) }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.loop.Run(ctx) }()
	w.stop = func() { cancel(); <-done }
}

// settle lets the node work until nothing happens any more, for at most d of virtual time.
func (w *world) settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) power(id cluster.InstanceID) virt.Power {
	w.t.Helper()
	domains, err := w.sim.Domains(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range domains {
		if d.ID == id {
			return d.Power
		}
	}
	return virt.PowerUnknown
}

// in runs a story in virtual time.
func in(t *testing.T, story func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { story(t, newWorld(t)) })
}

// An instance is created, started, stopped, started again, rebooted both ways, and deleted. Each time the node has to
// follow and say so.
func TestLoop_FollowsAnInstanceThroughItsLife(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		expect := func(when string, vm cluster.VMState, p virt.Power) {
			t.Helper()
			if got := w.instance(one); got.Status.VM != vm || got.Status.Task != cluster.TaskNone || w.power(one) != p {
				t.Fatalf("%s: %s/%s, domain %v; want %s, domain %v", when, got.Status.VM, got.Status.Task, w.power(one), vm, p)
			}
		}
		w.create(one, here)
		w.settle(5 * time.Second)
		expect("created", cluster.VMActive, virt.PowerRunning)
		w.must(&cluster.SetPower{ID: one, Request: "req-2", Wanted: cluster.WantOff})
		w.settle(30 * time.Second)
		expect("stopped", cluster.VMStopped, virt.PowerOff)
		w.must(&cluster.SetPower{ID: one, Request: "req-3", Wanted: cluster.WantOn})
		w.settle(30 * time.Second)
		expect("started", cluster.VMActive, virt.PowerRunning)
		for _, how := range []string{cluster.RebootHard, cluster.RebootSoft} {
			w.must(&cluster.SetPower{ID: one, Request: "req-4", Wanted: cluster.WantOn, Reboot: how})
			w.settle(30 * time.Second)
			expect("rebooted "+how, cluster.VMActive, virt.PowerRunning)
		}
		w.must(&cluster.DeleteInstance{ID: one, Request: "req-5"})
		w.settle(30 * time.Second)
		if _, ok := w.cloud.view.Instance(one); ok || w.power(one) != virt.PowerUnknown {
			t.Fatal("the deleted instance is still there")
		}
		for range w.cloud.view.TombstonesOn(here) {
			t.Fatal("a tombstone was not settled")
		}
	})
}

// A guest that ignores the power button is given its time, and then its power is cut.
func TestLoop_CutsThePowerOfADeafGuest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := sim.New(sim.Config{Shutdown: -1})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{cloud: newCloud(t), sim: d, images: &shelf{}}
		w.start("b", "b")
		defer func() { w.stop(); d.Close() }()
		w.create(one, here)
		w.settle(5 * time.Second)
		w.must(&cluster.SetPower{ID: one, Request: "req-2", Wanted: cluster.WantOff})
		w.settle(shutdownGrace / 2)
		if w.power(one) != virt.PowerRunning {
			t.Fatal("the power was cut before its time")
		}
		w.settle(shutdownGrace)
		if w.power(one) != virt.PowerOff || w.instance(one).Status.VM != cluster.VMStopped {
			t.Fatalf("the deaf guest still runs: %v, %v", w.power(one), w.instance(one).Status)
		}
	})
}

// The daemon dies and comes back while its guests run on, one of them deleted and one moved meanwhile. It must keep what is
// its own, without a restart, and remove the rest.
func TestLoop_AdoptsWhatItFindsAfterARestart(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.create(one, here)
		w.create(two, here)
		w.settle(5 * time.Second)
		w.stop()
		w.must(&cluster.DeleteInstance{ID: two, Request: "req-2"})
		w.sim.SetFault(sim.OpStart, sim.Fault{FailRate: 1}) // any start would be one too many
		w.start("boot-1", "boot-1")
		w.settle(30 * time.Second)
		if w.power(one) != virt.PowerRunning || w.instance(one).Status.VM != cluster.VMActive {
			t.Errorf("the running guest was not adopted: %v %v", w.power(one), w.instance(one).Status)
		}
		if w.power(two) != virt.PowerUnknown {
			t.Error("the instance that was deleted meanwhile is still there")
		}
	})
}

// The host loses its power. What should run has to be started again; what its guest had powered off by itself stays off.
func TestLoop_ResumesAfterAHostReboot(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.create(one, here)
		w.create(two, here)
		w.settle(5 * time.Second)
		if err := w.sim.PowerOffGuest(two); err != nil {
			t.Fatal(err)
		}
		w.settle(20 * time.Second)
		if got := w.instance(two); got.Status.VM != cluster.VMStopped || got.Wanted != cluster.WantOff {
			t.Fatalf("a guest that powered itself off is %v, wanted %s", got.Status, got.Wanted)
		}
		w.stop()
		if err := w.sim.PowerCut(); err != nil {
			t.Fatal(err)
		}
		w.start("boot-2", "boot-1")
		w.settle(20 * time.Second)
		if w.power(one) != virt.PowerRunning {
			t.Error("what ran before the host's reboot was not started again")
		}
		if w.power(two) != virt.PowerOff {
			t.Error("what was off before the host's reboot was started")
		}
		if !slices.Contains(w.boots, "boot-2") {
			t.Error("the reboot was never settled")
		}
	})
}

// A node without a quorum behind it must start nothing, whatever its own picture says. When the quorum is back, it goes on.
func TestLoop_StartsNothingWithoutAQuorum(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.settle(time.Second)
		w.create(one, here)
		w.cloud.mu.Lock()
		w.cloud.noQuorum = true
		w.cloud.mu.Unlock()
		w.settle(time.Minute)
		if w.power(one) != virt.PowerUnknown {
			t.Fatal("an instance was built without a quorum")
		}
		w.cloud.mu.Lock()
		w.cloud.noQuorum = false
		w.cloud.mu.Unlock()
		w.settle(time.Minute)
		if w.power(one) != virt.PowerRunning || w.instance(one).Status.VM != cluster.VMActive {
			t.Fatalf("with the quorum back: %v, %v", w.power(one), w.instance(one).Status)
		}
	})
}

// Domains that nothing committed explains are named and left alone.
func TestLoop_QuarantinesTheUnknown(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		foreign := []virt.Domain{
			{ID: one, Name: "by hand", Power: virt.PowerRunning},
			{ID: two, Name: "of another cluster", Power: virt.PowerRunning, Stamp: virt.Stamp{Cluster: "c2", Instance: two, Epoch: 1}},
		}
		for _, d := range foreign {
			if err := w.sim.Plant(d); err != nil {
				t.Fatal(err)
			}
		}
		w.settle(30 * time.Second)
		if w.power(one) != virt.PowerRunning || w.power(two) != virt.PowerRunning {
			t.Error("an unknown domain was touched")
		}
		if q := w.loop.Quarantined(); len(q) != 2 {
			t.Errorf("quarantined: %q", q)
		}
	})
}

// Slow, failing and lying hypervisors: what is retried, and what the user hears of.
func TestLoop_TroubleWithTheHypervisor(t *testing.T) {
	t.Run("a start that fails for good puts the instance in error, with the reason", func(t *testing.T) {
		in(t, func(t *testing.T, w *world) {
			w.sim.SetFault(sim.OpStart, sim.Fault{FailRate: 1})
			w.create(one, here)
			w.settle(time.Minute)
			got := w.instance(one)
			if got.Status.VM != cluster.VMError || got.Status.Fault == nil || got.Status.Fault.Details == "" {
				t.Fatalf("status %v", got.Status)
			}
		})
	})
	t.Run("a start that fails once is tried again", func(t *testing.T) {
		in(t, func(t *testing.T, w *world) {
			w.sim.SetFault(sim.OpStart, sim.Fault{Fail: 1})
			w.create(one, here)
			w.settle(time.Minute)
			if got := w.instance(one); got.Status.VM != cluster.VMActive {
				t.Fatalf("status %v", got.Status)
			}
		})
	})
	t.Run("a start whose answer is lost is not done twice", func(t *testing.T) {
		in(t, func(t *testing.T, w *world) {
			w.sim.SetFault(sim.OpStart, sim.Fault{Lose: 1})
			w.create(one, here)
			w.settle(time.Minute)
			if got := w.instance(one); got.Status.VM != cluster.VMActive || w.power(one) != virt.PowerRunning {
				t.Fatalf("status %v", got.Status)
			}
		})
	})
	t.Run("a hypervisor that is down says nothing about the instance", func(t *testing.T) {
		in(t, func(t *testing.T, w *world) {
			w.settle(time.Second)
			w.sim.SetDown(true)
			w.create(one, here)
			w.settle(5 * time.Minute)
			if got := w.instance(one); got.Status.VM != cluster.VMBuilding {
				t.Fatalf("while it is down: %v", got.Status)
			}
			w.sim.SetDown(false)
			w.settle(time.Minute)
			if got := w.instance(one); got.Status.VM != cluster.VMActive {
				t.Fatalf("when it is back: %v", got.Status)
			}
		})
	})
	t.Run("one instance that hangs does not hold up another", func(t *testing.T) {
		in(t, func(t *testing.T, w *world) {
			w.sim.SetFault(sim.OpStart, sim.Fault{Hang: true})
			w.create(one, here)
			w.settle(time.Second)
			w.sim.SetFault(sim.OpStart, sim.Fault{})
			w.create(two, here)
			w.settle(5 * time.Second)
			if got := w.instance(two); got.Status.VM != cluster.VMActive {
				t.Fatalf("status %v", got.Status)
			}
			w.settle(2 * startTimeout)
			if got := w.instance(one); got.Status.VM != cluster.VMActive {
				t.Fatalf("the one that hung: %v", got.Status)
			}
		})
	})
}

// The image is elsewhere: the node fetches it before it builds anything, and the user can see that it does.
func TestLoop_FetchesTheImageFirst(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.images.empty = true
		w.create(one, here)
		w.settle(500 * time.Millisecond)
		if note := w.instance(one).Status.Note; !strings.Contains(note, "fetching") {
			t.Errorf("the note says %q", note)
		}
		w.settle(10 * time.Second)
		if got := w.instance(one); got.Status.VM != cluster.VMActive || w.images.fetches != 1 {
			t.Fatalf("status %v after %d fetches", got.Status, w.images.fetches)
		}
	})
}

// When all is as it should be, the node must be silent: reports cost a log entry each.
func TestLoop_SaysNothingWhenNothingChanges(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.create(one, here)
		w.settle(10 * time.Second)
		before := w.reports
		w.settle(10 * time.Minute)
		if w.reports != before {
			t.Errorf("%d reports about nothing", w.reports-before)
		}
	})
}

// Many instances at once: every one runs in the end, in few reports.
func TestLoop_StartsManyAtOnce(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.must(&cluster.PutQuota{Quota: cluster.Quota{Project: "p1", Limits: map[cluster.QuotaName]int64{
			cluster.QuotaInstances: -1, cluster.QuotaCores: -1, cluster.QuotaRAM: -1}}})
		w.sim.SetFault(sim.OpStart, sim.Fault{Slow: 50 * time.Millisecond})
		for i := range 200 {
			w.create(cluster.InstanceID(fmt.Sprintf("11111111-1111-4111-8111-%012d", i)), here)
		}
		w.settle(time.Minute)
		v, _ := w.Latest()
		for i := range v.Instances() {
			if i.Status.VM != cluster.VMActive {
				t.Fatalf("%s is %v", i.ID, i.Status)
			}
		}
	})
}

// The console of a guest is readable through the same driver the loop uses; this keeps the world honest.
func TestWorld_GuestsReallyBoot(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.create(one, here)
		w.settle(5 * time.Second)
		r, err := w.sim.Console(t.Context(), one)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || len(b) == 0 {
			t.Fatalf("console %q, %v", b, err)
		}
	})
}
