package virt_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

const (
	clusterID = "c-1"
	here      = cluster.NodeID("n-here")
	there     = cluster.NodeID("n-there")
	vm        = cluster.InstanceID("i-1")
)

func stamp(generation, epoch uint64) virt.Stamp {
	return virt.Stamp{Cluster: clusterID, Instance: vm, Generation: generation, Epoch: epoch}
}

func domain(generation, epoch uint64, p virt.Power) *virt.Domain {
	return &virt.Domain{ID: vm, Name: "d", Stamp: stamp(generation, epoch), Power: p}
}

// wanted is generation 5, epoch 3.
func wanted(node cluster.NodeID, p virt.Power, opts ...func(*virt.Desired)) *virt.Desired {
	d := &virt.Desired{Stamp: stamp(5, 3), Node: node, Power: p, Ready: true}
	for _, o := range opts {
		o(d)
	}
	return d
}

func resume(d *virt.Desired)   { d.Resume = true }
func notReady(d *virt.Desired) { d.Ready = false }
func softStop(d *virt.Desired) { d.Stop = virt.Shutdown }

func restart(d *virt.Desired) { d.Restart = true }
func hold(d *virt.Desired)    { d.Hold = true }

func saved(generation uint64) *virt.Domain {
	d := domain(generation, 3, virt.PowerOff)
	d.Saved = true
	return d
}

func tomb(epoch uint64) *virt.Tombstone {
	return &virt.Tombstone{Instance: vm, Node: here, Epoch: epoch}
}

func kinds(actions []virt.Action) string {
	var s []string
	for _, a := range actions {
		s = append(s, string(a.Kind))
	}
	return strings.Join(s, " ")
}

