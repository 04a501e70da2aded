package identity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest/recent"
)

const (
	hashesAtOnce      = 2  // 19 MiB each
	hashesWaiting     = 32 // of all clients
	checksOfAddress   = 8  // hashed or waiting, for passwords tried from one address
	checksOfClient    = 4  // the same, for one account from one address
	hashPatience      = 5 * time.Second
	rememberedArrived = 20000
)

// errBusy says that the node has more to hash than it can within a moment, whoever asked for it.
var errBusy = cluster.Errorf(cluster.Unavailable, "Too many authentications are under way. Try again later.")

// gate decides who may have a password hashed. A hash is slow on purpose, so without it a few hundred wrong passwords would
// keep everybody else waiting. It bounds the queue for each account as tried from an address, for each address, and as a
// whole. Whoever sends the same right password many times at once, as scripts do, has it hashed once.
type gate struct {
	slots  *semaphore.Weighted
	secret [sha256.Size]byte             // what keys of checks are made with; never leaves the process
	known  *recent.Map[client, struct{}] // who has logged in: a flood from their address does not keep them out

	mu        sync.Mutex
	waiting   int // hashed or waiting
	clients   map[client]int
	addresses map[string]int
	checks    map[checkKey]*check
}

// checkKey stands for an account from an address, the hash that it has, and the password that was sent.
type checkKey [sha256.Size]byte

// check is a comparison under way that others wait for.
type check struct {
	done chan struct{}
	ok   bool
	err  error // no answer: each who waits tries again
}

func newGate() *gate {
	g := &gate{
		slots: semaphore.NewWeighted(hashesAtOnce), known: recent.New[client, struct{}](rememberedArrived),
		clients: map[client]int{}, addresses: map[string]int{}, checks: map[checkKey]*check{},
	}
	_, _ = rand.Read(g.secret[:]) // never fails: crypto/rand stops the program instead
	return g
}

// check compares a password with a user's; u may be nil. It takes as long whether it is right, wrong, or nobody's. Status
// 429 when this client, or its address, has too many checks under way; code Unavailable when all have.
func (g *gate) check(ctx context.Context, who client, u *cluster.User, password string) (bool, error) {
	p, known, stored := nobody, false, ""
	if u != nil && u.PasswordHash != "" {
		parsed, err := parsePHC(u.PasswordHash)
		if err != nil {
			return false, err
		}
		p, known, stored = parsed, true, u.PasswordHash
	}
	ctx, cancel := context.WithTimeout(ctx, hashPatience)
	defer cancel()
	ok, err := g.share(ctx, who, g.keyOf(who, stored, password), func() bool {
		return len(password) <= maxPassword && p.matches(password)
	})
	if ok && known && err == nil {
		g.known.Put(who, struct{}{})
	}
	return ok && known, err
}

// hash is HashPassword within the gate.
func (g *gate) hash(ctx context.Context, password string) (phc string, err error) {
	ctx, cancel := context.WithTimeout(ctx, hashPatience)
	defer cancel()
	if !g.enter() {
		return "", errBusy
	}
	defer g.leave()
	if passErr := g.pass(ctx, func() { phc, err = HashPassword(password) }); passErr != nil {
		return "", passErr
	}
	return phc, err
}

// share runs a check, unless the same one is under way: then it waits for that one's answer.
func (g *gate) share(ctx context.Context, who client, key checkKey, hash func() bool) (bool, error) {
	for {
		c, mine, err := g.begin(who, key)
		switch {
		case err != nil:
			return false, err
		case mine:
			defer close(c.done)
			defer g.end(who, key)
			c.err = g.pass(ctx, func() { c.ok = hash() })
			return c.ok, c.err
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			return false, errBusy
		}
		if c.err == nil {
			return c.ok, nil
		}
	}
}

// begin finds the check of that name, or makes it if there is room for one more.
func (g *gate) begin(who client, key checkKey) (c *check, mine bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c, ok := g.checks[key]; ok {
		return c, false, nil
	}
	_, trusted := g.known.Get(who)
	if g.clients[who] >= checksOfClient || g.addresses[who.address] >= checksOfAddress && !trusted {
		return nil, false, errSlowDown
	}
	if g.waiting >= hashesWaiting+hashesAtOnce {
		return nil, false, errBusy
	}
	g.waiting++
	g.clients[who]++
	g.addresses[who.address]++
	c = &check{done: make(chan struct{})}
	g.checks[key] = c
	return c, true, nil
}

func (g *gate) end(who client, key checkKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting--
	countDown(g.clients, who)
	countDown(g.addresses, who.address)
	delete(g.checks, key)
}

func countDown[K comparable](m map[K]int, k K) {
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting >= hashesWaiting+hashesAtOnce {
		return false
	}
	g.waiting++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting--
}

// pass waits for a slot and hashes.
func (g *gate) pass(ctx context.Context, hash func()) error {
	if err := g.slots.Acquire(ctx, 1); err != nil {
		return errBusy
	}
	defer g.slots.Release(1)
	hash()
	return nil
}

// keyOf hides the password that it is made from: keys outlive the request for a moment.
func (g *gate) keyOf(who client, stored, password string) checkKey {
	mac := hmac.New(sha256.New, g.secret[:])
	for _, part := range []string{who.account, who.address, stored, password} {
		sum := sha256.Sum256([]byte(part))
		_, _ = mac.Write(sum[:]) // a hash takes everything
	}
	return checkKey(mac.Sum(nil))
}
