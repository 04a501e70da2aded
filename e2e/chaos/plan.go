package chaos

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// simulated is the driver whose hypervisors are simulated.
const simulated = "sim"

// plan is what is played. The same plan gives the same harms.
type plan struct {
	seed     uint64
	nodes    int
	driver   string
	duration time.Duration // of the harms
	clients  int
	long     bool   // harms may last for minutes
	only     string // name of the only harm; "": all
}

// again is how to play it again.
func (p plan) again() string {
	return fmt.Sprintf("make chaos SEED=%d DURATION=%s CHAOS='-nodes %d -driver %s -clients %d -long=%t -only \"%s\"'",
		p.seed, p.duration, p.nodes, p.driver, p.clients, p.long, p.only)
}

// choice is one harm as the dice have it.
type choice struct {
	harm   string
	after  time.Duration // rest before it
	victim int           // number of a node
	order  []int         // all nodes, shuffled: for harms of several
	last   time.Duration
	dice   uint64 // for what the harm itself leaves to chance
}

const (
	leastPeace, mostPeace = 500 * time.Millisecond, 6 * time.Second
)

// lasting are how long harms last: one of the first ones, or, if they may be long, of all.
var lasting = []time.Duration{500 * time.Millisecond, 2 * time.Second, 5 * time.Second, 9 * time.Second, 13 * time.Second, 30 * time.Second, 75 * time.Second, 120 * time.Second}

// shortOnes are how many of lasting are short.
const shortOnes = 5

// draw gives the next harm. It looks at nothing but the dice.
func (p plan) draw(dice *rand.Rand, names []string) choice {
	long := shortOnes
	if p.long && dice.IntN(4) == 0 {
		long = len(lasting)
	}
	c := choice{
		harm: names[dice.IntN(len(names))], after: leastPeace + time.Duration(dice.Int64N(int64(mostPeace-leastPeace))),
		victim: dice.IntN(p.nodes), order: dice.Perm(p.nodes), last: lasting[dice.IntN(long)], dice: dice.Uint64(),
	}
	if p.only != "" {
		c.harm = p.only
	}
	return c
}