// Every situation that one instance can be in, and what a node does about it.
func TestDiff_OneInstance(t *testing.T) {
	foreign := domain(5, 3, virt.PowerRunning)
	foreign.Stamp.Cluster = "c-2"
	cloned := domain(5, 3, virt.PowerRunning)
	cloned.Stamp.Instance = "i-2"
	bare := &virt.Domain{ID: vm, Power: virt.PowerRunning}

	for _, c := range []struct {
		name string
		want *virt.Desired
		have *virt.Domain
		tomb *virt.Tombstone
		does string
	}{
		{"nothing known, nothing there", nil, nil, nil, ""},
		{"new, to run", wanted(here, virt.PowerRunning), nil, nil, "build start"},
		{"new, to be off", wanted(here, virt.PowerOff), nil, nil, "build"},
		{"new, image not here", wanted(here, virt.PowerRunning, notReady), nil, nil, "report"},
		{"runs as wanted", wanted(here, virt.PowerRunning), domain(5, 3, virt.PowerRunning), nil, ""},
		{"runs with an older definition", wanted(here, virt.PowerRunning), domain(4, 3, virt.PowerRunning), nil, "refresh"},
		{"built, never started", wanted(here, virt.PowerRunning, resume), domain(5, 3, virt.PowerOff), nil, "start"},
		{"off, older definition", wanted(here, virt.PowerRunning, resume), domain(4, 3, virt.PowerOff), nil, "build start"},
		{"off, image gone", wanted(here, virt.PowerRunning, resume, notReady), domain(5, 3, virt.PowerOff), nil, "report"},
		{"powered itself off", wanted(here, virt.PowerRunning), domain(5, 3, virt.PowerOff), nil, "report"},
		{"crashed", wanted(here, virt.PowerRunning), domain(5, 3, virt.PowerCrashed), nil, "report"},
		{"powered itself off, older definition", wanted(here, virt.PowerRunning), domain(4, 3, virt.PowerOff), nil, "build"},
		{"crashed, older definition", wanted(here, virt.PowerRunning), domain(4, 3, virt.PowerCrashed), nil, "stop build"},
		{"to be paused, powered itself off", wanted(here, virt.PowerPaused), domain(4, 3, virt.PowerOff), nil, "build"},
		{"to be suspended, powered itself off", wanted(here, virt.PowerSaved), domain(4, 3, virt.PowerOff), nil, "build"},
		{"crashed, to be started", wanted(here, virt.PowerRunning, resume), domain(5, 3, virt.PowerCrashed), nil, "stop start"},
		{"crashed, to be off", wanted(here, virt.PowerOff), domain(5, 3, virt.PowerCrashed), nil, "stop"},
		{"paused by itself", wanted(here, virt.PowerRunning), domain(5, 3, virt.PowerPaused), nil, "report"},
		{"power cannot be told", wanted(here, virt.PowerRunning), domain(5, 3, virt.PowerUnknown), nil, "report"},
		{"to be started anew", wanted(here, virt.PowerRunning, restart), domain(5, 3, virt.PowerRunning), nil, "stop start"},
		{"to be started anew, paused", wanted(here, virt.PowerRunning, restart), domain(5, 3, virt.PowerPaused), nil, "stop start"},
		{"to be started anew, older definition", wanted(here, virt.PowerRunning, restart), domain(4, 3, virt.PowerRunning), nil, "stop build start"},
		{"to be started anew, by the power button", wanted(here, virt.PowerRunning, restart, softStop), domain(5, 3, virt.PowerRunning), nil, "stop"},
		{"to be started anew, is off", wanted(here, virt.PowerRunning, restart, softStop), domain(5, 3, virt.PowerOff), nil, "start"},
		{"to be started anew, crashed", wanted(here, virt.PowerRunning, restart), domain(5, 3, virt.PowerCrashed), nil, "stop start"},
		{"to be started anew, image gone", wanted(here, virt.PowerRunning, restart, notReady), domain(5, 3, virt.PowerRunning), nil, "report"},
		{"to be off, runs", wanted(here, virt.PowerOff), domain(5, 3, virt.PowerRunning), nil, "stop"},
		{"to be off, is off", wanted(here, virt.PowerOff), domain(5, 3, virt.PowerOff), nil, ""},
		{"to be off, older definition", wanted(here, virt.PowerOff), domain(4, 3, virt.PowerOff), nil, "build"},
		{"to be off, power cannot be told", wanted(here, virt.PowerOff), domain(5, 3, virt.PowerUnknown), nil, "report"},
		{"power is left as it is", wanted(here, virt.PowerUnknown), domain(5, 3, virt.PowerRunning), nil, ""},
		{"power is left as it is, no domain", wanted(here, virt.PowerUnknown), nil, nil, "build"},
		{"an operation owns the domain", wanted(here, virt.PowerRunning, hold), domain(4, 3, virt.PowerOff), nil, ""},
		{"an operation owns the domain, which left", wanted(here, virt.PowerRunning, hold, resume), nil, nil, ""},
		{"to be paused", wanted(here, virt.PowerPaused), domain(5, 3, virt.PowerRunning), nil, "pause"},
		{"to be paused, older definition", wanted(here, virt.PowerPaused), domain(4, 3, virt.PowerRunning), nil, "pause refresh"},
		{"to be paused, is", wanted(here, virt.PowerPaused), domain(5, 3, virt.PowerPaused), nil, ""},
		{"to be paused, is, older stamp", wanted(here, virt.PowerPaused), domain(4, 3, virt.PowerPaused), nil, "refresh"},
		{"to be paused, is off", wanted(here, virt.PowerPaused), domain(5, 3, virt.PowerOff), nil, "report"},
		{"to go on", wanted(here, virt.PowerRunning, resume), domain(4, 3, virt.PowerPaused), nil, "unpause refresh"},
		{"to be off, paused", wanted(here, virt.PowerOff), domain(5, 3, virt.PowerPaused), nil, "stop"},
		{"to be saved", wanted(here, virt.PowerSaved), domain(4, 3, virt.PowerRunning), nil, "save refresh"},
		{"to be saved, paused", wanted(here, virt.PowerSaved), domain(5, 3, virt.PowerPaused), nil, "save"},
		{"to be saved, is", wanted(here, virt.PowerSaved), saved(5), nil, ""},
		{"to be saved, is, older stamp", wanted(here, virt.PowerSaved), saved(4), nil, "refresh"},
		{"to be saved, is off without memory", wanted(here, virt.PowerSaved), domain(5, 3, virt.PowerOff), nil, "report"},
		{"saved, to go on", wanted(here, virt.PowerRunning, resume), saved(4), nil, "start refresh"},
		{"saved, to be started anew", wanted(here, virt.PowerRunning, restart), saved(4), nil, "stop build start"},
		{"saved, to be off", wanted(here, virt.PowerOff), saved(5), nil, "stop"},
		{"came back, old domain still there", wanted(here, virt.PowerRunning), domain(5, 2, virt.PowerRunning), nil, "remove build start"},
		{"came back, image not here", wanted(here, virt.PowerRunning, notReady), domain(5, 2, virt.PowerRunning), nil, "remove report"},
		{"domain of a later epoch than the view", wanted(here, virt.PowerRunning, resume), domain(5, 4, virt.PowerOff), nil, "report"},
		{"domain of a later generation than the view", wanted(here, virt.PowerOff), domain(6, 3, virt.PowerRunning), nil, "report"},
		{"moved away", wanted(there, virt.PowerRunning), domain(5, 2, virt.PowerRunning), nil, "remove"},
		{"moved away, same epoch", wanted(there, virt.PowerRunning), domain(5, 3, virt.PowerRunning), nil, "remove"},
		{"moved away, off", wanted(there, virt.PowerOff), domain(5, 2, virt.PowerOff), nil, "remove"},
		{"moved away, domain newer than the view", wanted(there, virt.PowerRunning), domain(5, 4, virt.PowerRunning), nil, "report"},
		{"moved away, nothing here", wanted(there, virt.PowerRunning), nil, nil, ""},
		{"unknown instance of this cluster", nil, domain(5, 3, virt.PowerRunning), nil, "quarantine"},
		{"no stamp", nil, bare, nil, "quarantine"},
		{"no stamp, but a wanted UUID", wanted(here, virt.PowerRunning), bare, nil, "quarantine"},
		{"no stamp, but a tombstoned UUID", nil, bare, tomb(9), "quarantine"},
		{"another cluster's", wanted(here, virt.PowerOff), foreign, nil, "quarantine"},
		{"another cluster's, tombstoned", nil, foreign, tomb(9), "quarantine"},
		{"a copy with another's stamp", wanted(here, virt.PowerOff), cloned, nil, "quarantine"},
		{"deleted while running", nil, domain(5, 3, virt.PowerRunning), tomb(3), "remove remove-disks"},
		{"deleted, domain gone", nil, nil, tomb(3), "remove-disks"},
		{"deleted, tombstone of another node", nil, domain(5, 3, virt.PowerRunning), &virt.Tombstone{Instance: vm, Node: there, Epoch: 3}, "quarantine"},
		{"deleted, domain newer than tombstone", nil, domain(5, 4, virt.PowerRunning), tomb(3), "report"},
		{"moved away, disks released", wanted(there, virt.PowerRunning), domain(5, 2, virt.PowerOff), tomb(2), "remove remove-disks"},
		{"came back before the old disks went", wanted(here, virt.PowerRunning), domain(5, 1, virt.PowerOff), tomb(1), "remove remove-disks build start"},
		{"came back, old disks still to go", wanted(here, virt.PowerRunning), nil, tomb(1), "remove-disks build start"},
		{"came back and runs, tombstone not settled", wanted(here, virt.PowerRunning), domain(5, 3, virt.PowerRunning), tomb(1), "remove-disks"},
		{"arrives here, old disks still to go", wanted(there, virt.PowerRunning), domain(5, 4, virt.PowerRunning), tomb(1), "remove-disks report"},
		{"wanted and tombstoned at once", wanted(here, virt.PowerRunning), domain(5, 3, virt.PowerRunning), tomb(3), "report"},
		{"wanted, never built, tombstoned at once", wanted(here, virt.PowerRunning), nil, tomb(3), "report"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := virt.Wanted{Cluster: clusterID, Node: here}
			var have []virt.Domain
			if c.want != nil {
				w.Instances = []virt.Desired{*c.want}
			}
			if c.tomb != nil {
				w.Tombstones = []virt.Tombstone{*c.tomb}
			}
			if c.have != nil {
				have = []virt.Domain{*c.have}
			}
			actions := virt.Diff(w, have)
			if got := kinds(actions); got != c.does {
				t.Fatalf("does %q, want %q: %+v", got, c.does, actions)
			}
			for _, a := range actions {
				if a.Why == "" || a.ID != vm {
					t.Errorf("action without a reason or of another instance: %+v", a)
				}
			}
		})
	}
}

