package admission

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// small is a Control whose every class has the same limits.
func small(l Limits) *Control {
	var all [classes]Limits
	for i := range all {
		all[i] = l
	}
	return New(all)
}

func must(t *testing.T, c *Control, who Guest) *Seat {
	t.Helper()
	s, err := c.Enter(t.Context(), Read, who)
	if err != nil {
		t.Fatalf("%+v was sent away: %v", who, err)
	}
	return s
}

func (c *Control) of(class Class) Stats { return c.Stats()[class] }

// load offers requests at a steady rate for a while, each of which takes service once it is let in, and tells how the accepted fared.
func load(c *Control, who Guest, every, during time.Duration, service func() time.Duration) (accepted, refused int64, slowest time.Duration) {
	var ok, away atomic.Int64
	var longest atomic.Int64
	var wg sync.WaitGroup
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(every) {
		wg.Go(func() {
			start := time.Now()
			s, err := c.Enter(context.Background(), Read, who)
			if err != nil {
				away.Add(1)
				return
			}
			time.Sleep(service())
			s.Leave()
			ok.Add(1)
			for took := int64(time.Since(start)); ; {
				if old := longest.Load(); old >= took || longest.CompareAndSwap(old, took) {
					break
				}
			}
		})
	}
	wg.Wait()
	return ok.Load(), away.Load(), time.Duration(longest.Load())
}

// A node that can serve a hundred requests a second is offered twice as many for a minute. It goes on serving a hundred a
// second, everybody is answered, and after the first moments nobody who is served waits for long.
func TestEnter_TwiceTheLoadLeavesTheNodeAtItsSpeed(t *testing.T) {
	for times, least := range map[int]int64{1: 6000, 2: 5900, 4: 5900} {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := small(Limits{Least: 10, Most: 14, Waiting: 200}) // three quarters for one lane: 11
				who := Guest{Lane: "a"}
				every := 10 * time.Millisecond / time.Duration(times)
				ok, away, slowest := load(c, who, every, time.Minute, func() time.Duration { return 110 * time.Millisecond })
				if offered := int64(6000 * times); ok+away != offered || ok < least {
					t.Errorf("of %d, %d were served and %d sent away", offered, ok, away)
				}
				if times == 1 && away > 0 || slowest > patience+standing {
					t.Errorf("%d were sent away, and somebody waited for %v", away, slowest)
				}
				if s := c.of(Read); s.Taken != 0 || s.Waiting != 0 || len(c.halls[Read].lanes) != 0 || len(c.halls[Read].turns) != 0 {
					t.Errorf("left over: %+v", s)
				}
			})
		})
	}
}

// The queue has stood for a while. Who joins it then is told within a quarter of a second that it is not its turn.
func TestEnter_AStandingQueueMakesShortWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := small(Limits{Least: 1, Most: 1, Waiting: 100})
		held := must(t, c, Guest{Lane: "a"})
		defer held.Leave()
		begin := time.Now()
		var wg sync.WaitGroup
		join := func(after, want time.Duration) {
			wg.Go(func() {
				time.Sleep(after)
				start := time.Now()
				if _, err := c.Enter(t.Context(), Read, Guest{Lane: "a"}); !errors.Is(err, ErrFull) || time.Since(start) != want {
					t.Errorf("who came after %v got %v after %v instead of %v", after, err, time.Since(start), want)
				}
			})
		}
		join(0, patience)
		join(standing/2, patience)
		join(standing+time.Millisecond, shortPatience)
		wg.Wait()
		if took := time.Since(begin); took != standing/2+patience {
			t.Errorf("all that took %v", took)
		}
	})
}

