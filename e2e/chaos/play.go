package chaos

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// report is what came of a plan.
type report struct {
	faults  []string
	settled time.Duration
	harms   map[string]int
	deeds   map[string]int
}

// settleLimit is within how long after the last harm the cluster has to be sound again.
const settleLimit = time.Minute

// play plays a plan on a cluster that it makes, and takes away. It keeps in dir what is needed to find out what went wrong.
func play(ctx context.Context, p plan, binary, dir string) (r report, err error) {
	t, err := openTown(ctx, p, binary, dir)
	if err != nil {
		return r, err
	}
	defer func() {
		if len(r.faults) > 0 {
			t.keepStates()
		}
		if cerr := t.close(); err == nil {
			err = cerr
		}
	}()
	t.said.say("seed %d: %+v", p.seed, p)
	r.harms = t.hurtFor(ctx, p)
	r.settled, r.faults = t.settle(ctx)
	t.said.say("sound again after %s: %t", r.settled, len(r.faults) == 0)
	for i, f := range r.faults {
		r.faults[i] = fmt.Sprintf("%s after the last harm: %s", r.settled.Round(time.Second), f)
	}
	deeds, err := t.history.all()
	if err != nil {
		return r, err
	}
	r.deeds = tally(deeds)
	r.faults = append(r.faults, t.judge(ctx, deeds)...)
	if len(r.faults) == 0 {
		r.faults = t.lastSlot(ctx)
	}
	if len(r.faults) == 0 {
		if err := t.sweep(ctx); err != nil {
			r.faults = append(r.faults, err.Error())
		}
		_, faults := t.settle(ctx)
		r.faults = append(r.faults, faults...)
	}
	t.unwatch()
	t.watch.Wait()
	r.faults = append(append(r.faults, t.chronicle.Twice()...), t.found()...)
	return r, nil
}

// hurtFor lets clients work while the nemesis hurts, and waits until the harms are mended and the clients have ended.
func (t *town) hurtFor(ctx context.Context, p plan) map[string]int {
	hurting, stop := context.WithTimeout(ctx, p.duration)
	defer stop()
	var all sync.WaitGroup
	working, rest := context.WithCancel(ctx)
	crowd := &crowd{}
	for i := range p.clients {
		c := &client{town: t, number: i, crowd: crowd, dice: rand.New(rand.NewPCG(p.seed, uint64(100+i)))}
		all.Go(func() { c.work(working, ctx) })
	}
	n := newNemesis(t, p)
	n.run(hurting, ctx)
	rest()
	all.Wait()
	return n.counts
}

// judge holds what clients were told against what is there.
func (t *town) judge(ctx context.Context, deeds []Deed) []string {
	a, err := t.account(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	servers, volumes := left(a)
	faults := broken(deeds, kindCreate, kindDelete, servers)
	faults = append(faults, broken(deeds, kindVolume, kindVolumeDelete, volumes)...)
	faults = append(faults, strange(deeds)...)
	return append(faults, disordered(deeds)...)
}

// keepStates copies the logs and the daemons' data to where they outlive the hosts.
func (t *town) keepStates() {
	for _, p := range t.peers {
		into := filepath.Join(t.dir, p.Name())
		from := []string{p.Host.LogDir()}
		if data, err := p.Host.Path(p.Host.DataDir()); err == nil {
			from = append(from, data)
		}
		if err := os.MkdirAll(into, 0o755); err != nil {
			t.said.say("keep the state of %s: %v", p.Name(), err)
			continue
		}
		for _, dir := range from {
			if out, err := exec.Command("cp", "-a", dir, into).CombinedOutput(); err != nil {
				t.said.say("keep %s: %v: %s", dir, err, out)
			}
		}
	}
}

// write tells what came of it.
func (r report) write(out io.Writer) {
	fmt.Fprintf(out, "harms: %v\ndeeds: %v\nsound %s after the last harm\n", r.harms, r.deeds, r.settled.Round(time.Second/10))
}
