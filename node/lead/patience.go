package lead

import (
	"sync"
	"time"
)

// How long to wait after a failure: doubled with each further one.
const (
	patienceFirst   = 250 * time.Millisecond
	patienceLongest = 30 * time.Second
)

// patience remembers what failed lately, by what it was. The zero value is ready; it is safe for concurrent use.
type patience struct {
	mu    sync.Mutex
	waits map[string]wait
}

type wait struct {
	pause time.Duration
	until time.Time
}

// due tells whether something may be tried now.
func (p *patience) due(what string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !time.Now().Before(p.waits[what].until)
}

// failed notes a failure and returns how long to wait.
func (p *patience) failed(what string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waits == nil {
		p.waits = map[string]wait{}
	}
	w := p.waits[what]
	w.pause = min(max(2*w.pause, patienceFirst), patienceLongest)
	w.until = time.Now().Add(w.pause)
	p.waits[what] = w
	return w.pause
}

// done forgets what went well.
func (p *patience) done(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waits, what)
}

// tidy forgets what nobody has tried again for a good while.
func (p *patience) tidy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for what, w := range p.waits {
		if time.Since(w.until) > patienceLongest {
			delete(p.waits, what)
		}
	}
}
