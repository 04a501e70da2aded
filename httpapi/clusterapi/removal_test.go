package clusterapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// mirrored has a running instance whose disk has a current copy on another node.
func mirrored(t *testing.T) (a *api, other cluster.NodeID) {
	a = newAPI(t)
	other = a.second()
	n, _ := a.Local().Node(other)
	ready := n.Clone()
	ready.Host = cluster.HostFacts{Type: "fake", Ready: true}
	a.Must(&cluster.UpdateNode{Node: *ready})
	a.instance("i1", a.Node.ID, &cluster.Explanation{Node: a.Node.ID})
	a.Must(&cluster.UpdateInstance{ID: "i1", Metadata: &map[string]string{cluster.KeyReplicas: "2"}})
	in, _ := a.Local().Instance("i1")
	a.Must(&cluster.ReportInstances{Node: a.Node.ID, Reports: []cluster.InstanceReport{{ID: "i1", Generation: in.Generation, Epoch: in.Epoch, Power: cluster.PowerRunning}}})
	a.Must(&cluster.PlaceReplica{ID: "i1", Epoch: in.Epoch, Node: other})
	in, _ = a.Local().Instance("i1")
	a.Must(&cluster.ReportReplica{Node: a.Node.ID, ID: "i1", Epoch: in.Epoch, Replica: in.Replica.Epoch, State: cluster.ReplicaCurrent})
	return a, other
}

// A node is drained that keeps a copy. How many are to leave is shown, and which cannot, with the reason.
func TestDrain_CountsTheCopies(t *testing.T) {
	a, _ := mirrored(t)
	var n struct{ Node clusterapi.Node }
	a.want(http.StatusNoContent, "POST", "/nodes/node-0/drain", "", nil)
	a.want(http.StatusOK, "GET", "/nodes/node-0", "", &n)
	if d := n.Node.Drain; d == nil || d.Left != 0 || d.Copies != 1 || d.CopiesStuck != 0 || len(d.Copied) != 1 || d.Copied[0] != "i1" {
		t.Fatalf("the drain is %+v", d)
	}
	a.crowded = "no other node can take it: n9 is full"
	a.want(http.StatusOK, "GET", "/nodes/node-0", "", &n)
	if d := n.Node.Drain; d.Copies != 1 || d.CopiesStuck != 1 || d.Stuck != 0 || len(d.Held) != 1 || !strings.Contains(d.Held[0], "n9 is full") {
		t.Fatalf("no node takes the copy, and the drain is %+v", d)
	}
}

// Before a node is removed by force, it is told what goes on elsewhere, what is lost, and which copies are.
func TestRemoval_SaysWhatIsLost(t *testing.T) {
	a, other := mirrored(t)
	a.instance("i2", a.Node.ID, &cluster.Explanation{Node: a.Node.ID})
	var res struct{ Removal clusterapi.Removal }
	a.want(http.StatusOK, "GET", "/nodes/node-1/removal", "", &res)
	r := res.Removal
	if len(r.GoOn) != 1 || r.GoOn[0].ID != "i1" || !strings.Contains(r.GoOn[0].Why, "down first") || len(r.Copies) != 0 {
		t.Errorf("of the instance with a copy: %+v", r)
	}
	if len(r.Lost) != 1 || r.Lost[0].ID != "i2" || !strings.Contains(r.Lost[0].Why, "on its node alone") {
		t.Errorf("of the instance without: %+v", r.Lost)
	}
	a.want(http.StatusOK, "GET", "/nodes/node-0/removal", "", &res)
	if r = res.Removal; len(r.GoOn)+len(r.Lost) != 0 || len(r.Copies) != 1 || r.Copies[0].ID != "i1" {
		t.Errorf("of the node with the copy: %+v", r)
	}
	a.refused(http.StatusNotFound, "itemNotFound", "Node nope", "GET", "/nodes/nope/removal", "")
	a.refused(http.StatusConflict, "conflictingRequest", "current copies of 1", "DELETE", "/nodes/node-0", "")
	a.refused(http.StatusConflict, "conflictingRequest", "confirm-dead", "DELETE", "/nodes/node-1?force=true", "")
	a.members[other] = clusterapi.Member{}
	a.want(http.StatusNoContent, "DELETE", "/nodes/node-0?force=true", "", nil)
	if in, _ := a.Local().Instance("i1"); in.Replica != nil {
		t.Errorf("on a removed node there is %+v", in.Replica)
	}
}
