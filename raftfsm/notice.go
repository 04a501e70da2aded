package raftfsm

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// notifier sends followers the early commit notice; see the package comment. It looks again whenever an entry is
// done and whenever a follower confirms more: the slowest one confirms after the commit that the others made. Only
// the newest commit index matters, so a follower that is slow to answer misses notices, not commits.
type notifier struct {
	r    *Raft
	wake chan struct{} // holds one
	idle atomic.Bool   // no entry is under way that would carry the news anyway
	busy map[raft.ServerID]chan struct{}
	sent sync.WaitGroup
}

func newNotifier(r *Raft) *notifier {
	return &notifier{r: r, wake: make(chan struct{}, 1), busy: map[raft.ServerID]chan struct{}{}}
}

// poke asks for a notice. It never blocks.
func (n *notifier) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run sends notices until the Raft is closed, then waits for the last to be answered.
func (n *notifier) run() {
	defer n.sent.Wait()
	for {
		select {
		case <-n.wake:
			n.round()
		case <-n.r.closing:
			return
		}
	}
}

func (n *notifier) round() {
	term := n.r.terms.now.Load()
	if term == nil || !n.idle.Load() {
		return
	}
	commit := n.r.raft.CommitIndex()
	heard := n.r.peers.snapshot()
	for _, s := range n.r.configuration() {
		c, ok := heard[s.ID]
		news := min(commit, c.index)
		if !ok || c.leaderTerm != term.number || news <= c.commitKnown {
			continue
		}
		slot, ok := n.busy[s.ID]
		if !ok {
			slot = make(chan struct{}, 1)
			n.busy[s.ID] = slot
		}
		select {
		case slot <- struct{}{}:
		default:
			continue // the last one is unanswered
		}
		req := &raft.AppendEntriesRequest{
			RPCHeader:         n.r.header(),
			Term:              term.number,
			PrevLogEntry:      c.index,
			PrevLogTerm:       c.term,
			LeaderCommitIndex: news,
		}
		n.sent.Go(func() {
			var resp raft.AppendEntriesResponse
			err := n.r.trans.AppendEntries(s.ID, s.Address, req, &resp)
			<-slot
			// An error or a refusal is the replication's to deal with: it talks to the same peer all the time.
			if err == nil && resp.Success {
				n.poke() // there may be more to tell by now
			}
		})
	}
}

// header is what every raft message starts with.
func (r *Raft) header() raft.RPCHeader {
	return raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax,
		ID:              []byte(r.cfg.ID),
		Addr:            []byte(r.cfg.Addr),
	}
}
