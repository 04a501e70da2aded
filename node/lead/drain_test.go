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

// A user moved a stopped server off the node before it is drained, and has not decided about that. The leader does not decide for the
// user.
func TestDrain_LeavesTheMovesOfUsersToTheirUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, true)
		b.apply(&cluster.SetPower{ID: mover, Request: "req-2", Wanted: cluster.WantOff})
		b.report(cluster.PowerShutdown)
		b.apply(&cluster.BeginMove{ID: mover, Operation: "o1", What: cluster.OpMigrate})
		b.leadMoves(time.Second, Lifecycle{}, nil)
		b.apply(&cluster.AdvanceOperation{Node: otherNode, ID: mover, Operation: "o1", Step: cluster.StepCopying, Done: true})
		b.report(cluster.PowerShutdown)
		b.setDraining(soleNode, true)
		b.leadMoves(time.Minute, Lifecycle{}, nil)
		if in := b.mover(); in.Op == nil || in.Op.Step != cluster.StepWaiting {
			t.Fatalf("it is %s, %+v", in.Status.VM, in.Op)
		}
	})
}

// One instance in error and a suspended one stay where they are, and those beside them leave all the same.
func TestDrain_GoesOnBesideWhatCannotLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, true)
		b.apply(&cluster.SetPower{ID: mover, Request: "req-2", Action: "suspend"})
		b.report(cluster.PowerSuspended)
		const other cluster.InstanceID = "22222222-2222-4222-8222-222222222222"
		b.apply(&cluster.CreateInstances{Request: "req-3", Project: "p1", User: "u1",
			Spec:  cluster.Spec{Flavor: cluster.Flavor{ID: "1", Name: "tiny", VCPUs: 1, MemoryMiB: 64, DiskGiB: 1}},
			Items: []cluster.NewInstance{{ID: other, Name: "db", Hostname: "db", Node: soleNode, Explanation: &cluster.Explanation{Node: soleNode}}}})
		b.apply(&cluster.ReportInstances{Node: soleNode, Reports: []cluster.InstanceReport{{ID: other, Generation: 1, Epoch: 1, Power: cluster.PowerRunning, Boot: 1}}})
		b.setDraining(soleNode, true)
		b.leadMoves(5*time.Second, Lifecycle{}, nil)
		if in := b.mover(); in.Op != nil || in.Status.VM != cluster.VMSuspended {
			t.Errorf("the suspended one is %s, %+v", in.Status.VM, in.Op)
		}
		if in, _ := b.View().Instance(other); in.Op == nil || in.Op.Kind != cluster.OpLive || !in.Op.Move.Drain {
			t.Errorf("the other one is %s, %+v", in.Status.VM, in.Op)
		}
	})
}
