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
			if leader, known := a.raft.Leader(); known && leader.ID != a.self {
				index, err = a.peers.Barrier(ctx, leader.ID)
			}
		}
		if err == nil {
			return index, nil
		}
		if !pause(ctx, retryPause) {
			return 0, err
		}
	}
}

// sharedBarrier lets all readers that wait at the same time share one read barrier. A reader may only use a barrier that
// began after it asked, so one that comes while a barrier is under way waits for the next.
type sharedBarrier struct {
	ask func(context.Context) (uint64, error)

	mu   sync.Mutex
	next *round // readers gather here; nil: none waits
	busy bool   // a round is under way
}

// round is one barrier and those who wait for it.
type round struct {
	done  chan struct{}
	index uint64
	err   error
}

func newSharedBarrier(ask func(context.Context) (uint64, error)) *sharedBarrier {
	return &sharedBarrier{ask: ask}
}

func (b *sharedBarrier) wait(ctx context.Context) (uint64, error) {
	b.mu.Lock()
	if b.next == nil {
		b.next = &round{done: make(chan struct{})}
	}
	mine := b.next
	if !b.busy {
		b.busy = true
		go b.run()
	}
	b.mu.Unlock()
	select {
	case <-mine.done:
		return mine.index, mine.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// run serves rounds until nobody waits. It ends by itself, at the latest one time-out after the last reader came.
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
		ctx, cancel := context.WithTimeout(context.Background(), proposeTimeout-500*time.Millisecond)
		r.index, r.err = b.ask(ctx)
		cancel()
		close(r.done)
	}
}

// Latest is this node's newest view, and a channel that is closed when there is a newer one.
func (a *agreement) Latest() (*cluster.View, <-chan struct{}) { return a.raft.Latest() }
