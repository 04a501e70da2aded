package crash

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kilonova/kilonova/virt"
)

// chronicle is all that the simulated hosts ever did. They write down when the processors of a guest began to run and for how long they
// did, on one clock, so it does not matter when that is read. It is safe for concurrent use.
type chronicle struct {
	mu    sync.Mutex
	now   map[string]map[string]*held // by host and instance
	spans map[string][]span           // by instance
	boots map[string]map[int64]bool   // by instance: the moments when its own root disk was booted
}

// span is a time in which the processors of a guest ran on one host.
type span struct {
	host string
	on   time.Time // when the boot began that it is part of
	from time.Time
	ran  time.Duration // before from
	to   time.Time     // zero: they still do
}

func newChronicle() *chronicle {
	return &chronicle{now: map[string]map[string]*held{}, spans: map[string][]span{}, boots: map[string]map[int64]bool{}}
}

// take notes what a host wrote.
func (c *chronicle) take(host string, e entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now[host] == nil {
		c.now[host] = map[string]*held{}
	}
	if e.Record == nil {
		delete(c.now[host], e.ID)
	} else {
		c.now[host][e.ID] = e.Record
	}
	c.closeSpan(host, e)
	if !e.Record.runs() {
		return
	}
	b := e.Record.last()
	open := slices.ContainsFunc(c.spans[e.ID], func(s span) bool { return s.host == host && s.from.Equal(b.Since) })
	if !open {
		c.spans[e.ID] = append(c.spans[e.ID], span{host: host, on: b.On, from: b.Since, ran: b.Ran})
	}
	if c.boots[e.ID] == nil {
		c.boots[e.ID] = map[int64]bool{}
	}
	if e.Record.root() != nil && e.Record.disk(virt.DiskRescue) == nil {
		c.boots[e.ID][b.On.UnixNano()] = true
	}
}

// closeSpan ends what ran on the host before, if it does not any more.
func (c *chronicle) closeSpan(host string, e entry) {
	all := c.spans[e.ID]
	i := slices.IndexFunc(all, func(s span) bool { return s.host == host && s.to.IsZero() })
	if i < 0 {
		return
	}
	s := &all[i]
	switch {
	case e.Record == nil:
		s.to = time.Now() // it was thrown away while it ran, and did not say when
	case !e.Record.runs() || !e.Record.last().Since.Equal(s.from):
		s.to = s.from.Add(e.Record.ranOf(s) - s.ran)
	}
}

// ranOf is how long the boot that a span is part of had run at the end of the span. A boot that the host does not know any more is
// taken to have ended at once.
func (h *held) ranOf(s *span) time.Duration {
	for _, b := range h.Boots {
		if b.On.Equal(s.on) {
			return b.Ran
		}
	}
	return s.ran
}

// twice lists when an instance ran on two hosts at the same time.
func (c *chronicle) twice() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, id := range slices.Sorted(maps.Keys(c.spans)) {
		spans := slices.SortedFunc(slices.Values(c.spans[id]), func(a, b span) int { return a.from.Compare(b.from) })
		for i := 1; i < len(spans); i++ {
			for _, before := range spans[:i] {
				if before.host != spans[i].host && (before.to.IsZero() || before.to.After(spans[i].from)) {
					all = append(all, fmt.Sprintf("instance %s ran on %s until %s and on %s from %s", id, before.host, clock(before.to), spans[i].host, clock(spans[i].from)))
				}
			}
		}
	}
	return all
}

// forget lets past spans go, of which all is said.
func (c *chronicle) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.spans)
	clear(c.boots)
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "now"
	}
	return t.Format("15:04:05.000000")
}

// on gives what each host holds of an instance at this moment.
func (c *chronicle) on(id string) map[string]*held {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]*held{}
	for host, of := range c.now {
		if h := of[id]; h != nil {
			all[host] = h
		}
	}
	return all
}

// hosts gives what each host holds at this moment, by host and instance.
func (c *chronicle) hosts() map[string]map[string]*held {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]map[string]*held{}
	for host, of := range c.now {
		all[host] = maps.Clone(of)
	}
	return all
}

// booted counts how often an instance's own disk was booted, wherever that was.
func (c *chronicle) booted(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.boots[id])
}
