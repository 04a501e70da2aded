package sim

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

var (
	seeds = flag.Int("seeds", 0, "run this many seeds, and nothing else")
	trace = flag.String("trace", "", "write all that happens into this file")
	first = flag.Uint64("first-seed", 1, "the first of them")
	free  = flag.Bool("no-leases", false, "nodes hold no leases")
)

// With one processor the scheduler has less to choose from, so a seed repeats itself more exactly.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	goleak.VerifyTestMain(m)
}

// simulate makes a run in a bubble of its own.
func simulate(t *testing.T, cfg Config) (r Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var err error
		if r, err = Run(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	})
	return r
}

// hold fails the test when a promise was broken, and says how to see it again.
func hold(t *testing.T, r Report) {
	t.Helper()
	if r.Broken != nil {
		t.Errorf("%v\nagain: go test ./e2e/sim -run 'TestSim$' -args -seeds 1 -first-seed %d", r.Broken, r.Seed)
	}
}

func (r Report) String() string {
	return fmt.Sprintf("%d nodes, %v virtual, %d rounds, %d faults, %d entries, %d acknowledgements, %d starts",
		r.Nodes, r.Virtual.Round(time.Second), r.Rounds, r.Faults, r.Entries, r.Acknowledged, r.Starts)
}

// traceFile is where a run tells what happens; nil: nobody asked.
func traceFile(t *testing.T) io.Writer {
	t.Helper()
	if *trace == "" {
		return nil
	}
	f, err := os.Create(*trace)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// A thousand machines, and as many faults as so many have. It is too large to look at all of it at each index; what clients and
// domains see is looked at as ever.
func TestSim_ThousandMachines(t *testing.T) {
	if testing.Short() || *seeds > 0 {
		t.Skip("it takes a while: run without -short and -seeds")
	}
	began := time.Now()
	r := simulate(t, Config{Seed: 1, Nodes: 1000, Clients: 60, Rounds: 1, Faults: 20 * time.Second})
	t.Logf("%v in %v", r, time.Since(began).Round(time.Millisecond))
	hold(t, r)
}

// These seeds are run every time, or with -short, besides one that nobody has seen before. That one goes without leases as long as not some thousand seeds were
// run with them (make sim).
const fixedSeeds, shortSeeds = 6, 2

// Whatever happens to a small cluster, it keeps its promises, and comes to rest when it is left alone.
func TestSim(t *testing.T) {
	from, n := *first, uint64(*seeds)
	list, unseen := []uint64{}, uint64(0)
	for s := from; s < from+n; s++ {
		list = append(list, s)
	}
	if n == 0 {
		fixed := fixedSeeds
		if testing.Short() {
			fixed = shortSeeds
		}
		for s := range uint64(fixed) {
			list = append(list, s+1)
		}
		unseen = fixedSeeds + 1 + rand.Uint64N(1<<32)
		list = append(list, unseen)
	}
	var virtual time.Duration
	rounds := 0
	for _, seed := range list {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			began := time.Now()
			r := simulate(t, Config{Seed: seed, NoLeases: *free || seed == unseen, Trace: traceFile(t)})
			t.Logf("%v in %v", r, time.Since(began).Round(time.Millisecond))
			hold(t, r)
			if seed == unseen {
				t.Log("it went without leases: -no-leases")
			}
			virtual += r.Virtual
			rounds += r.Rounds
		})
	}
	t.Logf("%d seeds, %.1f virtual hours, %d rounds of faults and rest", len(list), virtual.Hours(), rounds)
}
