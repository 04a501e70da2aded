package cluster

import "time"

// BeginRotation begins to replace a keyset. Conflict while a rotation of it is under way.
type BeginRotation struct {
	Keys      Keyset         `json:"keys"`
	GossipKey []byte         `json:"gossip_key,omitempty"` // of KeysGossip: the new one
	Authority *AuthorityPair `json:"authority,omitempty"`  // of KeysAuthority: the new one
	Keep      time.Duration  `json:"keep,omitempty"`       // see Rotation
}

// ConfirmKeys is a node's word that it has done what a step of a rotation asks, and will know so after a crash. The word of the last node ends
// the step. Stale when the step has ended already.
type ConfirmKeys struct {
	Keys  Keyset `json:"keys"`
	Since uint64 `json:"since"` // Rotation.Since
	Node  NodeID `json:"node"`
}

// AdvanceRotation ends a step that every node has confirmed and that lasted for as long as it must; Conflict otherwise. With Force the nodes
// that have not confirmed are not waited for from now on. They learn of the new key when they are back. Of an authority that is refused: nobody
// would let them in. Stale when the step has ended already.
type AdvanceRotation struct {
	Keys  Keyset `json:"keys"`
	Since uint64 `json:"since"` // Rotation.Since
	Force bool   `json:"force,omitempty"`
}

// Kind of each op.
func (*BeginRotation) Kind() Kind   { return KindBeginRotation }
func (*ConfirmKeys) Kind() Kind     { return KindConfirmKeys }
func (*AdvanceRotation) Kind() Kind { return KindAdvanceRotation }
