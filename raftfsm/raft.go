package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kilonova/kilonova/cluster"
)

// Raft is one replica.
type Raft struct {
	cfg     Config
	fault   *fault
	disk    *disk
	peers   *contacts
	trans   *transport
	fsm     *fsm
	raft    *raft.Raft
	metrics *metrics
	canary  *canary
	terms   *terms

	allegiance *allegiance

	queue         chan *proposal
	coalescerDone chan struct{}
	notice        *notifier
	reads         *readIndex
	life
}

// life is how a Raft ends: first everything that waits for raft's answers, then raft, then what serves it.
type life struct {
	mu      sync.Mutex
	closed  bool
	closing chan struct{}
	users   sync.WaitGroup // wait for raft's answers
	loops   sync.WaitGroup // the rest
	once    sync.Once
	err     error
}

// enter counts a user of raft in, unless the Raft is being closed. The user calls users.Done.
func (l *life) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.users.Add(1)
	return true
}

func (l *life) shut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	close(l.closing)
}

// Open starts the replica in cfg.Dir: from what is there, or as an empty member that a leader has to add. When it
// returns, everything that this node knew to be committed is in its view. The caller closes it.
func Open(cfg Config) (*Raft, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.Stream == nil {
		return nil, errors.New("open raft: no stream layer")
	}
	r := &Raft{
		cfg:           cfg,
		queue:         make(chan *proposal, maxQueued),
		coalescerDone: make(chan struct{}),
		life:          life{closing: make(chan struct{})},
	}
	r.fault = newFault(r.fatal)
	r.fsm = newFSM(r.fault)
	r.terms = newTerms(r)
	r.allegiance = newAllegiance()
	r.canary = newCanary(r)
	r.notice = newNotifier(r)
	r.peers = newContacts(r.notice.poke)
	r.reads = newReadIndex(r)
	r.metrics = newMetrics(r)
	if err := r.start(); err != nil {
		return nil, err
	}
	r.users.Go(r.coalesce)
	r.users.Go(r.reads.run)
	r.loops.Go(r.terms.watch)
	r.loops.Go(r.notice.run)
	r.loops.Go(r.canary.run)
	r.loops.Go(r.succeed)
	r.loops.Go(r.listen)
	r.standAlone()
	if err := errors.Join(r.metrics.register(), r.fault.arm()); err != nil {
		return nil, errors.Join(fmt.Errorf("open raft: %w", err), r.Close())
	}
	return r, nil
}

// start opens the disk and the network and starts raft on them.
func (r *Raft) start() (err error) {
	r.disk, err = openDisk(r.cfg, r.fault, r.wrote)
	if err != nil {
		return errors.Join(err, r.cfg.Stream.Close())
	}
	if err := r.fsm.replay(r.disk); err != nil {
		return errors.Join(fmt.Errorf("open raft: %w", err), r.cfg.Stream.Close(), r.disk.close())
	}
	r.trans = newTransport(r.cfg, r.peers)
	r.raft, err = r.newRaft()
	if err == nil {
		r.allegiance.follow(r.raft)
		r.trans.raft.Store(r.raft)
		return nil
	}
	if f := r.fault.get(); f != nil {
		err = f // says more than what raft made of it
	}
	return errors.Join(fmt.Errorf("open raft: %w", err), r.trans.Close(), r.disk.close())
}

// newRaft also turns the panic into an error by which raft answers a log that it cannot read.
func (r *Raft) newRaft() (rr *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return raft.NewRaft(r.cfg.raftConfig(r.terms.leading), r.fsm, r.disk.cached, r.disk.log, r.disk.snaps, r.trans)
}

// standAlone spares the only voter the wait for a leader that cannot be.
func (r *Raft) standAlone() {
	for _, s := range r.configuration() {
		if s.Suffrage == raft.Voter && s.ID != raft.ServerID(r.cfg.ID) {
			return
		}
	}
	r.lookNow()
}

// wrote hears of each write of the log.
func (r *Raft) wrote(took time.Duration) {
	r.metrics.wrote(took)
	r.canary.spare()
}

func (r *Raft) fatal(err error) {
	r.cfg.Log.Error("this node stops agreeing", "err", err)
	r.cfg.OnFatal(err)
}

// Err is why this replica has stopped for good, or nil.
func (r *Raft) Err() error { return r.fault.get() }

// View is the newest published view.
func (r *Raft) View() *cluster.View { return r.fsm.latest.Load().view }

// Latest is the newest published view, and a channel that is closed when there is a newer one. It may be closed
// for a view that says the same.
func (r *Raft) Latest() (*cluster.View, <-chan struct{}) {
	p := r.fsm.latest.Load()
	return p.view, p.changed
}

// WaitApplied returns when this node's view is at index or later, or with ctx's error, or with ErrNotApplied
// when that cannot come any more.
func (r *Raft) WaitApplied(ctx context.Context, index uint64) error {
	return r.waitFor(ctx, func(p *published) bool { return p.view.Index() >= index })
}

func (r *Raft) waitFor(ctx context.Context, enough func(*published) bool) error {
	for {
		p := r.fsm.latest.Load()
		if enough(p) {
			return nil
		}
		select {
		case <-p.changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-r.closing:
			return notApplied(errStopped)
		case <-r.fault.failed:
			return notApplied(errStopped)
		}
	}
}

// Close ends this replica's part in the cluster and frees the directory. It waits for what is under way, at most
// as long as raft needs to notice that it has no majority, and for the disk as long as that takes. A leader that
// wants to spare the others an election calls Transfer first.
func (r *Raft) Close() error {
	r.once.Do(func() { r.err = r.close() })
	return r.err
}

func (r *Raft) close() error {
	r.shut()
	r.terms.end()
	r.users.Wait()
	gone := r.raft.Shutdown()
	err := errors.Join(r.trans.Close(), gone.Error()) // without connections raft's goroutines end soon
	r.terms.stop()
	r.loops.Wait()
	r.trans.wait()
	r.metrics.unregister()
	return errors.Join(err, r.disk.close())
}

var _ raft.BatchingFSM = (*fsm)(nil)
var _ raft.CommitTrackingLogStore = (*cachedLog)(nil)
var _ raft.WithPreVote = (*transport)(nil)
var _ raft.WithClose = (*transport)(nil)
