package cluster

import (
	"strings"
	"testing"
)

// A node is drained that has the replica of an instance elsewhere. The replica is given up, and the next is placed on a node that is not drained; what
// cannot be copied anew now keeps the replica that it has.
func TestRetireReplica_LetsADrainedNodeBeRidOfIt(t *testing.T) {
	w := twins(t)
	old := w.mirrored("n2")
	w.refuse(w.retire(), Stale, "not drained")
	w.draining("n2", true)
	in := w.instance("a")
	if !in.CopyLeaves("n2") || in.CopyStays() != "" {
		t.Errorf("its copy does not leave: %q", in.CopyStays())
	}
	w.refuse(&RetireReplica{ID: "a", Epoch: in.Epoch + 1, Replica: old.Epoch}, Stale, "changed")
	w.refuse(&RetireReplica{ID: "a", Epoch: in.Epoch, Replica: old.Epoch + 1}, Stale, "changed")
	w.refuse(&RetireReplica{ID: "b", Epoch: 1, Replica: 1}, NotFound, "b")
	o := w.retire()
	w.do(o)
	w.do(o) // said twice
	if r := w.instance("a").Replica; r.State != ReplicaStale || !strings.Contains(r.Note, "drained") || !w.instance("a").CopyLeaves("n2") {
		t.Fatalf("its replica is %+v", r)
	}
	w.refuse(&PlaceReplica{ID: "a", Epoch: in.Epoch, Was: old.Epoch, Node: "n2"}, NoRoom, "takes no new")
	w.placed("n3")
	w.replicaIs(ReplicaCurrent)
	w.gone("a", "n2")
	if in := w.instance("a"); in.CopyLeaves("n2") || w.s.View().Allocated("n2") != (Resources{}) {
		t.Errorf("something is left: %+v", in.Replica)
	}

	w = twins(t)
	w.mirrored("n2")
	w.do(&SetPower{ID: "a", Wanted: WantOff})
	w.says("a", PowerShutdown)
	w.draining("n2", true)
	if why := w.instance("a").CopyStays(); !strings.Contains(why, "does not run") {
		t.Errorf("the copy of a server that is off stays because of %q", why)
	}
	w.refuse(w.retire(), Stale, "can be begun")
}

// A node that keeps a current copy is not removed without force. Commands of former builds, which did not ask for that, are applied as they were.
func TestRemoveNode_HeedsTheCopiesThatItKeeps(t *testing.T) {
	w := twins(t)
	w.mirrored("n2")
	w.refuse(&RemoveNode{ID: "n2", Copies: true}, Conflict, "current copies of 1")
	w.do(&RemoveNode{ID: "n2", Copies: true, Force: true})
	if r := w.instance("a").Replica; r != nil {
		t.Errorf("on a removed node there is %+v", r)
	}
	w.mirrored("n3")
	w.replicaIs(ReplicaStale)
	w.do(&RemoveNode{ID: "n3", Copies: true})
	w = twins(t)
	w.mirrored("n2")
	w.do(&RemoveNode{ID: "n2"})
}

// The node of an instance is removed by force. With a current copy elsewhere, the instance is started from that and from nothing else, as if its node had
// been taken for dead.
func TestRemoveNode_ItsInstancesGoOnFromTheirCopies(t *testing.T) {
	for name, before := range map[string]func(*town){
		"guarded":                 func(w *town) { w.guardA() },
		"confirmed dead":          func(w *town) { w.do(&LoseNode{Node: first, By: operator}) },
		"being started elsewhere": func(w *town) { w.guardA(); w.do(&LoseNode{Node: first, Term: "t1"}) },
		"off": func(w *town) {
			w.do(&SetPower{ID: "a", Wanted: WantOff})
			w.says("a", PowerShutdown)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := twins(t)
			r := w.mirrored("n2")
			before(w)
			if goesOn, why := w.s.View().Outlives(w.instance("a")); !goesOn || why != "" {
				t.Errorf("it is said to be lost: %q", why)
			}
			w.do(&RemoveNode{ID: first, Force: true, Copies: true})
			in := w.instance("a")
			if !in.Orphaned() || !in.Op.Move.Auto || in.Status.Task != TaskRebuilding || in.CurrentReplica() == nil {
				t.Fatalf("it is %+v, %+v, %+v", in.Status, in.Op, in.Replica)
			}
			w.refuse(&PlaceMove{ID: "a", Operation: in.Op.ID, Node: "n3"}, Invalid, "where the replica")
			w.do(&PlaceMove{ID: "a", Operation: in.Op.ID, Node: "n2"})
			if in = w.instance("a"); in.Node != "n2" || in.DiskEpoch() != r.Epoch || in.Replica != nil {
				t.Fatalf("it is on %s with the disks of epoch %d, and %+v", in.Node, in.DiskEpoch(), in.Replica)
			}
			if got := w.s.View().Allocated("n2"); got != in.Resources() {
				t.Errorf("%+v is allocated on its node, it takes %+v", got, in.Resources())
			}
			power := PowerRunning
			if in.Wanted == WantOff {
				power = PowerShutdown
			}
			w.says("a", power)
			if in = w.instance("a"); in.Op != nil || in.Status.Task != TaskNone {
				t.Errorf("in the end it is %+v, %+v", in.Status, in.Op)
			}
		})
	}
}

// Nobody has said that the node is down, and its instance, which has a current copy, may run there: the node is not removed, not even by force.
func TestRemoveNode_WaitsForAWordWhenTheInstanceMayRun(t *testing.T) {
	w := twins(t)
	w.mirrored("n2")
	if goesOn, why := w.s.View().Outlives(w.instance("a")); !goesOn || !strings.Contains(why, "down first") {
		t.Errorf("it goes on: %v, %q", goesOn, why)
	}
	w.refuse(&RemoveNode{ID: first, Force: true, Copies: true}, Conflict, "confirm-dead")
	w.do(&LoseNode{Node: first, By: operator})
	w.do(&RemoveNode{ID: first, Force: true, Copies: true})
	if !w.instance("a").Orphaned() {
		t.Error("it is not started elsewhere")
	}
	w.do(&DeleteInstance{ID: "a"})
	w.gone("a", "n2")
	if got := w.s.View().Allocated("n2"); got != (Resources{}) {
		t.Errorf("%+v is allocated to nothing", got)
	}
}

// The copy is stale, or being filled. The instance is lost with its node, and says which copy it was not started from, and since when that lacks something.
func TestRemoveNode_NothingIsStartedFromAStaleCopy(t *testing.T) {
	for want, change := range map[string]func(*town){
		"its copy on host-n2 is stale since 2026-":  func(w *town) { w.mirrored("n2"); w.replicaIs(ReplicaStale) },
		"its copy on host-n2 is being filled since": func(w *town) { w.placed("n2") },
	} {
		w := twins(t)
		change(w)
		w.guardA()
		if goesOn, why := w.s.View().Outlives(w.instance("a")); goesOn || !strings.Contains(why, want) {
			t.Errorf("it goes on: %v, %q", goesOn, why)
		}
		w.do(&RemoveNode{ID: first, Force: true, Copies: true})
		in := w.instance("a")
		if in.Op != nil || in.Status.VM != VMError || !strings.Contains(in.Status.Fault.Message, want) {
			t.Errorf("it is %+v with %+v", in.Status, in.Status.Fault)
		}
		if in.CurrentReplica() != nil {
			t.Errorf("it has the current replica %+v", in.Replica)
		}
	}
}
