package cluster

import (
	"iter"
	"strings"

	"github.com/tidwall/btree"
)

// View is the state at one index. It never changes. What its methods return is shared: Clone before changing.
type View struct {
	t tables
}

// Index is the log index of the last entry that the view holds.
func (v *View) Index() uint64 { return v.t.meta.Index }

// Remembers tells whether a command of this ID and digest would be answered with the remembered result of an earlier one.
func (v *View) Remembers(id RequestID, digest Hash) bool {
	o, ok := v.t.requests.Get(id)
	return ok && o.isOf(digest)
}

// Time is the time of the newest command that the view holds.
func (v *View) Time() Time { return v.t.meta.Time }

// Authority returns the cluster's certificate authority and secrets; nil before InitCluster.
func (v *View) Authority() *Authority { return v.t.authority }

// Node finds a node by ID.
func (v *View) Node(id NodeID) (*Node, bool) { return v.t.nodes.Get(id) }

// NodeNamed finds a node by its host name.
func (v *View) NodeNamed(name string) (*Node, bool) {
	return named(&v.t.nodeByName, &v.t.nodes, name)
}

// Nodes yields every node, by ID.
func (v *View) Nodes() iter.Seq[*Node] { return values(&v.t.nodes) }

// Hypervisors yields the nodes that may run instances, by ID: all but witnesses.
func (v *View) Hypervisors() iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		v.t.nodes.Scan(func(_ NodeID, n *Node) bool { return n.Witness || yield(n) })
	}
}

// WasRemoved tells whether a node of that ID was taken out for good.
func (v *View) WasRemoved(id NodeID) bool { _, ok := v.t.removed.Get(id); return ok }

// JoinToken finds a join token.
func (v *View) JoinToken(id TokenID) (*JoinToken, bool) { return v.t.joinTokens.Get(id) }

// JoinTokens yields every join token, by ID.
func (v *View) JoinTokens() iter.Seq[*JoinToken] { return values(&v.t.joinTokens) }

// Project finds a project by ID.
func (v *View) Project(id ProjectID) (*Project, bool) { return v.t.projects.Get(id) }

// ProjectNamed finds a project by name.
func (v *View) ProjectNamed(name string) (*Project, bool) {
	return named(&v.t.projectByName, &v.t.projects, name)
}

// Projects yields every project, by ID.
func (v *View) Projects() iter.Seq[*Project] { return values(&v.t.projects) }

// User finds a user by ID.
func (v *View) User(id UserID) (*User, bool) { return v.t.users.Get(id) }

// UserNamed finds a user by name.
func (v *View) UserNamed(name string) (*User, bool) {
	return named(&v.t.userByName, &v.t.users, name)
}

// Users yields every user, by ID.
func (v *View) Users() iter.Seq[*User] { return values(&v.t.users) }

// Role finds a role by ID.
func (v *View) Role(id RoleID) (*Role, bool) { return v.t.roles.Get(id) }

// RoleNamed finds a role by name.
func (v *View) RoleNamed(name string) (*Role, bool) {
	return named(&v.t.roleByName, &v.t.roles, name)
}

// Roles yields every role, by ID.
func (v *View) Roles() iter.Seq[*Role] { return values(&v.t.roles) }

// Assignments yields every assignment, by user, project and role.
func (v *View) Assignments() iter.Seq[Assignment] { return values(&v.t.assignments) }

// AssignmentsOf yields the assignments of one user.
func (v *View) AssignmentsOf(u UserID) iter.Seq[Assignment] {
	return prefixed(&v.t.assignments, string(u)+sep)
}

// Credential finds an application credential by ID.
func (v *View) Credential(id CredentialID) (*Credential, bool) { return v.t.credentials.Get(id) }

// CredentialNamed finds a user's application credential by name.
func (v *View) CredentialNamed(u UserID, name string) (*Credential, bool) {
	return named(&v.t.credentialName, &v.t.credentials, key(string(u), name))
}

// CredentialsOf yields the application credentials of one user, by name.
func (v *View) CredentialsOf(u UserID) iter.Seq[*Credential] {
	return resolved(&v.t.credentialName, &v.t.credentials, string(u)+sep)
}

// Revoked tells whether a token was made void.
func (v *View) Revoked(id TokenID) bool { _, ok := v.t.revocations.Get(id); return ok }

// Image finds an image by ID.
func (v *View) Image(id ImageID) (*Image, bool) { return v.t.images.Get(id) }

// Images yields every image, by ID.
func (v *View) Images() iter.Seq[*Image] { return values(&v.t.images) }

// Flavor finds a flavor by ID.
func (v *View) Flavor(id FlavorID) (*Flavor, bool) { return v.t.flavors.Get(id) }

