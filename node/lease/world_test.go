package lease

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/reconcile"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// A world is a log of commands, nodes with replicas of what it makes, and guests. Nodes can be cut off, their daemons can hang and their
// clocks run at other speeds. One of the nodes that are not cut off leads.
type world struct {
	t   *testing.T
	log []entry
	bug string

	mu      sync.Mutex
	nodes   []*host
	leader  *host
	warden  *Warden
	history []string
}

type entry struct{ commands []cluster.Command }

// host is one node.
type host struct {
	w     *world
	id    cluster.NodeID
	speed float64 // of its clock
	began time.Time
	sim   *sim.Driver
	board *Board

	state   *cluster.State
	index   int
	view    *cluster.View
	changed chan struct{}
	cut     bool
	hung    bool // its daemon; its watchdog is not
	last    cluster.Result
	virt    *hangable

	holder *Holder
	end    func()
}

const (
	vm    cluster.InstanceID = "11111111-1111-4111-8111-111111111111"
	image cluster.ImageID    = "33333333-3333-4333-8333-333333333333"
	disk  cluster.VolumeID   = "44444444-4444-4444-8444-444444444444"
)

// Bugs that can be planted.
const (
	bugHaste = "a new leader does not wait for what an earlier one granted"
	bugDog   = "nobody ends the guest when the daemon hangs"
	bugLate  = "nobody ends a guest whose start is carried out late"
)

// quick is a lease that makes tests short.
var quick = cluster.Lease{Stop: 4 * time.Second, Kill: 2 * time.Second, Dead: 7 * time.Second}

func newWorld(t *testing.T, count int, bug string, speeds ...float64) *world {
	w := &world{t: t, bug: bug}
	for i := range count {
		w.nodes = append(w.nodes, w.newHost(i))
	}
	w.leader = w.nodes[0]
	first := record(0)
	w.must(&cluster.InitCluster{
		Authority: cluster.Authority{ClusterID: "c1", CACert: []byte("c"), CAKey: []byte("k"), GossipKeys: [][]byte{make([]byte, 32)},
			TokenKeys: []cluster.SigningKey{{ID: "k", Seed: make([]byte, 32)}}},
		Node:    first,
		Roles:   []cluster.Role{{ID: "r1", Name: "admin", BuiltIn: true}},
		Project: cluster.Project{ID: "p1", Name: "admin"}, Admin: cluster.User{ID: "u1", Name: "admin", PasswordHash: "x"},
	})
	for i := 1; i < count; i++ {
		token := cluster.TokenID(fmt.Sprint("t", i))
		w.must(&cluster.PutJoinToken{Token: cluster.JoinToken{ID: token, Hash: cluster.Hash{1}, Uses: 1, Expires: cluster.At(time.Now().Add(time.Hour))}})
		w.must(&cluster.EnrolNode{Token: token, Secret: cluster.Hash{1}, Node: record(i)})
	}
	w.must(&cluster.PutSettings{Settings: cluster.Settings{Lease: quick}})
	boot := cluster.Volume{ID: disk, Project: "p1", User: "u1", Name: "boot", SizeGiB: 1, Type: "shared"}
	w.must(&cluster.CreateInstances{
		Request: "req-1", Project: "p1", User: "u1",
		Spec: cluster.Spec{Boot: cluster.BootSource{Volume: true}, Metadata: map[string]string{cluster.KeyHA: "true"},
			Flavor: cluster.Flavor{ID: "1", Name: "tiny", VCPUs: 1, MemoryMiB: 64}},
		Items: []cluster.NewInstance{{ID: vm, Name: "web", Hostname: "web", Node: w.nodes[0].id, Explanation: &cluster.Explanation{Node: w.nodes[0].id},
			Volumes: []cluster.NewVolume{{New: &boot, Attachment: cluster.Attachment{ID: "55555555-5555-4555-8555-555555555555", Boot: true}}}}},
	})
	v, _ := w.nodes[0].view.Volume(disk)
	w.must(&cluster.ReportVolumes{Node: v.File.Node, Volumes: []cluster.VolumeReport{{ID: disk, Generation: v.Generation, SizeGiB: 1}}})
	for i, h := range w.nodes {
		if i < len(speeds) {
			h.speed = speeds[i]
		}
		h.start()
	}
	return w
}

