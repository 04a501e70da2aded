package cluster

import (
	"testing"

	"pgregory.net/rapid"
)

// twins is a town with three nodes and a running instance on the first that asks for high availability and for two copies of its disk.
func twins(t testing.TB) *town {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.enrol("n3", "192.0.2.3")
	o := create("a", first)
	o.Spec.Metadata = map[string]string{KeyHA: "true", KeyReplicas: "2"}
	w.do(o)
	w.says("a", PowerRunning)
	w.do(&BeginTerm{Term: "t1", Leader: "n2"})
	return w
}

// mirrored places a replica of the instance, and says that it is current.
func (w *town) mirrored(node NodeID) *Replica {
	w.t.Helper()
	w.placed(node)
	return w.replicaIs(ReplicaCurrent)
}

func (w *town) placed(node NodeID) {
	w.t.Helper()
	in := w.instance("a")
	o := &PlaceReplica{ID: "a", Epoch: in.Epoch, Node: node}
	if in.Replica != nil {
		o.Was = in.Replica.Epoch
	}
	w.do(o)
}

// replicaIs is the word of the instance's node.
func (w *town) replicaIs(s ReplicaState) *Replica {
	w.t.Helper()
	in := w.instance("a")
	w.do(&ReportReplica{Node: in.Node, ID: "a", Epoch: in.Epoch, Replica: in.Replica.Epoch, State: s})
	return w.instance("a").Replica
}

func (w *town) guardA() {
	in := w.instance("a")
	w.do(&GuardInstances{Node: in.Node, Guards: []Guard{{ID: "a", Epoch: in.Epoch}}})
}

// A node dies whose instance has a current replica. It goes to the replica's node and to no other, with the disk that is there; the room that
// the replica held is the instance's now, and what it left goes when its node comes back.
func TestLoseNode_GoesOnFromTheReplica(t *testing.T) {
	w := twins(t)
	r := w.mirrored("n2")
	if why := w.s.View().Tied(w.instance("a")); why != "" {
		t.Fatalf("with a current replica it is tied: %s", why)
	}
	w.guardA()
	w.do(&LoseNode{Node: first, Term: "t1"})
	op := w.is("lost", "a", first, VMActive, TaskRebuilding, StepPlacing).Op.ID
	w.refuse(&PlaceMove{ID: "a", Operation: op, Node: "n3"}, Invalid, "where the replica")
	w.refuse(&ReportReplica{Node: first, ID: "a", Epoch: 1, Replica: r.Epoch, State: ReplicaStale}, Stale, "no longer")
	w.do(&PlaceMove{ID: "a", Operation: op, Node: "n2"})
	in := w.is("placed", "a", "n2", VMActive, TaskRebuilding, StepFinishing)
	if in.DiskEpoch() != r.Epoch || in.Replica != nil || in.Epoch <= r.Epoch {
		t.Fatalf("it has the disks of epoch %d at %d, and %+v", in.DiskEpoch(), in.Epoch, in.Replica)
	}
	if got := w.s.View().Allocated("n2"); got != in.Resources() {
		t.Errorf("%+v is allocated on its node, it takes %+v", got, in.Resources())
	}
	w.refuse(&ReportReplica{Node: first, ID: "a", Epoch: 1, Replica: r.Epoch, State: ReplicaStale}, Stale, "changed")
	w.says("a", PowerRunning)
	w.gone("a", first)
	w.placed("n3")
	if next := w.instance("a").Replica; next.Of != in.Epoch || next.State != ReplicaBuilding {
		t.Errorf("its next replica is %+v", next)
	}
}

