package cluster

import "github.com/tidwall/btree"

// tables is everything that is replicated, and the indexes made from it. Values are never changed once they are
// in a table: a change clones, then sets. Copying tables is cheap: the trees share their nodes until written.
//
// Composite keys are joined with sep, which no ID can hold.
type tables struct {
	authority *Authority
	settings  *Settings // nil: nobody chose any
	meta      meta
	feed      feed[InstanceID] // the feeds are part of no comparison
	nodeFeed  feed[NodeID]

	nodeTables
	identityTables
	catalogTables
	networkTables
	instanceTables
	volumeTables
	consoleTables
	requestTables
	groupTables
	aggregateTables
	quotaTables
}

// meta is what belongs to no table.
type meta struct {
	Index         uint64 `json:"index"` // of the last applied entry
	Time          Time   `json:"time"`  // the newest command's time; never runs backwards
	NodeCount     int64  `json:"node_count"`
	InstanceCount int64  `json:"instance_count"`
	KeyPairCount  int64  `json:"key_pair_count"`
	ActionCount   int64  `json:"action_count"`
	OpCount       int64  `json:"op_count,omitempty"`

	GroupCount      int64  `json:"group_count,omitempty"`
	AggregateCount  int64  `json:"aggregate_count,omitempty"`
	AggregateIndex  uint64 `json:"aggregate_index,omitempty"` // at which an aggregate changed last
	AttachmentCount int64  `json:"attachment_count,omitempty"`

	Term TermID `json:"term,omitempty"` // the leadership that was begun last

	Restored  *Restoration `json:"restored,omitempty"`  // the cluster was made of another one's backup
	Recovered *Recovery    `json:"recovered,omitempty"` // it lost its quorum, and goes on
}

type nodeTables struct {
	nodes         btree.Map[NodeID, *Node]
	nodeByName    btree.Map[string, NodeID]
	nodeByAddress btree.Map[string, NodeID]
	removed       btree.Map[NodeID, removal] // node IDs that may never come back
	joinTokens    btree.Map[TokenID, *JoinToken]
	rotations     btree.Map[Keyset, *Rotation]
}

type identityTables struct {
	projects       btree.Map[ProjectID, *Project]
	projectByName  btree.Map[string, ProjectID]
	users          btree.Map[UserID, *User]
	userByName     btree.Map[string, UserID]
	roles          btree.Map[RoleID, *Role]
	roleByName     btree.Map[string, RoleID]
	assignments    btree.Map[string, Assignment] // user, project, role
	credentials    btree.Map[CredentialID, *Credential]
	credentialName btree.Map[string, CredentialID] // user, name
	revocations    btree.Map[TokenID, *Revocation]
	revokedUntil   btree.Map[string, TokenID] // time of expiry, token
}

type catalogTables struct {
	images       btree.Map[ImageID, *Image]
	flavors      btree.Map[FlavorID, *Flavor]
	flavorByName btree.Map[string, FlavorID]
	keyPairs     btree.Map[string, *KeyPair] // user, name
	quotas       btree.Map[ProjectID, *Quota]
}

type networkTables struct {
	networks     btree.Map[NetworkID, *Network]
	subnets      btree.Map[SubnetID, *Subnet]
	subnetOf     btree.Map[string, SubnetID] // network, subnet
	ports        btree.Map[PortID, *Port]
	portOf       btree.Map[string, PortID] // network, port
	portOfDevice btree.Map[string, PortID] // device, port
	addresses    btree.Map[string, PortID] // subnet, address in 16-byte form
	macs         btree.Map[string, PortID] // physical network, MAC
}

type instanceTables struct {
	instances  btree.Map[InstanceID, *Instance]
	byProject  btree.Map[string, InstanceID] // project, newest first, ID; and the same under "" for all projects
	byNode     btree.Map[string, InstanceID] // node, ID; unplaced ones under ""
	deleted    btree.Map[string, *Instance]  // instances that are gone, by time of deletion and ID; bounded
	deletedID  btree.Map[InstanceID, string] // key in deleted
	tombstones btree.Map[string, *Tombstone] // node, instance
	actions    btree.Map[string, *Action]    // instance, number
	allocated  btree.Map[NodeID, Resources]  // instances and tombstones of each node
	usage      btree.Map[ProjectID, Usage]
	operations btree.Map[string, InstanceID] // those with an operation under way
	migrations btree.Map[string, *Migration] // number; bounded
}

