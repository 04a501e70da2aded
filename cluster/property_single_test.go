package cluster

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// spotter follows where a guest may run, believing only what nodes say, and what an operator says of a dead one.
type spotter map[InstanceID]map[NodeID]bool

func (m spotter) at(id InstanceID) map[NodeID]bool {
	if m[id] == nil {
		m[id] = map[NodeID]bool{}
	}
	return m[id]
}

// heard takes in what a command says about guests, before it is applied.
func (m spotter) heard(v *View, op Op) {
	switch o := op.(type) {
	case *ReportInstances:
		for _, r := range o.Reports {
			in, ok := v.Instance(r.ID)
			if ok && !r.Gone && in.Node == o.Node && r.Epoch == in.Epoch && r.Generation == in.Generation && off(r.Power) && r.Error == "" {
				delete(m.at(r.ID), o.Node)
			}
		}
	case *AdvanceOperation:
		in, ok := v.Instance(o.ID)
		if !ok || in.Op == nil || in.Op.ID != o.Operation || in.Op.Step != o.Step || in.Executor() != o.Node {
			return
		}
		switch {
		case o.Step == StepMigrating && o.Done, o.Step == StepAsking && o.Done: // the latter by an operator's word
			delete(m.at(o.ID), in.Op.Move.From)
		case o.Step == StepMigrating && (o.Cancelled || o.Error != ""):
			delete(m.at(o.ID), in.Op.Move.To)
		case o.Step == StepCopying && o.Done:
			delete(m.at(o.ID), in.Op.Move.From) // disks of what runs are not given away
		case o.Step == StepCapturing && o.Done && in.Op.Kind == OpShelve:
			delete(m.at(o.ID), in.Node)
		}
	case *PlaceMove:
		if in, ok := v.Instance(o.ID); ok && in.Op != nil && in.Op.Kind == OpEvacuate && !o.Answers {
			delete(m.at(o.ID), in.Node)
		}
	case *StopAwaiting:
		n, _ := v.Node(o.Node)
		for id, nodes := range m {
			if in, ok := v.Instance(id); ok && in.AwaitsDead(n) {
				delete(nodes, o.Node) // it is down, an operator says
			}
		}
	}
}

// lies tells whether no node would say that: a guest that its node may not touch does not run there.
func (m spotter) lies(v *View, o *ReportInstances) bool {
	for _, r := range o.Reports {
		in, ok := v.Instance(r.ID)
		if !ok || r.Gone {
			continue
		}
		if _, hold := in.Desired(); hold && in.Node == o.Node && !m.at(r.ID)[o.Node] {
			return true
		}
	}
	return false
}

// look brings what may run in line with the state, and tells which other node may run what one may start; "": none.
func (m spotter) look(before, after *View) (InstanceID, NodeID, NodeID) {
	for id, nodes := range m {
		for n := range nodes {
			_, had := before.Tombstone(n, id)
			_, has := after.Tombstone(n, id)
			if _, there := after.Node(n); !there || had && !has {
				delete(nodes, n)
			}
		}
	}
	for in := range after.Instances() {
		if in.Node == "" || in.Wanted == WantDeleted {
			continue
		}
		nodes := m.at(in.ID)
		wanted, hold := in.Desired()
		if wanted == WantOn && !hold && !(in.Status.VM == VMError && in.Status.Task == TaskNone) {
			nodes[in.Node] = true
			for n := range nodes {
				if n != in.Node {
					return in.ID, in.Node, n
				}
			}
		}
		if in.Op != nil && in.Op.Step == StepMigrating && in.Op.Move.To != "" {
			nodes[in.Op.Move.To] = true
		}
	}
	return "", "", ""
}

// Whatever is asked, in whatever order: no node may start a guest as long as it may run on another.
func TestApply_NoGuestMayRunTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, index := NewState(), uint64(0)
		m := spotter{}
		var said []string
		do := func(c Command) {
			before := s.View()
			if r, ok := c.Op.(*ReportInstances); ok && m.lies(before, r) {
				return
			}
			index++
			r, err := s.Apply(index, []Command{c})
			if err != nil {
				t.Fatal(err)
			}
			if r[0].Err != nil {
				return
			}
			m.heard(before, c.Op)
			said = append(said, fmt.Sprintf("%T%+v", c.Op, c.Op))
			if id, start, runs := m.look(before, s.View()); id != "" {
				in, _ := s.View().Instance(id)
				t.Fatalf("instance %s may run on %s, and %s may start it: %+v %+v after %T\n%s", id, runs, start, in.Status, in.Op, c.Op, strings.Join(said[max(0, len(said)-12):], "\n"))
			}
		}
		for _, op := range foundation() {
			do(Command{Op: op})
		}
		for _, id := range []NodeID{"n2", "n3"} {
			do(Command{Op: &PutJoinToken{Token: JoinToken{ID: "t", Hash: Hash{9}, Uses: 3, Expires: 1 << 62}}})
			do(Command{Op: &EnrolNode{Token: "t", Secret: Hash{9}, Node: someNode(id, map[NodeID]string{"n2": "192.0.2.2", "n3": "192.0.2.3"}[id])}})
		}
		do(Command{Op: create("a", first)})
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			v := s.View()
			var op Op
			switch rapid.IntRange(0, 9).Draw(t, "about") {
			case 0:
				in, ok := v.Instance("a")
				if !ok {
					continue
				}
				op = &ReportInstances{Node: in.Node, Reports: []InstanceReport{{ID: "a", Generation: in.Generation, Epoch: in.Epoch, Boot: in.Boot,
					Power: pick(t, "power", PowerRunning, PowerShutdown)}}}
			case 1:
				n := pick(t, "node", first, NodeID("n2"), "n3")
				tomb, ok := v.Tombstone(n, "a")
				if !ok {
					continue
				}
				op = &ReportInstances{Node: n, Reports: []InstanceReport{{ID: "a", Epoch: tomb.Epoch, Gone: true}}}
			case 2:
				op = drawInstanceOp(t, v)
			case 3:
				op = drawOtherOp(t, v)
			default:
				op = drawOperationOp(t, v)
			}
			do(Command{Time: v.Time() + 1<<30, Op: op})
		}
	})
}
