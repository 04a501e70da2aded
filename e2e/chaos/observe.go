package chaos

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/kilonova/kilonova/e2e/audit"
	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

const (
	sampleEvery = time.Second
	countEvery  = 50 * time.Millisecond
)

// journal is a log with times since the beginning. It is safe for concurrent use.
type journal struct {
	begun time.Time
	mu    sync.Mutex
	f     *os.File
}

func newJournal(path string, begun time.Time) (*journal, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &journal{begun: begun, f: f}, nil
}

func (j *journal) say(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	fmt.Fprintf(j.f, "%9.3f %s\n", time.Since(j.begun).Seconds(), fmt.Sprintf(format, args...))
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.f.Close()
}

// sample looks at what each node has in its own copy of the state, again and again.
func (t *town) sample(ctx context.Context) {
	digests := map[uint64]digest{}
	for pause(ctx, sampleEvery) {
		var all sync.WaitGroup
		got := make([]*clusterapi.State, len(t.peers))
		for i, p := range t.peers {
			all.Go(func() { got[i] = t.stateAt(ctx, p) })
		}
		all.Wait()
		for i, s := range got {
			if s != nil {
				t.compare(digests, t.peers[i].Name(), s)
			}
		}
	}
}

// digest is that of the state at an index, and who told it first.
type digest struct{ hash, by string }

// compare holds a node's state against what the others said.
func (t *town) compare(digests map[uint64]digest, name string, s *clusterapi.State) {
	was, known := digests[s.Index]
	if !known {
		digests[s.Index] = digest{s.Hash, name}
	} else if was.hash != s.Hash {
		t.fault("%s and %s have different states at index %d", was.by, name, s.Index)
	}
	for _, b := range s.Broken {
		t.fault("the state of %s contradicts itself: %s", name, b)
	}
}

// stateAt asks a node for its own state, and whether the nodes in it hold more than they have; nil: it does not answer.
func (t *town) stateAt(ctx context.Context, p *peer) *clusterapi.State {
	var state struct{ State clusterapi.State }
	var nodes struct{ Nodes []audit.Machine }
	for path, into := range map[string]any{"/cluster/v1/state": &state, "/cluster/v1/nodes": &nodes} {
		a, err := t.send(ctx, p, cloud.Request{Path: path, Header: map[string]string{"X-Kilonova-Consistency": "stale"}, Timeout: 2 * time.Second})
		if err != nil || a.Status != http.StatusOK {
			return nil
		}
		if err := a.Into(into); err != nil {
			t.fault("%s: %v", p.Name(), err)
			return nil
		}
	}
	for _, n := range nodes.Nodes {
		if t.gentle && n.Status == "lost" {
			t.fault("%s was taken for dead, and nothing is done to it that it could not bear, as %s has it", n.Name, p.Name())
		}
		if n.Used.Beyond(n.Limit) {
			t.fault("%s is promised %+v and has %+v, as %s has it", n.Name, n.Used, n.Limit, p.Name())
		}
	}
	return &state.State
}

// countQEMUs looks for instances that have two, again and again.
func (t *town) countQEMUs(ctx context.Context) {
	for pause(ctx, countEvery) {
		all, err := t.Lab.QEMUs()
		if err != nil {
			continue // a host went while it was looked at
		}
		on := map[string]string{}
		for _, q := range all {
			if other, twice := on[q.UUID]; twice && other != q.Host {
				t.fault("instance %s has QEMUs on %s and %s", q.UUID, other, q.Host)
			}
			on[q.UUID] = q.Host
		}
	}
}
