package placement

import "github.com/kilonova/kilonova/cluster"

// traitVolumesElsewhere is a trait that no node has. It stands for volumes that no node can bring together, or not where the
// request has to go.
const traitVolumesElsewhere = "CUSTOM_KILONOVA_LOCAL_VOLUMES_OF_SEVERAL_NODES"

// withVolumes returns the request with what the instance's volumes ask: only the node that has the local ones, the directory
// of the shared ones, and room for those whose file is not made yet.
func (r Request) withVolumes(v *cluster.View, n cluster.VolumeNeeds) Request {
	if n == (cluster.VolumeNeeds{}) {
		return r
	}
	r.Resources.DiskGiB += n.DiskGiB
	asked := len(r.needs.traits)
	if n.Shared {
		r.needs.traits = append(r.needs.traits, cluster.TraitSharedVolumes)
	}
	if node, ok := v.Node(n.Node); ok && (r.Host == "" || r.Host == node.Name) {
		r.Host = node.Name
	} else if n.Split || n.Node != "" {
		r.needs.traits = append(r.needs.traits, traitVolumesElsewhere)
	}
	if len(r.needs.traits) != asked {
		r.needs.sort()
		r.key = r.needs.encode()
	}
	return r
}
