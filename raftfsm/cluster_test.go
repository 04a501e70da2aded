package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/raftfsm/rafttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a cluster in one process: one Raft per node on an in-memory network, with real logs on disk. Most tests
// run it in a synctest bubble, where waiting costs nothing and a slow disk or a busy machine changes nothing.
type lab struct {
	t     testing.TB
	net   *rafttest.Network
	wrap  func(StreamLayer) StreamLayer // nil: streams are as they are
	dir   string
	seams seams
	tune  func(n int, c *Config)

	mu    sync.Mutex
	nodes map[cluster.NodeID]*replica
}

// replica is a node of the lab.
type replica struct {
	*Raft
	id    cluster.NodeID
	addr  string
	dir   string
	fatal chan error
}

func newLab(t testing.TB) *lab {
	l := &lab{t: t, net: rafttest.NewNetwork(), dir: t.TempDir(), nodes: map[cluster.NodeID]*replica{}}
	t.Cleanup(l.close)
	return l
}

func (l *lab) close() {
	var wg sync.WaitGroup
	for _, n := range l.all() {
		wg.Go(func() {
			if err := n.Close(); err != nil && n.Err() == nil {
				l.t.Errorf("close %s: %v", n.id, err)
			}
		})
	}
	wg.Wait()
}

func (l *lab) all() []*replica {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*replica
	for _, n := range l.nodes {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b *replica) int { return strings.Compare(string(a.id), string(b.id)) })
	return all
}

func nodeID(n int) cluster.NodeID {
	return cluster.NodeID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n))
}

func nodeAddr(n int) string { return fmt.Sprintf("192.0.2.%d:7443", n) }

func (l *lab) config(n int) (Config, chan error) {
	fatal := make(chan error, 1)
	cfg := Config{
		ID: nodeID(n), Addr: nodeAddr(n), Dir: filepath.Join(l.dir, fmt.Sprint(n)),
		OnFatal: func(err error) { fatal <- err }, seams: l.seams,
	}
	if os.Getenv("RAFT_LOG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("n", n)
	}
	if l.tune != nil {
		l.tune(n, &cfg)
	}
	return cfg, fatal
}

// open starts node n on what its directory holds.
func (l *lab) open(n int) *replica {
	l.t.Helper()
	cfg, fatal := l.config(n)
	cfg.Stream = l.net.Listen(cfg.Addr)
	if l.wrap != nil {
		cfg.Stream = l.wrap(cfg.Stream)
	}
	r, err := Open(cfg)
	if err != nil {
		l.t.Fatalf("open node %d: %v", n, err)
	}
	rep := &replica{Raft: r, id: cfg.ID, addr: cfg.Addr, dir: cfg.Dir, fatal: fatal}
	l.mu.Lock()
	l.nodes[cfg.ID] = rep
	l.mu.Unlock()
	return rep
}

// stop ends a node as a power cut does, as far as its peers can tell.
func (l *lab) stop(r *replica) {
	l.t.Helper()
	l.mu.Lock()
	delete(l.nodes, r.id)
	l.mu.Unlock()
	l.net.Reset(r.addr)
	if err := r.Close(); err != nil && r.Err() == nil {
		l.t.Fatalf("close %s: %v", r.id, err)
	}
}

// found makes the cluster and starts its first node.
func (l *lab) found() *replica {
	l.t.Helper()
	cfg, _ := l.config(1)
	if err := Bootstrap(cfg, firstOf(1)); err != nil {
		l.t.Fatal(err)
	}
	r := l.open(1)
	l.wait("the first node leads", r.IsLeader)
	l.must(r, token())
	return r
}

// grow makes a cluster of n nodes that all follow, and waits for the voters that it should have.
func (l *lab) grow(n int) *replica {
	l.t.Helper()
	first := l.found()
	for i := 2; i <= n; i++ {
		l.join(first, i)
	}
	want := map[int]int{1: 1, 2: 1, 3: 3, 4: 3}[n]
	if want == 0 {
		want = maxVoters
	}
	l.wait("all vote that should", func() bool { return voters(first.Raft) == want })
	return first
}

// join enrols node n and gives it the log.
func (l *lab) join(leader *replica, n int) *replica {
	l.t.Helper()
	l.must(leader, enrol(n))
	r := l.open(n)
	if err := leader.AddMember(context.Background(), nodeID(n), nodeAddr(n)); err != nil {
		l.t.Fatalf("add node %d: %v", n, err)
	}
	return r
}

// must proposes and wants it done.
func (l *lab) must(r *replica, c cluster.Command) cluster.Result {
	l.t.Helper()
	res, err := r.Propose(context.Background(), c)
	if err != nil {
		l.t.Fatalf("propose %T: %v", c.Op, err)
	}
	if res.Err != nil {
		l.t.Fatalf("%T was refused: %v", c.Op, res.Err)
	}
	return res
}

// leader waits for a leader among the nodes and returns it.
func (l *lab) leader(among ...*replica) *replica {
	l.t.Helper()
	if len(among) == 0 {
		among = l.all()
	}
	var found *replica
	l.wait("there is a leader", func() bool {
		for _, r := range among {
			if r.IsLeader() {
				found = r
			}
		}
		return found != nil
	})
	return found
}

func (l *lab) wait(what string, ok func() bool) {
	l.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			l.t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// same waits until all nodes show one index, and compares their states.
func (l *lab) same() {
	l.t.Helper()
	all := l.all()
	l.wait("all nodes show the same index", func() bool {
		for _, r := range all[1:] {
			if r.View().Index() != all[0].View().Index() {
				return false
			}
		}
		return true
	})
	for _, r := range all[1:] {
		a, b := all[0].View(), r.View()
		if a.Index() == b.Index() && a.Hash() != b.Hash() {
			l.t.Errorf("at index %d nodes %s and %s have different states", a.Index(), all[0].id, r.id)
		}
	}
}

func voters(r *Raft) int {
	n := 0
	for _, m := range r.Members() {
		if m.Voter {
			n++
		}
	}
	return n
}

func isNotApplied(err error) bool { return errors.Is(err, ErrNotApplied) }
