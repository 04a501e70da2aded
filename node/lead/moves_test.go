package lead

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

const otherNode cluster.NodeID = "6a3c8a52-0000-4000-8000-000000000002"

const mover cluster.InstanceID = "11111111-1111-4111-8111-111111111111"

// twoNodes has an instance that runs on the sole node, and perhaps another node.
func twoNodes(t *testing.T, second bool) *book {
	b := newBook(t)
	if second {
		n, _ := b.View().Node(soleNode)
		o := n.Clone()
		o.ID, o.Name, o.Address, o.Revision = otherNode, "n2", "192.0.2.2", 0
		b.apply(&cluster.PutJoinToken{Token: cluster.JoinToken{ID: "t", Hash: cluster.Hash{1}, Uses: 1, Expires: cluster.At(time.Now().Add(time.Hour))}})
		if res := b.apply(&cluster.EnrolNode{Token: "t", Secret: cluster.Hash{1}, Node: *o}); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	b.apply(&cluster.CreateInstances{Request: "req-1", Project: "p1", User: "u1",
		Spec:  cluster.Spec{Flavor: cluster.Flavor{ID: "1", Name: "tiny", VCPUs: 1, MemoryMiB: 64, DiskGiB: 1}},
		Items: []cluster.NewInstance{{ID: mover, Name: "web", Hostname: "web", Node: soleNode, Explanation: &cluster.Explanation{Node: soleNode}}}})
	b.report(cluster.PowerRunning)
	return b
}

func (b *book) mover() *cluster.Instance {
	in, _ := b.View().Instance(mover)
	return in
}

func (b *book) report(p cluster.PowerState) {
	in := b.mover()
	b.apply(&cluster.ReportInstances{Node: in.Node, Reports: []cluster.InstanceReport{{
		ID: mover, Generation: in.Generation, Epoch: in.Epoch, Power: p, Boot: in.Boot}}})
}

func (b *book) resize(t *testing.T) {
	t.Helper()
	res := b.apply(&cluster.BeginMove{ID: mover, Operation: "o1", What: cluster.OpResize,
		Flavor: &cluster.Flavor{ID: "2", Name: "large", VCPUs: 2, MemoryMiB: 128, DiskGiB: 2}})
	if res.Err != nil {
		t.Fatal(res.Err)
	}
}

// leadMoves is lead with settings.
func (b *book) leadMoves(d time.Duration, c Lifecycle, hints map[cluster.NodeID]placement.Hint) {
	told := func() map[cluster.NodeID]placement.Hint { return hints }
	l := New(Config{Cluster: b, Chooser: NewChooser(1, b.View, told, nil), Hints: told, Lifecycle: c, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithTimeout(b.t.Context(), d)
	defer cancel()
	l.Run(ctx)
}

// A resize goes to another node where there is one, and stays where there is none.
func TestLead_PlacesAResizeElsewhereOrHere(t *testing.T) {
	for _, second := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := twoNodes(t, second)
			b.resize(t)
			b.leadMoves(time.Second, Lifecycle{}, nil)
			want := soleNode
			if second {
				want = otherNode
			}
			if op := b.mover().Op; op == nil || op.Step != cluster.StepStopping || op.Move.To != want {
				t.Fatalf("%+v", op)
			}
		})
	}
}

// A migration has nowhere to go in a cluster of one: the instance stays as it is.
func TestLead_MigrationWithoutADestinationEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, false)
		b.apply(&cluster.BeginMove{ID: mover, Operation: "o1", What: cluster.OpMigrate})
		b.leadMoves(time.Second, Lifecycle{}, nil)
		if in := b.mover(); in.Op != nil || in.Status.VM != cluster.VMActive || in.Node != soleNode {
			t.Fatalf("%+v, %+v", in.Status, in.Op)
		}
	})
}

