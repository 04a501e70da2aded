package sim

import (
	"context"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// sweepHastily is a planted bug: what the node's own picture does not name is removed.
func (m *machine) sweepHastily(d *daemon) {
	if m.w.cfg.Bug != BugDeleteOnAbsence {
		return
	}
	for pause(d.ctx, time.Second) {
		view, _ := d.replica.latest()
		for _, h := range m.driver.LookAll() {
			if _, ok := view.Instance(h.Domain.ID); ok {
				continue
			}
			if m.driver.Remove(d.ctx, h.Domain.ID) == nil {
				_ = m.driver.RemoveDisks(d.ctx, h.Domain.ID, virt.AllEpochs, 0)
			}
		}
	}
}

// evacuateHastily is a planted bug: what gossip calls silent is started on the next machine.
func (w *World) evacuateHastily(ctx context.Context, view *cluster.View) {
	if w.cfg.Bug != BugHastyEvacuation {
		return
	}
	hints := w.gossip.hints()
	for i, m := range w.machines {
		if !hints[m.id].Silent {
			continue
		}
		next := w.machines[(i+1)%len(w.machines)]
		for in := range view.InstancesOn(m.id) {
			if in.Wanted != cluster.WantOn || in.Status.VM != cluster.VMActive {
				continue
			}
			g := virt.Guest{Stamp: virt.Stamp{Cluster: view.Authority().ClusterID, Instance: in.ID, Generation: in.Generation, Epoch: in.Epoch},
				VCPUs: 1, MemoryMiB: 1}
			if next.driver.Build(ctx, g) == nil {
				_ = next.driver.Start(ctx, in.ID)
			}
		}
	}
}

// rebuild is a planted bug: what is committed is forgotten from an entry on. The ledger is locked.
func (w *World) rebuild(l *ledger, keep int) {
	l.entries = l.entries[:keep]
	l.truth = cluster.NewState()
	for _, e := range l.entries {
		commands, err := cluster.DecodeEntry(e.data)
		if err == nil {
			_, err = l.truth.Apply(e.index, commands)
		}
		if err != nil {
			panic("sim: the log cannot be replayed: " + err.Error())
		}
	}
	l.view = l.truth.View()
}

// writeToView is a planted bug: a reader writes to what it reads.
func (w *World) writeToView(id cluster.InstanceID) {
	if w.cfg.Bug != BugWriteToView {
		return
	}
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	if in, ok := w.ledger.view.Instance(id); ok {
		in.Node = w.machines[0].id
	}
}
