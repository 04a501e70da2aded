package clusterapi_test

import (
	"net/http"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// An instance asks for a copy of its disk. Until it has one there is none to be shown; then its place and its state are.
func TestReplica_IsShownWithItsState(t *testing.T) {
	a := newAPI(t)
	other := a.second()
	n0, _ := a.Local().Node(other)
	ready := n0.Clone()
	ready.Host = cluster.HostFacts{Type: "fake", Ready: true}
	a.Must(&cluster.UpdateNode{Node: *ready})
	a.instance("i1", a.Node.ID, &cluster.Explanation{Node: a.Node.ID})
	var c clusterapi.Copies
	a.want(http.StatusOK, "GET", "/instances/i1/replica", "", &c)
	if c.Asked || c.Replica != nil {
		t.Errorf("nobody asks, and it has %+v", c)
	}
	a.Must(&cluster.UpdateInstance{ID: "i1", Metadata: &map[string]string{cluster.KeyReplicas: "2"}})
	in, _ := a.Local().Instance("i1")
	a.Must(&cluster.ReportInstances{Node: a.Node.ID, Reports: []cluster.InstanceReport{{ID: "i1", Generation: in.Generation, Epoch: in.Epoch, Power: cluster.PowerRunning}}})
	a.Must(&cluster.PlaceReplica{ID: "i1", Epoch: in.Epoch, Node: other})
	a.want(http.StatusOK, "GET", "/instances/i1/replica", "", &c)
	if !c.Asked || c.Replica == nil || c.Replica.Node != "node-0" || c.Replica.State != cluster.ReplicaBuilding || c.Replica.DiskGiB != 3 {
		t.Fatalf("it has %+v, %+v", c, c.Replica)
	}
	in, _ = a.Local().Instance("i1")
	a.Must(&cluster.ReportReplica{Node: a.Node.ID, ID: "i1", Epoch: in.Epoch, Replica: in.Replica.Epoch, State: cluster.ReplicaCurrent})
	var n struct{ Node clusterapi.Node }
	a.want(http.StatusOK, "GET", "/nodes/node-1", "", &n)
	if n.Node.Mirrors != 1 {
		t.Errorf("its node says %+v", n)
	}
	a.fates = map[cluster.InstanceID]cluster.NodeID{}
	var check clusterapi.Check
	a.want(http.StatusOK, "GET", "/check", "", &check)
	if r := check.Replicas; r.Asked != 1 || r.Current != 1 || check.Nodes[0].Replicas != 1 || check.Nodes[1].Replicas != 0 {
		t.Errorf("the check counts %+v", check)
	}
	a.refused(http.StatusNotFound, "itemNotFound", "Instance nope could not be found.", "GET", "/instances/nope/replica", "")
}
