package cluster

import (
	"iter"
	"slices"
	"time"
)

// Keyset is a sort of keys that the whole cluster shares and that can be replaced while it runs.
type Keyset string

// The keysets.
const (
	KeysGossip    Keyset = "gossip"    // encrypt gossip
	KeysAuthority Keyset = "authority" // sign the nodes' certificates
)

// KeyStep is how far a rotation is. Each step but the last ends when every node has confirmed it, so no two nodes are ever further apart than
// one step, and any two steps in a row understand each other.
type KeyStep string

// The steps of a rotation.
const (
	KeysAdded KeyStep = "added" // the old one is used, and the new one taken, too
	KeysUsed  KeyStep = "used"  // the new one is used, and the old one still taken
	KeysDone  KeyStep = "done"  // there is only the new one
)

// Rotation is the last change of a keyset: under way until its step is KeysDone.
type Rotation struct {
	Keys      Keyset        `json:"keys"`
	Step      KeyStep       `json:"step"`
	Since     uint64        `json:"since"` // log index at which the step began; names the step
	Begun     Time          `json:"begun"`
	Ended     Time          `json:"ended,omitempty"`
	Keep      time.Duration `json:"keep,omitempty"`      // how long from Begun the old one is taken at least
	Confirmed []NodeID      `json:"confirmed,omitempty"` // nodes that have done what the step asks, sorted
	Without   []NodeID      `json:"without,omitempty"`   // nodes that an operator would not wait for, sorted
}

// AuthorityPair is an authority: its certificate and its private key.
type AuthorityPair struct {
	Cert []byte `json:"cert"` // DER
	Key  []byte `json:"key"`  // PKCS#8
}

// MaxKeep is the longest time that an old key can be kept for.
const MaxKeep = 90 * 24 * time.Hour

// maxKeyBytes is far above any key or certificate that is made here.
const maxKeyBytes = 16 << 10

// KeyCommands is the version of the command set that has rotations.
const KeyCommands uint32 = 4

// UnderWay tells whether the rotation has not ended.
func (r *Rotation) UnderWay() bool { return r.Step != KeysDone }

// Has tells whether a node has confirmed the present step.
func (r *Rotation) Has(id NodeID) bool {
	_, ok := slices.BinarySearch(r.Confirmed, id)
	return ok
}

// awaits tells whether the step cannot end without a node's word.
func (r *Rotation) awaits(id NodeID) bool {
	_, given := slices.BinarySearch(r.Without, id)
	return !given && !r.Has(id)
}

// Rotation finds the last change of a keyset; false when there was none.
func (v *View) Rotation(k Keyset) (*Rotation, bool) { return v.t.rotations.Get(k) }

// Rotations yields the last change of each keyset.
func (v *View) Rotations() iter.Seq[*Rotation] { return values(&v.t.rotations) }

// Awaited yields the nodes that the present step of a rotation waits for, by ID; none when it has ended.
func (v *View) Awaited(r *Rotation) iter.Seq[*Node] { return v.t.awaited(r) }

// RotationDue tells whether AdvanceRotation would move a rotation on at a time: every node has confirmed, and only time was missing.
func (v *View) RotationDue(r *Rotation, now Time) bool { return v.t.ripe(r, now) }

// Authorities are the certificates (DER) of those whom nodes and clients trust at the moment: the one that signs, and during its rotation the
// other.
func (a *Authority) Authorities() [][]byte {
	all := [][]byte{a.CACert}
	if a.Other != nil {
		all = append(all, a.Other.Cert)
	}
	return all
}

func (t *tables) awaited(r *Rotation) iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		if !r.UnderWay() {
			return
		}
		t.nodes.Scan(func(id NodeID, n *Node) bool { return !r.awaits(id) || yield(n) })
	}
}

// ripe tells whether the present step can end.
func (t *tables) ripe(r *Rotation, now Time) bool {
	if !r.UnderWay() || r.Step == KeysUsed && now < r.Begun.Add(r.Keep) {
		return false
	}
	for range t.awaited(r) {
		return false
	}
	return true
}
