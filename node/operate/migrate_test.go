package operate

import (
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/failpoint"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// alive checks that exactly one guest of the instance is there, on the given node, that it was never booted again, and that its disk
// is with it.
func (w *world) alive(on cluster.NodeID, p virt.Power) {
	w.t.Helper()
	w.expect("afterwards", on, map[virt.Power]cluster.VMState{virt.PowerRunning: cluster.VMActive, virt.PowerPaused: cluster.VMPaused}[p], p)
	held, _ := w.hosts[on].sim.Look(one)
	if held.Boot != 1 || !strings.Contains(held.Wrote, "written on n1") {
		w.t.Errorf("on %s it is in boot %d, with %q on its disk", on, held.Boot, held.Wrote)
	}
	view, _ := w.Latest()
	for _, id := range []cluster.NodeID{n1, n2} {
		for range view.TombstonesOn(id) {
			w.t.Errorf("something is left on %s", id)
		}
		if held, there := w.hosts[id].sim.Look(one); id != on && there && (held.Defined || held.Disks) {
			w.t.Errorf("left on %s: %+v", id, held)
		}
	}
}

// A running guest moves to the other node, and back, without noticing.
func TestMigrate_ThereAndBack(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.begin(cluster.OpLive, n2)
		w.settle(time.Minute)
		w.alive(n2, virt.PowerRunning)
		w.must(&cluster.BeginMove{ID: one, Operation: "o2", What: cluster.OpLive})
		w.must(&cluster.PlaceMove{ID: one, Operation: "o2", Node: n1, Explanation: cluster.Explanation{Node: n1}})
		w.settle(time.Minute)
		w.alive(n1, virt.PowerRunning)
	})
}

// A paused guest arrives paused.
func TestMigrate_PausedStaysPaused(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.must(&cluster.SetPower{ID: one, Request: "req-2", Action: "pause"})
		w.settle(10 * time.Second)
		w.begin(cluster.OpLive, n2)
		w.settle(time.Minute)
		w.alive(n2, virt.PowerPaused)
	})
}

// Things go wrong in many ways, once. Wherever the guest is in the end, it is alive there, and nowhere else.
func TestMigrate_TroubleLeavesOneGuest(t *testing.T) {
	restart := func(h *host) { h.stop(); h.start() }
	slow := sim.Fault{Slow: time.Minute, At: 10}
	late := sim.Fault{Slow: 10 * time.Second, At: 1}
	for name, c := range map[string]struct {
		before func(w *world) // the move is asked for
		during func(w *world)
		mend   func(w *world)
		on     cluster.NodeID
	}{
		"it fails half way": {on: n1,
			before: func(w *world) { w.hosts[n1].sim.SetFault(sim.OpMigrate, sim.Fault{Fail: 1, At: 50}) }},
		"it fails at the destination": {on: n1,
			before: func(w *world) { w.hosts[n2].sim.SetFault(sim.OpLand, sim.Fault{Fail: 1}) }},
		"the answer of the source's hypervisor is lost": {on: n2,
			before: func(w *world) { w.hosts[n1].sim.SetFault(sim.OpMigrate, sim.Fault{Lose: 1}) }},
		"the last word of the destination's hypervisor is lost": {on: n2,
			before: func(w *world) { w.hosts[n2].sim.SetFault(sim.OpLand, sim.Fault{Lose: 1}) }},
		"the source's daemon is restarted": {on: n2,
			before: func(w *world) { w.hosts[n1].sim.SetFault(sim.OpMigrate, slow) },
			mend:   func(w *world) { w.hosts[n1].sim.SetFault(sim.OpMigrate, sim.Fault{}); restart(w.hosts[n1]) }},
		"the destination's daemon is restarted": {on: n1,
			before: func(w *world) { w.hosts[n1].sim.SetFault(sim.OpMigrate, slow) },
			mend:   func(w *world) { restart(w.hosts[n2]) }},
		"the destination's hypervisor hangs at the end, and the source's daemon is restarted": {on: n1,
			before: func(w *world) { w.hosts[n2].sim.SetFault(sim.OpLand, sim.Fault{Hang: true}) },
			mend:   func(w *world) { restart(w.hosts[n1]) }},
		"the nodes are cut off before it begins": {on: n2,
			before: func(w *world) { w.setCut(true) },
			mend:   func(w *world) { w.setCut(false) }},
		"there is no quorum for long when it ends": {on: n2,
			before: func(w *world) { w.hosts[n1].sim.SetFault(sim.OpMigrate, late) },
			during: func(w *world) { time.Sleep(2 * time.Second); w.quorum(false); time.Sleep(time.Hour) },
			mend:   func(w *world) { w.quorum(true) }},
		"the destination cannot be asked for long": {on: n2,
			before: func(w *world) {
				w.hosts[n2].sim.SetFault(sim.OpLand, sim.Fault{Lose: 1})
				w.hosts[n1].sim.SetFault(sim.OpMigrate, late)
			},
			during: func(w *world) { time.Sleep(2 * time.Second); w.setCut(true); time.Sleep(time.Hour) },
			mend:   func(w *world) { w.setCut(false) }},
		"the source's hypervisor is down for long": {on: n2,
			before: func(w *world) { w.hosts[n1].sim.SetDown(true) },
			during: func(*world) { time.Sleep(time.Hour) },
			mend:   func(w *world) { w.hosts[n1].sim.SetDown(false) }},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				c.before(w)
				w.must(&cluster.BeginMove{ID: one, Operation: op1, What: cluster.OpLive})
				w.must(&cluster.PlaceMove{ID: one, Operation: op1, Node: n2, Explanation: cluster.Explanation{Node: n2}})
				if c.during != nil {
					c.during(w)
				}
				w.settle(20 * time.Second)
				if c.mend != nil {
					c.mend(w)
				}
				w.settle(3 * time.Minute)
				w.alive(c.on, virt.PowerRunning)
			})
		})
	}
}

