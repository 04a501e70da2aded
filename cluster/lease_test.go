package cluster

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// haven is a town with a second node and a running instance on the first that asks for high availability, has all its disks
// in the directory that both share, and is guarded.
func haven(t testing.TB) *town {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	for _, id := range []NodeID{first, "n2"} {
		n, _ := w.s.View().Node(id)
		shares := n.Clone()
		shares.Host.Traits = append(shares.Host.Traits, TraitSharedVolumes)
		w.do(&UpdateNode{Node: *shares})
	}
	o := create("a", first)
	o.Spec.Image, o.Spec.Boot.Volume = "", true
	o.Spec.Metadata = map[string]string{KeyHA: "true"}
	boot := someVolume("boot").Volume
	boot.Type = "shared"
	o.Items[0].Volumes = []NewVolume{{New: &boot, Attachment: Attachment{ID: "a1", Boot: true}}}
	w.do(o)
	w.made("boot")
	w.says("a", PowerRunning)
	w.do(&BeginTerm{Term: "t1", Leader: "n2"})
	w.do(&GuardInstances{Node: first, Guards: []Guard{{ID: "a", Epoch: w.instance("a").Epoch}}})
	return w
}

// A node dies. In the entry that says so its guarded instance begins to be started elsewhere, and the node takes no new ones. When it comes
// back, it may, and has a tombstone for what it had.
func TestLoseNode_StartsElsewhereWhatIsGuarded(t *testing.T) {
	w := haven(t)
	w.active("b") // with a disk of its own: it waits for its node
	w.do(&LoseNode{Node: first, Term: "t1"})
	in := w.is("lost", "a", first, VMActive, TaskRebuilding, StepPlacing)
	w.is("lost", "b", first, VMActive, TaskNone, "")
	if _, hold := in.Desired(); !hold {
		t.Error("the lost node may start it")
	}
	w.do(create("c", first))
	if w.instance("c").Node != "" {
		t.Error("it takes a new one")
	}
	w.refuse(&LoseNode{Node: first, Term: "t1"}, Conflict, "already")
	w.do(&PlaceMove{ID: "a", Operation: in.Op.ID, Node: "n2"})
	w.says("a", PowerRunning)
	if w.is("restarted", "a", "n2", VMActive, TaskNone, "").Guarded() {
		t.Error("the new node guards it without having said so")
	}
	n, _ := w.s.View().Node(first)
	w.refuse(&ReturnNode{Node: first, Lost: n.Lost.At + 1}, Stale, "lost again")
	w.do(&ReturnNode{Node: first, Lost: n.Lost.At})
	w.gone("a", first)
	if n, _ := w.s.View().Node(first); n.Lost != nil {
		t.Error("it is not back")
	}
}

// What its node has not said to guard, what is tied to its node, and what another leader may have renewed since is not started elsewhere.
func TestLoseNode_LeavesWhatMayStillRun(t *testing.T) {
	for name, change := range map[string]func(*town){
		"no longer guarded": func(w *town) {
			w.do(&GuardInstances{Node: first, Guards: []Guard{{ID: "a", Epoch: w.instance("a").Epoch, Off: true}}})
		},
		"guarded for another epoch": func(w *town) {
			w.do(&GuardInstances{Node: first, Guards: []Guard{{ID: "a", Epoch: w.instance("a").Epoch, Off: true}}})
			w.do(&GuardInstances{Node: first, Guards: []Guard{{ID: "a", Epoch: w.instance("a").Epoch + 1}}})
		},
		"another node's word": func(w *town) {
			w.do(&GuardInstances{Node: first, Guards: []Guard{{ID: "a", Epoch: w.instance("a").Epoch, Off: true}}})
			w.do(&GuardInstances{Node: "n2", Guards: []Guard{{ID: "a", Epoch: w.instance("a").Epoch}}})
		},
		"not asked for": func(w *town) { w.do(&UpdateInstance{ID: "a", Metadata: &map[string]string{}}) },
		"local volume": func(w *town) {
			w.do(someVolume("v"))
			w.do(attach("v", "a"))
		},
		"being deleted": func(w *town) { w.do(&DeleteInstance{ID: "a"}) },
	} {
		w := haven(t)
		change(w)
		w.do(&LoseNode{Node: first, Term: "t1"})
		if in, ok := w.s.View().Instance("a"); ok && in.Op != nil {
			t.Errorf("%s: it is started elsewhere", name)
		}
	}
	w := haven(t)
	w.do(&BeginTerm{Term: "t2", Leader: first})
	w.refuse(&LoseNode{Node: first, Term: "t1"}, Stale, "Another term")
	w.refuse(&LoseNode{Node: "none", Term: "t2"}, NotFound, "none")
}