// What is not current is not started from: a replica that is being filled, one that its node gave up, and one that something went by.
func TestLoseNode_LeavesAnInstanceWhoseReplicaIsNotCurrent(t *testing.T) {
	for name, change := range map[string]func(*town){
		"none":     func(*town) {},
		"building": func(w *town) { w.placed("n2") },
		"stale":    func(w *town) { w.mirrored("n2"); w.replicaIs(ReplicaStale) },
		"its disk was rebuilt": func(w *town) {
			w.mirrored("n2")
			w.do(&RebuildInstance{ID: "a", By: operator, Image: disk})
			w.says("a", PowerRunning)
		},
		"it is suspended": func(w *town) {
			w.mirrored("n2")
			w.do(&SetPower{ID: "a", Wanted: WantSaved, Action: "suspend"})
		},
		"it came back from a move": func(w *town) {
			w.mirrored("n2")
			w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpLive})
			w.do(&PlaceMove{ID: "a", Operation: "o1"})
		},
	} {
		w := twins(t)
		change(w)
		w.guardA()
		w.do(&LoseNode{Node: first, Term: "t1"})
		in := w.instance("a")
		if in.Op != nil {
			t.Errorf("%s: it is started elsewhere", name)
		}
		if in.Replica != nil && in.CurrentReplica() != nil {
			t.Errorf("%s: its replica is %+v", name, in.Replica)
		}
	}
}

// A replica that was given up never counts again: the next one has another place, and the first is removed.
func TestReplica_StaleStaysStale(t *testing.T) {
	w := twins(t)
	old := w.mirrored("n2")
	w.replicaIs(ReplicaStale)
	w.replicaIs(ReplicaStale) // said twice
	w.refuse(&ReportReplica{Node: first, ID: "a", Epoch: 1, Replica: old.Epoch, State: ReplicaCurrent}, Stale, "stale")
	w.refuse(&PlaceReplica{ID: "a", Epoch: 1, Node: "n2"}, Stale, "changed")
	w.placed("n2")
	if next := w.instance("a").Replica; next.Epoch <= old.Epoch || next.State != ReplicaBuilding {
		t.Fatalf("the next one is %+v", next)
	}
	if g, ok := w.s.View().Tombstone("n2", "a"); !ok || g.Epoch != old.Epoch {
		t.Fatalf("the old one has the tombstone %+v", g)
	}
	w.refuse(&ReportReplica{Node: first, ID: "a", Epoch: 1, Replica: old.Epoch, State: ReplicaStale}, Stale, "changed")
	w.refuse(&ReportReplica{Node: "n2", ID: "a", Epoch: 1, Replica: w.instance("a").Replica.Epoch, State: ReplicaCurrent}, Stale, "changed")
	w.gone("a", "n2")
	w.replicaIs(ReplicaCurrent)
}

// A place for a replica is another node with room for it, and it is given to a running instance that asks for one and has none.
func TestPlaceReplica_RefusesWhatIsOfNoUse(t *testing.T) {
	w := twins(t)
	at := func(node NodeID) *PlaceReplica { return &PlaceReplica{ID: "a", Epoch: 1, Node: node} }
	w.refuse(at(first), Invalid, "own node")
	w.refuse(at("none"), NoRoom, "none")
	w.refuse(at(""), Stale, "of use")
	w.refuse(&PlaceReplica{ID: "a", Epoch: 2, Node: "n2"}, Stale, "changed")
	w.refuse(&PlaceReplica{ID: "b", Epoch: 1, Node: "n2"}, NotFound, "b")
	n, _ := w.s.View().Node("n3")
	full := n.Clone()
	full.Capacity.DiskGiB = 12
	w.do(&UpdateNode{Node: *full})
	w.refuse(at("n3"), NoRoom, "no room")
	w.do(&UpdateInstance{ID: "a", Metadata: &map[string]string{}})
	w.refuse(at("n2"), Stale, "does not wait")
	w.do(&UpdateInstance{ID: "a", Metadata: &map[string]string{KeyReplicas: "2"}})
	w.mirrored("n2")
	w.do(&UpdateInstance{ID: "a", Metadata: &map[string]string{}})
	w.refuse(&PlaceReplica{ID: "a", Epoch: 1, Was: w.instance("a").Replica.Epoch}, Stale, "of use")
	w.replicaIs(ReplicaStale)
	w.do(&PlaceReplica{ID: "a", Epoch: 1, Was: w.instance("a").Replica.Epoch})
	if r := w.instance("a").Replica; r != nil {
		t.Errorf("nobody asks for it, and there is %+v", r)
	}
	w.gone("a", "n2")
	if got := w.s.View().Allocated("n2"); got != (Resources{}) {
		t.Errorf("%+v is allocated to nothing", got)
	}
}