// The destination goes silent while it copies. After a while the instance is started again where it was.
func TestLead_GivesUpACopyToASilentNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, true)
		b.resize(t)
		b.leadMoves(time.Second, Lifecycle{}, nil)
		b.report(cluster.PowerShutdown)
		b.leadMoves(time.Minute, Lifecycle{}, map[cluster.NodeID]placement.Hint{otherNode: {Silent: true, SilentFor: copyGivenUp / 2}})
		if in := b.mover(); in.Op == nil || in.Op.Step != cluster.StepCopying {
			t.Fatalf("given up too soon: %+v", in.Op)
		}
		b.leadMoves(time.Second, Lifecycle{}, map[cluster.NodeID]placement.Hint{otherNode: {Silent: true, SilentFor: 2 * copyGivenUp}})
		if in := b.mover(); in.Op != nil || in.Status.Task != cluster.TaskPoweringOn {
			t.Fatalf("%+v, %+v", in.Status, in.Op)
		}
	})
}

// A resize that nobody confirms is confirmed after the window, and never without one.
func TestLead_ConfirmsAfterTheWindow(t *testing.T) {
	for _, window := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			b := twoNodes(t, true)
			b.resize(t)
			b.leadMoves(time.Second, Lifecycle{}, nil)
			b.report(cluster.PowerShutdown)
			b.apply(&cluster.AdvanceOperation{Node: otherNode, ID: mover, Operation: "o1", Step: cluster.StepCopying, Done: true})
			b.report(cluster.PowerRunning)
			b.leadMoves(30*time.Second, Lifecycle{ResizeConfirm: window}, nil)
			if vm := b.mover().Status.VM; vm != cluster.VMResized {
				t.Fatalf("before the window: %s", vm)
			}
			b.leadMoves(time.Minute, Lifecycle{ResizeConfirm: window}, nil)
			if vm := b.mover().Status.VM; (vm == cluster.VMActive) != (window > 0) {
				t.Fatalf("window %s: %s", window, vm)
			}
		})
	}
}

// What was deleted softly goes for good when its time has come, not before.
func TestLead_ReclaimsWhatWasDeletedSoftly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, false)
		b.apply(&cluster.DeleteInstance{ID: mover, Reclaim: cluster.At(time.Now().Add(time.Minute))})
		b.leadMoves(30*time.Second, Lifecycle{}, nil)
		if in := b.mover(); in.Wanted == cluster.WantDeleted {
			t.Fatal("it went before its time")
		}
		b.leadMoves(time.Minute, Lifecycle{}, nil)
		if in := b.mover(); in.Wanted != cluster.WantDeleted {
			t.Fatalf("it is still there: %+v", in.Status)
		}
	})
}

// An operator forces an instance onto a node that takes none, or onto its own. The state refuses, and the operator is told: it would
// be tried for ever otherwise.
func TestLead_ForcedOntoANodeThatRefusesEnds(t *testing.T) {
	for _, host := range []string{"n1", "n2"} {
		synctest.Test(t, func(t *testing.T) {
			b := twoNodes(t, true)
			b.apply(&cluster.SetNodeService{ID: otherNode, Service: cluster.ServiceState{Disabled: true}})
			b.apply(&cluster.BeginMove{ID: mover, Operation: "o1", What: cluster.OpLive, Host: host, Forced: true})
			b.leadMoves(5*time.Second, Lifecycle{}, nil)
			if in := b.mover(); in.Op != nil || in.Status.VM != cluster.VMActive || in.Status.Task != cluster.TaskNone {
				t.Fatalf("forced onto %s: %+v, %+v", host, in.Status, in.Op)
			}
		})
	}
}

