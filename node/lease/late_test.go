package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// hangable is a simulated hypervisor that hangs from the next start on: it answers nobody until it is let go, and carries the start out when it
// is told to.
type hangable struct {
	*sim.Driver

	mu      sync.Mutex
	trap    bool // it will hang
	hung    bool
	pending cluster.InstanceID // the start that it was told to make; "": none
}

func (d *hangable) Start(ctx context.Context, id cluster.InstanceID) error {
	d.mu.Lock()
	if d.trap {
		d.trap, d.hung, d.pending = false, true, id
	}
	hung := d.hung
	d.mu.Unlock()
	if !hung {
		return d.Driver.Start(ctx, id)
	}
	<-ctx.Done()
	return errors.Join(virt.ErrUnavailable, ctx.Err())
}

func (d *hangable) away() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hung {
		return virt.ErrUnavailable
	}
	return nil
}

func (d *hangable) Domains(ctx context.Context) ([]virt.Domain, error) {
	if err := d.away(); err != nil {
		return nil, err
	}
	return d.Driver.Domains(ctx)
}

func (d *hangable) Build(ctx context.Context, g virt.Guest) error {
	return errors.Join(d.away(), d.unless(func() error { return d.Driver.Build(ctx, g) }))
}

func (d *hangable) Stop(ctx context.Context, id cluster.InstanceID, how virt.StopMode) error {
	return errors.Join(d.away(), d.unless(func() error { return d.Driver.Stop(ctx, id, how) }))
}

func (d *hangable) Remove(ctx context.Context, id cluster.InstanceID) error {
	return errors.Join(d.away(), d.unless(func() error { return d.Driver.Remove(ctx, id) }))
}

// unless does something unless the hypervisor hangs.
func (d *hangable) unless(do func() error) error {
	if d.away() != nil {
		return nil
	}
	return do()
}

// set changes it under its lock.
func (d *hangable) set(change func(d *hangable)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// carryOut makes the start that is pending, and tells whether there was one.
func (d *hangable) carryOut(ctx context.Context) bool {
	d.mu.Lock()
	id := d.pending
	d.pending = ""
	d.mu.Unlock()
	return id != "" && d.Driver.Start(ctx, id) == nil
}

// await lets time pass, with watchdogs that look, until something is so. It counts the instants at which the guest ran twice.
func (w *world) await(ctx context.Context, what string, limit time.Duration, so func() bool) (twice int) {
	w.t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		for _, h := range w.nodes {
			h.bark(ctx)
		}
		if w.copies(ctx) > 1 {
			twice++
		}
		if so() {
			return twice
		}
		if time.Now().After(end) {
			w.t.Fatalf("after %v it is not so: %s", limit, what)
		}
	}
}

// late tells the story of a start that comes late, and returns at how many instants the guest ran twice.
func late(t *testing.T, bug string, restart bool) (twice int) {
	w := newWorld(t, 3, bug)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { w.reign(ctx) })
	defer func() { cancel(); wg.Wait(); w.close() }()
	first := w.nodes[0]
	instance := func() *cluster.Instance {
		view, _ := first.Latest()
		in, _ := view.Instance(vm)
		return in
	}
	await := func(what string, limit time.Duration, so func() bool) { twice += w.await(ctx, what, limit, so) }
	await("the guest runs and is guarded", time.Minute, func() bool {
		return running(ctx, first.sim) && instance().Guarded() && instance().Status.VM == cluster.VMActive
	})
	first.virt.set(func(d *hangable) { d.trap = true })
	w.must(&cluster.SetPower{ID: vm, Request: "req-2", User: "u1", Project: "p1", Wanted: cluster.WantOn, Reboot: "HARD"})
	await("its start is ordered", time.Minute, func() bool { return first.virt.away() != nil })
	w.mu.Lock()
	first.cut = true
	w.mu.Unlock()
	await("it runs elsewhere", time.Minute, func() bool { return running(ctx, w.nodes[1].sim) || running(ctx, w.nodes[2].sim) })
	if restart {
		first.end()
		first.start()
	}
	w.mu.Lock()
	first.cut = false
	first.catchUp()
	w.mu.Unlock()
	await("the node has its lease back", time.Minute, first.holder.Held)
	first.virt.carryOut(ctx)
	quiet := time.Now().Add(5 * time.Second)
	await("a while is over", time.Minute, func() bool { return time.Now().After(quiet) })
	if first.holder.MayArrive(vm) == nil {
		t.Error("a guest may arrive while the start is in doubt")
	}
	first.virt.set(func(d *hangable) { d.hung = false })
	await("the start is in doubt no longer", 5*time.Minute, func() bool { return first.holder.MayArrive(vm) == nil })
	await("the board says so, too", time.Minute, func() bool {
		n, err := first.board.Read()
		return err == nil && len(n.Orders)+len(n.Barred) == 0
	})
	for _, h := range w.nodes[1:] { // whoever has it loses it
		if running(ctx, h.sim) {
			w.mu.Lock()
			h.cut = true
			w.mu.Unlock()
		}
	}
	await("it is back and runs", time.Minute, func() bool { return running(ctx, first.sim) })
	back := time.Now().Add(10 * time.Second)
	await("a while is over", time.Minute, func() bool { return time.Now().After(back) })
	if !running(ctx, first.sim) {
		t.Error("it was ended although it is this node's again")
	}
	return twice
}

