package placement

import (
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// An instance's volumes say where it can be: with the local ones, where the directory of the shared ones is, with room for those
// without a file. A host that was asked for and does not have them will not do.
func TestWithVolumes_AsksForWhatTheyNeed(t *testing.T) {
	s := cluster.NewState()
	node := cluster.Node{ID: "n1", Name: "one", Address: "192.0.2.1", Host: cluster.HostFacts{Ready: true}}
	_, err := s.Apply(1, []cluster.Command{{Op: &cluster.InitCluster{
		Node: node, Roles: []cluster.Role{{ID: "r", Name: cluster.RoleAdmin}},
		Project: cluster.Project{ID: "p", Name: "p"}, Admin: cluster.User{ID: "u", Name: "u"},
		Authority: cluster.Authority{ClusterID: "c"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	v := s.View()
	plain := NewRequest(&cluster.Spec{}, nil, nil)
	if got := plain.withVolumes(v, cluster.VolumeNeeds{}); got.key != plain.key || got.Host != "" {
		t.Errorf("no volumes ask for something: %+v", got)
	}
	got := plain.withVolumes(v, cluster.VolumeNeeds{Node: "n1", Shared: true, DiskGiB: 7})
	if got.Host != "one" || got.Resources.DiskGiB != 7 || len(got.needs.traits) != 1 || got.key == plain.key {
		t.Errorf("got %+v", got)
	}
	elsewhere := NewRequest(&cluster.Spec{Scheduling: cluster.Scheduling{Host: "two"}}, nil, nil)
	if got := elsewhere.withVolumes(v, cluster.VolumeNeeds{Node: "n1"}); got.Host != "two" || len(got.needs.traits) != 1 {
		t.Errorf("got %+v", got)
	}
	if got := plain.withVolumes(v, cluster.VolumeNeeds{Split: true}); len(got.needs.traits) != 1 {
		t.Errorf("got %+v", got)
	}
}
