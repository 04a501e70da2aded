package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kilonova/kilonova/cluster"
)

// sleeperEnv makes the test's own program a guest that does nothing.
const sleeperEnv = "KILONOVA_TEST_SLEEPER"

func TestMain(m *testing.M) {
	if os.Getenv(sleeperEnv) != "" {
		time.Sleep(time.Minute)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// seeds is how many histories are told, each of five minutes.
const seeds = 15

// Nodes are cut off, daemons hang, leaders change and clocks differ. The guest never runs twice, and in the end it runs.
func TestLease_GuestNeverRunsTwice(t *testing.T) {
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			if twice, runs := run(t, seed, ""); twice > 0 || !runs {
				t.Errorf("it ran twice at %d instants; runs in the end: %v", twice, runs)
			}
		})
	}
}

// What the story above would not notice would prove nothing.
func TestLease_PlantedBugsAreFound(t *testing.T) {
	for _, bug := range []string{bugHaste, bugDog} {
		found := false
		for seed := uint64(0); seed < seeds && !found; seed++ {
			twice, _ := run(t, seed, bug)
			found = twice > 0
		}
		if !found {
			t.Errorf("nobody noticed that %s", bug)
		}
	}
}

// A node that the leader is about to lose gets nothing until that is settled; one that was heard of in time is left alone.
func TestWarden_GrantsNothingToTheCondemned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, "")
		defer w.close()
		w.must(&cluster.BeginTerm{Term: "t1", Leader: nodeID(0)})
		view, _ := w.nodes[0].Latest()
		var asked []cluster.NodeID
		answer := error(cluster.Errorf(cluster.Unavailable, "who knows"))
		warden := NewWarden("t1", time.Now(), func(_ context.Context, op cluster.Op) error {
			if lose, ok := op.(*cluster.LoseNode); ok {
				asked = append(asked, lose.Node)
			}
			return answer
		})
		patiently := func(_ string, do func() error) { _ = do() }
		time.Sleep(quick.Dead - time.Second)
		for _, h := range w.nodes {
			if _, err := warden.Renew(h.id, time.Now(), view); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if _, err := warden.Renew(nodeID(0), time.Now(), view); err != nil {
			t.Fatal(err)
		}
		warden.Attend(t.Context(), view, patiently)
		if len(asked) != 1 || asked[0] != nodeID(1) {
			t.Fatalf("it took for dead %v", asked)
		}
		if _, err := warden.Renew(nodeID(1), time.Now(), view); !errors.Is(err, ErrCondemned) {
			t.Errorf("while nobody knows whether it is lost: %v", err)
		}
		answer = nil
		warden.Attend(t.Context(), view, patiently)
		if _, err := warden.Renew(nodeID(1), time.Now(), view); err != nil {
			t.Errorf("when it is lost: %v", err)
		}
		if _, err := warden.Renew("stranger", time.Now(), view); cluster.CodeOf(err) != cluster.NotFound {
			t.Errorf("a stranger: %v", err)
		}
	})
}

// Settings became shorter. A leader that has not heard a node yet waits as long as the longer ones allowed, and says so when they are over.
func TestWarden_WaitsForLeasesOfFormerSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, "")
		defer w.close()
		w.must(&cluster.BeginTerm{Term: "t1", Leader: nodeID(0)})
		view, _ := w.nodes[0].Latest()
		former := view.Settings().Former
		if former <= quick.Dead {
			t.Fatalf("the world has nothing to remember: %v", former)
		}
		var asked []cluster.Op
		warden := NewWarden("t1", time.Now(), func(_ context.Context, op cluster.Op) error {
			asked = append(asked, op)
			return nil
		})
		patiently := func(_ string, do func() error) { _ = do() }
		time.Sleep(former - time.Second)
		warden.Attend(t.Context(), view, patiently)
		if len(asked) > 0 {
			t.Fatalf("too early it asked for %+v", asked)
		}
		for _, h := range w.nodes {
			if _, err := warden.Renew(h.id, time.Now(), view); err != nil {
				t.Fatal(err)
			}
		}
		warden.Attend(t.Context(), view, patiently)
		if len(asked) != 1 || !asked[0].(*cluster.PutSettings).Settled {
			t.Fatalf("when all have heard of it, it asked for %+v", asked)
		}
	})
}

// Settings became shorter. A node was granted the longer lease, and then the shorter one, of which it may never hear: it is not taken for dead before the longer
// one is over, and until then the longer ones are remembered.
func TestWarden_AShorterLeaseTakesNoneBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, "")
		defer w.close()
		w.must(&cluster.BeginTerm{Term: "t1", Leader: nodeID(0)})
		view, _ := w.nodes[0].Latest()
		s, id := view.Settings(), w.nodes[1].id
		long := s
		long.Lease.Dead = 10 * s.Lease.Dead
		warden := NewWarden("t1", time.Now(), nil)
		granted := time.Now()
		warden.heard[id] = hearing{granted, long.Lease, granted.Add(long.Lease.Dead)}
		time.Sleep(time.Second)
		if _, err := warden.Renew(id, time.Now(), view); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(granted.Add(long.Lease.Dead)) - time.Millisecond)
		if warden.knows(id, s.Lease) || warden.condemn(id, s, time.Now()) {
			t.Error("it was forgotten that the node may hold a longer lease")
		}
		time.Sleep(time.Millisecond)
		if !warden.condemn(id, s, time.Now()) {
			t.Error("it is not taken for dead when all leases that it had are over")
		}
		warden.absolve(id)
		if _, err := warden.Renew(id, time.Now(), view); err != nil || !warden.knows(id, s.Lease) {
			t.Errorf("it holds the shorter lease alone, and that is not known: %v", err)
		}
	})
}