// libvirt hangs with the start of a guest. Its node is cut off meanwhile, the guest is started elsewhere, and the node gets its lease back. Then libvirt makes the
// start after all. The guest is ended before anybody sees it twice, by a daemon that was killed meanwhile, too; and when the instance comes back, it runs.
func TestHolder_ALateStartIsEndedAtOnce(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted=%t", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if twice := late(t, "", restart); twice > 0 {
					t.Errorf("it ran twice at %d instants", twice)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		if late(t, bugLate, false) == 0 {
			t.Errorf("nobody noticed that %s", bugLate)
		}
	})
}

// orders is a node whose starts are ordered and answered, or not, while its instance comes and goes.
type orders struct {
	*testing.T
	w      *world
	h      *host
	holder *Holder
	answer []func(error)
	runs   bool // a guest runs here that was started in the state's name, or arrives in it
}

// do lets one thing happen, drawn by the dice.
func (o *orders) do(dice *rand.Rand) {
	view, _ := o.h.Latest()
	ours := o.holder.owns(view, vm)
	switch dice.IntN(7) {
	case 0:
		if answered, err := o.holder.Ordering(vm); err == nil {
			if !ours {
				o.Error("a start was let through that is not this node's")
			}
			o.answer, o.runs = append(o.answer, answered), true
		} else if ours && o.holder.Held() {
			o.Errorf("a start was not let through: %v", err)
		}
	case 1, 2:
		if len(o.answer) > 0 {
			o.answer[0]([]error{nil, virt.ErrUnavailable, errors.New("no such machine type")}[dice.IntN(3)])
			o.answer = o.answer[1:]
		}
	case 3: // it goes, or comes back
		to := nodeID(1)
		if !ours {
			to = nodeID(0)
		} else {
			o.runs = false
		}
		o.w.transfer(to)
	case 4:
		if !ours && o.holder.MayArrive(vm) == nil {
			o.runs = true
			o.w.transfer(nodeID(0))
		}
	case 5: // the daemon is killed
		o.open()
	case 6:
		o.h.virt.set(func(d *hangable) { d.hung = !d.hung })
	}
	time.Sleep(time.Duration(dice.Int64N(int64(40 * time.Second))))
	if err := o.holder.review(o.Context()); err != nil && o.h.virt.away() == nil {
		o.Error(err)
	}
	if err := o.holder.ask(o.Context(), time.Minute); err != nil {
		o.Fatal(err)
	}
}

