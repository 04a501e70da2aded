package admission

import (
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// patience is how long a request waits in a burst, shortPatience in a queue that has stood for longer than standing.
	patience      = 2 * time.Second
	shortPatience = 250 * time.Millisecond
	standing      = time.Second

	// The seats are counted anew after this time, when at least so many requests were answered in it.
	period     = 250 * time.Millisecond
	fewAnswers = 8
)

// hall has the seats of one class.
type hall struct {
	limits Limits

	mu      sync.Mutex
	seats   int // how many there are, without the reserve
	taken   int // of them; may be above seats for a while after they became fewer
	reserve int // taken of the reserve

	lanes   map[Guest]*lane // that hold seats or wait
	turns   []*lane         // that wait, in the order of their turns
	waiting int
	admins  int       // of them, for whom there is the reserve
	stood   time.Time // since when somebody has been waiting; zero: nobody is

	pressed    bool // somebody waited since began
	fast, slow int  // answers since began, by the target
	began      time.Time

	seen Stats
}

// lane is those who share their turns.
type lane struct {
	who   Guest
	taken int // seats, without the reserve
	queue []*ticket
}

func newHall(l Limits) *hall { return &hall{limits: l, seats: l.Most, lanes: map[Guest]*lane{}} }

// perLane is how many seats one lane may have: some are always left for another one.
func (h *hall) perLane() int { return max(1, h.seats-h.seats/4) }

// lane finds or makes a lane. One that neither holds nor waits is forgotten by settle.
func (h *hall) lane(who Guest) *lane {
	l, ok := h.lanes[who]
	if !ok {
		l = &lane{who: who}
		h.lanes[who] = l
	}
	return l
}

func (h *hall) settle(l *lane) {
	if l.taken == 0 && len(l.queue) == 0 {
		delete(h.lanes, l.who)
	}
}

// free tells whether a lane could take a seat now, and whether that would be one of the reserve. The reserve comes last, so that it is there
// when it is needed.
func (h *hall) free(l *lane) (ok, reserve bool) {
	switch {
	case h.taken < h.seats && l.taken < h.perLane():
		return true, false
	case l.who.Privileged && h.reserve < h.limits.Reserve:
		return true, true
	}
	return false, false
}

// mayTake tells whether somebody who comes now need not wait. Whoever waits could not be seated, so only one's own lane goes first.
func (h *hall) mayTake(who Guest) bool {
	l := h.lane(who)
	defer h.settle(l)
	ok, _ := h.free(l)
	return ok && len(l.queue) == 0
}

// take gives a seat, which is free.
func (h *hall) take(s *Seat) {
	l := h.lane(s.who)
	_, s.reserve = h.free(l)
	if s.reserve {
		h.reserve++
	} else {
		h.taken++
		l.taken++
	}
	s.taken, s.since = true, time.Now()
	h.seen.Admitted++
}

// join puts a request at the end of its lane's queue.
func (h *hall) join(s *Seat) (*ticket, error) {
	now := time.Now()
	l := h.lane(s.who)
	defer h.settle(l)
	h.pressed = true
	switch {
	case len(l.queue) >= max(1, h.limits.Waiting/2):
		h.seen.Lanes++
		return nil, ErrLane
	case h.waiting >= h.limits.Waiting && !h.makeRoom(l):
		h.seen.Full++
		return nil, ErrFull
	}
	if h.waiting == 0 {
		h.stood = now
	}
	t := &ticket{seat: s, since: now, until: now.Add(patience), done: make(chan struct{})}
	if now.Sub(h.stood) > standing {
		t.until = now.Add(shortPatience)
	}
	if len(l.queue) == 0 {
		h.turns = append(h.turns, l)
	}
	l.queue = append(l.queue, t)
	h.count(l, 1)
	return t, nil
}

// count changes how many wait.
func (h *hall) count(l *lane, by int) {
	h.waiting += by
	if l.who.Privileged {
		h.admins += by
	}
}

// makeRoom sends the last of the longest queue away, unless that of the newcomer would then be as long.
func (h *hall) makeRoom(newcomer *lane) bool {
	longest := slices.MaxFunc(h.turns, func(a, b *lane) int { return len(a.queue) - len(b.queue) })
	if len(longest.queue) <= len(newcomer.queue)+1 {
		return false
	}
	t := longest.queue[len(longest.queue)-1]
	h.drop(t)
	t.err = ErrLane
	h.seen.Lanes++
	close(t.done)
	return true
}

// drop takes a ticket out of its queue; false when it is not in it any more.
func (h *hall) drop(t *ticket) bool {
	l := h.lanes[t.seat.who]
	if l == nil {
		return false
	}
	i := slices.Index(l.queue, t)
	if i < 0 {
		return false
	}
	l.queue = slices.Delete(l.queue, i, i+1)
	if h.count(l, -1); h.waiting == 0 {
		h.stood = time.Time{}
	}
	if len(l.queue) == 0 {
		h.turns = slices.DeleteFunc(h.turns, func(x *lane) bool { return x == l })
	}
	h.settle(l)
	return true
}

// withdraw ends a ticket's waiting for a reason, unless its turn has come meanwhile.
func (h *hall) withdraw(t *ticket, why error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.drop(t) {
		<-t.done // whoever took it out of the queue has closed this before giving h.mu back
		if t.err == nil && !errors.Is(why, ErrFull) {
			h.giveBack(t.seat)
			h.call()
			return why
		}
		return t.err
	}
	if errors.Is(why, ErrFull) {
		h.seen.Full++
	} else {
		h.seen.GivenUp++
	}
	return why
}

// leave gives a seat back, and calls those whose turn it is.
func (h *hall) leave(s *Seat, forGood, counts bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.left = s.left || forGood; !s.taken {
		return
	}
	if counts {
		h.measure(time.Since(s.since))
	}
	h.giveBack(s)
	h.call()
}

func (h *hall) giveBack(s *Seat) {
	l := h.lane(s.who)
	if s.reserve {
		h.reserve--
	} else {
		h.taken--
		l.taken--
	}
	s.taken = false
	h.settle(l)
}

// call gives the seats that are free to the lanes that wait, one seat to each in turn.
func (h *hall) call() {
	for passed := 0; passed < len(h.turns); {
		if h.taken >= h.seats && (h.admins == 0 || h.reserve >= h.limits.Reserve) {
			return
		}
		l := h.turns[0]
		h.turns = append(h.turns[1:], l)
		if ok, _ := h.free(l); !ok {
			passed++
			continue
		}
		passed = 0
		t := l.queue[0]
		h.drop(t)
		h.take(t.seat)
		h.seen.Waited += time.Since(t.since)
		close(t.done)
	}
}

// measure counts an answer, and adapts the number of seats now and then: fewer when most answers were slow, more when somebody waited
// although they were fast.
func (h *hall) measure(took time.Duration) {
	if h.limits.Target == 0 {
		return
	}
	if took > h.limits.Target {
		h.slow++
	} else {
		h.fast++
	}
	now := time.Now()
	if h.began.IsZero() {
		h.began = now
	}
	if now.Sub(h.began) < period || h.slow+h.fast < fewAnswers {
		return
	}
	switch {
	case h.slow > h.fast:
		h.seats = max(h.limits.Least, h.seats*3/4)
	case h.pressed:
		h.seats = min(h.limits.Most, h.seats+max(1, h.seats/8))
	}
	h.slow, h.fast, h.began, h.pressed = 0, 0, now, h.waiting > 0
}

func (h *hall) stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.seen
	s.Seats, s.Taken, s.Waiting = h.seats, h.taken+h.reserve, h.waiting
	return s
}
