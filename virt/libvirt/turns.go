package libvirt

import (
	"context"
	"sync"

	"github.com/kilonova/kilonova/cluster"
)

// turns lets one at a time do something to an instance, while others wait. The zero value is ready for use.
type turns struct {
	mu   sync.Mutex
	held map[cluster.InstanceID]*turn
}

type turn struct {
	token chan struct{} // holds one value while somebody has the turn
	users int           // who has it, and who wait
}

// take waits until it is the caller's turn, or ctx ends. The caller gives the turn back with done.
func (t *turns) take(ctx context.Context, id cluster.InstanceID) (done func(), err error) {
	mine := t.join(id)
	select {
	case mine.token <- struct{}{}:
		return func() {
			<-mine.token
			t.leave(id)
		}, nil
	case <-ctx.Done():
		t.leave(id)
		return nil, ctx.Err()
	}
}

func (t *turns) join(id cluster.InstanceID) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil {
		t.held = map[cluster.InstanceID]*turn{}
	}
	mine := t.held[id]
	if mine == nil {
		mine = &turn{token: make(chan struct{}, 1)}
		t.held[id] = mine
	}
	mine.users++
	return mine
}

func (t *turns) leave(id cluster.InstanceID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	mine := t.held[id]
	if mine.users--; mine.users == 0 {
		delete(t.held, id)
	}
}
