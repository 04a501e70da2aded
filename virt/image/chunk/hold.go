package chunk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// hold keeps the chunks of an image that is being written or fetched from being swept before a manifest makes
// them reachable, and knows which of them can be taken back when it comes to nothing.
type hold struct {
	hashes map[cluster.Hash]struct{}
}

// claim is the holds on one chunk. A chunk is taken back by its maker, if nobody else ever relied on it.
type claim struct {
	holds int
	maker *hold // nil: it was there before, or somebody else found it there
}

func newHold() *hold { return &hold{hashes: make(map[cluster.Hash]struct{})} }

// claim tells whether the chunk is here, and if so holds it and makes it young again.
func (s *Store) claim(by *hold, h cluster.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if os.Chtimes(s.path(h), now, now) != nil {
		return false
	}
	s.note(by, h, false)
	return true
}

// note records that a hold relies on a chunk, and whether it made it. s.mu is held.
func (s *Store) note(by *hold, h cluster.Hash, made bool) {
	c := s.claims[h]
	if by == nil {
		if c != nil {
			c.maker = nil
		}
		return
	}
	if c == nil {
		c = &claim{}
		s.claims[h] = c
		if made {
			c.maker = by
		}
	} else if c.maker != by {
		c.maker = nil
	}
	if _, twice := by.hashes[h]; !twice {
		by.hashes[h] = struct{}{}
		c.holds++
	}
}

// release ends a hold. Chunks that are kept are young again, so that a sweep leaves them until their image is
// known to be wanted. Of the others, those that it made and that nobody else relies on are removed.
func (s *Store) release(by *hold, keep bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	now := time.Now()
	for h := range by.hashes {
		c := s.claims[h]
		c.holds--
		if keep {
			// One that rotted and was set aside meanwhile is found missing when it is read.
			_ = os.Chtimes(s.path(h), now, now)
		}
		if c.maker == by {
			if !keep { // nobody else holds it, or maker would be nil
				if err := os.Remove(s.path(h)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					errs = append(errs, err)
				}
			}
			c.maker = nil
		}
		if c.holds == 0 {
			delete(s.claims, h)
		}
	}
	by.hashes = nil
	return errors.Join(errs...)
}

// turns lets callers that work on the same thing do so one after the other.
type turns struct {
	mu   sync.Mutex
	busy map[string]*turn
}

type turn struct {
	free   chan struct{} // holds one token while nobody works
	wanted int           // callers that work or wait
}

// take waits for the caller's turn on the named thing. The turn ends with a call of done.
func (t *turns) take(ctx context.Context, name string) (done func(), err error) {
	t.mu.Lock()
	if t.busy == nil {
		t.busy = make(map[string]*turn)
	}
	mine := t.busy[name]
	if mine == nil {
		mine = &turn{free: make(chan struct{}, 1)}
		mine.free <- struct{}{}
		t.busy[name] = mine
	}
	mine.wanted++
	t.mu.Unlock()

	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.wanted--; mine.wanted == 0 {
			delete(t.busy, name)
		}
	}
	select {
	case <-mine.free:
		return func() { mine.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
