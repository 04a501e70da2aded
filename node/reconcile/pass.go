package reconcile

import (
	"context"
	"iter"
	"maps"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// pass compares and acts once. It returns how long until the next pass is due if nothing happens before.
func (l *Loop) pass(ctx context.Context, view *cluster.View) time.Duration {
	if !l.answered {
		return retryAfter // nothing was observed yet, so nothing can be compared
	}
	l.notice(view)
	now := time.Now()
	wake := min(relistEvery, l.ring(now))
	w := virt.Wanted{Cluster: view.Authority().ClusterID, Node: l.Node}
	var domains []virt.Domain
	for id := range l.dirty {
		m := l.remember(id)
		if m.busy {
			l.recall(view, id, m)
			continue // its worker makes it dirty again
		}
		if wait := m.retryAt.Sub(now); wait > 0 {
			wake = min(wake, wait)
			continue
		}
		if _, dead := view.Tombstone(l.Node, id); dead && l.Busy != nil && l.Busy(id) {
			m.retryAt, wake = now.Add(busyPause), min(wake, busyPause)
			continue
		}
		if l.listings < m.since {
			m.retryAt = now.Add(time.Millisecond) // the listing wakes the loop
			if l.begun < m.since {
				l.relistAt = now
			}
			continue
		}
		m.missing = false
		d, exists := l.observed[id]
		if exists {
			domains = append(domains, d)
			l.tellAtOnce(view, d, m)
		}
		if in, ok := view.Instance(id); ok && in.Node != "" && in.Wanted != cluster.WantDeleted {
			w.Instances = append(w.Instances, l.desired(in, m, view, now))
		}
		if t, ok := view.Tombstone(l.Node, id); ok && (exists && d.Stamp.Epoch <= t.Epoch || l.buried[id] != t.Epoch) {
			w.Tombstones = append(w.Tombstones, virt.Tombstone{Instance: t.Instance, Node: t.Node, Epoch: t.Epoch, Keep: t.Keep})
		}
	}
	actions := virt.Diff(w, domains)
	l.release(domains, actions)
	l.carryOut(ctx, view, actions)
	l.settleDirty(view, now)
	return max(min(wake, l.untilList(now)), time.Millisecond)
}

// recall stops a worker that fetches the images of an instance which is no longer this node's: that may take an hour, and the
// instance's deletion would wait for it.
func (l *Loop) recall(view *cluster.View, id cluster.InstanceID, m *memory) {
	if m.fetching == nil {
		return
	}
	in, ok := view.Instance(id)
	if !ok || in.Node != l.Node || in.Epoch != m.epoch || in.Wanted == cluster.WantDeleted {
		m.fetching()
	}
}

// release takes domains out of quarantine that the state explains by now.
func (l *Loop) release(domains []virt.Domain, actions []virt.Action) {
	strange := map[cluster.InstanceID]bool{}
	for _, a := range actions {
		strange[a.ID] = a.Kind == virt.ActionQuarantine
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range domains {
		if !strange[d.ID] {
			delete(l.quarantined, d.ID)
		}
	}
}

// ring makes the instances dirty whose alarm is due, and returns how long until the next one.
func (l *Loop) ring(now time.Time) time.Duration {
	next := relistEvery
	for id, at := range l.alarms {
		if at.After(now) {
			next = min(next, at.Sub(now))
			continue
		}
		l.dirty[id] = struct{}{}
		delete(l.alarms, id)
	}
	return next
}

// notice marks what changed in the state since the last pass. What the view remembers as changed is looked at each time, and now and then
// everything.
func (l *Loop) notice(view *cluster.View) {
	recent := l.seen != nil && time.Since(l.surveyed) < relistEvery
	if recent && view == l.seen {
		return
	}
	var changed iter.Seq[cluster.InstanceID]
	if recent {
		changed, recent = view.InstancesChanged(l.seen.Index())
	}
	first := l.seen == nil
	l.seen = view
	if !recent {
		l.survey(view, first)
		return
	}
	for id := range changed {
		in, ok := view.Instance(id)
		here := ok && in.Node == l.Node
		_, dead := view.Tombstone(l.Node, id)
		if here {
			l.handed(l.known[id], in)
			l.known[id] = in
		} else if _, was := l.known[id]; was {
			delete(l.known, id)
			l.dirty[id] = struct{}{}
		}
		if here || dead {
			l.dirty[id] = struct{}{}
		}
	}
}

// handed marks an instance whose domain somebody else had until now: one that came from another node, or one that an operation
// owned. Its guest may run although no listing says so yet, and must not be taken for one that is off. old is nil for one that was
// not this node's before.
func (l *Loop) handed(old, in *cluster.Instance) {
	came := old == nil || old.Epoch != in.Epoch
	if !came {
		_, held := old.Desired()
		_, holds := in.Desired()
		came = held && !holds
	}
	if came && in.Status.VM != cluster.VMBuilding {
		l.remember(in.ID).since = l.begun + 1
	}
}

// survey is notice without a memory: it compares every instance.
func (l *Loop) survey(view *cluster.View, first bool) {
	l.surveyed = time.Now()
	here := make(map[cluster.InstanceID]*cluster.Instance, len(l.known))
	for in := range view.InstancesOn(l.Node) {
		here[in.ID] = in
		if !first {
			l.handed(l.known[in.ID], in)
		}
		if l.known[in.ID] != in {
			l.dirty[in.ID] = struct{}{}
		}
	}
	for id := range l.known {
		if here[id] == nil {
			l.dirty[id] = struct{}{}
		}
	}
	for t := range view.TombstonesOn(l.Node) {
		l.dirty[t.Instance] = struct{}{}
	}
	l.known = here
	maps.DeleteFunc(l.buried, func(id cluster.InstanceID, _ uint64) bool {
		_, pending := view.Tombstone(l.Node, id)
		return !pending
	})
	if l.rebooted {
		l.rebooted = false
		for id, in := range here {
			if wanted, _ := in.Desired(); wanted == cluster.WantOn && l.observed[id].Power != virt.PowerRunning {
				l.resume[id] = struct{}{}
			}
		}
		l.resumeArrived(view)
		l.settled()
	}
}

// resumeArrived has guests run again that had come here alive before the reboot, perhaps, when nobody knew yet: should their move be found
// to be over, they did not go off by themselves either.
func (l *Loop) resumeArrived(view *cluster.View) {
	for in := range view.UnderWay() {
		have, there := l.observed[in.ID]
		if in.Op.Step == cluster.StepMigrating && in.Op.Move.To == l.Node && in.Wanted == cluster.WantOn && there && have.Power != virt.PowerRunning {
			l.resume[in.ID] = struct{}{}
		}
	}
}

// settled tells that everything that ran before the host's reboot runs again.
func (l *Loop) settled() {
	if len(l.resume) == 0 && l.Settled != nil {
		l.Settled()
		l.Settled = nil
	}
}

func (l *Loop) remember(id cluster.InstanceID) *memory {
	m := l.memory[id]
	if m == nil {
		m = &memory{}
		l.memory[id] = m
	}
	return m
}

// desired is what the state wants of an instance, as virt.Diff asks it.
func (l *Loop) desired(in *cluster.Instance, m *memory, view *cluster.View, now time.Time) virt.Desired {
	d := virt.Desired{Stamp: stamp(in, view), Node: in.Node, Ready: l.ready(in)}
	m.missing = !d.Ready
	if in.Status.VM == cluster.VMError && in.Status.Task == cluster.TaskNone {
		return d // it waits for somebody to do something about it
	}
	if have, ok := l.observed[in.ID]; ok && have.Power == virt.PowerRunning && have.Stamp == d.Stamp {
		// It was started after it was built for this generation, so for this boot, even if the report of that was lost with an
		// earlier daemon. Starting it anew would reboot the guest twice.
		m.boot = in.Boot
	}
	running := m.boot
	if running == 0 {
		running = in.Status.Boot
	}
	wanted, hold := in.Desired()
	d.Hold = hold
	switch wanted {
	case cluster.WantOn:
		_, resume := l.resume[in.ID]
		d.Power = virt.PowerRunning
		d.Resume = resume || l.fenced(in) || in.Status.VM == cluster.VMBuilding || in.Status.Task != cluster.TaskNone
		d.Restart = in.Boot > running
		if in.Status.Task == cluster.TaskRebooting {
			d.Stop = l.politely(m, now)
		} else if l.mayObey(m, now) {
			d.Resume = true
		}
	case cluster.WantOff:
		d.Power = virt.PowerOff
		d.Stop = l.politely(m, now)
	case cluster.WantPaused:
		d.Power = virt.PowerPaused
	case cluster.WantSaved:
		d.Power = virt.PowerSaved
	}
	return d
}

// politely asks the guest to shut down first, and cuts the power when it had its time.
func (l *Loop) politely(m *memory, now time.Time) virt.StopMode {
	if !m.asked.IsZero() && now.Sub(m.asked) >= shutdownGrace {
		return virt.Destroy
	}
	return virt.Shutdown
}

// mayObey tells whether a guest may yet go off that was asked to for the sake of something that is over. It is started then: it did not
// go by itself.
func (l *Loop) mayObey(m *memory, now time.Time) bool {
	if now.Sub(m.asked) >= 2*shutdownGrace {
		m.asked = time.Time{}
	}
	return !m.asked.IsZero()
}

// ready tells whether every image that the instance boots from stands here.
func (l *Loop) ready(in *cluster.Instance) bool {
	for _, img := range in.Needs() {
		if _, _, ok := l.Images.Base(img); !ok {
			return false
		}
	}
	return true
}

func stamp(in *cluster.Instance, view *cluster.View) virt.Stamp {
	return virt.Stamp{Cluster: view.Authority().ClusterID, Instance: in.ID, Generation: in.Generation, Epoch: in.Epoch}
}

// carryOut gives each instance's actions to a worker of its own.
func (l *Loop) carryOut(ctx context.Context, view *cluster.View, actions []virt.Action) {
	for len(actions) > 0 {
		id := actions[0].ID
		n := 1
		for n < len(actions) && actions[n].ID == id {
			n++
		}
		l.dispatch(ctx, view, id, actions[:n])
		actions = actions[n:]
	}
}

func (l *Loop) dispatch(ctx context.Context, view *cluster.View, id cluster.InstanceID, actions []virt.Action) {
	in, _ := view.Instance(id)
	switch first := actions[0]; first.Kind {
	case virt.ActionQuarantine:
		l.quarantine(first)
		return
	case virt.ActionReport:
		if in != nil && in.Node == l.Node && l.remember(id).missing { // what was decided without them is decided again with them
			l.start(ctx, job{loop: l, in: in, view: view, prepare: true})
			return
		}
		l.Log.Debug("left as it is", "instance", id, "why", first.Why)
		return
	case virt.ActionRefresh:
		// A domain is described with its images, and a daemon that was started anew has not looked for them yet.
		if in != nil && !l.ready(in) {
			l.start(ctx, job{loop: l, in: in, view: view, prepare: true})
			return
		}
	case virt.ActionStop:
		if first.Stop == virt.Shutdown && !l.remember(id).asked.IsZero() {
			return // the guest was asked and has its time
		}
	}
	l.start(ctx, job{loop: l, id: id, in: in, view: view, seen: l.observed[id].Stamp, actions: prompt(in, actions)})
}

// quarantine names a domain once.
func (l *Loop) quarantine(a virt.Action) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.quarantined[a.ID] == a.Why {
		return
	}
	l.Log.Warn("found a domain that this cluster did not commit to this node; it is left alone", "domain", a.ID, "why", a.Why)
	l.quarantined[a.ID] = a.Why
}

// settleDirty reports what is as it should be by now, and forgets what needs no further look.
func (l *Loop) settleDirty(view *cluster.View, now time.Time) {
	for id := range l.dirty {
		m := l.memory[id]
		if m.busy || m.retryAt.After(now) {
			continue
		}
		delete(l.dirty, id)
		in, ok := view.Instance(id)
		if !ok || in.Node != l.Node {
			if _, there := l.observed[id]; !there {
				delete(l.memory, id)
				delete(l.resume, id)
				l.settled()
			}
			continue
		}
		if wanted, _ := in.Desired(); wanted != cluster.WantOn || in.Status.VM == cluster.VMError && in.Status.Task == cluster.TaskNone {
			delete(l.resume, id) // it is not to run, or will not without somebody's help
			l.settled()
		}
		if d, there := l.observed[id]; there {
			l.tell(in, d, m)
			if !m.asked.IsZero() && d.Power == virt.PowerRunning {
				l.alarms[id] = m.asked.Add(shutdownGrace)
			}
		}
	}
}