// The daemons stop and start at each of the named moments.
func TestMigrate_EveryFailpoint(t *testing.T) {
	for _, point := range []string{PointMigrateBegun, PointMigrateLanding, PointMigrateSending, PointMigrateSent, PointLandReceived, PointLandStream, PointLandArrival} {
		t.Run(point, func(t *testing.T) {
			if err := failpoint.Set(point + "=1*error"); err != nil {
				t.Fatal(err)
			}
			defer failpoint.Set("")
			in(t, func(t *testing.T, w *world) {
				w.begin(cluster.OpLive, n2)
				w.settle(3 * time.Minute)
				on := n2
				if point == PointLandStream {
					on = n1
				}
				w.alive(on, virt.PowerRunning)
			})
		})
	}
}

// A guest changes its memory faster than it is sent, until the operator decides: to give up, or to complete. A deletion decides, too.
func TestMigrate_TheOperatorDecides(t *testing.T) {
	restless := func(w *world) {
		w.hosts[n1].sim.SetFault(sim.OpMigrate, sim.Fault{Restless: true, At: 50})
		w.begin(cluster.OpLive, n2)
		w.settle(30 * time.Second)
		if w.instance().Op == nil || w.instance().Op.Move.Progress.MemoryTotal == 0 {
			w.t.Fatalf("no progress was told: %+v", w.instance().Op)
		}
	}
	t.Run("abort", func(t *testing.T) {
		in(t, func(t *testing.T, w *world) {
			restless(w)
			w.must(&cluster.SignalMove{ID: one, Operation: op1, Signal: cluster.SignalAbort})
			w.settle(time.Minute)
			w.alive(n1, virt.PowerRunning)
			view, _ := w.Latest()
			for m := range view.Migrations() {
				if m.Status != cluster.MigrationCancelled {
					t.Errorf("the migration is %s", m.Status)
				}
			}
		})
	})
	t.Run("force", func(t *testing.T) {
		in(t, func(t *testing.T, w *world) {
			restless(w)
			w.must(&cluster.SignalMove{ID: one, Operation: op1, Signal: cluster.SignalForce})
			w.settle(time.Minute)
			w.alive(n2, virt.PowerRunning)
		})
	})
	t.Run("nobody for long", func(t *testing.T) {
		in(t, func(t *testing.T, w *world) {
			restless(w)
			w.settle(time.Hour)
			w.alive(n1, virt.PowerRunning)
		})
	})
	t.Run("delete", func(t *testing.T) {
		in(t, func(t *testing.T, w *world) {
			restless(w)
			w.must(&cluster.DeleteInstance{ID: one, Request: "req-3"})
			w.settle(3 * time.Minute)
			for _, id := range []cluster.NodeID{n1, n2} {
				if held, there := w.hosts[id].sim.Look(one); there && (held.Defined || held.Disks) {
					t.Errorf("left on %s: %+v", id, held)
				}
			}
		})
	})
}

