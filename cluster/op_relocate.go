package cluster

import (
	"slices"
	"strings"
)

// RelocateNode records that a node is reached at another address. It comes from the node itself, which has moved there. Stale when the node is
// at none of these: then its data directory was copied, and the copy is who moved. Conflict when the address belongs to another node. Repeated, it
// is the same as once.
type RelocateNode struct {
	ID   NodeID   `json:"id"`
	From []string `json:"from"` // IP addresses; several when it moved again before this was known
	To   string   `json:"to"`
}

// RelocateCommands is the version of the command set that has RelocateNode.
const RelocateCommands uint32 = 5

// Kind of the op.
func (*RelocateNode) Kind() Kind { return KindRelocateNode }

func (s *State) applyRelocateOp(op Op) (ids []string, refusal *Error, known bool) {
	o, known := op.(*RelocateNode)
	if known {
		ids, refusal = s.relocateNode(o)
	}
	return ids, refusal, known
}

func (s *State) relocateNode(o *RelocateNode) ([]string, *Error) {
	old, ok := s.t.nodes.Get(o.ID)
	switch {
	case !ok:
		return nil, missing("Node", string(o.ID))
	case s.expelled(o.ID):
		return nil, Errorf(Conflict, "The node %s was removed from the cluster and may not come back", old.Name)
	case old.Address == o.To:
		return []string{string(o.ID)}, nil
	case !slices.Contains(o.From, old.Address):
		return nil, Errorf(Stale, "The node %s is at %s, and did not come from %s", old.Name, old.Address, strings.Join(o.From, " or "))
	}
	n := old.Clone()
	n.Address = o.To
	n.Revision, n.Updated = s.t.meta.Index, s.t.meta.Time
	if err := firstOf(checkNode(n), s.checkNodeUnique(n)); err != nil {
		return nil, err
	}
	s.putNode(n)
	s.heardOf(n.ID)
	return []string{string(n.ID)}, nil
}
