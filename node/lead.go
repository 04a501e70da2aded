package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
	"github.com/kilonova/kilonova/raftfsm"
)

// How often the leader looks when nothing changes, how soon again when much does, and how long a node may be silent
// before a deletion on it no longer keeps its user waiting.
const (
	leadEvery    = time.Second
	leadPause    = 10 * time.Millisecond
	forgetAfter  = 30 * time.Second
	changeMember = 5 * time.Second
)

// leader is what the leader does on its own account, for as long as its term lasts: it brings Raft's members in line
// with the nodes of the state, finds nodes for instances that have none, and keeps images on enough nodes.
type leader struct {
	agreement *agreement
	chooser   *chooser
	hints     func() map[cluster.NodeID]placement.Hint
	copies    *copies
	log       *slog.Logger
}

// lead runs one term. It returns when ctx ends, and all that it began has ended.
func (l *leader) lead(ctx context.Context) {
	l.log.Info("leading the cluster")
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { l.copies.run(ctx) })
	for {
		view, changed := l.agreement.raft.Latest()
		l.chooser.hint()
		l.members(ctx, view)
		l.placeWaiting(ctx, view)
		l.forget(ctx, view)
		if !pause(ctx, leadPause) {
			break
		}
		timer := time.NewTimer(leadEvery)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	l.log.Info("no longer leading the cluster")
}

// members adds to Raft who is in the state and not in Raft, and removes who is no longer in the state.
func (l *leader) members(ctx context.Context, view *cluster.View) {
	have := map[cluster.NodeID]raftfsm.Member{}
	for _, m := range l.agreement.raft.Members() {
		have[m.ID] = m
	}
	for n := range view.Nodes() {
		addr := hostPort(n.Address, PeerPort)
		if m, ok := have[n.ID]; ok && m.Addr == addr {
			continue
		}
		l.change(ctx, "add "+n.Name, func(ctx context.Context) error { return l.agreement.raft.AddMember(ctx, n.ID, addr) })
	}
	for id := range have {
		if _, ok := view.Node(id); !ok && id != l.agreement.self {
			l.change(ctx, "remove "+string(id), func(ctx context.Context) error { return l.agreement.raft.RemoveMember(ctx, id) })
		}
	}
}

func (l *leader) change(ctx context.Context, what string, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, changeMember)
	defer cancel()
	if err := f(ctx); err != nil && ctx.Err() == nil {
		l.log.Warn("change raft's members: "+what, "err", err)
		return
	}
	l.log.Info("changed raft's members: " + what)
}

// placeWaiting finds nodes for instances without one: those whose first choice had no room any more when they were
// committed.
func (l *leader) placeWaiting(ctx context.Context, view *cluster.View) {
	for in := range view.InstancesOn("") {
		if in.Wanted == cluster.WantDeleted || in.Status.VM != cluster.VMBuilding {
			continue
		}
		op, release := l.chooser.place(in)
		_, err := l.agreement.raft.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op})
		release()
		if err != nil && ctx.Err() == nil {
			l.log.Info("place instance", "instance", in.ID, "node", op.Node, "err", err)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// forget finishes deletions that wait for a node which does not answer. The room stays taken until it does.
func (l *leader) forget(ctx context.Context, view *cluster.View) {
	for id, h := range l.hints() {
		if !h.Silent || h.SilentFor < forgetAfter {
			continue
		}
		for in := range view.InstancesOn(id) {
			if in.Wanted != cluster.WantDeleted {
				continue
			}
			_, err := l.agreement.raft.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: &cluster.ForgetInstance{ID: in.ID}})
			if err != nil && ctx.Err() == nil {
				l.log.Warn("finish the deletion of an instance on a silent node", "instance", in.ID, "err", err)
			}
		}
	}
}