// One tenant sends all that it can, another one asks now and then. The second is served as if the first were not there.
func TestEnter_OneLaneDoesNotStarveAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := small(Limits{Least: 8, Most: 8, Waiting: 100})
		tenth := func() time.Duration { return 100 * time.Millisecond }
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, away, _ := load(c, Guest{Lane: "greedy"}, time.Millisecond, 20*time.Second, tenth); away == 0 {
				t.Error("nothing was refused: there was no flood")
			}
		})
		time.Sleep(5 * time.Second)
		ok, away, slowest := load(c, Guest{Lane: "modest"}, 200*time.Millisecond, 10*time.Second, tenth)
		if away != 0 || ok != 50 || slowest > 200*time.Millisecond {
			t.Errorf("%d of the modest one were served, %d sent away, the slowest after %v", ok, away, slowest)
		}
		wg.Wait()
	})
}

// The queue is full of one lane's requests when another lane comes. The newest of the long queue gives way.
func TestEnter_TheLongestQueueGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := small(Limits{Least: 1, Most: 1, Waiting: 4})
		held := must(t, c, Guest{Lane: "x"})
		var wg sync.WaitGroup
		got := map[string]error{}
		var mu sync.Mutex
		ask := func(name, lane string) {
			wg.Go(func() {
				s, err := c.Enter(t.Context(), Read, Guest{Lane: lane})
				mu.Lock()
				got[name] = err
				mu.Unlock()
				if err == nil {
					s.Leave()
				}
			})
			synctest.Wait()
		}
		ask("a1", "a")
		ask("a2", "a")
		ask("a3", "a") // half of the queue is what one lane may have
		ask("b1", "b")
		ask("b2", "b")
		ask("c1", "c") // for which a2 or b2 has to go
		held.Leave()
		wg.Wait()
		sent := 0
		for name, err := range got {
			if err != nil {
				sent++
			}
			if err != nil && (!errors.Is(err, ErrLane) || name == "c1" || name == "a1" || name == "b1") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if sent != 2 || !errors.Is(got["a3"], ErrLane) {
			t.Errorf("%v", got)
		}
	})
}

// All seats are taken, and tenants wait. An administrator is served at once, from the reserve, and no tenant takes that.
func TestEnter_AdministratorsHaveAReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := small(Limits{Least: 4, Most: 4, Waiting: 10, Reserve: 1})
		for i := range 4 {
			defer must(t, c, Guest{Lane: fmt.Sprint(i)}).Leave()
		}
		start := time.Now()
		if _, err := c.Enter(t.Context(), Read, Guest{Lane: "z"}); !errors.Is(err, ErrFull) {
			t.Errorf("a tenant got %v", err)
		}
		if time.Since(start) != patience {
			t.Error("it did not wait")
		}
		boss := must(t, c, Guest{Lane: "admin", Privileged: true})
		var wg sync.WaitGroup
		wg.Go(func() { must(t, c, Guest{Lane: "admin", Privileged: true}).Leave() })
		synctest.Wait()
		if s := c.of(Read); s.Waiting != 1 || s.Taken != 5 {
			t.Errorf("%+v", s)
		}
		boss.Leave()
		wg.Wait()
	})
}

// Requests become slow, as when a disk does. There are fewer seats, never fewer than the least; when they are fast again and
// somebody waits, there are more.
func TestSeats_FollowTheTimeThatRequestsTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := small(Limits{Least: 4, Most: 64, Target: 100 * time.Millisecond, Waiting: 100})
		fast, slow := func() time.Duration { return 10 * time.Millisecond }, func() time.Duration { return 300 * time.Millisecond }
		load(c, Guest{Lane: "a"}, time.Millisecond, 5*time.Second, fast)
		if n := c.of(Read).Seats; n != 64 {
			t.Errorf("%d seats while all was well", n)
		}
		load(c, Guest{Lane: "a"}, time.Millisecond, 10*time.Second, slow)
		if n := c.of(Read).Seats; n != 4 {
			t.Errorf("%d seats when all was slow", n)
		}
		load(c, Guest{Lane: "a"}, time.Millisecond/4, 30*time.Second, fast)
		if n := c.of(Read).Seats; n < 40 {
			t.Errorf("%d seats when all was well again", n)
		}
	})
}

