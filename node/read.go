package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
)

// Read implements rest.Backend: a view that holds everything acknowledged before the call, by any node.
func (a *agreement) Read(ctx context.Context) (*cluster.View, error) {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	index, err := a.barrier.wait(ctx)
	if err == nil {
		err = a.raft.WaitApplied(ctx, index)
	}
	if err != nil {
		return nil, cluster.Errorf(cluster.Unavailable, "no quorum answers, so what was acknowledged last is not known: try again")
	}
	return a.raft.View(), nil
}

// readIndex asks the leader, wherever it is, until ctx ends.
func (a *agreement) readIndex(ctx context.Context) (uint64, error) {
	for {
		index, err := a.BarrierHere(ctx)
		if errors.Is(err, peer.ErrNotLeader) {
			index, err = a.askBarrier(ctx)
		}
		if err == nil {
			return index, nil
		}
		if !pause(ctx, retryPause) {
			return 0, err
		}
	}
}

func (a *agreement) askBarrier(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	leader, ctx, release := a.elsewhere(ctx)
	defer release()
	if leader == "" {
		return 0, peer.ErrNotLeader
	}
	return a.peers.Barrier(ctx, leader)
}

// sharedBarrier lets all readers that wait at the same time share one read barrier. A reader may only use a barrier that
// began after it asked, so one that comes while a barrier is under way waits for the next.
type sharedBarrier struct {
	ask  func(context.Context) (uint64, error)
	ctx  context.Context // of the rounds; ends with close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	next   *round // readers gather here; nil: none waits
	busy   bool   // a round is under way
	closed bool
}

// round is one barrier and those who wait for it.
type round struct {
	done  chan struct{}
	index uint64
	err   error
}

func newSharedBarrier(ask func(context.Context) (uint64, error)) *sharedBarrier {
	b := &sharedBarrier{ask: ask}
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b
}

var errStopping = errors.New("this node stops")

func (b *sharedBarrier) wait(ctx context.Context) (uint64, error) {
	mine, err := b.join()
	if err != nil {
		return 0, err
	}
	select {
	case <-mine.done:
		return mine.index, mine.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// join gives the round that begins next, and has somebody serve it.
func (b *sharedBarrier) join() (*round, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errStopping
	}
	if b.next == nil {
		b.next = &round{done: make(chan struct{})}
	}
	if !b.busy {
		b.busy = true
		b.wg.Go(b.run)
	}
	return b.next, nil
}

// run serves rounds until nobody waits.
func (b *sharedBarrier) run() {
	for {
		b.mu.Lock()
		r := b.next
		b.next = nil
		b.busy = r != nil
		b.mu.Unlock()
		if r == nil {
			return
		}
		ctx, cancel := context.WithTimeout(b.ctx, proposeTimeout-500*time.Millisecond)
		r.index, r.err = b.ask(ctx)
		cancel()
		close(r.done)
	}
}

// close ends the rounds and waits for them. Whoever waits is told.
func (b *sharedBarrier) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.stop()
	b.wg.Wait()
}

// Latest is this node's newest view, and a channel that is closed when there is a newer one.
func (a *agreement) Latest() (*cluster.View, <-chan struct{}) { return a.raft.Latest() }
