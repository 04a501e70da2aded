package raftfsm

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// term is a time in which this node leads and has applied all that was acknowledged before.
type term struct {
	number uint64 // raft's
	floor  uint64 // everything up to this index was applied when the term began
}

// terms follows whether this node leads.
type terms struct {
	r       *Raft
	leading chan bool // raft's word; it blocks until it is taken
	quit    chan struct{}
	over    chan struct{}        // closed when the goroutine of the last term has ended; only watch uses it
	now     atomic.Pointer[term] // nil: not leading, or not ready

	mu     sync.Mutex
	cancel context.CancelFunc // ends the present term
}

func newTerms(r *Raft) *terms {
	over := make(chan struct{})
	close(over)
	return &terms{
		r: r, leading: make(chan bool, 1), quit: make(chan struct{}),
		cancel: func() {}, over: over,
	}
}

// watch begins and ends terms until stop.
func (t *terms) watch() {
	for {
		select {
		case lead := <-t.leading:
			t.end()
			if lead {
				t.begin()
			}
		case <-t.quit:
			return
		}
	}
}

// stop ends watch. Raft must have shut down, or it would wait for somebody to listen.
func (t *terms) stop() { close(t.quit) }

// begin starts the goroutine of a term, which waits for that of the term before.
func (t *terms) begin() {
	if !t.r.enter() {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	before, over := t.over, make(chan struct{})
	t.over = over
	t.mu.Lock()
	t.cancel = cancel
	t.mu.Unlock()
	go func() {
		defer t.r.users.Done()
		defer close(over)
		defer cancel()
		<-before
		t.lead(ctx)
	}()
	select {
	case <-t.r.closing: // Close may have come between: its end did not see this term
		t.end()
	default:
	}
}

// end ends the present term, if any, and does not wait for it.
func (t *terms) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Store(nil)
	t.cancel()
}

// lead is one term.
func (t *terms) lead(ctx context.Context) {
	r := t.r
	number := r.raft.CurrentTerm()
	r.peers.forget()
	floor, ok := t.barrier(ctx)
	if !ok {
		return
	}
	if !t.ready(ctx, &term{number: number, floor: floor}) {
		return
	}
	r.cfg.Log.Info("this node leads", "term", number, "index", floor)
	wait := r.startAutopilot(ctx)
	if r.cfg.OnLead != nil {
		r.cfg.OnLead(ctx)
	}
	<-ctx.Done()
	wait()
	r.cfg.Log.Info("this node no longer leads", "term", number)
}

// ready opens the term, unless it is over already. Raft's word of that may not have come through yet, so its
// number is compared too.
func (t *terms) ready(ctx context.Context, now *term) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil || t.r.raft.CurrentTerm() != now.number {
		return false
	}
	t.now.Store(now)
	return true
}

// barrier returns when everything that may have been acknowledged by earlier leaders is applied here, with the
// index up to which it is.
func (t *terms) barrier(ctx context.Context) (floor uint64, ok bool) {
	for ctx.Err() == nil {
		f := t.r.raft.Barrier(enqueueTimeout)
		err := f.Error()
		if err == nil {
			return f.(raft.IndexFuture).Index(), true
		}
		t.r.cfg.Log.Debug("raft: begin a term", "err", err)
		if !waitTimer(ctx, termRetry) {
			break
		}
	}
	return 0, false
}
