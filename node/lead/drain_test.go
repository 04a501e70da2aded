package lead

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

func (b *book) setDraining(node cluster.NodeID, on bool) {
	n, _ := b.View().Node(node)
	b.apply(&cluster.SetNodeService{ID: node, Service: cluster.ServiceState{Draining: on}, Revision: n.Revision})
}

// A node is drained: what runs there leaves live, to the other node.
func TestDrain_MovesWhatRunsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, true)
		b.setDraining(soleNode, true)
		b.leadMoves(5*time.Second, Lifecycle{}, nil)
		in := b.mover()
		if in.Op == nil || in.Op.Kind != cluster.OpLive || in.Op.Step != cluster.StepMigrating || in.Op.Move.To != otherNode {
			t.Fatalf("the operation is %+v", in.Op)
		}
	})
}

// What is off leaves cold, and nobody has to confirm it.
func TestDrain_MovesWhatIsOffAndConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, true)
		b.apply(&cluster.SetPower{ID: mover, Request: "req-2", Wanted: cluster.WantOff})
		b.report(cluster.PowerShutdown)
		b.setDraining(soleNode, true)
		b.leadMoves(5*time.Second, Lifecycle{}, nil)
		in := b.mover()
		if in.Op == nil || in.Op.Kind != cluster.OpMigrate || in.Op.Step != cluster.StepCopying {
			t.Fatalf("the operation is %+v", in.Op)
		}
		b.apply(&cluster.AdvanceOperation{Node: otherNode, ID: mover, Operation: in.Op.ID, Step: in.Op.Step, Done: true})
		b.report(cluster.PowerShutdown)
		b.leadMoves(5*time.Second, Lifecycle{}, nil)
		if in := b.mover(); in.Op != nil || in.Node != otherNode || in.Status.VM != cluster.VMStopped {
			t.Fatalf("it is %s on %s, %+v", in.Status.VM, in.Node, in.Op)
		}
	})
}

// There is no other node. The instance stays as it is, and is not tried again and again without a rest; when there is no draining any
// more, nothing happens at all.
func TestDrain_WithoutRoomElsewhereItRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, false)
		b.setDraining(soleNode, true)
		b.leadMoves(5*time.Minute, Lifecycle{}, nil)
		tried := 0
		for range b.View().Migrations() {
			tried++
		}
		if in := b.mover(); in.Status.VM != cluster.VMActive || tried < 2 || tried > 5 {
			t.Fatalf("it is %s after %d attempts", in.Status.VM, tried)
		}
		b.setDraining(soleNode, false)
		b.leadMoves(time.Hour, Lifecycle{}, nil)
		after := 0
		for range b.View().Migrations() {
			after++
		}
		if after != tried {
			t.Errorf("%d more attempts without draining", after-tried)
		}
	})
}
