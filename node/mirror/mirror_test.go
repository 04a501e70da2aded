package mirror

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/virt"
)

// open starts the other node, and the daemon of the guest's. The function that it gives ends all that runs.
func (w *world) open() (end func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.receiver.Run(ctx) }()
	return func() {
		cancel()
		w.apply(&cluster.UpdateInstance{ID: vm}) // wakes whoever waits for a change
		<-done
		_ = w.guest.EndMirror(w.t.Context(), vm)
	}
}

// goOn lets time pass; the guest writes, the leader leads, and the promise is checked.
func (w *world) goOn(d time.Duration) {
	w.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		w.lead()
		w.check()
		time.Sleep(50 * time.Millisecond)
	}
}

// writes lets the guest write until the function that it gives is called.
func (w *world) writes() (end func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
				w.guest.write()
			}
		}
	}()
	return func() {
		w.guest.mu.Lock()
		w.guest.over = true
		w.guest.mu.Unlock()
		close(stop)
		<-done
	}
}

func (w *world) is(when string, want cluster.ReplicaState) {
	w.t.Helper()
	if r := w.instance().Replica; r == nil || r.State != want {
		w.t.Fatalf("%s the replica is %+v, want %s", when, r, want)
	}
}

// A guest's disk is copied to another node. The way there is cut: the guest stands still until the state says that the copy is stale, and goes
// on. Healed, it has another copy.
func TestKeeper_HoldsTheGuestUntilTheCopyIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.open()()
		defer w.daemon()()
		defer w.writes()()
		w.goOn(5 * time.Second)
		w.is("at first", cluster.ReplicaCurrent)
		w.set(&w.cut, true)
		w.goOn(3 * time.Second)
		w.is("just cut", cluster.ReplicaCurrent)
		told := w.guest.toldOf()
		w.goOn(time.Second)
		if w.guest.toldOf() != told {
			t.Error("the guest goes on before its copy is stale")
		}
		w.goOn(12 * time.Second)
		if r := w.instance().CurrentReplica(); r != nil || w.guest.toldOf() == told {
			t.Fatalf("the guest was told of %d writes, of %d then, and its copy is %+v", told, w.guest.toldOf(), r)
		}
		w.set(&w.cut, false)
		w.goOn(20 * time.Second)
		w.is("healed", cluster.ReplicaCurrent)
	})
}

// A guest is paused while its writes wait for its copy: its hypervisor hears nothing before they are answered. The copy is given up all the same,
// and then the writes are answered here, until the mirror has ended.
func TestKeeper_AHypervisorThatHearsNothingIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.open()()
		defer w.daemon()()
		defer w.writes()()
		w.goOn(5 * time.Second)
		w.is("at first", cluster.ReplicaCurrent)
		w.guest.mu.Lock()
		w.guest.deaf = true
		w.guest.mu.Unlock()
		w.set(&w.cut, true)
		w.goOn(time.Second)
		told := w.guest.toldOf()
		w.goOn(2 * time.Minute)
		if r := w.instance().CurrentReplica(); r != nil || w.guest.toldOf() == told {
			t.Fatalf("the guest was told of %d writes, of %d then, and its copy is %+v", told, w.guest.toldOf(), r)
		}
		w.set(&w.cut, false)
		w.goOn(30 * time.Second)
		w.is("healed", cluster.ReplicaCurrent)
	})
}

// A daemon ends while a copy is being filled, and its last word, that it is current, is still on its way. The next one lets the guest go on only
// after a word of its own, which that cannot come after.
func TestKeeper_TheLastWordOfAnEarlierDaemonDoesNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.open()()
		end := w.daemon()
		defer w.writes()()
		w.set(&w.mute, true)
		w.goOn(5 * time.Second)
		if s, err := w.guest.Mirrored(t.Context(), vm); err != nil || s != virt.MirrorReady {
			t.Fatalf("the mirror is %v, %v", s, err)
		}
		end()
		in := w.instance()
		w.is("unsaid", cluster.ReplicaBuilding)
		w.set(&w.cut, true)
		defer w.daemon()()
		w.goOn(5 * time.Second)
		w.apply(&cluster.ReportReplica{Node: here, ID: vm, Epoch: in.Epoch, Replica: in.Replica.Epoch, State: cluster.ReplicaCurrent})
		w.goOn(5 * time.Second)
		w.set(&w.mute, false)
		w.goOn(10 * time.Second)
		w.set(&w.cut, false)
		w.goOn(30 * time.Second)
		w.is("in the end", cluster.ReplicaCurrent)
	})
}

