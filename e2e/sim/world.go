package sim

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// Limits of how large a cluster is looked at in full, and how many vote.
const (
	maxThorough = 16 // machines
	maxVoters   = 5
)

// World is one simulated cluster and its surroundings.
type World struct {
	cfg        Config
	dice       dice
	began      time.Time
	machines   []*machine
	byID       map[cluster.NodeID]*machine
	net        *network
	gossip     *gossip
	ledger     *ledger
	records    *records
	promises   *promises
	blobs      *blobs
	peaceful   atomic.Bool   // no faults are made at the moment
	slandering atomic.Bool   // an operator gives up a machine that lives
	index      atomic.Uint64 // of the log

	mu        sync.Mutex
	violation *Violation
	stop      context.CancelFunc
}

// Run makes one run. It has to be called inside a synctest bubble, and leaves no goroutine behind.
func Run(ctx context.Context, cfg Config) (Report, error) {
	w := &World{
		dice: dice(mix(cfg.Seed + 1)), began: time.Now(), byID: map[cluster.NodeID]*machine{}, net: &network{open: map[*spanned]struct{}{}},
		records: newRecords(), promises: newPromises(),
	}
	cfg.fill(w.dice)
	w.cfg = cfg
	dir, err := os.MkdirTemp("", "kilonova-sim-")
	if err != nil {
		return Report{}, fmt.Errorf("simulate seed %d: %w", cfg.Seed, err)
	}
	defer os.RemoveAll(dir)
	w.blobs = newBlobs(dir)
	w.gossip, w.ledger = newGossip(w), newLedger(w)
	if err := w.equip(); err != nil {
		return Report{}, fmt.Errorf("simulate seed %d: %w", cfg.Seed, err)
	}
	ctx, w.stop = context.WithCancel(ctx)
	w.found()

	var all sync.WaitGroup
	all.Go(func() { w.ledger.run(ctx) })
	all.Go(func() { w.gossip.run(ctx) })
	all.Go(func() { w.watch(ctx) })
	for _, m := range w.machines {
		m.start(ctx)
		if w.leased() {
			all.Go(func() { m.watch(ctx) })
		}
	}
	report := Report{Seed: cfg.Seed, Nodes: cfg.Nodes}
	for round := range cfg.Rounds {
		report.Faults += w.round(ctx, round)
		if ctx.Err() != nil {
			break
		}
		report.Rounds++
	}
	report.Virtual = time.Since(w.began)
	w.stop()
	for _, m := range w.machines {
		m.stop()
	}
	all.Wait()
	for _, m := range w.machines {
		m.driver.close()
	}
	v := w.ledger.latest()
	report.Entries, report.Hash = v.Index(), v.Hash()
	report.Acknowledged, report.Starts, report.Broken = w.promises.acks, w.records.starts, w.violation
	return report, nil
}

func (w *World) equip() error {
	for i := range w.cfg.Nodes {
		m := &machine{w: w, number: i, id: cluster.NodeID(uuid(0, w.dice.draw("node", uint64(i)))), settled: "boot-0"}
		m.shelf = &shelf{w: w, number: i, have: map[cluster.Hash]bool{{9}: i == 0}}
		var err error
		if m.driver, err = newDriver(w, m); err != nil {
			return err
		}
		m.powerUp()
		w.machines = append(w.machines, m)
		w.byID[m.id] = m
		w.records.limits[m.id] = capacity.Limit()
	}
	return nil
}

// round lets clients and the nemesis at the cluster, then takes the faults away and waits for rest. It returns how many
// faults were made.
func (w *World) round(ctx context.Context, number int) int {
	busy, end := context.WithTimeout(ctx, w.cfg.Faults)
	defer end()
	w.peaceful.Store(false)
	var clients sync.WaitGroup
	for i := range w.cfg.Clients {
		c := newClient(w, number*w.cfg.Clients+i)
		clients.Go(func() { c.run(busy, ctx) })
	}
	n := newNemesis(w, number)
	n.run(busy, ctx)
	w.peaceful.Store(true)
	w.heal(ctx)
	clients.Wait()
	n.side.Wait()
	w.rest(ctx)
	w.loss(ctx, number)
	return n.faults
}

// calm tells whether no faults are made at the moment.
func (w *World) calm() bool { return w.peaceful.Load() }

// now is the virtual time since the beginning, in nanoseconds.
func (w *World) now() uint64 { return uint64(time.Since(w.began)) }

// thorough tells whether the cluster is small enough to look at all of it at each index.
func (w *World) thorough() bool { return len(w.machines) <= maxThorough }

// leased tells whether nodes hold leases: by the thousand they would renew theirs all the time.
func (w *World) leased() bool { return w.thorough() && !w.cfg.NoLeases }

// every is how often, in entries, something is done that takes longer the larger the cluster is.
func (w *World) every(n uint64) uint64 {
	if w.thorough() {
		return n
	}
	return n * sampleEvery
}

func (w *World) voters() []*machine { return w.machines[:min(len(w.machines), maxVoters)] }

// trace tells what happens, when somebody asked to hear it.
func (w *World) trace(format string, args ...any) {
	if w.cfg.Trace == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = fmt.Fprintf(w.cfg.Trace, "%14.9f %s\n", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...))
}

// broken ends the run: a promise was not kept. Only the first one counts.
func (w *World) broken(c Check, format string, args ...any) {
	w.trace("broken: %s", c)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.violation != nil {
		return
	}
	w.violation = &Violation{Check: c, What: fmt.Sprintf(format, args...), After: time.Since(w.began), Index: w.index.Load()}
	w.stop()
}
