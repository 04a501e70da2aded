package resttest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// Backend is a cluster of one, in memory. Its zero value is not usable; see NewBackend.
type Backend struct {
	t  testing.TB
	mu sync.Mutex

	state    *cluster.State
	index    uint64
	noQuorum bool
	frozen   *cluster.View // what Local gives while the node lags
	log      []cluster.Op
}

// NewBackend makes a Backend whose state is empty. It fails t when the state finds itself broken.
func NewBackend(t testing.TB) *Backend { return &Backend{t: t, state: cluster.NewState()} }

// Propose applies a command, as rest.Backend says.
func (b *Backend) Propose(ctx context.Context, c cluster.Command) (cluster.Result, error) {
	if err := ctx.Err(); err != nil {
		return cluster.Result{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.noQuorum {
		return cluster.Result{}, cluster.Errorf(cluster.Unavailable, "The cluster has no quorum.")
	}
	encoded, err := cluster.EncodeEntry([]cluster.Command{c})
	if err != nil {
		return cluster.Result{}, fmt.Errorf("encode command: %w", err)
	}
	commands, err := cluster.DecodeEntry(encoded)
	if err != nil {
		return cluster.Result{}, fmt.Errorf("decode command: %w", err)
	}
	b.index++
	results, err := b.state.Apply(b.index, commands)
	if err != nil {
		b.t.Errorf("apply %T: %v", c.Op, err)
		return cluster.Result{}, err
	}
	b.log = append(b.log, c.Op)
	if results[0].Err != nil {
		return results[0], results[0].Err
	}
	return results[0], nil
}

// Read gives the state as it is.
func (b *Backend) Read(context.Context) (*cluster.View, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.noQuorum {
		return nil, cluster.Errorf(cluster.Unavailable, "The cluster has no quorum.")
	}
	return b.state.View(), nil
}

// Local gives the state as it is, or as it was when the node began to lag.
func (b *Backend) Local() *cluster.View {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.frozen != nil {
		return b.frozen
	}
	return b.state.View()
}

// Must applies an op that a test needs done, and fails the test when it is refused.
func (b *Backend) Must(op cluster.Op) cluster.Result {
	b.t.Helper()
	res, err := b.Propose(context.Background(), cluster.Command{Time: cluster.At(time.Now()), Op: op})
	if err != nil {
		b.t.Fatalf("apply %T: %v", op, err)
	}
	return res
}

// LoseQuorum makes Propose and Read answer Unavailable until it is called with false.
func (b *Backend) LoseQuorum(lost bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noQuorum = lost
}

// Lag makes Local stay where it is until it is called with false.
func (b *Backend) Lag(behind bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frozen = nil
	if behind {
		b.frozen = b.state.View()
	}
}

// Applied gives the ops applied so far, refused ones included, oldest first.
func (b *Backend) Applied() []cluster.Op {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]cluster.Op(nil), b.log...)
}
