package virt_test

import (
	"fmt"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"pgregory.net/rapid"
)

// model is a node's hypervisor and disks, reduced to what Diff may change.
type model struct {
	wanted  virt.Wanted
	domains map[cluster.InstanceID]virt.Domain
	disks   map[cluster.InstanceID]map[uint64]bool // epochs that it has disks of
}

func (m *model) observed() []virt.Domain {
	var all []virt.Domain
	for _, d := range m.domains {
		all = append(all, d)
	}
	return all
}

func (m *model) desired(id cluster.InstanceID) *virt.Desired {
	for i, d := range m.wanted.Instances {
		if d.Stamp.Instance == id {
			return &m.wanted.Instances[i]
		}
	}
	return nil
}

func (m *model) tombstone(id cluster.InstanceID, epoch uint64) bool {
	for _, t := range m.wanted.Tombstones {
		if t.Instance == id && t.Node == here && t.Epoch >= epoch {
			return true
		}
	}
	return false
}

// ours says, in the plainest way, that the committed state explains the domain.
func (m *model) ours(d virt.Domain) bool {
	known := m.desired(d.ID) != nil
	for _, t := range m.wanted.Tombstones {
		known = known || t.Instance == d.ID && t.Node == here
	}
	return known && d.Stamp.Cluster == clusterID && d.Stamp.Instance == d.ID
}

// apply does the action and returns what is wrong with it, judged without Diff's reasoning.
func (m *model) apply(a virt.Action) error {
	d, exists := m.domains[a.ID]
	if exists && !m.ours(d) && a.Kind != virt.ActionQuarantine {
		return fmt.Errorf("%s of a domain that nothing committed explains", a.Kind)
	}
	want := m.desired(a.ID)
	switch a.Kind {
	case virt.ActionBuild, virt.ActionStart:
		if want == nil || want.Node != here || a.Stamp != want.Stamp || !want.Ready {
			return fmt.Errorf("%s without a commitment to this node", a.Kind)
		}
		if a.Kind == virt.ActionBuild {
			m.make(a.ID, want.Stamp.Epoch)
			m.domains[a.ID] = virt.Domain{ID: a.ID, Stamp: want.Stamp, Power: virt.PowerOff}
			return nil
		}
		current := d.Stamp == want.Stamp || d.Saved && d.Stamp.Epoch == want.Stamp.Epoch
		if want.Power != virt.PowerRunning || !current || d.Power != virt.PowerOff {
			return fmt.Errorf("start of %+v, wanted %+v", d, want)
		}
		d.Power, d.Saved = virt.PowerRunning, false
		m.domains[a.ID] = d
		want.Restart = false // as the report of the start does
	case virt.ActionStop:
		if want == nil || want.Node != here || want.Power == virt.PowerRunning && d.Power != virt.PowerCrashed && !want.Restart {
			return fmt.Errorf("stop of a domain that is not to be off")
		}
		d.Power, d.Saved = virt.PowerOff, false
		m.domains[a.ID] = d
	case virt.ActionPause, virt.ActionUnpause, virt.ActionSave, virt.ActionRefresh:
		if want == nil || want.Node != here || want.Hold || d.Stamp.Epoch != want.Stamp.Epoch {
			return fmt.Errorf("%s of a domain that is not this node's", a.Kind)
		}
		return m.change(a.Kind, d, want)
	case virt.ActionRemove:
		current := want != nil && want.Node == here && want.Stamp.Epoch <= d.Stamp.Epoch
		if current {
			return fmt.Errorf("remove of the committed domain %+v", d)
		}
		delete(m.domains, a.ID)
	case virt.ActionRemoveDisks:
		if exists && d.Stamp.Epoch <= a.Stamp.Epoch || !m.tombstone(a.ID, a.Stamp.Epoch) {
			return fmt.Errorf("disks removed without a tombstone or under a domain")
		}
		for epoch := range m.disks[a.ID] {
			if epoch <= a.Stamp.Epoch && epoch != a.Keep {
				delete(m.disks[a.ID], epoch)
			}
		}
		m.settle(a)
	}
	return nil
}

// change does what keeps the domain and its disks.
func (m *model) change(kind virt.ActionKind, d virt.Domain, want *virt.Desired) error {
	allowed := map[virt.ActionKind]virt.Power{
		virt.ActionPause: virt.PowerPaused, virt.ActionUnpause: virt.PowerRunning, virt.ActionSave: virt.PowerSaved, virt.ActionRefresh: want.Power,
	}
	if want.Power != allowed[kind] {
		return fmt.Errorf("%s, wanted %+v", kind, want)
	}
	switch kind {
	case virt.ActionPause:
		d.Power = virt.PowerPaused
	case virt.ActionUnpause:
		d.Power = virt.PowerRunning
	case virt.ActionSave:
		d.Power, d.Saved = virt.PowerOff, true
	case virt.ActionRefresh:
		d.Stamp = want.Stamp
	}
	m.domains[d.ID] = d
	return nil
}

// make makes the disks of an epoch.
func (m *model) make(id cluster.InstanceID, epoch uint64) {
	if m.disks[id] == nil {
		m.disks[id] = map[uint64]bool{}
	}
	m.disks[id][epoch] = true
}

// settle drops the tombstones that a removal covered, as the state does on the node's report.
func (m *model) settle(a virt.Action) {
	var left []virt.Tombstone
	for _, t := range m.wanted.Tombstones {
		if t.Instance != a.ID || t.Node != here || t.Epoch > a.Stamp.Epoch {
			left = append(left, t)
		}
	}
	m.wanted.Tombstones = left
}

