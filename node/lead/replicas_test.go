package lead

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

// copied puts a running instance on the sole node that asks for two copies of its disk, and for high availability.
func copied(t *testing.T, b *book) cluster.InstanceID {
	t.Helper()
	const id cluster.InstanceID = "22222222-2222-4222-8222-000000000009"
	copiedAs(t, b, id)
	return id
}

func copiedAs(t *testing.T, b *book, id cluster.InstanceID) {
	t.Helper()
	res := b.apply(&cluster.CreateInstances{Request: "req-" + string(id), Project: "p1", User: "u1",
		Spec: cluster.Spec{Flavor: cluster.Flavor{ID: "1", Name: "tiny", VCPUs: 1, MemoryMiB: 64, DiskGiB: 1},
			Metadata: map[string]string{cluster.KeyHA: "true", cluster.KeyReplicas: "2"}},
		Items: []cluster.NewInstance{{ID: id, Name: "web", Hostname: "web", Node: soleNode, Explanation: &cluster.Explanation{Node: soleNode}}}})
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	in, _ := b.View().Instance(id)
	b.apply(&cluster.ReportInstances{Node: soleNode, Reports: []cluster.InstanceReport{{
		ID: id, Generation: in.Generation, Epoch: in.Epoch, Power: cluster.PowerRunning, Boot: in.Boot}}})
}

// knows makes both nodes know the commands up to a version.
func knows(b *book, version uint32) {
	for _, id := range []cluster.NodeID{soleNode, otherNode} {
		n, _ := b.View().Node(id)
		c := n.Clone()
		c.Commands = version
		b.apply(&cluster.UpdateNode{Node: *c})
	}
}

// An instance asks for two copies of its disk. The leader finds the second a place, another one when the first is given up, though not at
// once, and ends it when nobody asks any more. While a node does not know how, nothing is begun.
func TestLead_PlacesReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, true)
		id := copied(t, b)
		knows(b, cluster.ReplicaCommands-1)
		replica := func() *cluster.Replica {
			in, _ := b.View().Instance(id)
			return in.Replica
		}
		b.leadMoves(3*time.Second, Lifecycle{}, nil)
		if r := replica(); r != nil {
			t.Fatalf("a node does not know replicas, and there is %+v", r)
		}
		knows(b, cluster.ReplicaCommands)
		b.leadMoves(3*time.Second, Lifecycle{}, nil)
		first := replica()
		if first == nil || first.Node != otherNode || first.DiskGiB != 1 {
			t.Fatalf("the replica is %+v", first)
		}
		in, _ := b.View().Instance(id)
		b.apply(&cluster.ReportReplica{Node: soleNode, ID: id, Epoch: in.Epoch, Replica: first.Epoch, State: cluster.ReplicaStale})
		b.leadMoves(replicaPause-2*time.Second, Lifecycle{}, nil)
		if r := replica(); r.Epoch != first.Epoch {
			t.Fatalf("at once there is another: %+v", r)
		}
		b.leadMoves(4*time.Second, Lifecycle{}, nil)
		if r := replica(); r.Epoch == first.Epoch || r.State != cluster.ReplicaBuilding {
			t.Fatalf("there is no other: %+v", r)
		}
		b.apply(&cluster.UpdateInstance{ID: id, Metadata: &map[string]string{}})
		in, _ = b.View().Instance(id)
		b.apply(&cluster.ReportReplica{Node: soleNode, ID: id, Epoch: in.Epoch, Replica: in.Replica.Epoch, State: cluster.ReplicaStale})
		b.leadMoves(3*time.Second, Lifecycle{}, nil)
		if r := replica(); r != nil {
			t.Fatalf("nobody asks for %+v", r)
		}
	})
}

// The node dies of an instance whose replica is current. What would become of it is where its replica is, and there it goes.
func TestLead_StartsFromTheReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, true)
		id := copied(t, b)
		b.leadMoves(3*time.Second, Lifecycle{}, nil)
		in, _ := b.View().Instance(id)
		c := NewChooser(1, b.View, func() map[cluster.NodeID]placement.Hint { return nil }, nil)
		if fates := c.WithoutNode(soleNode); len(fates) != 0 {
			t.Fatalf("while the replica is being filled: %v", fates)
		}
		b.apply(&cluster.ReportReplica{Node: soleNode, ID: id, Epoch: in.Epoch, Replica: in.Replica.Epoch, State: cluster.ReplicaCurrent})
		if fates := c.WithoutNode(soleNode); fates[id] != otherNode {
			t.Fatalf("with a current replica: %v", fates)
		}
		b.apply(&cluster.GuardInstances{Node: soleNode, Guards: []cluster.Guard{{ID: id, Epoch: in.Epoch}}})
		b.apply(&cluster.LoseNode{Node: soleNode})
		b.leadMoves(3*time.Second, Lifecycle{}, nil)
		if now, _ := b.View().Instance(id); now.Node != otherNode || now.DiskEpoch() != in.Replica.Epoch {
			t.Fatalf("it is on %s with the disks of epoch %d", now.Node, now.DiskEpoch())
		}
	})
}
