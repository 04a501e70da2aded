package chaos

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/lab"
)

const binaryEnv = "KILONOVA_BIN" // names the kilonova program under test

var (
	seed     = flag.Uint64("seed", 1, "decides the harms; 0: the time does")
	duration = flag.Duration("duration", 10*time.Minute, "for how long the cluster is hurt")
	nodes    = flag.Int("nodes", 5, "how many hosts")
	driver   = flag.String("driver", simulated, `of the hypervisors, "sim" or "libvirt"`)
	clients  = flag.Int("clients", 8, "how many clients work at the same time")
	long     = flag.Bool("long", false, "harms may last for two minutes")
	only     = flag.String("only", "", "the only harm that is done, as nemesis.log names it")
	keep     = flag.Bool("keep", false, "keep the history and the nemesis's log of a run that went well, too")
)

func TestMain(m *testing.M) {
	status := m.Run()
	if os.Geteuid() == 0 && os.Getenv(binaryEnv) != "" {
		if left, err := lab.Leftovers(); err != nil || len(left) > 0 {
			fmt.Fprintln(os.Stderr, "left behind by the tests:", left, err)
			status = 1
		}
	}
	os.Exit(status)
}

// Five hosts are hurt in all ways that the dice choose, while clients use them. Then they have a minute, and everything is as it was promised.
func TestChaos(t *testing.T) {
	p := plan{seed: *seed, nodes: *nodes, driver: *driver, duration: *duration, clients: *clients, long: *long, only: *only}
	if p.only != "" && !slices.Contains(harmNames(p.driver), p.only) {
		t.Fatalf("there is no harm %q: there are %q", p.only, harmNames(p.driver))
	}
	if p.seed == 0 {
		p.seed = uint64(time.Now().UnixNano())
	}
	perform(t, p)
}

// A daemon has a twentieth of a processor for a while, and then another. No node is taken for dead, so nothing is started twice.
func TestStarved_NoNodeIsTakenForDead(t *testing.T) {
	perform(t, plan{seed: 1, nodes: 5, driver: simulated, duration: 40 * time.Second, clients: 2, only: starving})
}

// perform plays a plan and tells what came of it.
func perform(t *testing.T, p plan) {
	t.Helper()
	binary := os.Getenv(binaryEnv)
	if os.Geteuid() != 0 || testing.Short() || binary == "" {
		t.Skip("hosts need root, " + binaryEnv + " (make test sets it), and are left out of -short")
	}
	dir, err := os.MkdirTemp("", "kilonova-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d, in %s", p.seed, dir)
	began := time.Now()
	r, err := play(t.Context(), p, binary, dir)
	if err != nil {
		t.Error(err)
	}
	for _, f := range r.faults {
		t.Error(f)
	}
	var said strings.Builder
	r.write(&said)
	t.Logf("%sin %s", said.String(), time.Since(began).Round(time.Second))
	switch {
	case t.Failed():
		t.Logf("the history, the nemesis's log, and the hosts' logs and states are in %s; play it again with\n  %s", dir, p.again())
	case *keep:
		t.Log("the history and the nemesis's log are in", dir)
	default:
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
}