// An operator gives up a node that answers. What is built elsewhere waits for it to clear what it has, until it is silent for long enough.
// A leader that does not know yet whether it answers waits until it does.
func TestLead_EvacuationOfANodeThatAnswersWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, true)
		b.apply(&cluster.BeginMove{ID: mover, Operation: "o1", What: cluster.OpEvacuate})
		b.leadMoves(time.Minute, Lifecycle{}, map[cluster.NodeID]placement.Hint{soleNode: {SilentFor: time.Second}})
		if in := b.mover(); in.Op == nil || in.Op.Step != cluster.StepPlacing {
			t.Fatalf("placed without knowing: %+v", in.Op)
		}
		heard := map[cluster.NodeID]placement.Hint{soleNode: {}}
		b.leadMoves(time.Second, Lifecycle{}, heard)
		waits := func(when string, want bool) {
			t.Helper()
			in := b.mover()
			if in.Node != otherNode || in.Op == nil || in.Op.Step != cluster.StepFinishing || (in.Mode.Await == soleNode) != want {
				t.Fatalf("%s: on %s, waiting for %q: %+v", when, in.Node, in.Mode.Await, in.Op)
			}
		}
		waits("placed", true)
		b.apply(&cluster.SetNodeService{ID: soleNode, Service: cluster.ServiceState{ForcedDown: true}})
		b.leadMoves(time.Minute, Lifecycle{}, heard)
		waits("said to be down, and it answers", true)
		b.leadMoves(5*time.Second, Lifecycle{}, map[cluster.NodeID]placement.Hint{soleNode: {Silent: true, SilentFor: awaitGivenUp / 2}})
		waits("silent for a moment", true)
		b.leadMoves(5*time.Second, Lifecycle{}, map[cluster.NodeID]placement.Hint{soleNode: {Silent: true, SilentFor: time.Hour}})
		waits("silent for long", false)
	})
}

// A resize is reverted whose destination is silent. Nothing is started before that has cleared what it has, until an operator says that it
// is down.
func TestLead_ARevertWaitsForItsDestinationUntilSomebodySaysThatItIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, true)
		b.resize(t)
		b.leadMoves(time.Second, Lifecycle{}, nil)
		b.report(cluster.PowerShutdown)
		b.apply(&cluster.AdvanceOperation{Node: otherNode, ID: mover, Operation: "o1", Step: cluster.StepCopying, Done: true})
		b.report(cluster.PowerRunning)
		b.apply(&cluster.EndMove{ID: mover, Revert: true})
		silent := map[cluster.NodeID]placement.Hint{otherNode: {Silent: true, SilentFor: time.Hour}}
		for _, down := range []bool{false, true} {
			b.apply(&cluster.SetNodeService{ID: otherNode, Service: cluster.ServiceState{ForcedDown: down}})
			b.leadMoves(time.Minute, Lifecycle{}, silent)
			if in := b.mover(); (in.Mode.Await == "") != down {
				t.Fatalf("said to be down: %t, and it waits for %q", down, in.Mode.Await)
			}
		}
	})
}

// A silent node is given up: nothing waits for it.
func TestLead_EvacuationOfASilentNodeDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, true)
		b.apply(&cluster.BeginMove{ID: mover, Operation: "o1", What: cluster.OpEvacuate})
		b.leadMoves(time.Second, Lifecycle{}, map[cluster.NodeID]placement.Hint{soleNode: {Silent: true, SilentFor: time.Minute}})
		if in := b.mover(); in.Node != otherNode || in.Mode.Await != "" {
			t.Fatalf("on %s, waiting for %q", in.Node, in.Mode.Await)
		}
	})
}

// The leader's daemon was started a moment ago and has not heard of the node that is given up: it neither waits for that node nor does
// without it before it knows.
func TestLead_EvacuationWaitsUntilTheLeaderKnowsTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoNodes(t, true)
		b.apply(&cluster.BeginMove{ID: mover, Operation: "o1", What: cluster.OpEvacuate})
		b.leadMoves(5*time.Second, Lifecycle{}, map[cluster.NodeID]placement.Hint{soleNode: {SilentFor: time.Second}})
		if in := b.mover(); in.Op == nil || in.Op.Step != cluster.StepPlacing {
			t.Fatalf("it was placed: %+v", in.Op)
		}
		b.leadMoves(5*time.Second, Lifecycle{}, map[cluster.NodeID]placement.Hint{soleNode: {Silent: true, SilentFor: time.Minute}})
		if in := b.mover(); in.Node != otherNode || in.Mode.Await != "" {
			t.Fatalf("on %s, waiting for %q", in.Node, in.Mode.Await)
		}
	})
}