func drawModel(t *rapid.T) *model {
	ids := []cluster.InstanceID{"i-1", "i-2", "i-3"}
	nodes := rapid.SampledFrom([]cluster.NodeID{here, here, there})
	clusters := rapid.SampledFrom([]string{clusterID, clusterID, clusterID, "c-2", ""})
	powers := rapid.SampledFrom([]virt.Power{virt.PowerUnknown, virt.PowerOff, virt.PowerRunning,
		virt.PowerPaused, virt.PowerCrashed})
	wishes := rapid.SampledFrom([]virt.Power{virt.PowerUnknown, virt.PowerOff, virt.PowerRunning, virt.PowerPaused, virt.PowerSaved})
	small := rapid.Uint64Range(1, 3)

	m := &model{domains: map[cluster.InstanceID]virt.Domain{}, disks: map[cluster.InstanceID]map[uint64]bool{}}
	m.wanted = virt.Wanted{Cluster: clusterID, Node: here}
	for _, id := range ids {
		s := func(cluster string) virt.Stamp {
			return virt.Stamp{Cluster: cluster, Instance: id, Generation: small.Draw(t, "generation"), Epoch: small.Draw(t, "epoch")}
		}
		if rapid.Bool().Draw(t, "wanted") {
			m.wanted.Instances = append(m.wanted.Instances, virt.Desired{
				Stamp: s(clusterID), Node: nodes.Draw(t, "node"), Power: wishes.Draw(t, "power"),
				Hold:  rapid.IntRange(0, 5).Draw(t, "hold") == 0,
				Ready: rapid.Bool().Draw(t, "ready"), Resume: rapid.Bool().Draw(t, "resume"),
				Restart: rapid.Bool().Draw(t, "restart"),
				Stop:    rapid.SampledFrom([]virt.StopMode{virt.Destroy, virt.Shutdown}).Draw(t, "stop"),
			})
		}
		if rapid.Bool().Draw(t, "observed") {
			d := virt.Domain{ID: id, Stamp: s(clusters.Draw(t, "cluster")), Power: powers.Draw(t, "has")}
			if rapid.IntRange(0, 5).Draw(t, "cloned") == 0 {
				d.Stamp.Instance = ids[0]
			}
			d.Saved = d.Power == virt.PowerOff && rapid.Bool().Draw(t, "saved")
			m.domains[id] = d
			m.make(id, d.Stamp.Epoch)
		}
		if rapid.IntRange(0, 2).Draw(t, "tombstoned") == 0 {
			m.wanted.Tombstones = append(m.wanted.Tombstones, virt.Tombstone{
				Instance: id, Node: nodes.Draw(t, "of"), Epoch: small.Draw(t, "up to")})
		}
	}
	return m
}

// settlesSafely applies Diff's answers until only reports are left. A crash of the node after any one action is
// the same as starting over, so each round may be cut short.
func settlesSafely(t *rapid.T) {
	m := drawModel(t)
	const rounds = 12
	for round := range rounds {
		actions := virt.Diff(m.wanted, m.observed())
		doing := 0
		for _, a := range actions {
			if a.Kind != virt.ActionReport && a.Kind != virt.ActionQuarantine {
				doing++
			}
		}
		for _, a := range actions {
			if err := m.apply(a); err != nil {
				t.Fatalf("round %d, %+v: %v", round, a, err)
			}
			if round < rounds/2 && rapid.IntRange(0, 3).Draw(t, "crash") == 0 {
				break
			}
		}
		if doing == 0 {
			m.checkSettled(t)
			return
		}
	}
	t.Fatalf("still acting after %d rounds: %+v", rounds, virt.Diff(m.wanted, m.observed()))
}

// checkSettled compares the end with what was wanted, as far as a node may bring it about.
func (m *model) checkSettled(t *rapid.T) {
	for _, want := range m.wanted.Instances {
		d, exists := m.domains[want.Stamp.Instance]
		if exists && !m.ours(d) {
			continue
		}
		if want.Node != here {
			if exists && d.Stamp.Epoch <= want.Stamp.Epoch {
				t.Fatalf("the domain of an instance elsewhere is left: %+v", d)
			}
			continue
		}
		if m.tombstone(want.Stamp.Instance, want.Stamp.Epoch) || !want.Ready || want.Hold {
			continue
		}
		if !exists {
			t.Fatalf("no domain for %+v", want)
		}
		current := d.Stamp.Epoch == want.Stamp.Epoch && d.Stamp.Generation <= want.Stamp.Generation
		startable := d.Power == virt.PowerOff || d.Power == virt.PowerCrashed
		if current && want.Power == virt.PowerRunning && (want.Resume || want.Restart) && startable {
			t.Fatalf("settled without starting %+v, wanted %+v", d, want)
		}
		if current && want.Power == virt.PowerOff && d.Power != virt.PowerOff && d.Power != virt.PowerUnknown {
			t.Fatalf("settled without stopping %+v", d)
		}
	}
	for id, d := range m.domains {
		if m.ours(d) && !m.disks[id][d.Stamp.Epoch] {
			t.Fatalf("the domain %+v has lost its disks", d)
		}
	}
	for _, tomb := range m.wanted.Tombstones {
		_, exists := m.domains[tomb.Instance]
		if tomb.Node == here && !exists && m.desired(tomb.Instance) == nil {
			t.Fatalf("the tombstone %+v was not settled", tomb)
		}
	}
}

// From any mixture of desired state, leftovers and strangers, a node that repeats Diff and carries out its
// answers comes to rest, and on the way breaks none of the promises that protect guests and their disks.
func TestDiff_SettlesSafelyFromAnywhere(t *testing.T) {
	rapid.Check(t, settlesSafely)
}

func FuzzDiff_SettlesSafely(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(settlesSafely))
}
