package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kilonova/kilonova/virt"
)

// Chronicle is all that the simulated hosts ever did. They write down when the processors of a guest began to run and for how long they
// did, on one clock, so it does not matter when that is read. It is safe for concurrent use.
type Chronicle struct {
	mu    sync.Mutex
	now   map[string]map[string]*Held // by host and instance
	spans map[string][]span           // by instance, and by volume
	boots map[string]map[int64]bool   // by instance: the moments when its own root disk was booted
	gaps  map[string][]gap            // by instance
}

// gap is a time in which a guest counts as ended, whatever its host wrote.
type gap struct {
	host     string
	from, to time.Time // zero: it goes on
}

// span is a time in which the processors of a guest ran on one host; of a volume: while the guest had it.
type span struct {
	host string
	id   string    // of the instance
	on   time.Time // when the boot began that it is part of

	since time.Time     // when the processors began to run
	ran   time.Duration // before that
	from  time.Time     // since, or when the guest got the volume
	to    time.Time     // zero: it goes on
}

// NewChronicle makes an empty one.
func NewChronicle() *Chronicle {
	return &Chronicle{now: map[string]map[string]*Held{}, spans: map[string][]span{}, boots: map[string]map[int64]bool{}, gaps: map[string][]gap{}}
}

// Take notes what a host wrote.
func (c *Chronicle) Take(host string, e Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now[host] == nil {
		c.now[host] = map[string]*Held{}
	}
	if e.Record == nil {
		delete(c.now[host], e.ID)
	} else {
		c.now[host][e.ID] = e.Record
	}
	c.closeSpan(e.ID, host, e, true)
	for _, key := range c.volumesOf(host, e.ID) {
		c.closeSpan(key, host, e, e.Record.has(key))
	}
	if !e.Record.Runs() {
		return
	}
	now := e.Record.Last()
	from := now.Since
	if !c.openSpan(e.ID, host, e, from) {
		from = time.Now() // a volume that is new was plugged in while it ran
	}
	for _, v := range e.Record.Storage.Volumes {
		c.openSpan(volumeKey+v.ID, host, e, from)
	}
	if c.boots[e.ID] == nil {
		c.boots[e.ID] = map[int64]bool{}
	}
	if e.Record.Root() != nil && e.Record.Disk(virt.DiskRescue) == nil {
		c.boots[e.ID][now.On.UnixNano()] = true
	}
}

const (
	volumeKey = "volume " // begins the key of a volume's spans

	// unplugging is how long before it is read that a volume is gone it may have gone: that is not written down.
	unplugging = 3 * time.Second
)

// volumesOf are the keys of the volumes that an instance has on a host.
func (c *Chronicle) volumesOf(host, id string) (keys []string) {
	for key, all := range c.spans {
		open := func(s span) bool { return s.host == host && s.id == id && s.to.IsZero() }
		if strings.HasPrefix(key, volumeKey) && slices.ContainsFunc(all, open) {
			keys = append(keys, key)
		}
	}
	return keys
}

// has tells whether a record has the volume of a key.
func (h *Held) has(key string) bool {
	return h != nil && slices.ContainsFunc(h.Storage.Volumes, func(v struct {
		ID string `json:"id"`
	}) bool {
		return volumeKey+v.ID == key
	})
}

// openSpan begins what runs on the host now, and tells that it was not known before.
func (c *Chronicle) openSpan(key, host string, e Entry, from time.Time) bool {
	b := e.Record.Last()
	known := func(s span) bool {
		return s.host == host && s.id == e.ID && s.since.Equal(b.Since) && (key == e.ID || s.to.IsZero())
	}
	if slices.ContainsFunc(c.spans[key], known) {
		return false
	}
	c.spans[key] = append(c.spans[key], span{host: host, id: e.ID, on: b.On, since: b.Since, ran: b.Ran, from: from})
	return true
}

// closeSpan ends what ran on the host before, if it does not any more, or has the volume of the key no more.
func (c *Chronicle) closeSpan(key, host string, e Entry, has bool) {
	all := c.spans[key]
	i := slices.IndexFunc(all, func(s span) bool { return s.host == host && s.id == e.ID && s.to.IsZero() })
	if i < 0 {
		return
	}
	s := &all[i]
	switch {
	case e.Record == nil:
		s.to = time.Now() // it was thrown away while it ran, and did not say when
	case !e.Record.Runs() || !e.Record.Last().Since.Equal(s.since):
		s.to = s.since.Add(e.Record.ranOf(s) - s.ran)
	case !has:
		s.to = time.Now().Add(-unplugging)
	}
}

