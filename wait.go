package main

import (
	"context"
	"fmt"
	"time"
)

// How often a command asks while it waits: soon at first, then more rarely.
const (
	firstPoll   = 200 * time.Millisecond
	slowestPoll = 2 * time.Second
)

// wait asks until poll says that it is done, and tells each new state. What poll gives as an error ends it.
func (c *cloud) wait(ctx context.Context, what string, limit time.Duration, poll func(context.Context) (state string, done bool, err error)) error {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	last := ""
	for every := firstPoll; ; every = min(every*3/2, slowestPoll) {
		state, done, err := poll(bounded)
		if err == nil && state != last {
			c.note("%s: %s", what, state)
			last = state
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("interrupted while waiting for %s, which goes on: %w", what, ctx.Err())
		case bounded.Err() != nil:
			return fmt.Errorf("%s is still %s after %s; it goes on without us", what, last, limit)
		case err != nil || done:
			return err
		}
		_ = sleep(bounded, every) // the next turn sees why it ended
	}
}
