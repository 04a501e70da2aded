package cluster

// TermID names one leadership of one node.
type TermID string

// BeginTerm is the first thing that a leader commits. A LoseNode of an earlier leadership that comes after it is refused, because a leader
// that has begun its term may have renewed the lease of the node that the earlier one took for dead.
type BeginTerm struct {
	Term   TermID `json:"term"`
	Leader NodeID `json:"leader"`
}

// LoseNode takes a node for dead, and starts what can be started elsewhere of its instances that ask for it: all in one
// entry. With a Term it is the leader's word that the node's lease is over and refused with Stale when another term began
// meanwhile; without one it is an operator's word that the node is off. Said again of a lost node, it starts what could not be started the
// first time; Conflict when there is nothing to be done.
type LoseNode struct {
	Node NodeID `json:"node"`
	Term TermID `json:"term,omitempty"`
	By   By     `json:"by,omitzero"` // the operator
}

// ReturnNode is a lost node's word that it is back, holds a lease and has seen the state in which it was lost. What waits to be
// started elsewhere and has found no node yet stays. Stale when the node was lost again since.
type ReturnNode struct {
	Node NodeID `json:"node"`
	Lost Time   `json:"lost"` // Loss.At
}

// PutSettings changes what holds for the whole cluster. Stale when Settings.Revision is not the present one, Invalid when a lease would
// let two nodes run an instance.
type PutSettings struct {
	Settings Settings `json:"settings"`
	Settled  bool     `json:"settled,omitempty"` // the leader's word that no lease of earlier settings is in force; nothing else changes
}

// GuardInstances is a node's word about instances that are its own: from now on it ends them when its lease does, or no longer. Only a
// guarded instance is started elsewhere. What is another node's by now, or has another epoch, is left as it is.
type GuardInstances struct {
	Node   NodeID  `json:"node"`
	Guards []Guard `json:"guards"`
}

// Guard is such a word about one instance.
type Guard struct {
	ID    InstanceID `json:"id"`
	Epoch uint64     `json:"epoch"`
	Off   bool       `json:"off,omitempty"`
}

// Kind of each op.
func (*BeginTerm) Kind() Kind   { return KindBeginTerm }
func (*LoseNode) Kind() Kind    { return KindLoseNode }
func (*ReturnNode) Kind() Kind  { return KindReturnNode }
func (*PutSettings) Kind() Kind { return KindPutSettings }

// Kind of the op.
func (*GuardInstances) Kind() Kind { return KindGuardInstances }
