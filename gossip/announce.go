package gossip

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/time/rate"
)

const (
	// announceEvery is how often a node may send a changed advert, in the long run.
	announceEvery = 10 * time.Second
	// announceBurst is how many it may send at once after a quiet time.
	announceBurst = 3
	// announceWithin bounds the wait for the library to pass an advert on. It goes out later all the same.
	announceWithin = time.Second
)

// announcer keeps the own advert and sends it when a level changed. It is memberlist's Delegate.
type announcer struct {
	limit *rate.Limiter
	wake  chan struct{} // holds one token when there is something new
	sent  atomic.Uint64

	mu      sync.Mutex
	last    Advert // rounded
	current []byte // last, encoded
}

func newAnnouncer(a Advert) (*announcer, error) {
	n := &announcer{
		limit: rate.NewLimiter(rate.Every(announceEvery), announceBurst),
		wake:  make(chan struct{}, 1),
	}
	if err := n.set(a); err != nil {
		return nil, err
	}
	select { // the first advert goes out with the join
	case <-n.wake:
	default:
	}
	return n, nil
}

// set rounds and encodes an advert, and wakes the loop if it is another one than before.
func (n *announcer) set(a Advert) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	a.Load = a.Load.settled(n.last.Load)
	if n.current != nil && a == n.last {
		return nil
	}
	b, err := a.encode()
	if err != nil {
		return err
	}
	n.last, n.current = a, b
	select {
	case n.wake <- struct{}{}:
	default:
	}
	return nil
}

// run sends the advert whenever it changed and the limit allows.
func (n *announcer) run(ctx context.Context, list *memberlist.Memberlist) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		}
		if n.limit.Wait(ctx) != nil {
			return
		}
		select { // what came while waiting is sent now
		case <-n.wake:
		default:
		}
		n.sent.Add(1)
		// An error only says that nobody took it yet; it stays queued, and push-pull carries it anyway.
		_ = list.UpdateNode(announceWithin)
	}
}

// NodeMeta gives the advert to memberlist.
func (n *announcer) NodeMeta(int) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current
}

// NotifyMsg ignores messages of users: there are none.
func (n *announcer) NotifyMsg([]byte) {}

// GetBroadcasts has none to give.
func (n *announcer) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState adds nothing to a push-pull.
func (n *announcer) LocalState(bool) []byte { return nil }

// MergeRemoteState finds nothing in a push-pull.
func (n *announcer) MergeRemoteState([]byte, bool) {}