// FlavorNamed finds a flavor by name.
func (v *View) FlavorNamed(name string) (*Flavor, bool) {
	return named(&v.t.flavorByName, &v.t.flavors, name)
}

// Flavors yields every flavor, by ID.
func (v *View) Flavors() iter.Seq[*Flavor] { return values(&v.t.flavors) }

// KeyPair finds a user's key pair by name.
func (v *View) KeyPair(u UserID, name string) (*KeyPair, bool) {
	return v.t.keyPairs.Get(key(string(u), name))
}

// KeyPairsOf yields a user's key pairs, by name.
func (v *View) KeyPairsOf(u UserID) iter.Seq[*KeyPair] {
	return prefixed(&v.t.keyPairs, string(u)+sep)
}

// Limit is what a project may use of something: what was set for it, or the default.
func (v *View) Limit(p ProjectID, name QuotaName) int64 { return v.t.limit(p, name) }

// Quota finds what was set for a project.
func (v *View) Quota(p ProjectID) (*Quota, bool) { return v.t.quotas.Get(p) }

// Usage is what a project uses of its quota.
func (v *View) Usage(p ProjectID) Usage { u, _ := v.t.usage.Get(p); return u }

// Network finds a network by ID.
func (v *View) Network(id NetworkID) (*Network, bool) { return v.t.networks.Get(id) }

// Networks yields every network, by ID.
func (v *View) Networks() iter.Seq[*Network] { return values(&v.t.networks) }

// Subnet finds a subnet by ID.
func (v *View) Subnet(id SubnetID) (*Subnet, bool) { return v.t.subnets.Get(id) }

// Subnets yields every subnet, by ID.
func (v *View) Subnets() iter.Seq[*Subnet] { return values(&v.t.subnets) }

// SubnetsOf yields the subnets of a network, by ID.
func (v *View) SubnetsOf(id NetworkID) iter.Seq[*Subnet] {
	return resolved(&v.t.subnetOf, &v.t.subnets, string(id)+sep)
}

// SharesAddresses tells whether PutSubnet would refuse a new subnet because its range, which has to be a valid prefix,
// overlaps another on the same wire.
func (v *View) SharesAddresses(n *Subnet) bool { return v.t.sharesAddresses(n) }

// Port finds a port by ID.
func (v *View) Port(id PortID) (*Port, bool) { return v.t.ports.Get(id) }

// Ports yields every port, by ID.
func (v *View) Ports() iter.Seq[*Port] { return values(&v.t.ports) }

// PortsOf yields the ports of a network, by ID.
func (v *View) PortsOf(id NetworkID) iter.Seq[*Port] {
	return resolved(&v.t.portOf, &v.t.ports, string(id)+sep)
}

// PortsOfDevice yields the ports of an instance or other device, by ID.
func (v *View) PortsOfDevice(device string) iter.Seq[*Port] {
	return resolved(&v.t.portOfDevice, &v.t.ports, device+sep)
}

// AddressTaken tells which port has an address of a subnet, written as PutPort stores it.
func (v *View) AddressTaken(s SubnetID, address string) (PortID, bool) {
	return v.t.addresses.Get(addressKey(s, address))
}

// Allocated is how much of a node is promised, deleted instances that are still on it included.
func (v *View) Allocated(id NodeID) Resources { r, _ := v.t.allocated.Get(id); return r }

// values yields a table's values in key order.
func values[K interface{ ~string }, V any](m *btree.Map[K, V]) iter.Seq[V] {
	return func(yield func(V) bool) {
		m.Scan(func(_ K, x V) bool { return yield(x) })
	}
}

// prefixed yields the values whose key begins with prefix.
func prefixed[V any](m *btree.Map[string, V], prefix string) iter.Seq[V] {
	return func(yield func(V) bool) {
		m.Ascend(prefix, func(k string, x V) bool { return strings.HasPrefix(k, prefix) && yield(x) })
	}
}

// resolved yields what the index entries whose key begins with prefix point to.
func resolved[K interface{ ~string }, V any](index *btree.Map[string, K], m *btree.Map[K, V], prefix string) iter.Seq[V] {
	return func(yield func(V) bool) {
		index.Ascend(prefix, func(k string, id K) bool {
			x, ok := m.Get(id)
			return strings.HasPrefix(k, prefix) && (!ok || yield(x))
		})
	}
}

// named finds what an index entry points to.
func named[N, K interface{ ~string }, V any](index *btree.Map[N, K], m *btree.Map[K, V], name N) (V, bool) {
	id, ok := index.Get(name)
	if !ok {
		var none V
		return none, false
	}
	return m.Get(id)
}
