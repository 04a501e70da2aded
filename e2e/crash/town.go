package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/kilonova/kilonova/e2e/audit"
)

const (
	townSize     = 3
	readyTimeout = 3 * time.Minute // many tests share this machine
	readyPoll    = 20 * time.Millisecond
	tailEvery    = 20 * time.Millisecond
)

// town is a cluster of processes on this machine, with simulated hypervisors, whose members are started again whenever they die.
type town struct {
	dir    string
	binary string
	peers  []*peer
	api    *client

	chronicle *audit.Chronicle
	stop      context.CancelFunc
	readers   sync.WaitGroup

	mu     sync.Mutex
	faults []string // what must not happen and did, outside of any one case
}

var joinToken = regexp.MustCompile(`\bkn1\S+`)

// newTown makes a cluster and waits until every node has a vote and takes instances.
func newTown(ctx context.Context, binary, dir, loopback string) (_ *town, err error) {
	t := &town{dir: dir, binary: binary, chronicle: audit.NewChronicle()}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	for i := range townSize {
		name := "crash" + strconv.Itoa(i+1)
		p := &peer{town: t, name: name, addr: loopback + "." + strconv.Itoa(i+1), dir: filepath.Join(dir, name), armed: map[string]string{},
			records: audit.Tail{Path: filepath.Join(dir, name, "sim.json")}}
		if err := os.MkdirAll(p.dir, 0o700); err != nil {
			return nil, err
		}
		if err := p.write(); err != nil {
			return nil, err
		}
		t.peers = append(t.peers, p)
	}
	if err := os.MkdirAll(t.shared(), 0o755); err != nil {
		return nil, err
	}
	tailing, stop := context.WithCancel(context.Background())
	t.stop = stop
	for _, p := range t.peers {
		t.readers.Go(func() { t.follow(tailing, p) })
	}
	first := t.peers[0]
	if err := first.start(append([]string{"init"}, first.flags()...)...); err != nil {
		return nil, err
	}
	t.api = newClient(t)
	if err := t.poll(ctx, func() error { return t.api.logIn(ctx, filepath.Join(first.dir, "clouds.yaml")) }); err != nil {
		return nil, err
	}
	for _, p := range t.peers[1:] {
		out, err := exec.CommandContext(ctx, binary, "node", "token", "create", "--data-dir", first.dir).Output()
		if err != nil {
			return nil, fmt.Errorf("make a join token: %w", err)
		}
		args := append([]string{"join", first.addr, "--token", string(joinToken.Find(out))}, p.flags()...)
		if err := p.start(args...); err != nil {
			return nil, err
		}
	}
	return t, t.complete(ctx)
}

// follow reads what a host writes down.
func (t *town) follow(ctx context.Context, p *peer) {
	for pause(ctx, tailEvery) {
		t.catchUp(p)
	}
	p.reading.Lock()
	defer p.reading.Unlock()
	p.records.Close()
}

// catchUp takes in all that hosts have written until now.
func (t *town) catchUp(peers ...*peer) {
	for _, p := range peers {
		p.reading.Lock()
		err := p.records.Read(func(e audit.Entry) { t.chronicle.Take(p.name, e) })
		p.reading.Unlock()
		if err != nil {
			t.fault("%v", err)
		}
	}
}

// shared is the directory that all nodes share.
func (t *town) shared() string { return filepath.Join(t.dir, "shared") }

// fault notes something that must not happen.
func (t *town) fault(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, fmt.Sprintf(format, args...))
}

// taken gives the faults since it was called last.
func (t *town) taken() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.faults
	t.faults = nil
	return all
}

// poll tries until it works or takes too long.
func (t *town) poll(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		if !pause(ctx, readyPoll) {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// complete waits until every node votes and takes instances, and each knows that of all others.
func (t *town) complete(ctx context.Context) error {
	return t.poll(ctx, func() error {
		for _, at := range t.peers {
			nodes, err := t.api.nodesAt(ctx, at)
			if err != nil {
				return err
			}
			ready := 0
			for _, n := range nodes {
				if (n.Raft == "leader" || n.Raft == "voter") && n.Status == "enabled" && n.State == "up" {
					ready++
				}
			}
			if ready < townSize {
				return fmt.Errorf("%d of %d nodes vote and take instances, as %s sees it: %+v", ready, townSize, at.name, nodes)
			}
		}
		return nil
	})
}

// leader finds the node that leads.
func (t *town) leader(ctx context.Context) (*peer, error) {
	nodes, err := t.api.nodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		if n.Raft == "leader" {
			return t.named(n.Name), nil
		}
	}
	return nil, errors.New("no node leads")
}

func (t *town) named(name string) *peer {
	for _, p := range t.peers {
		if p.name == name {
			return p
		}
	}
	return nil
}

// close ends the nodes.
func (t *town) close() {
	for _, p := range t.peers {
		p.end()
	}
	if t.stop != nil {
		t.stop()
	}
	t.readers.Wait()
	if t.api != nil {
		t.api.close()
	}
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