// Without a word that its disks may be copied, a guest whose disks are its node's own stays.
func TestMigrate_WithoutCopyingDisksItStays(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.must(&cluster.BeginMove{ID: one, Operation: op1, What: cluster.OpLive, CopyDisks: "no"})
		w.must(&cluster.PlaceMove{ID: one, Operation: op1, Node: n2, Explanation: cluster.Explanation{Node: n2}})
		w.settle(time.Minute)
		w.alive(n1, virt.PowerRunning)
	})
}

// Other nodes, other operations and other steps reach nothing of the destination's hypervisor.
func TestDestination_ServesOnlyTheMoveThatTheStateNames(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		d := w.hosts[n2].destination
		right := peer.Move{Instance: one, Operation: op1, Asker: n1}
		refused := func(when string, m peer.Move) {
			t.Helper()
			_, landErr := d.Land(t.Context(), m)
			_, arrivalErr := d.Arrival(t.Context(), m)
			_, streamErr := d.Stream(t.Context(), m, peer.StreamLibvirt)
			for _, err := range []error{landErr, arrivalErr, streamErr} {
				if cluster.CodeOf(err) != cluster.Stale {
					t.Errorf("%s: %v", when, err)
				}
			}
		}
		refused("before the move", right)
		w.hosts[n1].sim.SetFault(sim.OpMigrate, sim.Fault{Restless: true, At: 50})
		w.begin(cluster.OpLive, n2)
		w.settle(10 * time.Second)
		for when, spoil := range map[string]func(*peer.Move){
			"another node":      func(m *peer.Move) { m.Asker = n2 },
			"nobody":            func(m *peer.Move) { m.Asker = "" },
			"another operation": func(m *peer.Move) { m.Operation = "o2" },
			"another instance":  func(m *peer.Move) { m.Instance = "i2" },
		} {
			m := right
			spoil(&m)
			refused(when, m)
		}
		if _, err := d.Stream(t.Context(), right, "etc"); cluster.CodeOf(err) != cluster.Invalid {
			t.Errorf("a stream that there is not: %v", err)
		}
		w.must(&cluster.SignalMove{ID: one, Operation: op1, Signal: cluster.SignalForce})
		w.settle(time.Minute)
		refused("after the move", right)
	})
}

// Where a guest is follows from what both hosts have, in every combination.
func TestJudge(t *testing.T) {
	gone, runs, paused, off := sighting{}, sighting{defined: true, power: virt.PowerRunning}, sighting{defined: true, power: virt.PowerPaused}, sighting{defined: true, power: virt.PowerOff}
	noGuest, waits, goes := &peer.Arrival{}, &peer.Arrival{Defined: true}, &peer.Arrival{Defined: true, Running: true}
	went := &peer.Arrival{Defined: true, Off: true}
	for _, c := range []struct {
		wanted cluster.Power
		here   sighting
		there  *peer.Arrival
		want   verdict
	}{
		{cluster.WantOn, runs, nil, stayed},
		{cluster.WantOn, runs, goes, stayed},
		{cluster.WantOn, paused, nil, unclear},
		{cluster.WantOn, gone, nil, unclear},
		{cluster.WantOn, off, nil, unclear},
		{cluster.WantOn, gone, goes, arrived},
		{cluster.WantOn, off, goes, arrived},
		{cluster.WantOn, gone, went, arrived},
		{cluster.WantOn, off, went, arrived},
		{cluster.WantOn, paused, went, stayed},
		{cluster.WantOn, runs, went, stayed},
		{cluster.WantOn, paused, goes, arrived},
		{cluster.WantOn, paused, waits, stayed},
		{cluster.WantOn, gone, waits, stayed},
		{cluster.WantOn, gone, noGuest, stayed},
		{cluster.WantPaused, paused, nil, stayed},
		{cluster.WantPaused, paused, waits, stayed},
		{cluster.WantPaused, gone, nil, unclear},
		{cluster.WantPaused, gone, waits, arrived},
		{cluster.WantPaused, gone, noGuest, stayed},
	} {
		if got := judge(c.wanted, c.here, c.there); got != c.want {
			t.Errorf("%s, here %+v, there %+v: %v, want %v", c.wanted, c.here, c.there, got, c.want)
		}
	}
}
