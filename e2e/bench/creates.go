package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// What is promised of creates.
const (
	minCreatesPerSecond = 1000
	maxSyncsPerCreate   = 0.1

	creators        = 64
	profileDuration = 12 // seconds
)

// measureCreates has many clients create servers, each in a request of its own, first through all nodes in turn, then through the
// leader alone.
func measureCreates(ctx context.Context, b *bench) error {
	t, err := b.town(ctx)
	if err != nil {
		return err
	}
	s, err := t.stage(ctx)
	if err != nil {
		return err
	}
	leader, err := t.leader(ctx)
	if err != nil {
		return err
	}
	for _, through := range []struct {
		name string
		urls []string
	}{{"all nodes in turn", t.urls()}, {"the leader", []string{leader.url()}}} {
		load := newLoad(t.admin, through.urls)
		err := b.runCreates(ctx, through.name, t, s, load)
		load.close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) runCreates(ctx context.Context, through string, t *town, s *scene, load *load) error {
	if _, err := load.run(ctx, s, creators); err != nil { // opens the connections
		return err
	}
	leader, err := t.leader(ctx)
	if err != nil {
		return err
	}
	at := t.admin.at(leader.url())
	defer at.close()
	wait := b.profile(ctx, t)
	defer wait()
	var rates, syncs, batches, cpu []float64
	w, err := startWatch(b.dir, t.pids())
	if err != nil {
		return err
	}
	for range b.runs {
		before, err := at.logWork(ctx)
		if err != nil {
			return err
		}
		var took time.Duration
		used, err := t.cpuDuring(func() (err error) { took, err = load.run(ctx, s, b.creates); return err })
		if err != nil {
			return err
		}
		after, err := at.logWork(ctx)
		if err != nil {
			return err
		}
		var all time.Duration
		for _, u := range used {
			all += u
		}
		n := float64(b.creates)
		rates = append(rates, n/took.Seconds())
		syncs = append(syncs, (after.syncs-before.syncs)/n)
		batches = append(batches, n/(after.entries-before.entries))
		cpu = append(cpu, millis(all)/n)
		if err := t.waitActive(ctx); err != nil {
			return err
		}
	}
	during := w.stop()
	name := func(what string) string { return strconv.Itoa(creators) + " clients through " + through + ", " + what }
	b.add(
		figure{Name: name("creates"), Unit: "/s", Values: rates, Limit: minCreatesPerSecond, AtLeast: true, During: during},
		figure{Name: name("fdatasync of the leader per create"), Values: syncs, Limit: maxSyncsPerCreate, During: during},
		figure{Name: name("creates per log entry"), Values: batches, During: during},
		figure{Name: name("processor time of three nodes per create"), Unit: "ms", Values: cpu, During: during},
	)
	return nil
}

// logWork is what a leader has done for the log since its start.
type logWork struct {
	syncs, entries float64
}

func (c *client) logWork(ctx context.Context) (w logWork, err error) {
	if w.syncs, err = c.metric(ctx, "kilonova_raft_syncs_total"); err != nil {
		return w, err
	}
	w.entries, err = c.metric(ctx, "kilonova_raft_entry_commands_count")
	return w, err
}

// load is many clients, each with a kept connection to every node that it uses.
type load struct {
	clients [][]*client
	names   atomic.Int64
}

func newLoad(admin *client, urls []string) *load {
	l := &load{}
	for range creators {
		var one []*client
		for _, url := range urls {
			one = append(one, admin.at(url))
		}
		l.clients = append(l.clients, one)
	}
	return l
}

// run makes n servers, each client one after the other and at its nodes in turn, and says how long all took. Every one must be
// acknowledged.
func (l *load) run(ctx context.Context, s *scene, n int) (time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var taken atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for i, nodes := range l.clients {
		wg.Go(func() {
			for turn := i; taken.Add(1) <= int64(n) && ctx.Err() == nil; turn++ {
				name := fmt.Sprintf("bench-%d", l.names.Add(1))
				if err := nodes[turn%len(nodes)].post(ctx, "/compute/v2.1/servers", s.server(name, 1), nil); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start), context.Cause(ctx)
}

func (l *load) close() {
	for _, one := range l.clients {
		for _, c := range one {
			c.close()
		}
	}
}

// profile begins to write a CPU profile of each node, if that was asked for. The function that it returns waits for them.
func (b *bench) profile(ctx context.Context, t *town) (wait func()) {
	var wg sync.WaitGroup
	if b.profiles == "" {
		return wg.Wait
	}
	for _, p := range t.peers {
		wg.Go(func() {
			if err := p.profile(ctx, filepath.Join(b.profiles, p.name+".pprof")); err != nil {
				b.note("profile %s: %v", p.name, err)
			}
		})
	}
	return wg.Wait
}

// profile asks a node for its CPU profile over the socket that is root's.
func (p *peer) profile(ctx context.Context, path string) error {
	local := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(p.dir, "kilonova.sock"))
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node/debug/pprof/profile?seconds="+strconv.Itoa(profileDuration), nil)
	if err != nil {
		return err
	}
	resp, err := local.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	profile, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, profile, 0o644)
}
