package cluster

// The write_*.go files hold the only code that writes to tables. A put stores a record and a drop removes one,
// and both keep every index right. They decide nothing and cannot fail; a record may not be changed afterwards.

import "github.com/tidwall/btree"

// reindex moves an index entry from its old name to its new one. An empty name has no entry.
func reindex[K interface{ ~string }](index *btree.Map[string, K], before, after string, id K) {
	if before == after {
		return
	}
	if before != "" {
		index.Delete(before)
	}
	if after != "" {
		index.Set(after, id)
	}
}

func (s *State) putNode(n *Node) {
	s.t.nodeFeed.note(s.t.meta.Index, n.ID)
	var name, address string
	if old, ok := s.t.nodes.Set(n.ID, n); ok {
		name, address = old.Name, old.Address
	}
	reindex(&s.t.nodeByName, name, n.Name, n.ID)
	reindex(&s.t.nodeByAddress, address, n.Address, n.ID)
}

func (s *State) dropNode(n *Node) {
	s.t.nodeFeed.note(s.t.meta.Index, n.ID)
	s.t.nodes.Delete(n.ID)
	reindex(&s.t.nodeByName, n.Name, "", n.ID)
	reindex(&s.t.nodeByAddress, n.Address, "", n.ID)
}

// putAuthority stores the cluster's keys as they are from now on.
func (s *State) putAuthority(a *Authority) {
	a.Revision = s.t.meta.Index
	s.t.authority = a
}

func (s *State) putRotation(r *Rotation) { s.t.rotations.Set(r.Keys, r) }