// ranOf is how long the boot that a span is part of had run at the end of the span. A boot that the host does not know any more is
// taken to have ended at once.
func (h *Held) ranOf(s *span) time.Duration {
	for _, b := range h.Boots {
		if b.On.Equal(s.on) {
			return b.Ran
		}
	}
	return s.ran
}

// Twice lists when an instance ran on two hosts at the same time, and when two guests had the same volume.
func (c *Chronicle) Twice() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, key := range slices.Sorted(maps.Keys(c.spans)) {
		spans := slices.SortedFunc(slices.Values(c.spans[key]), func(a, b span) int { return a.from.Compare(b.from) })
		for i, s := range spans {
			for _, before := range spans[:i] {
				if (before.host != s.host || before.id != s.id) && c.meet(before, s) {
					all = append(all, twice(key, before, s))
				}
			}
		}
	}
	return all
}

func twice(key string, a, b span) string {
	if volume, ok := strings.CutPrefix(key, volumeKey); ok {
		return fmt.Sprintf("volume %s had %s on %s until %s and %s on %s from %s", volume, a.id, a.host, clock(a.to), b.id, b.host, clock(b.from))
	}
	return fmt.Sprintf("instance %s ran on %s until %s and on %s from %s", key, a.host, clock(a.to), b.host, clock(b.from))
}

// meet tells whether both spans, of which the first begins no later, have a moment in common in which neither guest counts as ended.
func (c *Chronicle) meet(a, b span) bool {
	at, end := b.from, a.to
	if end.IsZero() || !b.to.IsZero() && b.to.Before(end) {
		end = b.to
	}
	var gaps []gap
	for _, s := range []span{a, b} {
		gaps = append(gaps, slices.DeleteFunc(slices.Clone(c.gaps[s.id]), func(g gap) bool { return g.host != s.host })...)
	}
	slices.SortFunc(gaps, func(x, y gap) int { return x.from.Compare(y.from) })
	for _, g := range gaps {
		switch {
		case !g.to.IsZero() && !g.to.After(at):
			continue
		case g.from.After(at):
			return end.IsZero() || end.After(at)
		case g.to.IsZero():
			return false
		}
		at = g.to
	}
	return end.IsZero() || end.After(at)
}

// CutPower ends all that ran on a host. What the host writes when it has power again, it believes only.
func (c *Chronicle) CutPower(host string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, all := range c.spans {
		for i := range all {
			if s := &all[i]; s.host == host && s.to.IsZero() {
				s.to = at
			}
		}
	}
}

// Wipe says that a host without power has lost all that it held.
func (c *Chronicle) Wipe(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.now, host)
}

// Ended says that a guest is to be taken for ended on a host from a moment on, since a watchdog, which simulated hosts have none of, would have
// killed it. Said again before MayRun, it changes nothing.
func (c *Chronicle) Ended(host, id string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	open := func(g gap) bool { return g.host == host && g.to.IsZero() }
	if !slices.ContainsFunc(c.gaps[id], open) {
		c.gaps[id] = append(c.gaps[id], gap{host: host, from: at})
	}
}

// MayRun takes back what Ended said, from a moment on.
func (c *Chronicle) MayRun(host, id string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.gaps[id] {
		if g := &c.gaps[id][i]; g.host == host && g.to.IsZero() {
			g.to = at
		}
	}
}

// Forget lets past spans go, of which all is said.
func (c *Chronicle) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.spans)
	clear(c.boots)
	clear(c.gaps)
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "now"
	}
	return t.Format("15:04:05.000000")
}

// On gives what each host holds of an instance at this moment.
func (c *Chronicle) On(id string) map[string]*Held {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]*Held{}
	for host, of := range c.now {
		if h := of[id]; h != nil {
			all[host] = h
		}
	}
	return all
}

// Hosts gives what each host holds at this moment, by host and instance.
func (c *Chronicle) Hosts() map[string]map[string]*Held {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]map[string]*Held{}
	for host, of := range c.now {
		all[host] = maps.Clone(of)
	}
	return all
}

// Booted counts how often an instance's own disk was booted, wherever that was.
func (c *Chronicle) Booted(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.boots[id])
}
