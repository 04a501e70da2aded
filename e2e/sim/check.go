package sim

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
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
	wanted cluster.Power // of its domain at this step
	hold   bool          // nobody but an operation may touch it
	ha     bool          // its node may end it for want of a lease
	boot   uint64
	known  bool // false: it is gone
}

// records is what the checks remember of all that was committed.
type records struct {
	mu         sync.Mutex
	stints     map[cluster.InstanceID][]stint
	tombstones map[place][]cluster.Tombstone           // all that ever were
	places     map[cluster.InstanceID][]cluster.NodeID // where it ever had anything
	booted     map[cluster.InstanceID]uint64           // what its domain was started for at least
	annals     annals
	limits     map[cluster.NodeID]cluster.Resources // what each machine really has
	asked      map[cluster.NodeID]time.Time         // when it asked for the last lease that it was granted
	starts     int
}

// place is a node and an instance.
type place struct {
	node cluster.NodeID
	id   cluster.InstanceID
}

func newRecords() *records {
	return &records{stints: map[cluster.InstanceID][]stint{}, tombstones: map[place][]cluster.Tombstone{}, places: map[cluster.InstanceID][]cluster.NodeID{},
		booted: map[cluster.InstanceID]uint64{}, annals: newAnnals(), limits: map[cluster.NodeID]cluster.Resources{}, asked: map[cluster.NodeID]time.Time{}}
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
		w.lost(commands[i].Op, results[i].Err)
		if results[i].Err != nil {
			continue
		}
		_, anew := commands[i].Op.(*cluster.RebuildInstance)
		for _, id := range results[i].IDs {
			w.follow(v, cluster.InstanceID(id), anew)
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

// follow takes down what became of an instance. IDs of other things are passed over.
func (w *World) follow(v *cluster.View, id cluster.InstanceID, anew bool) {
	r := w.records
	in, ok := v.Instance(id)
	if !ok && r.stints[id] == nil {
		return
	}
	s := stint{from: time.Now()}
	if ok {
		s.known, s.node, s.epoch, s.boot = true, in.Node, in.Epoch, in.Boot
		s.wanted, s.hold = in.Desired()
		s.ha = in.HA()
		r.annals.lineage(in, anew)
		w.promises.exists(w, in)
		r.was(id, in.Node)
		if m := moveOf(in); m != nil {
			r.was(id, m.From)
			r.was(id, m.To)
		}
	}
	for _, node := range r.places[id] {
		w.checkRoom(v, node)
		if t, ok := v.Tombstone(node, id); ok {
			at := place{node, id}
			r.tombstones[at] = append(r.tombstones[at], *t)
		}
	}
	all := r.stints[id]
	if n := len(all); n == 0 || !all[n-1].same(s) {
		r.stints[id] = append(all, s)
	}
}

// was notes that a node may have something of an instance.
func (r *records) was(id cluster.InstanceID, node cluster.NodeID) {
	if node != "" && !slices.Contains(r.places[id], node) {
		r.places[id] = append(r.places[id], node)
	}
}

func (s stint) same(o stint) bool { s.from = o.from; return s == o }

// checkRoom looks whether a node is promised more than it has.
func (w *World) checkRoom(v *cluster.View, id cluster.NodeID) {
	limit, ok := w.records.limits[id]
	if !ok {
		return
	}
	if sum := promisedOf(v, id); !sum.Fits(limit) {
		w.broken(CheckRoom, "node %s has %+v and is promised %+v", id, limit, sum)
	}
}

// promisedOf adds up what a node holds, without the state's own sums: its instances, what moves to and from it, and what
// is not cleared away yet.
func promisedOf(v *cluster.View, id cluster.NodeID) cluster.Resources {
	var sum cluster.Resources
	for in := range v.InstancesOn(id) {
		if in.Wanted != cluster.WantDeleted {
			sum = sum.Add(in.Resources())
		}
	}
	for in := range v.UnderWay() {
		m := moveOf(in)
		if m == nil || in.Wanted == cluster.WantDeleted {
			continue
		}
		other := *in
		switch in.Op.Step {
		case cluster.StepFinishing, cluster.StepWaiting:
			if other.Spec.Flavor = m.Was; m.From == id && in.Op.Kind != cluster.OpEvacuate {
				sum = sum.Add(other.Resources())
			}
		case cluster.StepStopping, cluster.StepCopying, cluster.StepMigrating, cluster.StepAsking:
			if other.Spec.Flavor = m.Flavor; m.To == id {
				sum = sum.Add(other.Resources())
			}
		}
	}
	for t := range v.TombstonesOn(id) {
		sum = sum.Add(t.Resources)
	}
	return sum
}

// started looks at a domain that was just let run. With goesOn it was paused: an operation that holds it may do that, too.
func (w *World) started(m *machine, h sim.Held, asked time.Time, goesOn bool) {
	s := h.Domain.Stamp
	w.records.mu.Lock()
	defer w.records.mu.Unlock()
	for _, other := range w.machines {
		if other == m {
			continue
		}
		o, _ := other.driver.Look(s.Instance)
		if o.Domain.Power == virt.PowerRunning || o.Domain.Power == virt.PowerPaused && !w.departed(other, o) {
			w.broken(CheckOne, "instance %s runs on machines %d and %d", s.Instance, m.number, other.number)
		}
	}
	w.records.starts++
	w.examine(m, h)
	all := w.recent(s.Instance, asked)
	if len(all) > 0 {
		w.records.booted[s.Instance] = all[0].boot
	}
	for _, c := range all {
		if c.known && c.node == m.id && c.epoch == s.Epoch && c.wanted == cluster.WantOn && (!c.hold || goesOn) {
			return
		}
	}
	last := "never committed"
	if len(all) > 0 {
		last = fmt.Sprintf("%+v", all[len(all)-1])
	}
	w.broken(CheckStart, "machine %d starts %s in epoch %d: %s", m.number, s.Instance, s.Epoch, last)
}

// recent is what was committed about an instance when a node that acts now may have asked last, and since then.
func (w *World) recent(id cluster.InstanceID, asked time.Time) []stint {
	since := asked.Add(-confirmWindow)
	all := w.records.stints[id]
	for len(all) > 1 && all[1].from.Before(since) {
		all = all[1:]
	}
	return all
}

// departed tells whether a paused domain is what a live migration leaves behind.
func (w *World) departed(m *machine, h sim.Held) bool {
	return slices.ContainsFunc(w.records.tombstones[place{m.id, h.Domain.ID}], func(t cluster.Tombstone) bool { return h.Domain.Stamp.Epoch <= t.Epoch })
}

// forgotten looks at memory that a node threw away: it has to be on the committed word that the instance is off, starts anew, or is
// another or elsewhere.
func (w *World) forgotten(m *machine, h sim.Held, asked time.Time) {
	w.records.mu.Lock()
	defer w.records.mu.Unlock()
	s := h.Domain.Stamp
	all := w.recent(s.Instance, asked)
	for _, c := range all {
		if !c.known || c.node != m.id || c.epoch != s.Epoch || c.wanted == cluster.WantOff || c.wanted == cluster.WantDeleted || c.boot > w.records.booted[s.Instance] ||
			c.ha && w.mayFence(m.id) {
			return
		}
	}
	if len(all) > 0 { // else nobody committed it
		w.broken(CheckMemory, "machine %d throws the memory of %s away, of boot %d: %+v", m.number, s.Instance, h.Boot, all[len(all)-1])
	}
}

// disksRemoved looks at disks that are gone.
func (w *World) disksRemoved(m *machine, id cluster.InstanceID, epochs []uint64) {
	w.records.mu.Lock()
	defer w.records.mu.Unlock()
	for _, e := range epochs {
		covers := func(t cluster.Tombstone) bool { return e <= t.Epoch && e != t.Keep }
		if !slices.ContainsFunc(w.records.tombstones[place{m.id, id}], covers) {
			w.broken(CheckDisks, "machine %d removes the disks of %s that were made for epoch %d, which no tombstone there covers", m.number, id, e)
		}
	}
}
