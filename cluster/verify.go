package cluster

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tidwall/btree"
)

// Verify checks every promise that the state makes about itself: that indexes, allocations and usage are what
// the records add up to, and that records which name each other agree. It is for tests and for operators who
// doubt; it costs as much as reading a snapshot. The error names every broken promise.
//
// That a node promises no more than it may is not among them: a node whose capacity shrank keeps what it has.
func (v *View) Verify() error {
	again := NewState()
	for i := range sections {
		sec := &sections[i]
		sec.each(&v.t, func(record any) bool {
			sec.put(again, record)
			return true
		})
	}
	c := &verifier{v: v}
	c.indexes(&v.t, &again.t)
	c.names()
	c.instances()
	c.ports()
	c.groups()
	c.volumes()
	return errors.Join(c.broken...)
}

type verifier struct {
	v      *View
	broken []error
}

func (c *verifier) fail(format string, args ...any) {
	c.broken = append(c.broken, fmt.Errorf(format, args...))
}

// indexes compares what is kept with what the records give.
func (c *verifier) indexes(t, again *tables) {
	sameTable(c, "nodes by name", &t.nodeByName, &again.nodeByName)
	sameTable(c, "nodes by address", &t.nodeByAddress, &again.nodeByAddress)
	sameTable(c, "projects by name", &t.projectByName, &again.projectByName)
	sameTable(c, "users by name", &t.userByName, &again.userByName)
	sameTable(c, "roles by name", &t.roleByName, &again.roleByName)
	sameTable(c, "credentials by name", &t.credentialName, &again.credentialName)
	sameTable(c, "revocations by time", &t.revokedUntil, &again.revokedUntil)
	sameTable(c, "flavors by name", &t.flavorByName, &again.flavorByName)
	sameTable(c, "subnets of networks", &t.subnetOf, &again.subnetOf)
	sameTable(c, "ports of networks", &t.portOf, &again.portOf)
	sameTable(c, "ports of devices", &t.portOfDevice, &again.portOfDevice)
	sameTable(c, "addresses", &t.addresses, &again.addresses)
	sameTable(c, "MACs", &t.macs, &again.macs)
	sameTable(c, "instances of projects", &t.byProject, &again.byProject)
	sameTable(c, "instances of nodes", &t.byNode, &again.byNode)
	sameTable(c, "instances that are gone", &t.deletedID, &again.deletedID)
	sameTable(c, "operations", &t.operations, &again.operations)
	sameTable(c, "allocations", &t.allocated, &again.allocated)
	sameTable(c, "usage", &t.usage, &again.usage)
	sameTable(c, "console tokens by time", &t.consoleUntil, &again.consoleUntil)
	sameTable(c, "console tokens of instances", &t.consoleOf, &again.consoleOf)
	sameTable(c, "usage of users", &t.userUsage, &again.userUsage)
	sameTable(c, "server groups of projects", &t.groupsOf, &again.groupsOf)
	sameTable(c, "members of server groups", &t.members, &again.members)
	sameTable(c, "nodes of server groups", &t.placed, &again.placed)
	sameTable(c, "aggregates by name", &t.aggregateByName, &again.aggregateByName)
	sameTable(c, "aggregates of nodes", &t.aggregatesOf, &again.aggregatesOf)
	sameTable(c, "requests by time", &t.requestByTime, &again.requestByTime)
	c.volumeIndexes(t, again)
}

func sameTable[K interface{ ~string }, V comparable](c *verifier, what string, kept, made *btree.Map[K, V]) {
	if kept.Len() != made.Len() {
		c.fail("%s: %d entries are kept, the records give %d", what, kept.Len(), made.Len())
	}
	made.Scan(func(k K, want V) bool {
		if got, ok := kept.Get(k); !ok || got != want {
			c.fail("%s: %q is %v, the records give %v", what, k, got, want)
		}
		return true
	})
}

// names checks what must be unique: two records under one name leave the index with one entry less.
func (c *verifier) names() {
	t := &c.v.t
	addresses := 0
	for p := range c.v.Ports() {
		addresses += len(p.FixedIPs)
	}
	for _, u := range []struct {
		what             string
		records, entries int
	}{
		{"node names", t.nodes.Len(), t.nodeByName.Len()},
		{"node addresses", t.nodes.Len(), t.nodeByAddress.Len()},
		{"project names", t.projects.Len(), t.projectByName.Len()},
		{"user names", t.users.Len(), t.userByName.Len()},
		{"role names", t.roles.Len(), t.roleByName.Len()},
		{"credential names", t.credentials.Len(), t.credentialName.Len()},
		{"flavor names", t.flavors.Len(), t.flavorByName.Len()},
		{"aggregate names", t.aggregates.Len(), t.aggregateByName.Len()},
		{"addresses of ports", addresses, t.addresses.Len()},
		{"MACs of ports", t.ports.Len(), t.macs.Len()},
	} {
		if u.records != u.entries {
			c.fail("%s are not unique: %d records have %d", u.what, u.records, u.entries)
		}
	}
}

