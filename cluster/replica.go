package cluster

// KeyReplicas is the flavor extra spec, or the server metadata, that asks for a second copy of an instance's root disk: "2". What the
// server says goes before what its flavor says.
const KeyReplicas = "kilonova:replicas"

// twoReplicas is what KeyReplicas says when there is to be a copy besides the disk itself.
const twoReplicas = "2"

// ReplicaCommands is the version of the command set that has replicas.
const ReplicaCommands uint32 = 4

// CopyCommands is the version of the command set in which replicas leave nodes that are drained, and count when a node is removed.
const CopyCommands uint32 = 6

// Replica is the copy of an instance's root disk on another node. The hypervisor of the instance's own node writes what the guest writes
// to both, and tells the guest that it is written when both have it. Nothing else ever writes to it.
type Replica struct {
	Node    NodeID       `json:"node"`
	Epoch   uint64       `json:"epoch"`    // names its place there; no two replicas of an instance have the same
	Of      uint64       `json:"of"`       // the instance's epoch whose disk it is a copy of
	DiskGiB int64        `json:"disk_gib"` // the room that it holds on its node
	State   ReplicaState `json:"state"`
	Since   Time         `json:"since"`          // when State was reached
	Note    string       `json:"note,omitempty"` // why it is stale
}

// ReplicaState says what a replica is good for.
type ReplicaState string

// The states. A replica that is stale stays so: another one is made in another place.
const (
	ReplicaBuilding ReplicaState = "building" // it is being filled
	ReplicaCurrent  ReplicaState = "current"  // it has every write that the guest was told of
	ReplicaStale    ReplicaState = "stale"    // it may lack some; never used again
)

// AsksReplica tells whether the instance's root disk is to have a copy on another node. A volume that it boots from has ways of its own.
func (i *Instance) AsksReplica() bool {
	return i.asks(KeyReplicas) == twoReplicas && !i.Spec.Boot.Volume
}

// CurrentReplica is the copy that the instance may be started from; nil: there is none.
func (i *Instance) CurrentReplica() *Replica {
	if r := i.Replica; r != nil && r.State == ReplicaCurrent && r.Of == i.Epoch {
		return r
	}
	return nil
}

// Mirrors tells whether the instance's node is to fill its replica, or to keep it current, as long as the guest runs.
func (i *Instance) Mirrors() bool {
	r := i.Replica
	return r != nil && r.State != ReplicaStale && r.Of == i.Epoch && r.Node != i.Node && i.Op == nil && i.Mode.Await == "" && i.AsksReplica()
}

// GivenUp tells whether the instance's node was given up, and the instance is about to be another's: then nothing is let go on there.
func (i *Instance) GivenUp() bool { return i.givenUp() }

// MayPlaceReplica tells whether the instance waits for a place for its replica: it asks for one, runs, and has none that is of use.
func (i *Instance) MayPlaceReplica() bool {
	return i.AsksReplica() && i.uncopied() == "" && !i.copyCounts()
}

// MayMoveReplica tells whether the replica that the instance has can be given up for another one elsewhere.
func (i *Instance) MayMoveReplica() bool {
	return i.AsksReplica() && i.uncopied() == "" && i.copyCounts()
}

// copyCounts tells whether the instance has a replica that is of use, or will be.
func (i *Instance) copyCounts() bool {
	r := i.Replica
	return r != nil && r.State != ReplicaStale && r.Of == i.Epoch
}

// uncopied says why no replica of the instance can be begun now; "" when one can: only a guest that runs is copied.
func (i *Instance) uncopied() string {
	switch {
	case i.Node == "", i.Op != nil, i.Mode.Await != "":
		return "something else is done to its server"
	case i.Mode.Rescue != nil:
		return "its server is rescued, and has to be unrescued first"
	case i.Wanted != WantOn || i.Status.VM != VMActive:
		return "its server does not run, and only a disk in use is copied"
	}
	return ""
}

// SpareReplica tells whether the instance's replica is of no use: nobody asks for it any more, and its node has let go of it.
func (i *Instance) SpareReplica() bool {
	return i.Replica != nil && i.Replica.State == ReplicaStale && i.Op == nil && (!i.AsksReplica() || i.Mode.away())
}

// replicaRoom is what a replica takes from its node.
func (r *Replica) room() Resources { return Resources{DiskGiB: r.DiskGiB} }

// PlaceReplica gives an instance's root disk a place for its copy, or, with an empty Node, ends the copy that is there. The one before is
// removed by its node. Stale when the instance, or its replica, is another by now, NoRoom when the node does not take it.
type PlaceReplica struct {
	ID    InstanceID `json:"id"`
	Epoch uint64     `json:"epoch"`          // the instance's
	Was   uint64     `json:"was,omitempty"`  // the epoch of the replica that it has; 0: none
	Node  NodeID     `json:"node,omitempty"` // never the instance's own
	Note  string     `json:"note,omitempty"` // why
}

// ReportReplica is the word of an instance's node about its replica: that it is current now, or that it is stale, which the node says before it
// lets the guest go on without it. Stale when the instance is another node's or is being started elsewhere, or when the replica is another
// by now: then the node must not let it go on. Said twice is the same as once.
type ReportReplica struct {
	Node    NodeID       `json:"node"`
	ID      InstanceID   `json:"id"`
	Epoch   uint64       `json:"epoch"`   // the instance's
	Replica uint64       `json:"replica"` // Replica.Epoch
	State   ReplicaState `json:"state"`   // current or stale
	Note    string       `json:"note,omitempty"`
}

// RetireReplica makes a replica stale whose node is drained, so that the next one is placed elsewhere. Stale when the instance or its replica is
// another by now, when the node is not drained any more, or when no other replica could be begun. Said twice is the same as once. See CopyCommands.
type RetireReplica struct {
	ID      InstanceID `json:"id"`
	Epoch   uint64     `json:"epoch"`   // the instance's
	Replica uint64     `json:"replica"` // Replica.Epoch
}

// Kind of each op.
func (*RetireReplica) Kind() Kind { return KindRetireReplica }

func (*PlaceReplica) Kind() Kind  { return KindPlaceReplica }
func (*ReportReplica) Kind() Kind { return KindReportReplica }
