package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// How clients behave.
const (
	leastThink, mostThink = 200 * time.Millisecond, 3 * time.Second
	maxTries              = 12 // then a client gives up, and the outcome is unknown
	manyAlive             = 8  // instances of one client; then it rather deletes
)

// client is somebody who uses the cluster through any node.
type client struct {
	w        *World
	number   int
	dice     *rand.Rand
	requests int
}

func newClient(w *World, number int) *client {
	return &client{w: w, number: number, dice: rand.New(rand.NewPCG(uint64(w.dice), uint64(number)))}
}

// run makes one request after another until ctx ends. The last one is carried through.
func (c *client) run(ctx, all context.Context) {
	for pause(ctx, leastThink+time.Duration(c.dice.Int64N(int64(mostThink-leastThink)))) {
		own := c.w.promises.living(fmt.Sprintf("c%d-", c.number))
		if c.dice.IntN(4) == 0 {
			own = c.w.promises.living("") // anybody's: several clients ask about one instance
		}
		what := c.dice.IntN(100)
		switch {
		case len(own) == 0 || what < 25 && len(own) < manyAlive:
			c.create(all)
		case what < 35:
			c.remove(all, own[c.dice.IntN(len(own))])
		case what < 40:
			c.soften(all, own[c.dice.IntN(len(own))])
		default:
			c.act(all, own[c.dice.IntN(len(own))])
		}
	}
}

func (c *client) key() cluster.RequestID {
	c.requests++
	return cluster.RequestID(fmt.Sprintf("c%d-%d", c.number, c.requests))
}

func (c *client) create(ctx context.Context) {
	n := 1
	if c.dice.IntN(4) == 0 {
		n += c.dice.IntN(4)
	}
	key, size := c.key(), 1+c.dice.IntN(len(flavors))
	guarded := c.w.leased() && c.dice.IntN(3) == 0
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", key, i)
	}
	c.w.promises.ask(names)
	attempt := uint64(0)
	res, err := c.request(ctx, key, func() cluster.Op {
		attempt++ // whoever serves a retry draws new IDs
		draw := func(i int) uint64 { return c.w.dice.draw(names[i], attempt) }
		op := createOp(names, flavors[size-1], draw)
		if guarded {
			return guard(op, draw)
		}
		return op
	})
	switch {
	case err == nil:
		c.w.promises.created(c.w, names, res.IDs)
	case refused(err):
		c.w.promises.refuse(c.w, names)
	}
}

func (c *client) remove(ctx context.Context, id cluster.InstanceID) {
	c.w.writeToView(id)
	c.w.promises.askDelete(id)
	_, err := c.request(ctx, c.key(), func() cluster.Op {
		return &cluster.DeleteInstance{ID: id, Request: "req-delete", User: someUser, Project: someProject}
	})
	if err == nil {
		c.w.promises.deleted(c.w, id)
	}
}

// refused tells whether an answer says that nothing was done.
func refused(err error) bool {
	var e *cluster.Error
	return errors.As(err, &e) && e.Code != cluster.Unavailable
}

// request asks one node after another under one request ID until one answers for sure.
func (c *client) request(ctx context.Context, key cluster.RequestID, op func() cluster.Op) (cluster.Result, error) {
	err := errors.New("no node was asked")
	for try := range maxTries {
		if c.w.cfg.Bug == BugRetryAnew && try > 0 {
			key = c.key()
		}
		m := c.w.machines[c.dice.IntN(len(c.w.machines))]
		if d := m.running(); d != nil {
			var res cluster.Result
			res, err = c.ask(ctx, d, cluster.Command{ID: key, Time: cluster.At(time.Now()), Op: op()})
			if err == nil || refused(err) {
				return res, err
			}
		}
		if !pause(ctx, 300*time.Millisecond+time.Duration(c.dice.Int64N(int64(time.Second)))) {
			break
		}
	}
	return cluster.Result{}, err
}

// ask is one request to one node. The answer is lost when the node is killed meanwhile.
func (c *client) ask(ctx context.Context, d *daemon, cmd cluster.Command) (cluster.Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	a := access{w: c.w, d: d}
	res, err := a.Propose(ctx, cmd)
	if ctx.Err() != nil {
		return cluster.Result{}, errLost
	}
	return res, err
}
