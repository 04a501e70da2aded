package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kilonova/kilonova/e2e/audit"
	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/node/failpoint"
)

const (
	tryTimeout   = 8 * time.Second // a node answers within 5 seconds, unless it is hurt
	diskMiB      = 1024            // of each host; a full disk is to be filled soon
	microversion = "compute 2.90, volume 3.59"
)

// town is a cluster with all that is seen of it.
type town struct {
	*cloud.Cloud
	peers   []*peer
	dir     string // what is kept after a failure
	sim     bool   // hypervisors are simulated
	gentle  bool   // no node is to be taken for dead
	token   string
	project string
	stage   supplies
	history *History
	said    *journal

	wiped     atomic.Bool // a host was, so volumes may have gone with it
	chronicle *audit.Chronicle
	watch     sync.WaitGroup
	unwatch   context.CancelFunc

	mu     sync.Mutex
	faults []string        // what must not happen and did
	known  map[string]bool // of them
}

// supplies are what servers are made from: IDs.
type supplies struct{ image, flavor, wide, network string }

// openTown makes a cluster and what clients need.
func openTown(ctx context.Context, p plan, binary, dir string) (_ *town, err error) {
	shared := filepath.Join(dir, "shared")
	if err := os.MkdirAll(shared, 0o755); err != nil {
		return nil, err
	}
	flags := []string{"--shared-dir", shared, "--token-life", "72h"}
	if p.driver == simulated {
		flags = append(flags, "--sim-boot-delay", "50ms", "--sim-vcpus", "64", "--sim-memory-mib", fmt.Sprint(hostMemoryMiB), "--sim-disk-gib", "1000")
	}
	c, err := cloud.Up(ctx, cloud.Options{Binary: binary, Nodes: p.nodes, Driver: p.driver, DiskMiB: diskMiB, Flags: flags})
	if err != nil {
		return nil, err
	}
	t := &town{Cloud: c, dir: dir, sim: p.driver == simulated, gentle: p.only == starving, chronicle: audit.NewChronicle(), known: map[string]bool{}}
	for _, n := range c.Nodes {
		t.peers = append(t.peers, &peer{Node: n, town: t})
	}
	if err := t.prepare(ctx, p); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return t, nil
}

// prepare makes files and objects, and begins to watch.
func (t *town) prepare(ctx context.Context, p plan) error {
	for _, one := range t.peers {
		if err := one.setPoints(""); err != nil {
			return err
		}
		one.Env = []string{failpoint.Variable + "=@" + one.points()}
	}
	out, err := os.Create(filepath.Join(t.dir, "history.jsonl"))
	if err != nil {
		return err
	}
	t.history = newHistory(out)
	if t.said, err = newJournal(filepath.Join(t.dir, "nemesis.log"), t.history.begun); err != nil {
		return err
	}
	if err := t.WaitVoters(ctx, min(p.nodes, 5)); err != nil {
		return err
	}
	if t.token, err = t.Login(ctx, t.Nodes[0]); err != nil {
		return err
	}
	if err := t.furnish(ctx); err != nil {
		return err
	}
	watching, stop := context.WithCancel(context.Background())
	t.unwatch = stop
	for _, one := range t.peers {
		t.watch.Go(func() { one.keep(watching) })
		if t.sim {
			t.watch.Go(func() { one.follow(watching) })
		}
	}
	t.watch.Go(func() { t.sample(watching) })
	if !t.sim {
		t.watch.Go(func() { t.countQEMUs(watching) })
	}
	return nil
}

// close ends what watches, and the cluster.
func (t *town) close() error {
	if t.unwatch != nil {
		t.unwatch()
		t.watch.Wait()
	}
	return errors.Join(t.Close(), t.said.close())
}

// fault notes something that must not happen, once.
func (t *town) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known[text] {
		return
	}
	t.known[text] = true
	t.faults = append(t.faults, fmt.Sprintf("at %s: %s", t.history.now().Round(time.Millisecond), text))
}

func (t *town) found() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.faults)
}

// send asks one node once.
func (t *town) send(ctx context.Context, via *peer, r cloud.Request) (cloud.Answer, error) {
	if r.Header == nil {
		r.Header = map[string]string{}
	}
	r.Header["OpenStack-API-Version"], r.Token = microversion, t.token
	if r.Timeout == 0 {
		r.Timeout = tryTimeout
	}
	return t.Ask(ctx, via.Node, r)
}

// ask asks one node after the other under one key until one knows, and decodes what it says.
func (t *town) ask(ctx context.Context, r cloud.Request, into any, status ...int) error {
	var err error
	for i := range 3 * len(t.peers) {
		var a cloud.Answer
		a, err = t.send(ctx, t.peers[i%len(t.peers)], r)
		if err == nil && !undecided(a.Status) {
			if err := a.Want(status...); err != nil || into == nil {
				return err
			}
			return a.Into(into)
		}
		if err == nil {
			err = a.Want(status...)
		}
		if !pause(ctx, 200*time.Millisecond) {
			break
		}
	}
	return err
}

// get reads something through any node.
func (t *town) get(ctx context.Context, path string, into any) error {
	return t.ask(ctx, cloud.Request{Path: path}, into, http.StatusOK)
}

// undecided tells whether an answer leaves open what was done, or says to ask again.
func undecided(status int) bool {
	switch status {
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusBadGateway, http.StatusTooManyRequests:
		return true
	}
	return false
}

// pause waits, or returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
