package main

import (
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// What is said of a copy tells whether the server can be started from it, and if not, why.
func TestReplicaText_SaysWhatItIsGoodFor(t *testing.T) {
	at := func(s cluster.ReplicaState, why string) *clusterapi.Replica {
		return &clusterapi.Replica{Node: "n2", State: s, Why: why}
	}
	for want, c := range map[string]clusterapi.Copies{
		"":                                      {},
		"none yet":                              {Asked: true},
		"building on n2":                        {Asked: true, Replica: at(cluster.ReplicaBuilding, "")},
		"current on n2":                         {Asked: true, Replica: at(cluster.ReplicaCurrent, "")},
		"stale on n2: its node does not answer": {Asked: true, Replica: at(cluster.ReplicaStale, "its node does not answer")},
		"stale on n2":                           {Replica: at(cluster.ReplicaStale, "")},
	} {
		if got := replicaText(&c); got != want {
			t.Errorf("%+v is %q, want %q", c, got, want)
		}
	}
}

// A server asks for a copy of its disk, and there is no second node: that is what its administrator is shown.
func TestServerShow_TellsOfTheReplica(t *testing.T) {
	c := startNode(t)
	c.furnish()
	c.must("server create twin --image debian --flavor small --network none --property kilonova:replicas=2 --wait")
	if s := c.one("server show twin"); s["replica"] != "none yet" {
		t.Errorf("the replica is %v", s["replica"])
	}
	c.must("server create plain --image debian --flavor small --network none --wait")
	if s := c.one("server show plain"); s["replica"] != "" {
		t.Errorf("nobody asks, and the replica is %v", s["replica"])
	}
}