// The node of the guest is cut off from all others. It cannot say that the copy is stale, so the guest stands still for good.
func TestKeeper_WithoutAQuorumTheGuestStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.open()()
		defer w.daemon()()
		defer w.writes()()
		w.goOn(5 * time.Second)
		w.is("at first", cluster.ReplicaCurrent)
		w.set(&w.noQuorum, true)
		w.set(&w.cut, true)
		w.goOn(time.Second)
		told := w.guest.toldOf()
		w.goOn(5 * time.Minute)
		if w.guest.toldOf() != told {
			t.Errorf("the guest was told of %d writes, of %d when it was cut off", w.guest.toldOf(), told)
		}
		// It is given up: also when its node is back, the guest is not let go on there.
		w.must(&cluster.BeginMove{ID: vm, Operation: "o1", What: cluster.OpEvacuate, By: cluster.By{Request: "req-2", User: "u1", Project: "p1"}})
		w.set(&w.noQuorum, false)
		for range 60 {
			w.check()
			time.Sleep(time.Second)
		}
		if w.guest.toldOf() != told {
			t.Error("the guest goes on, though its node was given up")
		}
		w.guest.EndMirror(t.Context(), vm) // its node ends it
	})
}

// A guest that was off is started. Its copy does not count any more before that, and without a quorum it is not started.
func TestKeeper_AStartMakesTheCopyStaleFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.open()()
		end := w.daemon()
		w.goOn(5 * time.Second)
		w.is("at first", cluster.ReplicaCurrent)
		k := NewKeeper(KeeperConfig{Node: here, Cluster: w, Driver: w.guest, Log: quiet})
		w.set(&w.noQuorum, true)
		if err := k.BeforeStart(t.Context(), w.instance()); err == nil {
			t.Error("without a quorum it may start")
		}
		w.set(&w.noQuorum, false)
		for range 2 {
			if err := k.BeforeStart(t.Context(), w.instance()); err != nil {
				t.Error(err)
			}
			w.is("before a start", cluster.ReplicaStale)
		}
		end()
	})
}

// Only the node that the instance is on may write its copy, and only the copy that the state names.
func TestReceiver_TakesWhatTheStateNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.open()()
		w.lead()
		r := w.instance().Replica
		for name, c := range map[string]peer.Copy{
			"another node":     {Instance: vm, Epoch: r.Epoch, Asker: there, Anew: true},
			"nobody":           {Instance: vm, Epoch: r.Epoch, Anew: true},
			"another replica":  {Instance: vm, Epoch: r.Epoch + 1, Asker: here, Anew: true},
			"another instance": {Instance: "x", Epoch: r.Epoch, Asker: here, Anew: true},
			"what is not made": {Instance: vm, Epoch: r.Epoch, Asker: here},
		} {
			if _, err := w.receiver.Take(t.Context(), c); err == nil {
				t.Errorf("%s is let in", name)
			}
		}
		c := peer.Copy{Instance: vm, Epoch: r.Epoch, Asker: here, Anew: true}
		first, err := w.receiver.Take(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		c.Anew = false
		if _, err := w.receiver.Take(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if _, err := first.Write([]byte("x")); err == nil {
			t.Error("two write to one copy")
		}
		w.must(&cluster.ReportReplica{Node: here, ID: vm, Epoch: 1, Replica: r.Epoch, State: cluster.ReplicaCurrent})
		c.Anew = true
		if _, err := w.receiver.Take(t.Context(), c); cluster.CodeOf(err) != cluster.Stale {
			t.Errorf("a current copy is made anew: %v", err)
		}
	})
}

// Whatever is cut, out of reach or ended, in whatever order: at every instant a current copy has every write that the guest was told of. When all
// is well again, there is a current one.
func TestMirror_ACurrentCopyLacksNothing(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dice := rand.New(rand.NewPCG(seed, 7))
				w := newWorld(t)
				defer w.open()()
				end := w.daemon()
				defer w.writes()()
				for range 30 {
					switch dice.IntN(4) {
					case 0:
						w.set(&w.cut, dice.IntN(2) == 0)
					case 1:
						w.set(&w.noQuorum, dice.IntN(2) == 0)
					case 2:
						end()
						w.goOn(time.Duration(dice.IntN(8000)) * time.Millisecond)
						end = w.daemon()
					}
					w.goOn(time.Duration(dice.IntN(8000)) * time.Millisecond)
				}
				w.set(&w.cut, false)
				w.set(&w.noQuorum, false)
				w.goOn(time.Minute)
				w.is("at the end", cluster.ReplicaCurrent)
				end()
			})
		})
	}
}
