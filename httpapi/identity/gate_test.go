package identity

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// flood asks the gate from n clients at the same time, and tells how each was answered. Hashes last until the flood is over.
func flood(g *gate, n int, who func(i int) client, password func(i int) string) (hashed, slowed, busy int64) {
	release := make(chan struct{})
	var wg sync.WaitGroup
	var ran, slow, full atomic.Int64
	for i := range n {
		wg.Go(func() {
			_, err := g.share(context.Background(), who(i), g.keyOf(who(i), "stored", password(i)), func() bool {
				ran.Add(1)
				<-release
				return false
			})
			switch {
			case errors.Is(err, errSlowDown):
				slow.Add(1)
			case errors.Is(err, errBusy):
				full.Add(1)
			}
		})
	}
	synctest.Wait()
	close(release)
	wg.Wait()
	return ran.Load(), slow.Load(), full.Load()
}

func each(format string) func(int) string {
	return func(i int) string { return fmt.Sprintf(format, i) }
}

// Hundreds of passwords are tried at once: for one user, for many users from one address, and from everywhere. Few are hashed,
// each of the others is told at once to come again, and afterwards nothing is left of it.
func TestGate_AFloodIsTurnedAway(t *testing.T) {
	const many = 200
	for name, c := range map[string]struct {
		who                  func(int) client
		hashed, slowed, busy int64
	}{
		"one user":    {func(int) client { return client{"demo", "192.0.2.1"} }, checksOfClient, many - checksOfClient, 0},
		"one address": {func(i int) client { return client{each("user-%d")(i), "192.0.2.1"} }, checksOfAddress, many - checksOfAddress, 0},
		"everywhere": {func(i int) client { return client{"demo", each("192.0.2.%d")(i)} },
			hashesWaiting + hashesAtOnce, 0, many - hashesWaiting - hashesAtOnce},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate()
				hashed, slowed, busy := flood(g, many, c.who, each("guess %d"))
				if hashed != c.hashed || slowed != c.slowed || busy != c.busy {
					t.Errorf("%d hashed, %d slowed down, %d turned away for the crowd", hashed, slowed, busy)
				}
				if g.waiting != 0 || len(g.clients)+len(g.addresses)+len(g.checks) != 0 {
					t.Errorf("the gate still counts %d, %v, %v, %d checks", g.waiting, g.clients, g.addresses, len(g.checks))
				}
			})
		})
	}
}

// A script logs in two hundred times at once with the right password. It is hashed once, and everybody gets the answer.
func TestGate_TheSamePasswordIsHashedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		one := client{"demo", "192.0.2.1"}
		hashed, slowed, busy := flood(g, 200, func(int) client { return one }, func(int) string { return "secret" })
		if hashed != 1 || slowed != 0 || busy != 0 {
			t.Errorf("%d hashed, %d slowed down, %d turned away", hashed, slowed, busy)
		}
	})
}

// While names are guessed from an address, a user who logged in from there before still gets in, and so does anybody elsewhere.
func TestGate_AFloodDoesNotKeepUsersOut(t *testing.T) {
	hash, err := HashPassword("secret")
	if err != nil {
		t.Fatal(err)
	}
	u := &cluster.User{PasswordHash: hash}
	g := newGate()
	here := client{"demo", "192.0.2.1"}
	if ok, err := g.check(t.Context(), here, u, "secret"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for i := range checksOfAddress {
		if _, _, err := g.begin(client{each("guess-%d")(i), here.address}, checkKey{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for who, in := range map[client]bool{here: true, {"demo", "192.0.2.2"}: true, {"other", here.address}: false} {
		if ok, err := g.check(t.Context(), who, u, "secret"); ok != in || in != (err == nil) {
			t.Errorf("%v: %v, %v", who, ok, err)
		}
	}
}

// A client hangs up while it waits for its turn, and another one waits for the same answer. That one gets it all the same, and
// the place of the first is free.
func TestGate_ACallerThatLeavesFreesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		if err := g.slots.Acquire(t.Context(), hashesAtOnce); err != nil {
			t.Fatal(err)
		}
		who := client{"demo", "192.0.2.1"}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		ask := func(ctx context.Context, want bool) {
			if ok, err := g.share(ctx, who, checkKey{}, func() bool { return true }); ok != want || want != (err == nil) {
				t.Errorf("got %v, %v instead of %v", ok, err, want)
			}
		}
		wg.Go(func() { ask(ctx, false) })
		synctest.Wait()
		wg.Go(func() { ask(t.Context(), true) })
		synctest.Wait()
		cancel()
		synctest.Wait()
		g.slots.Release(hashesAtOnce)
		wg.Wait()
		if g.waiting != 0 || len(g.checks) != 0 {
			t.Errorf("%d are still counted", g.waiting)
		}
	})
}

// The node is so slow that a turn does not come. The client is told within the time that it has patience for.
func TestGate_NobodyWaitsForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		if err := g.slots.Acquire(t.Context(), hashesAtOnce); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err := g.check(t.Context(), client{"demo", "192.0.2.1"}, nil, "x")
		if cluster.CodeOf(err) != cluster.Unavailable || time.Since(start) != hashPatience {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if _, err := g.hash(t.Context(), "x"); cluster.CodeOf(err) != cluster.Unavailable {
			t.Errorf("to set a password: %v", err)
		}
	})
}