type requestTables struct {
	requests      btree.Map[RequestID, *outcome]
	requestByTime btree.Map[string, RequestID]
}

// removal is that a node was taken out for good.
type removal struct {
	Node NodeID `json:"node"`
	At   Time   `json:"at"`
}

// outcome is what is remembered of a command that carried an ID.
type outcome struct {
	ID     RequestID `json:"id"`
	Digest Hash      `json:"digest"`
	Time   Time      `json:"time"`
	Result Result    `json:"result"`
}

const sep = "\x00"

const hexDigits = "0123456789abcdef"

// sortable writes a number so that the order of the texts is that of the numbers.
func sortable(n uint64) string {
	var b [16]byte
	for i := range b {
		b[i] = hexDigits[n>>(60-4*i)&0xf]
	}
	return string(b[:])
}

// key joins the parts of a composite key.
func key(parts ...string) string {
	n := len(parts)
	for _, p := range parts {
		n += len(p)
	}
	b := make([]byte, 0, n)
	for i, p := range parts {
		if i > 0 {
			b = append(b, sep...)
		}
		b = append(b, p...)
	}
	return string(b)
}

// copy returns tables that share everything with t until either is written to.
func (t *tables) copy() tables {
	c := *t
	c.nodeTables.share(&t.nodeTables)
	c.identityTables.share(&t.identityTables)
	c.catalogTables.share(&t.catalogTables)
	c.networkTables.share(&t.networkTables)
	c.instanceTables.share(&t.instanceTables)
	c.volumeTables.share(&t.volumeTables)
	c.consoleTables.share(&t.consoleTables)
	c.groupTables.share(&t.groupTables)
	c.aggregateTables.share(&t.aggregateTables)
	c.quotaTables.share(&t.quotaTables)
	c.requests = *t.requests.Copy()
	c.requestByTime = *t.requestByTime.Copy()
	return c
}

func (c *nodeTables) share(t *nodeTables) {
	c.nodes = *t.nodes.Copy()
	c.nodeByName = *t.nodeByName.Copy()
	c.nodeByAddress = *t.nodeByAddress.Copy()
	c.removed = *t.removed.Copy()
	c.joinTokens = *t.joinTokens.Copy()
	c.rotations = *t.rotations.Copy()
}

func (c *identityTables) share(t *identityTables) {
	c.projects = *t.projects.Copy()
	c.projectByName = *t.projectByName.Copy()
	c.users = *t.users.Copy()
	c.userByName = *t.userByName.Copy()
	c.roles = *t.roles.Copy()
	c.roleByName = *t.roleByName.Copy()
	c.assignments = *t.assignments.Copy()
	c.credentials = *t.credentials.Copy()
	c.credentialName = *t.credentialName.Copy()
	c.revocations = *t.revocations.Copy()
	c.revokedUntil = *t.revokedUntil.Copy()
}

func (c *catalogTables) share(t *catalogTables) {
	c.images = *t.images.Copy()
	c.flavors = *t.flavors.Copy()
	c.flavorByName = *t.flavorByName.Copy()
	c.keyPairs = *t.keyPairs.Copy()
	c.quotas = *t.quotas.Copy()
}

func (c *networkTables) share(t *networkTables) {
	c.networks = *t.networks.Copy()
	c.subnets = *t.subnets.Copy()
	c.subnetOf = *t.subnetOf.Copy()
	c.ports = *t.ports.Copy()
	c.portOf = *t.portOf.Copy()
	c.portOfDevice = *t.portOfDevice.Copy()
	c.addresses = *t.addresses.Copy()
	c.macs = *t.macs.Copy()
}

func (c *instanceTables) share(t *instanceTables) {
	c.instances = *t.instances.Copy()
	c.byProject = *t.byProject.Copy()
	c.byNode = *t.byNode.Copy()
	c.deleted = *t.deleted.Copy()
	c.deletedID = *t.deletedID.Copy()
	c.tombstones = *t.tombstones.Copy()
	c.actions = *t.actions.Copy()
	c.allocated = *t.allocated.Copy()
	c.usage = *t.usage.Copy()
	c.operations = *t.operations.Copy()
	c.migrations = *t.migrations.Copy()
}