// A paused guest is to be off. Its power is cut at once: it would not hear the power button.
func TestDiff_APausedGuestIsNotAskedToShutDown(t *testing.T) {
	got := virt.Diff(virt.Wanted{Cluster: clusterID, Node: here, Instances: []virt.Desired{*wanted(here, virt.PowerOff, softStop)}},
		[]virt.Domain{*domain(5, 3, virt.PowerPaused)})
	if len(got) != 1 || got[0].Kind != virt.ActionStop || got[0].Stop != virt.Destroy {
		t.Errorf("%+v", got)
	}
}

// A soft stop must reach the driver as such, or every stop would cut the power.
func TestDiff_StopCarriesTheWantedMode(t *testing.T) {
	w := virt.Wanted{Cluster: clusterID, Node: here,
		Instances: []virt.Desired{*wanted(here, virt.PowerOff, softStop)}}
	got := virt.Diff(w, []virt.Domain{*domain(5, 3, virt.PowerRunning)})
	if len(got) != 1 || got[0].Stop != virt.Shutdown {
		t.Fatalf("got %+v, want one stop with Shutdown", got)
	}
	got = virt.Diff(w, []virt.Domain{*domain(5, 3, virt.PowerCrashed)})
	if len(got) != 1 || got[0].Stop != virt.Destroy {
		t.Fatalf("got %+v: a crashed guest cannot hear a power button", got)
	}
}

