package cluster

import (
	"iter"
	"net/netip"
	"strings"
)

// Instance finds an instance that is not gone.
func (v *View) Instance(id InstanceID) (*Instance, bool) { return v.t.instances.Get(id) }

// Instances yields every instance that is not gone, by ID.
func (v *View) Instances() iter.Seq[*Instance] { return values(&v.t.instances) }

// InstancesOf yields the instances of a project, newest first; those of all projects when it is empty. It begins behind
// the instance after, when that is set, at the cost of a look-up, so a page costs the same wherever it is.
func (v *View) InstancesOf(p ProjectID, after *Instance) iter.Seq[*Instance] {
	prefix := string(p) + sep
	from := prefix
	if after != nil {
		from = projectKey(p, after) + sep // the first key behind it
	}
	return func(yield func(*Instance) bool) {
		v.t.byProject.Ascend(from, func(k string, id InstanceID) bool {
			in, ok := v.t.instances.Get(id)
			return strings.HasPrefix(k, prefix) && (!ok || yield(in))
		})
	}
}

// InstancesOn yields the instances placed on a node, by ID; those without a node when it is empty.
func (v *View) InstancesOn(id NodeID) iter.Seq[*Instance] {
	return resolved(&v.t.byNode, &v.t.instances, string(id)+sep)
}

// Deleted yields instances that are gone, oldest deletion first. Only a bounded number is kept.
func (v *View) Deleted() iter.Seq[*Instance] { return values(&v.t.deleted) }

// DeletedInstance finds an instance that is gone, as long as it is kept.
func (v *View) DeletedInstance(id InstanceID) (*Instance, bool) {
	return named(&v.t.deletedID, &v.t.deleted, id)
}

// TombstonesOn yields what a node may remove, by instance.
func (v *View) TombstonesOn(id NodeID) iter.Seq[*Tombstone] {
	return prefixed(&v.t.tombstones, string(id)+sep)
}

// Tombstone finds what tells a node to remove an instance's disks.
func (v *View) Tombstone(node NodeID, id InstanceID) (*Tombstone, bool) {
	return v.t.tombstones.Get(nodeKey(node, id))
}

// Actions yields what was done to an instance, oldest first. They stay as long as the instance's record does.
func (v *View) Actions(id InstanceID) iter.Seq[*Action] {
	return prefixed(&v.t.actions, string(id)+sep)
}

// projectKey sorts a project's instances newest first, then by ID downwards, as Nova lists them by default.
func projectKey(p ProjectID, in *Instance) string {
	return key(string(p), sortable(^uint64(in.Times.Created)), invert(string(in.ID)))
}

// invert turns the order of lower-case hexadecimal text round.
func invert(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = 0x7f - c&0x7f
	}
	return string(b)
}

// addressKey finds an address in the table of those in use. An address that does not parse is used as it is.
func addressKey(s SubnetID, address string) string {
	if a, err := netip.ParseAddr(address); err == nil {
		b := a.As16()
		return key(string(s), string(b[:]))
	}
	return key(string(s), address)
}

// UnderWay yields the instances with an operation under way, by ID.
func (v *View) UnderWay() iter.Seq[*Instance] {
	return resolved(&v.t.operations, &v.t.instances, "")
}

// Migrations yields the records of moves, oldest first. Only a bounded number is kept.
func (v *View) Migrations() iter.Seq[*Migration] { return values(&v.t.migrations) }
