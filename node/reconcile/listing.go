package reconcile

import (
	"context"
	"maps"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// How often the hypervisor is listed.
const (
	relistEvery = 10 * time.Second       // events may be lost
	relistPause = 100 * time.Millisecond // between two listings asked for by events, at least
	relistShare = 50                     // a listing asked for by events waits this many times as long as listings take
	relistBurst = 4                      // listings asked for by events that need not wait, after a rest
)

// due is when the loop looks at everything again.
type due struct {
	surveyed time.Time     // when every instance was looked at last
	begun    int           // listings of the hypervisor
	listings int           // the newest of them that was taken in
	listing  time.Duration // how long one takes
	relistAt time.Time     // when the next one is begun
	paidTill time.Time     // listings until now have used up the time until then; see relistBurst
}

// listing is one look at the hypervisor. It is made beside the loop: it waits for every domain that libvirt is busy with, for as long as
// a guest takes to start, and the other guests' users would wait with it.
type listing struct {
	number  int
	start   time.Time
	touched map[cluster.InstanceID]struct{} // a worker had them meanwhile; owned by the loop

	// Valid once it is taken in.
	domains []virt.Domain
	err     error
	end     time.Time
}

// hint makes the loop look at what the hypervisor spoke of.
func (l *Loop) hint(e virt.Event) {
	if e.ID != "" {
		l.dirty[e.ID] = struct{}{}
	}
	if soonest := l.eager(); soonest.Before(l.relistAt) {
		l.relistAt = soonest
	}
}

// relistCost is how much time one listing that events asked for uses up. An event is a hint, and many come at once.
func (d *due) relistCost() time.Duration { return max(relistPause, relistShare*d.listing) }

// eager is when events may have the hypervisor listed next. One guest that goes off sends two or three within milliseconds, and its user
// waits: the first few after a rest are followed at once, and only more than that have to wait.
func (d *due) eager() time.Time { return d.paidTill.Add(-(relistBurst - 1) * d.relistCost()) }

// listedAt takes note of a listing. One that waited for a domain does not say how long listings take: such a claim is believed by and by.
func (d *due) listedAt(start, end time.Time) {
	took := end.Sub(start)
	if d.listing > 0 {
		took = min(took, 2*d.listing)
	}
	d.listing = took
	if d.paidTill.Before(end) {
		d.paidTill = end
	}
	d.paidTill = d.paidTill.Add(d.relistCost())
	if most := end.Add(relistEvery); d.paidTill.After(most) { // it is listed then, anyway
		d.paidTill = most
	}
}

// list begins to look at the hypervisor when that is due.
func (l *Loop) list(ctx context.Context) {
	now := time.Now()
	if l.underway != nil || now.Before(l.relistAt) {
		return
	}
	l.begun++
	f := &listing{number: l.begun, start: now, touched: map[cluster.InstanceID]struct{}{}}
	l.underway, l.relistAt = f, now.Add(relistEvery)
	l.workers.Go(func() {
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		f.domains, f.err = l.Driver.Domains(bounded)
		f.end = time.Now()
		select {
		case l.listed <- f:
		case <-ctx.Done():
		}
	})
}

// untilList is how long until the next listing is to be begun.
func (l *Loop) untilList(now time.Time) time.Duration {
	if l.underway != nil {
		return relistEvery // its end wakes the loop
	}
	return l.relistAt.Sub(now)
}

// touch says that a listing under way may have seen an instance before or after something was done to it.
func (l *Loop) touch(id cluster.InstanceID) {
	if l.underway != nil {
		l.underway.touched[id] = struct{}{}
	}
}

// take takes in what was listed. Without an answer the old picture stays, and nothing is concluded from it that was not so before.
func (l *Loop) take(f *listing) {
	l.underway = nil
	if f.err != nil {
		l.Log.Warn("list the domains", "err", f.err)
		if again := f.end.Add(retryAfter); again.Before(l.relistAt) {
			l.relistAt = again
		}
		return
	}
	first := !l.answered
	fresh := make(map[cluster.InstanceID]virt.Domain, len(f.domains))
	for _, d := range f.domains {
		fresh[d.ID] = d
	}
	for id, m := range l.memory {
		if m.busy {
			l.keepOld(id, fresh)
		}
	}
	for id := range f.touched {
		l.keepOld(id, fresh)
	}
	for id, d := range fresh {
		if old, ok := l.observed[id]; first || !ok || old != d {
			l.dirty[id] = struct{}{}
		}
	}
	for id := range l.observed {
		if _, ok := fresh[id]; !ok {
			l.dirty[id] = struct{}{}
		}
	}
	l.observed, l.answered, l.listings = fresh, true, f.number
	l.listedAt(f.start, f.end)
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.quarantined, func(id cluster.InstanceID, _ string) bool { _, there := fresh[id]; return !there })
}

// keepOld lets what a worker did just now stand: it knows better.
func (l *Loop) keepOld(id cluster.InstanceID, fresh map[cluster.InstanceID]virt.Domain) {
	if old, ok := l.observed[id]; ok {
		fresh[id] = old
	} else {
		delete(fresh, id)
	}
}