func record(i int) cluster.Node {
	return cluster.Node{
		ID: nodeID(i), Name: fmt.Sprint("n", i), Address: fmt.Sprint("192.0.2.", i+1), Zone: "nova", Voter: cluster.VoterAuto,
		Commands: cluster.CommandVersion,
		Capacity: cluster.Capacity{VCPUs: 64, MemoryMiB: 1 << 17, DiskGiB: 1000, VCPURatio: 4000, MemoryRatio: 1000, DiskRatio: 1000},
		Host:     cluster.HostFacts{Type: "fake", Arch: "x86_64", Ready: true, Traits: []string{cluster.TraitSharedVolumes}},
	}
}

func nodeID(i int) cluster.NodeID {
	return cluster.NodeID(fmt.Sprintf("6a3c8a52-0000-4000-8000-%012d", i))
}

func (w *world) newHost(i int) *host {
	d, err := sim.New(sim.Config{Boot: time.Second, Shutdown: time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	board, err := OpenBoard(w.t.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	state := cluster.NewState()
	return &host{w: w, id: nodeID(i), speed: 1, began: time.Now(), sim: d, virt: &hangable{Driver: d}, board: board,
		state: state, view: state.View(), changed: make(chan struct{})}
}

func (h *host) clock() time.Duration { return time.Duration(float64(time.Since(h.began)) * h.speed) }

// start runs the daemon of a host; a second one is a restart.
func (h *host) start() {
	quiet := slog.New(slog.DiscardHandler)
	holder, err := NewHolder(Config{Node: h.id, Cluster: h, Driver: daemon{h}, Board: h.board, Boot: "b", Clock: h.clock, Log: quiet})
	if err != nil {
		h.w.t.Fatal(err)
	}
	loop := reconcile.New(reconcile.Config{Node: h.id, Cluster: h, Driver: h.virt, Images: nothing{}, Volumes: nothing{}, Lease: holder, Log: quiet, Starts: 2})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { holder.Run(ctx) })
	wg.Go(func() { loop.Run(ctx) })
	h.w.mu.Lock()
	h.holder, h.end = holder, func() { cancel(); wg.Wait() }
	h.w.mu.Unlock()
}

// daemon is the driver as a Holder has it: it does nothing while the daemon hangs.
type daemon struct{ *host }

func (d daemon) Domains(ctx context.Context) ([]virt.Domain, error) {
	if d.w.hangs(d.host) {
		return nil, virt.ErrUnavailable
	}
	return d.virt.Domains(ctx)
}

func (d daemon) Stop(ctx context.Context, id cluster.InstanceID, how virt.StopMode) error {
	if d.w.hangs(d.host) {
		return virt.ErrUnavailable
	}
	return d.virt.Stop(ctx, id, how)
}

func (w *world) hangs(h *host) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return h.hung
}

// bark does what Watch does, to a simulated guest.
func (h *host) bark(ctx context.Context) {
	n, err := h.board.Read()
	if err != nil {
		return
	}
	for _, id := range n.Barred {
		if h.w.bug != bugLate && running(ctx, h.sim) {
			_ = h.sim.Stop(ctx, id, virt.Destroy)
		}
	}
	if h.clock() < n.Until+n.Grace {
		return
	}
	for _, id := range n.Instances {
		if running(ctx, h.sim) {
			_ = h.board.Fence([]cluster.InstanceID{id})
			_ = h.sim.Stop(ctx, id, virt.Destroy)
		}
	}
}

func running(ctx context.Context, d *sim.Driver) bool {
	all, err := d.Domains(ctx)
	return err == nil && len(all) == 1 && all[0].Power == virt.PowerRunning
}

// nothing is needed of images and volumes.
type nothing struct{}

func (nothing) Base(cluster.BootImage) (string, string, bool)                  { return "/base", "qcow2", true }
func (nothing) Prepare(context.Context, cluster.BootImage, func(string)) error { return nil }
func (nothing) Disks(*cluster.View, *cluster.Instance, cluster.NodeID) ([]virt.Disk, error) {
	return nil, nil
}

func (w *world) commit(c cluster.Command) (cluster.Result, error) {
	w.log = append(w.log, entry{[]cluster.Command{c}})
	for _, h := range w.nodes {
		if !h.cut && !h.hung {
			h.catchUp()
		}
	}
	res, err := w.leader.last, error(nil)
	if res.Err != nil {
		err = res.Err
	}
	return res, err
}

func (w *world) must(op cluster.Op) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.commit(cluster.Command{Time: cluster.At(time.Now()), Op: op}); err != nil {
		w.t.Fatalf("%T: %v", op, err)
	}
}