// A client keeps the node waiting for its body. Its seat serves another one meanwhile, the wait tells nothing of the node, and it waits its
// turn when the body is there.
func TestAside_GivesTheSeatToAnotherOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := small(Limits{Least: 1, Most: 1, Target: time.Millisecond, Waiting: 4})
		sender := must(t, c, Guest{Lane: "a"})
		time.Sleep(time.Minute)
		sender.Aside()
		other := must(t, c, Guest{Lane: "b"})
		var back atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := sender.Return(t.Context()); err != nil {
				t.Error(err)
			}
			back.Store(true)
		})
		synctest.Wait()
		if back.Load() {
			t.Error("two have the only seat")
		}
		other.Leave()
		other.Leave() // once more does nothing
		wg.Wait()
		sender.Leave()
		if err := sender.Return(t.Context()); err != nil || c.of(Read).Taken != 0 {
			t.Errorf("who left for good took a seat: %v, %+v", err, c.of(Read))
		}
		if h := c.halls[Read]; h.slow != 0 {
			t.Errorf("%d slow answers: the client's time was taken for the node's", h.slow)
		}
	})
}

// Clients go away while they wait, at every moment, also as their turn comes. No seat is lost and none is given twice.
func TestEnter_ClientsThatGoAwayLeaveNothing(t *testing.T) {
	c := small(Limits{Least: 3, Most: 3, Waiting: 50, Reserve: 1})
	var wg sync.WaitGroup
	var inside, most atomic.Int64
	for i := range 400 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%17)*50*time.Microsecond)
			defer cancel()
			s, err := c.Enter(ctx, Read, Guest{Lane: fmt.Sprint(i % 5), Privileged: i%5 == 0})
			if err != nil {
				return
			}
			if n := inside.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(100 * time.Microsecond)
			inside.Add(-1)
			s.Leave()
		})
	}
	wg.Wait()
	h := c.halls[Read]
	if s := c.of(Read); s.Taken != 0 || s.Waiting != 0 || len(h.lanes)+len(h.turns)+h.admins != 0 {
		t.Errorf("left over: %+v, %d lanes, %d turns, %d admins", s, len(h.lanes), len(h.turns), h.admins)
	}
	if most.Load() > 4 {
		t.Errorf("%d had one of 4 seats", most.Load())
	}
}

// What metrics call the classes is known for each.
func TestClass_HasAName(t *testing.T) {
	seen := map[string]bool{}
	for c := range classes {
		seen[c.String()] = true
	}
	if len(seen) != int(classes) {
		t.Errorf("%v", seen)
	}
}

// One lane has long requests on all the seats that it may have. Some are left, and whoever else comes need not wait.
func TestEnter_OneLaneNeverHasAllSeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := small(Limits{Least: 8, Most: 8, Waiting: 10})
		for range 6 {
			defer must(t, c, Guest{Lane: "greedy"}).Leave()
		}
		start := time.Now()
		if _, err := c.Enter(t.Context(), Read, Guest{Lane: "greedy"}); !errors.Is(err, ErrFull) || time.Since(start) != patience {
			t.Errorf("the seventh seat of eight: %v after %v", err, time.Since(start))
		}
		start = time.Now()
		if must(t, c, Guest{Lane: "other"}).Leave(); time.Since(start) > 0 {
			t.Errorf("another lane waited for %v", time.Since(start))
		}
	})
}

// Two of a lane wait, then one of another lane. The other lane's turn comes before the second of the first.
func TestEnter_LanesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := small(Limits{Least: 1, Most: 1, Waiting: 10})
		held := must(t, c, Guest{Lane: "x"})
		var wg sync.WaitGroup
		var order []string
		for _, who := range []string{"a", "a", "b"} {
			wg.Go(func() {
				s := must(t, c, Guest{Lane: who})
				order = append(order, who) // there is one seat: nobody else writes
				s.Leave()
			})
			synctest.Wait()
		}
		held.Leave()
		wg.Wait()
		if fmt.Sprint(order) != "[a b a]" {
			t.Errorf("served in the order %v", order)
		}
	})
}
