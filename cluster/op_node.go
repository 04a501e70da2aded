package cluster

// InitCluster makes the cluster: its authority, its first node, the built-in roles, and the first project and
// administrator. It is refused when a cluster is there already.
type InitCluster struct {
	Authority Authority `json:"authority"`
	Node      Node      `json:"node"`
	Roles     []Role    `json:"roles"`
	Project   Project   `json:"project"`
	Admin     User      `json:"admin"`
}

// PutAuthority replaces the authority's keys (rotation). Stale when Authority.Revision is not the present one.
type PutAuthority struct {
	Authority Authority `json:"authority"`
}

// PutJoinToken adds a join token.
type PutJoinToken struct {
	Token JoinToken `json:"token"`
}

// DeleteJoinToken withdraws a join token. NotFound when there is none.
type DeleteJoinToken struct {
	ID TokenID `json:"id"`
}

// EnrolNode uses a join token up and adds a node. Refused when the token is unknown (Unauthorized), expired or
// used up (Forbidden), when the node's ID is there already with another token or was removed, or when its name or
// address belongs to another node (Conflict). The secret was compared by the proposer and is compared here again
// by its hash. Repeated with the same token, key, name and address, as after a lost answer, it is the same as once.
type EnrolNode struct {
	Token  TokenID `json:"token"`
	Secret Hash    `json:"secret"` // SHA-256 of the secret
	Node   Node    `json:"node"`

	// Authority is the Revision of the authority that signed the node's certificates. Stale when there is another by now: a node that was
	// signed for just before a rotation ended would not be let in. 0: not compared.
	Authority uint64 `json:"authority,omitempty"`
}

// UpdateNode records what a node says about itself: capacity, host facts, bridges, version, name. Address (see RelocateNode), zone,
// voter preference, role, service state, number and time of enrolment stay as they are in the state.
type UpdateNode struct {
	Node Node `json:"node"`
}

// SetNodeService records what an operator decided about a node. Stale when a revision is given and is not the node's: somebody
// else changed the node in between.
type SetNodeService struct {
	ID       NodeID       `json:"id"`
	Service  ServiceState `json:"service"`
	Revision uint64       `json:"revision,omitempty"` // of the node when it was decided; 0: whatever it is
}

// RemoveNode takes a node out for good: its ID may never enrol or vote again. Refused with Conflict while
// instances are placed on it, unless Force, which leaves them without a node, in error.
type RemoveNode struct {
	ID    NodeID `json:"id"`
	Force bool   `json:"force,omitempty"`

	// Copies has the copies of disks count. Without Force the node is not removed while it keeps one that is current. With Force the instances
	// that have all of themselves elsewhere, too, begin to be started from that; Conflict when one of them may run on the node for as long
	// as nobody has said that it is down. See CopyCommands.
	Copies bool `json:"copies,omitempty"`
}

// Kind of each op.
func (*InitCluster) Kind() Kind     { return KindInitCluster }
func (*PutAuthority) Kind() Kind    { return KindPutAuthority }
func (*PutJoinToken) Kind() Kind    { return KindPutJoinToken }
func (*DeleteJoinToken) Kind() Kind { return KindDeleteJoinToken }
func (*EnrolNode) Kind() Kind       { return KindEnrolNode }
func (*UpdateNode) Kind() Kind      { return KindUpdateNode }
func (*SetNodeService) Kind() Kind  { return KindSetNodeService }
func (*RemoveNode) Kind() Kind      { return KindRemoveNode }