func (h *host) catchUp() {
	for ; h.index < len(h.w.log); h.index++ {
		res, err := h.state.Apply(uint64(h.index+1), h.w.log[h.index].commands)
		if err != nil {
			h.w.t.Error(err)
			return
		}
		h.last = res[0]
	}
	h.view = h.state.View()
	close(h.changed)
	h.changed = make(chan struct{})
}

var errCut = cluster.Errorf(cluster.Unavailable, "cut off")

// reachable tells whether a host gets through to a leader that has a majority.
func (h *host) reachable() bool { return !h.cut && !h.hung && !h.w.leader.cut && !h.w.leader.hung }

func (h *host) Latest() (*cluster.View, <-chan struct{}) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	return h.view, h.changed
}

func (h *host) Read(context.Context) (*cluster.View, error) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if !h.reachable() {
		return nil, errCut
	}
	h.catchUp()
	return h.view, nil
}

func (h *host) Propose(_ context.Context, c cluster.Command) (cluster.Result, error) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if !h.reachable() {
		return cluster.Result{}, errCut
	}
	return h.w.commit(c)
}

func (h *host) WaitApplied(_ context.Context, index uint64) error {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if uint64(h.index) < index {
		return errCut
	}
	return nil
}

func (h *host) RenewLease(context.Context) (cluster.Grant, error) {
	h.w.mu.Lock()
	ok, warden, view, asked := h.reachable(), h.w.warden, h.w.leader.view, time.Now()
	h.w.mu.Unlock()
	if !ok || warden == nil {
		return cluster.Grant{}, errCut
	}
	time.Sleep(50 * time.Millisecond) // a majority is asked
	h.w.mu.Lock()
	ok = h.reachable() && h.w.warden == warden
	h.w.mu.Unlock()
	if !ok {
		return cluster.Grant{}, errCut
	}
	g, err := warden.Renew(h.id, asked, view)
	return g, err
}

// reign lets hosts lead, one after the other, until ctx ends.
func (w *world) reign(ctx context.Context) {
	for term := 1; ctx.Err() == nil; term++ {
		w.mu.Lock()
		for _, h := range w.nodes {
			if !h.cut && !h.hung {
				w.leader = h
				break
			}
		}
		leader := w.leader
		w.mu.Unlock()
		id := cluster.TermID(fmt.Sprint("term-", term))
		began := time.Now()
		if _, err := leader.Propose(ctx, cluster.Command{Time: cluster.At(began), Op: &cluster.BeginTerm{Term: id, Leader: leader.id}}); err != nil {
			pause(ctx, time.Second)
			continue
		}
		warden := NewWarden(id, began, func(ctx context.Context, op cluster.Op) error {
			_, err := leader.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op})
			return err
		})
		if w.bug == bugHaste {
			warden.began = began.Add(-time.Hour)
		}
		w.mu.Lock()
		w.warden = warden
		w.mu.Unlock()
		w.term(ctx, leader, warden)
		w.mu.Lock()
		w.warden = nil
		w.mu.Unlock()
		pause(ctx, time.Second) // an election
	}
}

