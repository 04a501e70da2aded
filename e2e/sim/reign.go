package sim

import (
	"context"
	"sync"

	"github.com/kilonova/kilonova/cluster"
)

// run elects leaders and lets them reign until ctx ends.
func (l *ledger) run(ctx context.Context) {
	for {
		l.mu.Lock()
		term := l.term
		l.mu.Unlock()
		if !pause(ctx, l.w.dice.between(leastElection, mostElection, "election", term, l.w.now())) {
			return
		}
		l.mu.Lock()
		d, changed := l.candidate(), l.changed
		l.mu.Unlock()
		if d != nil {
			l.reign(ctx, d)
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// candidate is who would win an election now: any voter that a majority of the voters can reach. A winner has
// everything that is committed, since the majority has.
func (l *ledger) candidate() *daemon {
	var able []*daemon
	for _, m := range l.w.voters() {
		if d := m.running(); d != nil && l.reigns(d) {
			able = append(able, d)
		}
	}
	if len(able) == 0 {
		return nil
	}
	return able[l.w.dice.below(len(able), "candidate", l.term, l.w.now())]
}

// reigns tells whether a majority of the voters is with a daemon that is alive.
func (l *ledger) reigns(d *daemon) bool {
	if d.machine.running() != d {
		return false
	}
	with := 0
	for _, v := range l.w.voters() {
		if v.running() != nil && l.w.net.reaches(d.machine, v) {
			with++
		}
	}
	return with > len(l.w.voters())/2
}

// reign is one term.
func (l *ledger) reign(ctx context.Context, d *daemon) {
	if !l.crown(d) {
		return
	}
	index, _ := l.horizon(d)
	d.replica.advance(index)
	term, end := context.WithCancel(ctx)
	var duties sync.WaitGroup
	duties.Go(func() { l.w.lead(term, d) })
	for l.round(ctx, d) {
	}
	lost := l.dethrone()
	end()
	for _, p := range lost {
		p.release()
		p.done <- answer{err: errLost}
	}
	duties.Wait()
}

func (l *ledger) crown(d *daemon) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.reigns(d) {
		return false
	}
	l.loseTail()
	l.term++
	l.leader, l.deposed = d, false
	l.w.trace("machine %d leads in term %d", d.machine.number, l.term)
	l.announce()
	return true
}

// loseTail is a planted bug.
func (l *ledger) loseTail() {
	const tail = 2
	if l.w.cfg.Bug != BugLostTail || l.term < 2 || len(l.entries) < 50 {
		return
	}
	l.w.rebuild(l, len(l.entries)-tail)
}

func (l *ledger) dethrone() []*proposal {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := l.queue
	l.leader, l.queue = nil, nil
	l.announce()
	return lost
}

// depose makes the leader step down at its next step.
func (l *ledger) depose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deposed = true
	l.announce()
}

// round waits for proposals and commits them as one entry. It returns false when the term is over.
func (l *ledger) round(ctx context.Context, d *daemon) bool {
	l.mu.Lock()
	fit, changed, waiting := l.reigns(d) && !l.deposed, l.changed, len(l.queue)
	l.mu.Unlock()
	if !fit || ctx.Err() != nil {
		return false
	}
	if waiting == 0 {
		select {
		case <-l.kick:
		case <-changed:
		case <-ctx.Done():
		}
		return true
	}
	l.mu.Lock()
	n := min(len(l.queue), maxBatch)
	batch := append([]*proposal(nil), l.queue[:n]...)
	l.queue = append([]*proposal(nil), l.queue[n:]...)
	l.mu.Unlock()

	alive := pause(ctx, l.w.dice.between(leastCommit, mostCommit, "commit", l.w.now()))
	l.mu.Lock()
	fit = alive && l.reigns(d) && !l.deposed
	l.mu.Unlock()
	if !fit {
		// The next leader may have got the entry, or not. Nobody was told.
		if alive && l.w.dice.chance(50, "entry survives", l.w.now()) {
			l.enter(batch)
		}
		for _, p := range batch {
			p.release()
			p.done <- answer{err: errLost}
		}
		return false
	}
	results := l.enter(batch)
	index, _ := l.horizon(d)
	d.replica.advance(index)
	for i, p := range batch {
		p.release()
		p.done <- answer{result: results[i]}
	}
	return true
}

func (l *ledger) enter(batch []*proposal) []cluster.Result {
	commands := make([]cluster.Command, len(batch))
	for i, p := range batch {
		commands[i] = p.command
	}
	return l.commit(commands)
}