func (o *orders) open() {
	holder, err := NewHolder(Config{Node: o.h.id, Cluster: granted{o.h}, Driver: o.h.virt, Board: o.h.board, Boot: "b", Clock: o.h.clock, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		o.Fatal(err)
	}
	o.holder, o.answer = holder, nil
	if err := holder.ask(o.Context(), time.Minute); err != nil {
		o.Fatal(err)
	}
}

// granted is a cluster whose leader grants what it is asked.
type granted struct{ *host }

func (g granted) RenewLease(context.Context) (cluster.Grant, error) {
	view, _ := g.Latest()
	return cluster.Grant{Index: view.Index(), Stop: time.Hour, Kill: quick.Kill}, nil
}

// transfer commits that the guest is another node's: an operator says that its own is dead.
func (w *world) transfer(to cluster.NodeID) {
	w.t.Helper()
	view, _ := w.leader.Latest()
	in, _ := view.Instance(vm)
	w.must(&cluster.GuardInstances{Node: in.Node, Guards: []cluster.Guard{{ID: vm, Epoch: in.Epoch}}})
	w.must(&cluster.LoseNode{Node: in.Node, By: cluster.By{Request: "req-lose", User: "u1", Project: "p1"}})
	view, _ = w.leader.Latest()
	lost, _ := view.Node(in.Node)
	in, _ = view.Instance(vm)
	w.must(&cluster.PlaceMove{ID: vm, Operation: in.Op.ID, Node: to})
	w.must(&cluster.ReturnNode{Node: lost.ID, Lost: lost.Lost.At})
	view, _ = w.leader.Latest()
	in, _ = view.Instance(vm)
	if tomb, ok := view.Tombstone(lost.ID, vm); ok {
		w.must(&cluster.ReportInstances{Node: lost.ID, Reports: []cluster.InstanceReport{{ID: vm, Epoch: tomb.Epoch, Gone: true}}})
	}
	w.must(&cluster.ReportInstances{Node: to, Reports: []cluster.InstanceReport{
		{ID: vm, Generation: in.Generation, Epoch: in.Epoch, Power: cluster.PowerRunning, Boot: in.Boot}}})
}

// Starts are ordered, answered, lost and carried out late, the instance goes and comes, the daemon is killed. Whatever the order: a guest that is this node's, by a start
// that was let through or because it arrived, is never barred; and one whose start is in doubt and that is somebody else's always is.
func TestHolder_BarsWhatIsNotItsOwnAndNothingElse(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			dice := rand.New(rand.NewPCG(seed, 2))
			w := newWorld(t, 2, "")
			w.close()
			h := w.nodes[0]
			d, err := sim.New(sim.Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			h.virt = &hangable{Driver: d}
			o := &orders{T: t, w: w, h: h}
			o.open()
			for step := range 60 {
				o.do(dice)
				n, err := h.board.Read()
				if err != nil {
					t.Fatal(err)
				}
				view, _ := h.Latest()
				barred, doubt := slices.Contains(n.Barred, vm), o.holder.MayArrive(vm) != nil
				if o.runs && barred {
					t.Fatalf("seed %d step %d: it is this node's, and barred", seed, step)
				}
				if doubt && !o.holder.owns(view, vm) && !barred {
					t.Fatalf("seed %d step %d: its start is in doubt, it is not this node's, and not barred", seed, step)
				}
			}
		})
	}
}

// A daemon that is started anew has an old state at first, in which the instance is still on its way here. Its guest runs, and is not ended for that.
func TestHolder_AnOldStateBarsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, "")
		defer w.close()
		view, _ := w.nodes[1].Latest() // in which it is the other node's
		h := &Holder{Config: Config{Node: nodeID(1)}}
		if !h.barred(view, vm, &order{index: view.Index()}) {
			t.Fatal("what is another node's is not barred")
		}
		if h.barred(view, vm, &order{index: view.Index() + 1}) {
			t.Error("it is barred by a state that is older than its start")
		}
	})
}

// A guest whose start was carried out late is killed as soon as the watchdog sees it, although the lease holds, and is not taken for one that is to be started again.
func TestWatch_KillsWhatIsBarred(t *testing.T) {
	b, err := OpenBoard(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const mine = "22222222-2222-4222-8222-222222222222"
	held := BootTime() + time.Hour
	if err := b.Post(Notice{Until: held, Barred: []cluster.InstanceID{vm}, Instances: []cluster.InstanceID{mine}}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- Watch(context.Background(), b, "/proc", BootTime, slog.New(slog.DiscardHandler)) }()
	guarded, late := sleeper(t, "qemu-system-x86_64", mine), sleeper(t, "qemu-system-x86_64", vm)
	<-late
	select {
	case <-guarded:
		t.Error("a guest was killed that is this node's, under a lease")
	default:
	}
	if ids, err := b.Fenced(); err != nil || len(ids) > 0 {
		t.Errorf("fenced: %v, %v", ids, err)
	}
	if err := b.Post(Notice{Until: held}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}