// term is what a leader does, until it is cut off.
func (w *world) term(ctx context.Context, leader *host, warden *Warden) {
	for ctx.Err() == nil {
		w.mu.Lock()
		over := leader.cut || leader.hung
		w.mu.Unlock()
		if over {
			return
		}
		view, changed := leader.Latest()
		warden.Attend(ctx, view, func(_ string, do func() error) { _ = do() })
		for in := range view.UnderWay() {
			if in.Op.Step == cluster.StepPlacing {
				w.place(ctx, leader, in)
			}
		}
		select {
		case <-changed:
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
		pause(ctx, 10*time.Millisecond)
	}
}

func (w *world) place(ctx context.Context, leader *host, in *cluster.Instance) {
	for _, h := range w.nodes {
		op := &cluster.PlaceMove{ID: in.ID, Operation: in.Op.ID, Node: h.id}
		if _, err := leader.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op}); err == nil {
			return
		}
	}
}

// copies counts the hosts on which the guest runs, and those that run it are named in the history.
func (w *world) copies(ctx context.Context) int {
	n := 0
	for _, h := range w.nodes {
		if running(ctx, h.sim) {
			n++
		}
	}
	return n
}

func (w *world) note(format string, args ...any) {
	w.history = append(w.history, time.Now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
}

// hurt does something to the world.
func (w *world) hurt(dice *rand.Rand) {
	h := w.nodes[dice.IntN(len(w.nodes))]
	w.mu.Lock()
	defer w.mu.Unlock()
	away := 0
	for _, other := range w.nodes {
		if other.cut || other.hung {
			away++
		}
	}
	switch {
	case h.cut:
		h.cut = false
		h.catchUp()
		w.note("%s is reached again", h.id[34:])
	case h.hung:
		h.hung = false
		h.catchUp()
		w.note("the daemon of %s goes on", h.id[34:])
	case away > 0:
	case dice.IntN(2) == 0:
		h.cut = true
		w.note("%s is cut off", h.id[34:])
	default:
		h.hung = true
		w.note("the daemon of %s hangs", h.id[34:])
	}
}

// run tells the story of one seed. It returns at how many instants the guest ran twice, and whether it runs in the end.
func run(t *testing.T, seed uint64, bug string) (twice int, runs bool) {
	synctest.Test(t, func(t *testing.T) {
		dice := rand.New(rand.NewPCG(seed, 1))
		speed := func() float64 { return 1 + (dice.Float64()-0.5)*0.04 }
		w := newWorld(t, 3, bug, speed(), speed(), speed())
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { w.reign(ctx) })
		next := time.Now().Add(15 * time.Second)
		calm := time.Now().Add(4 * time.Minute)
		for end := calm.Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			for _, h := range w.nodes {
				if bug != bugDog {
					h.bark(ctx)
				}
			}
			if n := w.copies(ctx); n > 1 {
				if twice++; twice == 1 {
					w.note("it runs %d times", n)
				}
			}
			switch {
			case time.Now().After(calm):
				w.heal()
			case time.Now().After(next):
				w.hurt(dice)
				next = time.Now().Add(time.Duration(dice.Int64N(int64(12 * time.Second))))
			}
		}
		runs = w.copies(ctx) == 1
		cancel()
		wg.Wait()
		w.close()
		if bug == "" && (twice > 0 || !runs) {
			for _, line := range w.history {
				t.Log(line)
			}
			in, _ := w.leader.view.Instance(vm)
			t.Logf("on %s epoch %d wanted %s guarded %v mode %+v status %+v op %+v", in.Node, in.Epoch, in.Wanted, in.Guarded(), in.Mode, in.Status, in.Op)
		}
	})
	return twice, runs
}

func (w *world) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.nodes {
		if h.cut || h.hung {
			h.cut, h.hung = false, false
			h.catchUp()
		}
	}
}

// close ends all daemons.
func (w *world) close() {
	for _, h := range w.nodes {
		h.end()
		h.sim.Close()
	}
}
