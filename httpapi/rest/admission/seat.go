package admission

import (
	"context"
	"time"
)

// Seat is the right to have a request worked on. Its methods may be called by several goroutines, except for Return.
type Seat struct {
	hall *hall
	who  Guest

	// Guarded by hall.mu.
	taken   bool
	reserve bool      // it is one of the administrators' own
	left    bool      // for good
	since   time.Time // when it was taken
}

// Leave gives the seat back for good. Calling it again does nothing.
func (s *Seat) Leave() { s.hall.leave(s, true, true) }

// Aside gives the seat back until Return, while the client keeps the node waiting. The time until here tells nothing of the node's speed
// and is not counted.
func (s *Seat) Aside() { s.hall.leave(s, false, false) }

// Return takes a seat again after Aside; one that was not given back is kept. Errors are those of Control.Enter; whoever gets one has no seat.
func (s *Seat) Return(ctx context.Context) error {
	h := s.hall
	h.mu.Lock()
	if s.taken || s.left {
		h.mu.Unlock()
		return nil
	}
	if h.mayTake(s.who) {
		h.take(s)
		h.mu.Unlock()
		return nil
	}
	t, err := h.join(s)
	h.mu.Unlock()
	if err != nil {
		return err
	}
	return t.wait(ctx)
}

// ticket is a place in a lane's queue.
type ticket struct {
	seat  *Seat
	since time.Time
	until time.Time
	done  chan struct{} // closed when the seat is taken, or err is set
	err   error
}

// wait waits for the ticket's turn, for as long as it has patience.
func (t *ticket) wait(ctx context.Context) error {
	timer := time.NewTimer(time.Until(t.until))
	defer timer.Stop()
	h := t.seat.hall
	select {
	case <-t.done:
		return t.err
	case <-timer.C:
		return h.withdraw(t, ErrFull)
	case <-ctx.Done():
		return h.withdraw(t, ctx.Err())
	}
}
