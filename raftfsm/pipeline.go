package raftfsm

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// errMoving is what raft gets for a pipeline to a member that gets another address.
var errMoving = errors.New("the member gets another address")

// pipelines are those that raft has open.
type pipelines struct {
	served sync.WaitGroup

	mu     sync.Mutex
	open   map[*pipeline]struct{}
	barred map[raft.ServerID]bool // get none at the moment
}

func (ps *pipelines) add(p *pipeline) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.barred[p.id] {
		return errMoving
	}
	if ps.open == nil {
		ps.open = map[*pipeline]struct{}{}
	}
	ps.open[p] = struct{}{}
	ps.served.Go(p.listen)
	return nil
}

func (ps *pipelines) remove(p *pipeline) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.open, p)
}

// bar ends the pipelines to a member and lets none begin until release is called. It returns when raft has let go of them, with ctx, or
// after ProposeTimeout. Raft reads a member's address without its lock when a pipeline breaks, so that must not happen while the address
// is changed.
func (ps *pipelines) bar(ctx context.Context, id raft.ServerID) (release func()) {
	ctx, cancel := context.WithTimeout(ctx, ProposeTimeout)
	defer cancel()
	ps.mu.Lock()
	if ps.barred == nil {
		ps.barred = map[raft.ServerID]bool{}
	}
	ps.barred[id] = true
	var ending []*pipeline
	for p := range ps.open {
		if p.id == id {
			ending = append(ending, p)
		}
	}
	ps.mu.Unlock()
	for _, p := range ending {
		_ = p.AppendPipeline.Close() // what raft sends next fails, and then it lets go
	}
	for _, p := range ending {
		select {
		case <-p.done:
		case <-ctx.Done():
		}
	}
	return func() {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		delete(ps.barred, id)
	}
}

// AppendEntriesPipeline implements raft.Transport.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, to raft.ServerAddress) (raft.AppendPipeline, error) {
	if t.muted.Load() {
		return nil, errMuted
	}
	inner, err := t.NetworkTransport.AppendEntriesPipeline(id, to)
	if err != nil {
		return nil, err
	}
	p := &pipeline{AppendPipeline: inner, from: t, id: id, out: make(chan raft.AppendFuture), done: make(chan struct{})}
	if err := t.pipes.add(p); err != nil {
		return nil, errors.Join(err, inner.Close())
	}
	return p, nil
}

// pipeline is a raft.AppendPipeline whose answers are noted on their way.
type pipeline struct {
	raft.AppendPipeline
	from *transport
	id   raft.ServerID
	out  chan raft.AppendFuture
	done chan struct{}
	once sync.Once
}

// AppendEntries implements raft.AppendPipeline.
func (p *pipeline) AppendEntries(
	req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) (raft.AppendFuture, error) {
	if p.from.muted.Load() {
		return nil, errMuted
	}
	trim(req)
	return p.AppendPipeline.AppendEntries(req, resp)
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.out }

// listen passes answers on. A request that failed is dropped, for raft would count it as a sign of life from the
// peer. The connection goes with it, so that the next request fails and raft starts over.
func (p *pipeline) listen() {
	for {
		select {
		case f := <-p.AppendPipeline.Consumer():
			if f.Error() != nil {
				p.from.peers.lost(p.id)
				_ = p.AppendPipeline.Close()
				continue
			}
			p.from.peers.heard(p.id, f.Request(), f.Response(), time.Now())
			select {
			case p.out <- f:
			case <-p.done:
				return
			}
		case <-p.done:
			return
		}
	}
}

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.once.Do(func() {
		p.from.pipes.remove(p)
		close(p.done)
	})
	return p.AppendPipeline.Close()
}
