package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

const (
	retryPause = 200 * time.Millisecond
	mostTries  = 3
	shownText  = 200 // of an answer, in bytes
)

// client does one deed after the other through whichever node comes. It is one goroutine.
type client struct {
	*town
	number int
	dice   *rand.Rand
	crowd  *crowd
	count  int
}

// name gives a thing its own name.
func (c *client) name(kind string) string {
	c.count++
	return fmt.Sprintf("%s%d-%d", kind, c.number, c.count)
}

func (c *client) anyPeer() *peer { return c.peers[c.dice.IntN(len(c.peers))] }

// deed begins one.
func (c *client) deed(kind, key, id string) Deed {
	return Deed{Client: c.number, Kind: kind, Key: key, ID: id, Call: c.history.now()}
}

// try asks for a deed at some node, and sometimes again under the same key at others while nobody knows what came of it. A refusal after that leaves
// open whether the first request is still on its way.
func (c *client) try(ctx context.Context, d Deed, r cloud.Request) (Deed, cloud.Answer) {
	tries := 1 + c.dice.IntN(mostTries)
	key := fmt.Sprintf("%s/%s/%d", d.Kind, d.Key, d.Call)
	r.Header = map[string]string{"Idempotency-Key": key}
	doubtful := false
	var a cloud.Answer
	for range tries {
		via := c.anyPeer()
		var err error
		a, err = c.send(ctx, via, r)
		d = d.told(via.Name(), a, err)
		if d.Outcome == refused && doubtful {
			d.Outcome = unknown
		}
		if d.Outcome != unknown {
			break
		}
		doubtful = true
		if !pause(ctx, retryPause) {
			break
		}
	}
	d.Return = c.history.now()
	return d, a
}

// told takes in an answer.
func (d Deed) told(via string, a cloud.Answer, err error) Deed {
	d.Via = append(d.Via, via)
	d.Status, d.Says = a.Status, ""
	switch {
	case err != nil:
		d.Outcome, d.Status, d.Says = unknown, 0, err.Error()
	case undecided(a.Status):
		d.Outcome = unknown
	case a.Status/100 == 2:
		d.Outcome = done
		return d
	default:
		d.Outcome = refused
	}
	if err == nil {
		d.Says = string(a.Body[:min(len(a.Body), shownText)])
	}
	return d
}

// everywhere asks all nodes for the same at the same time, under one key.
func (c *client) everywhere(ctx context.Context, d Deed, r cloud.Request) Deed {
	answers := make([]Deed, len(c.peers))
	var all sync.WaitGroup
	for i, p := range c.peers {
		all.Go(func() {
			one := r
			one.Header = map[string]string{"Idempotency-Key": "everywhere/" + d.Key}
			a, err := c.send(ctx, p, one)
			answers[i] = d.told(p.Name(), a, err)
			answers[i].IDs = madeIDs(a)
		})
	}
	all.Wait()
	d.Return = c.history.now()
	return d.together(answers)
}

// together makes one deed of what several nodes answered: it is done if one says so, and refused if all do. An error of the service is kept.
func (d Deed) together(answers []Deed) Deed {
	rank := map[outcome]int{refused: 1, unknown: 2, done: 3}
	for _, a := range answers {
		d.Via, d.IDs = append(d.Via, a.Via...), append(d.IDs, a.IDs...)
		if rank[a.Outcome] > rank[d.Outcome] {
			d.Outcome = a.Outcome
			if d.Status < http.StatusInternalServerError || undecided(d.Status) {
				d.Status, d.Says = a.Status, a.Says
			}
		}
	}
	return d
}

// madeIDs are the IDs that an answer to a create names.
func madeIDs(a cloud.Answer) []string {
	var made struct {
		Server, Volume struct{ ID string }
	}
	if a.Status/100 != 2 || a.Into(&made) != nil {
		return nil
	}
	if made.Server.ID != "" {
		return []string{made.Server.ID}
	}
	return []string{made.Volume.ID}
}
