package cluster

// RecoverCluster makes a cluster go on whose quorum is gone for good: the log of one surviving node, with this as its last entry, becomes that of a
// cluster of which this node is the only voter. The voters that are given up may never come back under their IDs, so that they cannot go on
// beside it; what they ran is theirs until their leases are over, as with every lost node. The same ID again changes nothing.
type RecoverCluster struct {
	ID     string   `json:"id"` // of the recovery
	Leader NodeID   `json:"leader"`
	Lost   []NodeID `json:"lost"`
}

// LogEnd says how much of the cluster's history a node has. Of two, the one with the higher term of its last entry has all that was committed
// and that the other has; with equal terms, the one with more entries.
type LogEnd struct {
	LastTerm uint64 `json:"last_term"` // of the last entry
	Last     uint64 `json:"last"`      // its index
	Term     uint64 `json:"term"`      // the newest that the node knows of
}

// Beyond tells whether e has something that o has not.
func (e LogEnd) Beyond(o LogEnd) bool {
	return e.LastTerm > o.LastTerm || e.LastTerm == o.LastTerm && e.Last > o.Last
}

// Recovery is that the cluster lost its quorum and was made to go on.
type Recovery struct {
	ID   string   `json:"id"`
	At   Time     `json:"at"`
	Node NodeID   `json:"node"` // whose log it is
	Lost []NodeID `json:"lost"`
}

// Recovered says how the cluster was made to go on last after it had lost its quorum; nil: it never did.
func (v *View) Recovered() *Recovery { return v.t.meta.Recovered }

// Kind of the op.
func (*RecoverCluster) Kind() Kind { return KindRecoverCluster }
