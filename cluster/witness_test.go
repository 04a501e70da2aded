package cluster

import (
	"testing"
	"time"
)

// A witness votes and has no hypervisor. Whatever it says of itself later, nothing is ever placed on it.
func TestWitness_TakesNoInstanceWhateverItSays(t *testing.T) {
	w := newTown(t)
	n := someNode("n2", "192.0.2.2")
	n.Witness = true
	w.do(&PutJoinToken{Token: JoinToken{ID: "t", Hash: Hash{9}, Uses: 1, Expires: w.now.Add(time.Hour)}})
	w.do(&EnrolNode{Token: "t", Secret: Hash{9}, Node: n})
	n.Witness = false
	w.do(&UpdateNode{Node: n}) // with capacity, and a hypervisor that answers
	if now, _ := w.s.View().Node("n2"); !now.Witness {
		t.Error("it is none any more")
	}
	for h := range w.s.View().Hypervisors() {
		if h.ID != first {
			t.Errorf("%s is a hypervisor", h.ID)
		}
	}
	w.do(create("a", "n2"))
	if in := w.instance("a"); in.Node != "" {
		t.Errorf("it has got %s", in.ID)
	}
}
