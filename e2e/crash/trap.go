package crash

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/kilonova/kilonova/e2e/cue"
)

// trap is a harm in its place.
type trap struct {
	point  string
	places []string // the point for the sake of each scope
	harm   cue.Harm
	hit    int
	peers  []*peer // where it is
	from   []int64 // as long as their traces were when it was put there
	file   string  // of a place that is made to wait

	mu     sync.Mutex
	sprung bool
}

// wasStruck tells whether the harm has happened.
func (p *play) wasStruck() bool {
	t := p.troupe.trap(p)
	if t == nil {
		return p.cue.Harm == cue.None
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sprung
}

// watch waits until the harm happens, and does what is left to do then.
func (t *trap) watch(ctx context.Context, p *play) {
	for pause(ctx, readyPoll) {
		if !t.springs() {
			continue
		}
		t.clear()
		if t.harm == cue.Leader {
			if err := p.troupe.town.usurp(ctx); err != nil && ctx.Err() == nil {
				p.troupe.town.fault("%s: kill the leader: %v", p.cue, err)
			}
			_ = os.Remove(t.file) // whoever waits may have been the leader
		}
		t.mu.Lock()
		t.sprung = true
		t.mu.Unlock()
		return
	}
}

// springs tells whether the harm happens now.
func (t *trap) springs() bool {
	switch t.harm {
	case kill:
		return slices.ContainsFunc(t.peers, func(p *peer) bool { return !p.has(t.places...) })
	case cue.Leader:
		return !absent(t.file)
	}
	for i, p := range t.peers {
		n := 0
		for _, h := range p.hits(t.from[i], p.traced()) {
			if h.point == t.point && slices.ContainsFunc(h.scopes, func(s string) bool { return slices.Contains(t.places, t.point+"@"+s) }) {
				n++
			}
		}
		if n >= t.hit {
			return true
		}
	}
	return false
}

// clear takes the trap away, and lets go on whoever is in it.
func (t *trap) clear() {
	for _, p := range t.peers {
		if err := p.disarm(t.places...); err != nil {
			p.town.fault("%v", err)
		}
	}
	if t.file != "" && t.harm != cue.Leader {
		_ = os.Remove(t.file)
	}
}

// has tells whether a harm is still in all its places.
func (p *peer) has(places ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, place := range places {
		if _, ok := p.armed[place]; !ok {
			return false
		}
	}
	return true
}

// hit is one time that a daemon came by a place.
type hit struct {
	point  string
	scopes []string
}

// traced is how long the trace of a daemon is, in bytes.
func (p *peer) traced() int64 {
	info, err := os.Stat(p.trace())
	if err != nil {
		return 0
	}
	return info.Size()
}

// hits reads a part of the trace.
func (p *peer) hits(from, to int64) []hit {
	text, err := os.ReadFile(p.trace())
	if err != nil || int64(len(text)) < to {
		return nil
	}
	var all []hit
	for line := range bytes.Lines(text[from:to]) {
		if words := strings.Fields(string(line)); len(words) > 0 {
			all = append(all, hit{words[0], words[1:]})
		}
	}
	return all
}