// A lease counts from before the question, a node without one starts nothing, and a restarted daemon goes on with that of the one before.
func TestHolder_CountsFromTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, "")
		defer w.close()
		h := w.nodes[1]
		if err := h.holder.MayStart(); cluster.CodeOf(err) != cluster.Unavailable {
			t.Errorf("without a lease: %v", err)
		}
		before := h.clock()
		slow := &slowGrant{host: h}
		holder, err := NewHolder(Config{Node: h.id, Cluster: slow, Driver: daemon{h}, Board: h.board, Boot: "b", Clock: h.clock, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if err := holder.ask(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		if got, want := holder.Left(), quick.Stop-(h.clock()-before); got != want {
			t.Errorf("it lasts %v, want %v", got, want)
		}
		if holder.MayStart() != nil {
			t.Error("with a lease it may not start")
		}
		again, err := NewHolder(Config{Node: h.id, Cluster: h, Driver: daemon{h}, Board: h.board, Boot: "b", Clock: h.clock, Log: slog.New(slog.DiscardHandler)})
		if err != nil || again.Left() != holder.Left() {
			t.Errorf("after a restart it lasts %v, %v", again.Left(), err)
		}
		rebooted, err := NewHolder(Config{Node: h.id, Cluster: h, Driver: daemon{h}, Board: h.board, Boot: "c", Clock: h.clock, Log: slog.New(slog.DiscardHandler)})
		if err != nil || rebooted.Held() {
			t.Errorf("after a reboot it lasts %v, %v", rebooted.Left(), err)
		}
	})
}

// slowGrant takes two seconds for an answer.
type slowGrant struct{ *host }

func (s *slowGrant) RenewLease(context.Context) (cluster.Grant, error) {
	time.Sleep(2 * time.Second)
	view, _ := s.Latest()
	return cluster.Grant{Index: view.Index(), Stop: quick.Stop, Kill: quick.Kill}, nil
}

// The watchdog kills the QEMU that is named on the board, when the lease and the daemon's grace are over, and nothing else. What it killed
// is on the board, and it goes when there is nothing left to guard.
func TestWatch_KillsWhatOutlivesItsLease(t *testing.T) {
	b, err := OpenBoard(filepath.Join(t.TempDir(), "board"))
	if err != nil {
		t.Fatal(err)
	}
	guarded, other, late := sleeper(t, "qemu-system-x86_64", vm), sleeper(t, "qemu-system-x86_64", "another"), sleeper(t, "editor", vm)
	post := func(until time.Duration, ids ...cluster.InstanceID) {
		t.Helper()
		if err := b.Post(Notice{Until: until, Grace: 200 * time.Millisecond, Stop: time.Second, Instances: ids}); err != nil {
			t.Fatal(err)
		}
	}
	post(BootTime()+500*time.Millisecond, vm)
	over := BootTime() + 700*time.Millisecond
	ended := make(chan error, 1)
	go func() { ended <- Watch(context.Background(), b, "/proc", BootTime, slog.New(slog.DiscardHandler)) }()
	<-guarded
	if early := over - BootTime(); early > 0 {
		t.Errorf("it was killed %v too early", early)
	}
	if !b.Watched() {
		t.Error("nobody has the board")
	}
	if err := Watch(context.Background(), b, "/proc", BootTime, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("a second watchdog: %v", err) // it leaves the first alone
	}
	ids, err := b.Fenced()
	if err != nil || !slices.Equal(ids, []cluster.InstanceID{vm}) {
		t.Errorf("fenced: %v, %v", ids, err)
	}
	select {
	case <-other:
		t.Error("another guest was killed")
	case <-late:
		t.Error("what is no QEMU was killed")
	default:
	}
	if err := b.Forget(vm); err != nil {
		t.Error(err)
	}
	if ids, err := b.Fenced(); err != nil || len(ids) != 0 {
		t.Errorf("fenced after all: %v, %v", ids, err)
	}
	post(BootTime())
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if b.Watched() {
		t.Error("the board is still watched")
	}
}

// sleeper runs a process that looks like the QEMU of a guest, and gives a channel that is closed when it ends.
func sleeper(t *testing.T, name string, id cluster.InstanceID) <-chan struct{} {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: self, Args: []string{name, "-uuid", string(id), "-x"}, Env: append(os.Environ(), sleeperEnv+"=1")}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	return ended
}

// What stands on a board may be cut off, or anything at all.
func FuzzBoard(f *testing.F) {
	f.Add([]byte(`{"until":1,"instances":["a"]}`))
	f.Add([]byte(`{"until":1,"barred":["a"],"orders":[{"id":"a","index":7}]}`))
	f.Add([]byte(`{"until":`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := OpenBoard(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(b.Dir(), noticeFile), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := b.Read(); err == nil {
			if err := b.Post(n); err != nil {
				t.Errorf("what was read cannot be posted: %v", err)
			}
		}
	})
}
