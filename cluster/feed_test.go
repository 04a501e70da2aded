package cluster

import (
	"fmt"
	"testing"
)

// A reader that follows the feed from view to view knows the same as one that looks at every instance each time, and one
// that fell too far behind is told so.
func TestInstancesChanged_TellsAllThatAComparisonFinds(t *testing.T) {
	s := NewState()
	known := map[InstanceID]*Instance{}
	last, first := s.View(), s.View()
	for n := uint64(1); n <= 3*feedKept; n++ {
		s.t.meta.Index = n
		id := InstanceID(fmt.Sprint("i", n*7919%1000))
		if in, ok := s.t.instances.Get(id); ok && n%3 == 0 {
			s.dropInstance(in)
		} else {
			s.putInstance(&Instance{ID: id, Project: "p", Node: NodeID(fmt.Sprint("n", n%3)), Revision: n})
		}
		if n%10 != 0 {
			continue
		}
		view := s.View()
		changed, ok := view.InstancesChanged(last.Index())
		if !ok {
			t.Fatalf("the view at %d does not remember what changed since %d", view.Index(), last.Index())
		}
		for id := range changed {
			if in, there := view.Instance(id); there {
				known[id] = in
			} else {
				delete(known, id)
			}
		}
		last = view
	}
	count := 0
	for in := range last.Instances() {
		count++
		if known[in.ID] != in {
			t.Fatalf("the feed did not tell of instance %s", in.ID)
		}
	}
	if count != len(known) {
		t.Errorf("the feed leaves %d instances, there are %d", len(known), count)
	}
	if _, ok := last.InstancesChanged(first.Index()); ok {
		t.Error("a view claims to remember everything")
	}
}

// Tombstones are what a node has to act upon when the record is gone, so they are told of too.
func TestInstancesChanged_TellsOfTombstones(t *testing.T) {
	s := NewState()
	s.t.meta.Index = 1
	s.putTombstone(&Tombstone{Instance: "i", Node: "n"})
	changed, ok := s.View().InstancesChanged(0)
	if !ok {
		t.Fatal("the first view does not remember the beginning")
	}
	var got []InstanceID
	for id := range changed {
		got = append(got, id)
	}
	if len(got) != 1 || got[0] != "i" {
		t.Errorf("changed: %v, want i", got)
	}
}

// What a snapshot holds was changed at indexes that nobody knows any more.
func TestInstancesChanged_ARestoredStateKnowsNoPast(t *testing.T) {
	s := NewState()
	s.t.meta.Index = 5
	s.putInstance(&Instance{ID: "i", Project: "p"})
	s.forgetFeed()
	if _, ok := s.View().InstancesChanged(4); ok {
		t.Error("it claims to know what changed before the snapshot")
	}
	if _, ok := s.View().InstancesChanged(5); !ok {
		t.Error("it does not know what changed since the snapshot")
	}
}

// Who follows the nodes from view to view knows what is on each of them, as instances come, move and go, and nodes too.
func TestNodesChanged_TellsOfRecordsAndAllocations(t *testing.T) {
	type known struct {
		node      *Node
		allocated Resources
	}
	s := NewState()
	last, seen := s.View(), map[NodeID]known{}
	for n := uint64(1); n <= 3000; n++ {
		s.t.meta.Index = n
		on := NodeID(fmt.Sprint("n", n*31%17))
		id := InstanceID(fmt.Sprint("i", n*7919%100))
		switch in, there := s.t.instances.Get(id); {
		case n%11 == 0:
			s.putNode(&Node{ID: on, Name: string(on), Address: string(on), Revision: n})
		case n%57 == 0:
			if old, ok := s.t.nodes.Get(on); ok {
				s.dropNode(old)
			}
		case there && n%3 == 0:
			s.dropInstance(in)
		default:
			s.putInstance(&Instance{ID: id, Project: "p", Node: on, Revision: n, Spec: Spec{Flavor: Flavor{VCPUs: int64(n)}}})
		}
		view := s.View()
		changed, ok := view.NodesChanged(last.Index())
		if !ok {
			t.Fatalf("the view at %d does not remember what changed since %d", view.Index(), last.Index())
		}
		for id := range changed {
			node, _ := view.Node(id)
			seen[id] = known{node, view.Allocated(id)}
		}
		last = view
	}
	for n := range 17 {
		id := NodeID(fmt.Sprint("n", n))
		if node, _ := last.Node(id); seen[id] != (known{node, last.Allocated(id)}) {
			t.Errorf("node %s is %+v, and the feed left it at %+v", id, known{node, last.Allocated(id)}, seen[id])
		}
	}
	if _, ok := last.NodesChanged(last.Index()); !ok {
		t.Error("nothing changed since the view itself, and it does not know")
	}
}
