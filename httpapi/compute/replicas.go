package compute

import "github.com/kilonova/kilonova/cluster"

// replicable refuses to promise a second copy of a server's disks (cluster.KeyReplicas) that the server would not have: its root disk is copied, and
// nothing else. An ephemeral disk would be on its node alone, and be missed when the server is started from the copy. Swap space need not be copied: a
// guest that boots has nothing in it.
func replicable(spec *cluster.Spec) error {
	switch spec.Metadata[cluster.KeyReplicas] {
	case "", "1", "2":
	default:
		return bad("Invalid metadata: %s is 1 or 2.", cluster.KeyReplicas)
	}
	if spec.Boot.Volume && spec.Metadata[cluster.KeyReplicas] == "2" {
		return bad("The server boots from a volume: %s is for root disks that are on its node.", cluster.KeyReplicas)
	}
	if in := (&cluster.Instance{Spec: *spec}); in.AsksReplica() && spec.Flavor.Ephemeral > 0 {
		return bad("The flavor %s has an ephemeral disk, of which there would be no second copy (%s). Choose a flavor without one, or use a volume.",
			spec.Flavor.Name, cluster.KeyReplicas)
	}
	return nil
}