// instances checks that instances, nodes, tombstones and actions agree.
func (c *verifier) instances() {
	t := &c.v.t
	for in := range c.v.Instances() {
		_, buried := t.tombstones.Get(nodeKey(in.Node, in.ID))
		if _, ok := t.nodes.Get(in.Node); in.Node != "" && !ok {
			c.fail("instance %s is on node %s, which is not there", in.ID, in.Node)
		}
		if in.Wanted == WantDeleted && !buried {
			c.fail("instance %s is to be deleted and has no tombstone", in.ID)
		}
		c.operation(in)
		if in.Wanted == WantDeleted && in.Node == "" {
			c.fail("instance %s is to be deleted from no node", in.ID)
		}
		if in.Deleted || in.Status.VM == VMDeleted {
			c.fail("instance %s is marked as gone", in.ID)
		}
		for _, id := range in.Ports {
			if p, ok := t.ports.Get(id); !ok || p.Device != string(in.ID) {
				c.fail("instance %s names port %s, which is not its own", in.ID, id)
			}
		}
	}
	for in := range c.v.Deleted() {
		if _, ok := t.instances.Get(in.ID); ok || !in.Deleted {
			c.fail("instance %s is gone and is not", in.ID)
		}
	}
	t.tombstones.Scan(func(_ string, g *Tombstone) bool {
		if _, ok := t.nodes.Get(g.Node); !ok {
			c.fail("instance %s has a tombstone on node %s, which is not there", g.Instance, g.Node)
		}
		return true
	})
	t.actions.Scan(func(_ string, a *Action) bool {
		_, live := t.instances.Get(a.Instance)
		_, gone := t.deletedID.Get(a.Instance)
		if !live && !gone {
			c.fail("action %d is of instance %s, which is not there", a.Number, a.Instance)
		}
		return true
	})
}

// operation checks that an instance's operation, its nodes and its epochs agree.
func (c *verifier) operation(in *Instance) {
	if given := in.Epochs.Given; given != 0 && given < in.Epoch || in.Epochs.Disk > in.Epoch {
		c.fail("instance %s is at epoch %d, with %+v", in.ID, in.Epoch, in.Epochs)
	}
	if g, ok := c.v.t.tombstones.Get(nodeKey(in.Node, in.ID)); ok && in.Wanted != WantDeleted && g.Epoch >= in.Epoch {
		c.fail("instance %s is at epoch %d on a node whose tombstone covers %d", in.ID, in.Epoch, g.Epoch)
	}
	c.replica(in)
	op := in.Op
	if op == nil {
		return
	}
	if in.Wanted == WantDeleted {
		c.fail("instance %s is to be deleted and its %s goes on", in.ID, op.Kind)
	}
	if (op.Move == nil) == (op.Capture == nil) {
		c.fail("the %s of instance %s is neither a move nor a capture, or both", op.Kind, in.ID)
	}
	if m := op.Move; m != nil {
		for _, id := range []NodeID{m.From, m.To} {
			if _, ok := c.v.t.nodes.Get(id); id != "" && !ok {
				c.fail("the %s of instance %s names node %s, which is not there", op.Kind, in.ID, id)
			}
		}
	}
}

// replica checks that an instance's replica is where it can be, and that nobody may remove one that is of use.
func (c *verifier) replica(in *Instance) {
	r := in.Replica
	if r == nil {
		return
	}
	if _, ok := c.v.t.nodes.Get(r.Node); !ok {
		c.fail("the replica of instance %s is on node %s, which is not there", in.ID, r.Node)
	}
	if in.Wanted == WantDeleted || r.Epoch > in.Epochs.Given || r.Epoch == in.Epoch {
		c.fail("instance %s is at epoch %d, with %+v, and has the replica %+v", in.ID, in.Epoch, in.Epochs, *r)
	}
	if r.State == ReplicaStale {
		return
	}
	if g, ok := c.v.t.tombstones.Get(nodeKey(r.Node, in.ID)); ok && g.Epoch >= r.Epoch {
		c.fail("instance %s has the replica %+v on a node whose tombstone covers %d", in.ID, *r, g.Epoch)
	}
	if r.Node == in.Node && r.Of == in.Epoch {
		c.fail("instance %s has its replica on its own node", in.ID)
	}
}

// ports checks that ports, networks, subnets and devices agree.
func (c *verifier) ports() {
	t := &c.v.t
	for p := range c.v.Ports() {
		if _, ok := t.networks.Get(p.Network); !ok {
			c.fail("port %s is on network %s, which is not there", p.ID, p.Network)
		}
		for _, ip := range p.FixedIPs {
			n, ok := t.subnets.Get(ip.Subnet)
			if !ok || n.Network != p.Network {
				c.fail("port %s has an address of subnet %s, which is not on its network", p.ID, ip.Subnet)
				continue
			}
			if err := checkAddress("", ip.Address); err != nil || !inSubnet(n, ip.Address) {
				c.fail("port %s has the address %q, which is not of subnet %s", p.ID, ip.Address, n.CIDR)
			}
		}
		if in, ok := t.instances.Get(InstanceID(p.Device)); ok && !slices.Contains(in.Ports, p.ID) {
			c.fail("port %s names instance %s, which does not name it", p.ID, in.ID)
		}
	}
	for n := range c.v.Subnets() {
		if _, ok := t.networks.Get(n.Network); !ok {
			c.fail("subnet %s is on network %s, which is not there", n.ID, n.Network)
		}
	}
}
