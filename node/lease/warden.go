package lease

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// ErrCondemned refuses a lease to a node that the leader is about to take for dead, or that has to hear first that it was.
var ErrCondemned = errors.New("this node is being taken for dead: its lease is not renewed until that is settled")

// Warden is the leader's side for one term: it remembers who asked when, and says who has been silent for too long. Make it with NewWarden when
// BeginTerm was committed. It is safe for concurrent use.
type Warden struct {
	term    cluster.TermID
	began   time.Time
	propose func(ctx context.Context, op cluster.Op) error

	mu        sync.Mutex
	heard     map[cluster.NodeID]hearing
	condemned map[cluster.NodeID]bool
	joined    map[cluster.NodeID]time.Time // when those were met who were in no view before; those of the first view are there with the zero time
}

// hearing is the last that was heard of a node.
type hearing struct {
	at    time.Time
	lease cluster.Lease // what it was granted by
	due   time.Time     // when the longest lease that it may hold is over, and it may be taken for dead
}

// NewWarden begins to count at now, which must not be before the term began.
func NewWarden(term cluster.TermID, now time.Time, propose func(ctx context.Context, op cluster.Op) error) *Warden {
	return &Warden{term: term, began: now, propose: propose, heard: map[cluster.NodeID]hearing{}, condemned: map[cluster.NodeID]bool{}}
}

// Renew grants a lease to a node that asked at a time, by the state of view, in which a majority had confirmed the leader after that time.
func (w *Warden) Renew(node cluster.NodeID, asked time.Time, view *cluster.View) (cluster.Grant, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.condemned[node] {
		return cluster.Grant{}, ErrCondemned
	}
	if _, ok := view.Node(node); !ok {
		return cluster.Grant{}, cluster.Errorf(cluster.NotFound, "The node %s is not in the cluster", node)
	}
	s := view.Settings()
	l := s.Lease
	if last := w.heard[node]; asked.After(last.at) {
		// A shorter lease does not take back a longer one: the node may never get this answer.
		due := w.overdue(node, s)
		if next := asked.Add(l.Dead); next.After(due) {
			due = next
		}
		w.heard[node] = hearing{asked, l, due}
	}
	return cluster.Grant{Index: view.Index(), Stop: l.Stop, Kill: l.Kill}, nil
}

// LastHeard tells when a node asked last in this term; the zero time when it did not.
func (w *Warden) LastHeard(node cluster.NodeID) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.heard[node].at
}

// overdue is since when a node may be taken for dead.
func (w *Warden) overdue(node cluster.NodeID, s cluster.Settings) time.Time {
	if last, ok := w.heard[node]; ok {
		if longer := last.at.Add(s.Lease.Dead); longer.After(last.due) {
			return longer
		}
		return last.due
	}
	since := w.began
	if joined := w.joined[node]; joined.After(since) {
		since = joined // it could not ask before
	}
	return since.Add(max(s.Lease.Dead, s.Former)) // some other leader may have granted by other settings
}

// meet notes which nodes there are, and since when.
func (w *Warden) meet(view *cluster.View, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := w.joined == nil
	if first {
		w.joined, now = map[cluster.NodeID]time.Time{}, time.Time{}
	}
	for n := range view.Nodes() {
		if _, met := w.joined[n.ID]; !met {
			w.joined[n.ID] = now
		}
	}
}

// condemn decides to take a node for dead, if it may be, and grants it nothing from then on.
func (w *Warden) condemn(node cluster.NodeID, s cluster.Settings, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Before(w.overdue(node, s)) {
		return false
	}
	w.condemned[node] = true
	return true
}

// absolve lets a node ask again: that it was lost is committed, so that a new lease comes with the news, or will never be.
func (w *Warden) absolve(node cluster.NodeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.condemned, node)
}

// Attend takes for dead who has been silent for too long. It is a duty of the leader's: patiently does what it is given unless the same failed
// a short while ago.
func (w *Warden) Attend(ctx context.Context, view *cluster.View, patiently func(what string, do func() error)) {
	if !view.AllKnow(cluster.LeaseCommands) || view.Term() != w.term {
		return
	}
	w.meet(view, time.Now())
	s := view.Settings()
	settled := s.Former > 0
	for n := range view.Nodes() {
		if ctx.Err() != nil {
			return
		}
		settled = settled && (n.Lost != nil || w.knows(n.ID, s.Lease))
		if n.Lost != nil && !view.Restartable(n.ID) || !w.condemn(n.ID, s, time.Now()) {
			continue
		}
		patiently("take for dead node "+n.Name, func() error { return w.lose(ctx, n.ID) })
	}
	if settled {
		patiently("settle the leases", func() error {
			return w.propose(ctx, &cluster.PutSettings{Settings: cluster.Settings{Revision: s.Revision}, Settled: true})
		})
	}
}

// knows tells whether a node was granted its lease by those settings, and holds no longer one from before.
func (w *Warden) knows(node cluster.NodeID, l cluster.Lease) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.heard[node]
	return last.lease == l && last.due.Equal(last.at.Add(l.Dead))
}

func (w *Warden) lose(ctx context.Context, node cluster.NodeID) error {
	err := w.propose(ctx, &cluster.LoseNode{Node: node, Term: w.term})
	var refused *cluster.Error
	known := err == nil || errors.As(err, &refused) && refused.Code != cluster.Unavailable
	if known {
		w.absolve(node)
	}
	if refused != nil && refused.Code == cluster.Conflict {
		return nil // it was lost already
	}
	return err
}