// The operator's word counts in any term. Of an instance that was on its way to another node, that is asked first.
func TestLoseNode_ConfirmedByAnOperator(t *testing.T) {
	w := haven(t)
	w.do(&BeginMove{ID: "a", By: operator, Operation: "o1", What: OpLive})
	w.do(&PlaceMove{ID: "a", Operation: "o1", Node: "n2"})
	w.do(&LoseNode{Node: first, By: operator})
	w.is("on its way", "a", first, VMActive, TaskRebuilding, StepAsking)
	if w.s.View().Restartable(first) {
		t.Error("it is started elsewhere again and again")
	}
	in := w.instance("a")
	if n, _ := w.s.View().Node(first); in.Op == nil || in.Op.Kind != OpEvacuate || !n.Lost.Confirmed || n.Lost.By != root {
		t.Fatalf("the instance: %+v; the node: %+v", in.Op, n.Lost)
	}
}

// There is room nowhere until the node comes back: the instance goes on there.
func TestReturnNode_EndsWhatFoundNoOtherNode(t *testing.T) {
	w := haven(t)
	w.do(&LoseNode{Node: first, Term: "t1"})
	n, _ := w.s.View().Node(first)
	before := w.instance("a")
	w.do(&ReturnNode{Node: first, Lost: n.Lost.At})
	in := w.is("back", "a", first, VMActive, TaskPoweringOn, "")
	if in.Boot != before.Boot+1 || in.Epoch != before.Epoch || !in.Guarded() {
		t.Errorf("it is %+v", in)
	}
	if m := last(w.s.View().Migrations()); m.Status != MigrationCancelled {
		t.Errorf("the record says %+v", m)
	}
}

// A lease that would let two nodes run an instance is refused. What an earlier lease allowed is remembered until the leader says that none of
// them is in force.
func TestPutSettings_RemembersLongerLeases(t *testing.T) {
	w := newTown(t)
	at := func() Settings { return w.s.View().Settings() }
	if at().Lease != DefaultLease() || DefaultLease().Check() != nil {
		t.Fatalf("without a choice: %+v", at())
	}
	short := Lease{Stop: 2500 * time.Millisecond, Kill: time.Second, Dead: 5 * time.Second}
	for _, bad := range []Lease{
		{Stop: time.Second, Kill: time.Second, Dead: time.Minute},
		{Stop: 3 * time.Second, Dead: time.Minute},
		{Stop: 3 * time.Second, Kill: time.Second, Dead: 4 * time.Second},
		{Stop: time.Hour, Kill: time.Hour, Dead: 3 * time.Hour},
	} {
		w.refuse(&PutSettings{Settings: Settings{Lease: bad}}, Invalid, "node")
	}
	w.refuse(&PutSettings{Settings: Settings{Revision: 7, Lease: short}}, Stale, "settings")
	w.do(&PutSettings{Settings: Settings{Lease: short}})
	if got := at(); got.Lease != short || got.Former != DefaultLease().Dead || got.Restarts != DefaultRestarts {
		t.Fatalf("chosen: %+v", got)
	}
	longer := short
	longer.Dead = 6 * time.Second
	w.do(&PutSettings{Settings: Settings{Revision: at().Revision, Lease: longer}})
	if got := at(); got.Former != DefaultLease().Dead {
		t.Fatalf("the longest is forgotten: %+v", got)
	}
	w.do(&PutSettings{Settings: Settings{Revision: at().Revision}, Settled: true})
	if got := at(); got.Lease != longer || got.Former != 0 {
		t.Fatalf("settled: %+v", got)
	}
}

// Whatever the figures: by the time that the leader may start an instance elsewhere, a node with the slowest clock has ended it.
func TestLease_NoTwoNodesAtOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Lease{
			Stop: time.Duration(rapid.Int64Range(int64(leastStop), int64(time.Hour)).Draw(t, "stop")),
			Kill: time.Duration(rapid.Int64Range(int64(leastKill), int64(time.Hour)).Draw(t, "kill")),
			Dead: time.Duration(rapid.Int64Range(int64(leastStop), int64(mostDead)).Draw(t, "dead")),
		}
		if l.Check() != nil {
			return
		}
		slow, fast := 1-float64(leaseDrift)/2500, 1+float64(leaseDrift)/2500
		if ended, started := float64(l.Stop+l.Kill)/slow, float64(l.Dead)/fast; ended >= started {
			t.Fatalf("%+v: ended after %v, started after %v", l, time.Duration(ended), time.Duration(started))
		}
	})
}

func drawLeaseOp(t *rapid.T, v *View) Op {
	node := pick(t, "node", first, NodeID("n2"), "n3")
	switch rapid.IntRange(0, 4).Draw(t, "op") {
	case 0:
		return &BeginTerm{Term: pick(t, "term", TermID("t1"), "t2"), Leader: node}
	case 1:
		return &LoseNode{Node: node, Term: pick(t, "term", TermID("t1"), "t2", "")}
	case 2:
		o := &ReturnNode{Node: node}
		if n, ok := v.Node(node); ok && n.Lost != nil {
			o.Lost = n.Lost.At
		}
		return o
	case 3:
		return &PutSettings{Settings: Settings{Revision: v.Settings().Revision, Lease: DefaultLease()}, Settled: rapid.Bool().Draw(t, "settled")}
	}
	o := &GuardInstances{Node: node}
	for in := range v.InstancesOn(node) {
		o.Guards = append(o.Guards, Guard{ID: in.ID, Epoch: in.Epoch, Off: rapid.IntRange(0, 3).Draw(t, "off") == 0})
	}
	return o
}
