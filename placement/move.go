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
// stays taken there, so the room for a move to the same node is looked for beside it.
func ForMove(v *cluster.View, in *cluster.Instance, flavor *cluster.Flavor, exclude []cluster.NodeID, host string, forced bool) Request {
	moved := *in
	if flavor != nil {
		moved.Spec.Flavor = *flavor
	}
	moved.Spec.Scheduling.Host, moved.Spec.Scheduling.Forced = host, forced
	r := ForInstance(v, &moved)
	r.Avoid = slices.Clone(exclude)
	return r
}
