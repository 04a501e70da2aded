package sim

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// sampleEvery is how much more seldom a large cluster is looked at as a whole.
const sampleEvery = 64

// confirmWindow is how old a node's knowledge may be when it asks its hypervisor for a start: a linearizable read ends
// within proposeTimeout.
const confirmWindow = proposeTimeout

// stint is what was committed about an instance from some moment on.
type stint struct {
	from   time.Time
	node   cluster.NodeID
	epoch  uint64
	wanted cluster.Power
	known  bool // false: it is gone
}

// records is what the checks remember of all that was committed.
type records struct {
	mu         sync.Mutex
	stints     map[cluster.InstanceID][]stint
	tombstones map[string]bool                      // node and instance, of all that ever were
	limits     map[cluster.NodeID]cluster.Resources // what each machine really has
	starts     int
}

func newRecords() *records {
	return &records{stints: map[cluster.InstanceID][]stint{}, tombstones: map[string]bool{}, limits: map[cluster.NodeID]cluster.Resources{}}
}

// committed looks at a new entry. The ledger is locked, so that nothing comes between.
func (w *World) committed(v *cluster.View, commands []cluster.Command, results []cluster.Result) {
	w.index.Store(v.Index())
	for i := range commands {
		w.trace("entry %d: %s %s: %v %v", v.Index(), commands[i].ID, opName(commands[i].Op), results[i].IDs, refusal(results[i]))
	}
	if v.Index()%w.every(1) == 0 {
		if err := v.Verify(); err != nil {
			w.broken(CheckState, "%v", err)
		}
	}
	w.records.mu.Lock()
	defer w.records.mu.Unlock()
	for i := range results {
		if results[i].Err != nil {
			continue
		}
		switch o := commands[i].Op.(type) {
		case *cluster.CreateInstances, *cluster.PlaceInstance, *cluster.SetPower, *cluster.ReportInstances, *cluster.ForgetInstance:
			w.follow(v, results[i].IDs)
		case *cluster.DeleteInstance:
			w.follow(v, []string{string(o.ID)})
		}
	}
}

func opName(op cluster.Op) string {
	return strings.TrimPrefix(fmt.Sprintf("%T", op), "*cluster.")
}

func refusal(r cluster.Result) string {
	if r.Err == nil {
		return ""
	}
	return r.Err.Message
}

// follow takes down what became of instances.
func (w *World) follow(v *cluster.View, ids []string) {
	for _, text := range ids {
		id := cluster.InstanceID(text)
		s := stint{from: time.Now()}
		in, ok := v.Instance(id)
		if ok {
			s.known, s.node, s.epoch, s.wanted = true, in.Node, in.Epoch, in.Wanted
			w.checkRoom(v, in.Node)
			if in.Wanted == cluster.WantDeleted {
				w.records.tombstones[string(in.Node)+string(id)] = true
			}
			w.promises.exists(w, in)
		}
		all := w.records.stints[id]
		if n := len(all); n == 0 || !all[n-1].same(s) {
			w.records.stints[id] = append(all, s)
		}
	}
}

func (s stint) same(o stint) bool {
	return s.node == o.node && s.epoch == o.epoch && s.wanted == o.wanted && s.known == o.known
}

// checkRoom adds up what a node holds, without the state's own sums.
func (w *World) checkRoom(v *cluster.View, id cluster.NodeID) {
	limit, ok := w.records.limits[id]
	if !ok {
		return
	}
	var sum cluster.Resources
	for in := range v.InstancesOn(id) {
		if in.Wanted != cluster.WantDeleted {
			sum = sum.Add(in.Resources())
		}
	}
	for t := range v.TombstonesOn(id) {
		sum = sum.Add(t.Resources)
	}
	if !sum.Fits(limit) {
		w.broken(CheckRoom, "node %s has %+v and is promised %+v", id, limit, sum)
	}
}

// started looks at a domain that was just powered on.
func (w *World) started(m *machine, s virt.Stamp, asked time.Time) {
	for _, other := range w.machines {
		if other == m {
			continue
		}
		if h, ok := other.driver.Look(s.Instance); ok && (h.Domain.Power == virt.PowerRunning || h.Domain.Power == virt.PowerPaused) {
			w.broken(CheckOne, "instance %s runs on machines %d and %d", s.Instance, m.number, other.number)
		}
	}
	w.records.mu.Lock()
	defer w.records.mu.Unlock()
	w.records.starts++
	since := asked.Add(-confirmWindow)
	all := w.records.stints[s.Instance]
	for i, c := range all {
		over := i+1 < len(all) && all[i+1].from.Before(since)
		if !over && c.known && c.node == m.id && c.epoch == s.Epoch && c.wanted == cluster.WantOn {
			return
		}
	}
	last := "never committed"
	if len(all) > 0 {
		last = fmt.Sprintf("%+v", all[len(all)-1])
	}
	w.broken(CheckStart, "machine %d starts %s in epoch %d: %s", m.number, s.Instance, s.Epoch, last)
}

// disksRemoved looks at disks that are gone.
func (w *World) disksRemoved(m *machine, s virt.Stamp) {
	w.records.mu.Lock()
	defer w.records.mu.Unlock()
	if !w.records.tombstones[string(m.id)+string(s.Instance)] {
		w.broken(CheckDisks, "machine %d removes the disks of %s, which has no tombstone there", m.number, s.Instance)
	}
}
