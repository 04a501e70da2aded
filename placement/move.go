package placement

import (
	"slices"

	"github.com/kilonova/kilonova/cluster"
)

// ForMove makes the request of an instance that shall leave its node, or take another size on it. All that the instance
// asks of a node counts again, with the size and the extra specs of flavor; nil is the flavor that it has. Host, when it is
// set, is the name of the only node that will do, and forced leaves out every filter but capacity for it. The excluded nodes
// are ruled out: the instance's own, unless it may stay, and those that were tried.
//
// The host that the instance was made for counts no more, as in Nova; its zone does. What the instance has on its node
// stays taken there, so the room for a move to the same node is looked for beside it. One that has a current replica of its disk goes to
// that, unless the host is named.
func ForMove(v *cluster.View, in *cluster.Instance, flavor *cluster.Flavor, exclude []cluster.NodeID, host string, forced bool) Request {
	moved := *in
	if flavor != nil {
		moved.Spec.Flavor = *flavor
	}
	moved.Spec.Scheduling.Host, moved.Spec.Scheduling.Forced = host, forced
	if p := in.CurrentReplica(); p != nil && host == "" { // any move but an evacuation has made it stale
		goOnFrom(v, p, &moved)
	}
	r := ForInstance(v, &moved)
	r.Avoid = slices.Clone(exclude)
	return r
}

// goOnFrom leaves only the node that has the replica of an instance's disk, where the disk takes no more room than it does.
func goOnFrom(v *cluster.View, r *cluster.Replica, in *cluster.Instance) {
	if n, ok := v.Node(r.Node); ok {
		in.Spec.Scheduling.Host = n.Name
	}
	if in.Spec.Flavor.DiskGiB == 0 {
		in.Spec.Boot.MinDiskGiB = max(0, in.Spec.Boot.MinDiskGiB-r.DiskGiB)
	}
	in.Spec.Flavor.DiskGiB = max(0, in.Spec.Flavor.DiskGiB-r.DiskGiB)
}

// ForReplica makes the request of a copy of an instance's root disk: a node that the instance could be on, other than its own, with room for
// the disk. Volumes do not count: one that is on the instance's own node would leave the root disk without a copy, now and when the
// volume is taken off again.
func ForReplica(v *cluster.View, in *cluster.Instance) Request {
	copied := *in
	f := &copied.Spec.Flavor
	f.VCPUs, f.MemoryMiB = 0, 0
	copied.Spec.Scheduling.Host, copied.Spec.Scheduling.Forced = "", false
	copied.Mode.Host = ""
	r := withoutVolumes(v, &copied)
	r.Avoid = []cluster.NodeID{in.Node}
	return r
}
