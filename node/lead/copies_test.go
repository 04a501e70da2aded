package lead

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

const thirdNode cluster.NodeID = "6a3c8a52-0000-4000-8000-000000000003"

// enrolThird adds a node that could take a copy.
func (b *book) enrolThird() {
	b.t.Helper()
	n, _ := b.View().Node(soleNode)
	o := n.Clone()
	o.ID, o.Name, o.Address, o.Revision = thirdNode, "n3", "192.0.2.3", 0
	b.apply(&cluster.PutJoinToken{Token: cluster.JoinToken{ID: "t3", Hash: cluster.Hash{3}, Uses: 1, Expires: cluster.At(time.Now().Add(time.Hour))}})
	if res := b.apply(&cluster.EnrolNode{Token: "t3", Secret: cluster.Hash{3}, Node: *o}); res.Err != nil {
		b.t.Fatal(res.Err)
	}
}

// replicaIs is the word of the node of an instance about its replica.
func (b *book) replicaIs(id cluster.InstanceID, s cluster.ReplicaState) *cluster.Replica {
	b.t.Helper()
	in, _ := b.View().Instance(id)
	if res := b.apply(&cluster.ReportReplica{Node: in.Node, ID: id, Epoch: in.Epoch, Replica: in.Replica.Epoch, State: s}); res.Err != nil {
		b.t.Fatal(res.Err)
	}
	in, _ = b.View().Instance(id)
	return in.Replica
}

// The node that keeps an instance's copy is drained, and there is no other for it: the copy stays, and stays current. When there is another node, the
// next copy is made there. Undrained, nothing more happens.
func TestDrain_TakesCopiesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, true)
		id := copied(t, b)
		b.leadMoves(3*time.Second, Lifecycle{}, nil)
		first := b.replicaIs(id, cluster.ReplicaCurrent)
		b.setDraining(otherNode, true)
		b.leadMoves(time.Minute, Lifecycle{}, nil)
		if in, _ := b.View().Instance(id); in.CurrentReplica() == nil {
			t.Fatalf("no other node can take it, and it was given up: %+v", in.Replica)
		}
		b.enrolThird()
		b.leadMoves(2*time.Minute, Lifecycle{}, nil)
		in, _ := b.View().Instance(id)
		if in.Replica.Node != thirdNode || in.Replica.State != cluster.ReplicaBuilding || in.Replica.Epoch == first.Epoch {
			t.Fatalf("the copy is %+v", in.Replica)
		}
		next := b.replicaIs(id, cluster.ReplicaCurrent)
		b.setDraining(otherNode, false)
		b.leadMoves(time.Minute, Lifecycle{}, nil)
		if in, _ := b.View().Instance(id); in.Replica.Epoch != next.Epoch {
			t.Errorf("it was moved again: %+v", in.Replica)
		}
	})
}

// While a node does not know how copies leave, none does.
func TestDrain_CopiesStayWhileANodeIsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, true)
		id := copied(t, b)
		b.enrolThird()
		b.leadMoves(3*time.Second, Lifecycle{}, nil)
		r := b.replicaIs(id, cluster.ReplicaCurrent)
		knows(b, cluster.CopyCommands-1)
		b.setDraining(r.Node, true)
		b.leadMoves(time.Minute, Lifecycle{}, nil)
		if in, _ := b.View().Instance(id); in.CurrentReplica() == nil {
			t.Errorf("it was given up: %+v", in.Replica)
		}
	})
}

// More copies are on the drained node than are made anew at the same time. As many instances as that are without a current copy, never more.
func TestDrain_FewAreWithoutACopyAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, true)
		ids := []cluster.InstanceID{
			"22222222-2222-4222-8222-000000000001", "22222222-2222-4222-8222-000000000002", "22222222-2222-4222-8222-000000000003",
			"22222222-2222-4222-8222-000000000004",
		}
		for _, id := range ids {
			copiedAs(t, b, id)
		}
		b.leadMoves(time.Minute, Lifecycle{}, nil)
		for _, id := range ids {
			b.replicaIs(id, cluster.ReplicaCurrent)
		}
		b.enrolThird()
		b.setDraining(otherNode, true)
		for range len(ids) {
			b.leadMoves(time.Minute, Lifecycle{}, nil)
			without := 0
			for _, id := range ids {
				if in, _ := b.View().Instance(id); in.CurrentReplica() == nil {
					without++
				}
			}
			if without > copiesAtOnce {
				t.Fatalf("%d have no current copy", without)
			}
			for _, id := range ids {
				if in, _ := b.View().Instance(id); in.Replica.State == cluster.ReplicaBuilding {
					b.replicaIs(id, cluster.ReplicaCurrent)
				}
			}
		}
		for _, id := range ids {
			if in, _ := b.View().Instance(id); in.CurrentReplica() == nil || in.Replica.Node != thirdNode {
				t.Errorf("the copy of %s is %+v", id, in.Replica)
			}
		}
	})
}

// The node of a guarded instance with a current copy is removed by force, and may run it until its lease is over. Not before that is the instance
// started from its copy, and then it is, also when another leads by then.
func TestLead_OutwaitsTheLeaseOfARemovedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, true)
		id := copied(t, b)
		b.leadMoves(3*time.Second, Lifecycle{}, nil)
		r := b.replicaIs(id, cluster.ReplicaCurrent)
		in, _ := b.View().Instance(id)
		b.apply(&cluster.GuardInstances{Node: soleNode, Guards: []cluster.Guard{{ID: id, Epoch: in.Epoch}}})
		if res := b.apply(&cluster.RemoveNode{ID: soleNode, Force: true, Copies: true}); res.Err != nil {
			t.Fatal(res.Err)
		}
		dead := cluster.DefaultLease().Dead
		b.leadMoves(dead-2*time.Second, Lifecycle{}, nil)
		if in, _ = b.View().Instance(id); in.Node != "" {
			t.Fatalf("the removed node may hold a lease, and it is on %s", in.Node)
		}
		b.leadMoves(dead-2*time.Second, Lifecycle{}, nil) // another leader does not know how long it was waited for
		if in, _ = b.View().Instance(id); in.Node != "" {
			t.Fatalf("the next leader has not waited, and it is on %s", in.Node)
		}
		b.leadMoves(dead+5*time.Second, Lifecycle{}, nil)
		if in, _ = b.View().Instance(id); in.Node != otherNode || in.DiskEpoch() != r.Epoch {
			t.Errorf("it is on %q with the disks of epoch %d", in.Node, in.DiskEpoch())
		}
	})
}