// The removal of disks must name the epoch that was permitted, so that the report settles that tombstone.
func TestDiff_RemoveDisksNamesTheTombstone(t *testing.T) {
	w := virt.Wanted{Cluster: clusterID, Node: here, Tombstones: []virt.Tombstone{*tomb(2), *tomb(7), *tomb(4)}}
	got := virt.Diff(w, nil)
	if len(got) != 1 || got[0].Stamp != stamp(0, 7) {
		t.Fatalf("got %+v, want one remove-disks for epoch 7", got)
	}
}

// Two entries for one instance mean that something above is broken. Nothing may be done on such grounds.
func TestDiff_TheSameInstanceTwiceIsOnlyReported(t *testing.T) {
	d := *wanted(here, virt.PowerRunning)
	w := virt.Wanted{Cluster: clusterID, Node: here, Instances: []virt.Desired{d, d}}
	if got := kinds(virt.Diff(w, nil)); got != "report" {
		t.Errorf("instance named twice: does %q", got)
	}
	w.Instances = nil
	w.Tombstones = []virt.Tombstone{*tomb(9)}
	dom := *domain(5, 3, virt.PowerRunning)
	if got := kinds(virt.Diff(w, []virt.Domain{dom, dom})); got != "report" {
		t.Errorf("domain seen twice: does %q", got)
	}
}

// A view of another cluster is not a reason to do anything.
func TestDiff_DesiredOfAnotherClusterIsOnlyReported(t *testing.T) {
	d := *wanted(here, virt.PowerRunning)
	d.Stamp.Cluster = "c-2"
	w := virt.Wanted{Cluster: clusterID, Node: here, Instances: []virt.Desired{d}}
	if got := kinds(virt.Diff(w, nil)); got != "report" {
		t.Errorf("does %q, want report", got)
	}
}

// The order of the actions must not depend on the order of the inputs.
func TestDiff_IsSortedByInstance(t *testing.T) {
	w := virt.Wanted{Cluster: clusterID, Node: here}
	for _, id := range []cluster.InstanceID{"i-3", "i-1", "i-2"} {
		d := *wanted(here, virt.PowerRunning)
		d.Stamp.Instance = id
		w.Instances = append(w.Instances, d)
	}
	first := virt.Diff(w, nil)
	slices.Reverse(w.Instances)
	if second := virt.Diff(w, nil); !slices.Equal(first, second) {
		t.Errorf("reversed input gave another answer:\n%+v\n%+v", first, second)
	}
	var ids []string
	for _, a := range first {
		ids = append(ids, string(a.ID))
	}
	if !slices.IsSorted(ids) {
		t.Errorf("not sorted: %v", ids)
	}
}