// An instance is deleted, or the node of its replica removed: nothing of the replica is left.
func TestReplica_GoesWithItsInstanceAndWithItsNode(t *testing.T) {
	w := twins(t)
	w.mirrored("n2")
	w.do(&RemoveNode{ID: "n2"})
	if r := w.instance("a").Replica; r != nil {
		t.Fatalf("on a removed node there is %+v", r)
	}
	w.mirrored("n3")
	w.do(&DeleteInstance{ID: "a"})
	w.gone("a", "n3")
	w.gone("a", first)
	if got := w.s.View().Allocated("n3"); got != (Resources{}) {
		t.Errorf("%+v is allocated to nothing", got)
	}
}

// An operator gives a node up. The instance goes on from its replica, unless the operator names another node, where it is built anew.
func TestEvacuate_GoesOnFromTheReplicaUnlessToldOtherwise(t *testing.T) {
	w := twins(t)
	r := w.mirrored("n2")
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpEvacuate})
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
	if in := w.instance("a"); in.DiskEpoch() != r.Epoch {
		t.Errorf("it is built anew: %+v", in.Epochs)
	}
	w = twins(t)
	r = w.mirrored("n2")
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpEvacuate, Host: "n3"})
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n3"})
	if in := w.instance("a"); in.DiskEpoch() == r.Epoch || in.CurrentReplica() != nil {
		t.Errorf("it has the disks of epoch %d, and the replica %+v", in.DiskEpoch(), in.Replica)
	}
}

// drawReplicaOp gives a random op about replicas.
func drawReplicaOp(t *rapid.T, v *View) Op {
	in, ok := v.Instance(InstanceID(pick(t, "instance", "a", "b", "c")))
	if !ok {
		in = &Instance{ID: "a"}
	}
	was := uint64(0)
	if in.Replica != nil {
		was = in.Replica.Epoch
	}
	switch rapid.IntRange(0, 9).Draw(t, "leaves") {
	case 0:
		return &RetireReplica{ID: in.ID, Epoch: in.Epoch, Replica: was}
	case 1:
		return &SetNodeService{ID: NodeID(pick(t, "node", string(first), "n2", "n3")), Service: ServiceState{Draining: rapid.Bool().Draw(t, "drained")}}
	}
	if was == 0 || rapid.IntRange(0, 3).Draw(t, "place") == 0 {
		return &PlaceReplica{ID: in.ID, Epoch: in.Epoch, Was: was, Node: pick(t, "node", NodeID(""), first, "n2", "n3")}
	}
	return &ReportReplica{Node: in.Node, ID: in.ID, Epoch: in.Epoch, Replica: was, State: pick(t, "state", ReplicaCurrent, ReplicaCurrent, ReplicaStale)}
}

// checkReplicas holds that a stale replica stays so, and that an instance that gets another's disk gets that of a current replica.
func checkReplicas(t *rapid.T, before, after *View) {
	for was := range before.Instances() {
		in, ok := after.Instance(was.ID)
		r := was.Replica
		if !ok || r == nil {
			continue
		}
		if r.State == ReplicaStale && in.Replica != nil && in.Replica.Epoch == r.Epoch && in.Replica.State != ReplicaStale {
			t.Fatalf("the stale replica of instance %s became %+v", in.ID, in.Replica)
		}
	}
}

func (w *town) draining(node NodeID, on bool) {
	w.t.Helper()
	w.do(&SetNodeService{ID: node, Service: ServiceState{Draining: on}})
}

func (w *town) retire() *RetireReplica {
	in := w.instance("a")
	return &RetireReplica{ID: "a", Epoch: in.Epoch, Replica: in.Replica.Epoch}
}
