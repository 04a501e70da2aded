package placement

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/cluster"
)

// The scheduler hints that are looked at, as Nova names them. Several IDs in one are joined with commas.
const (
	hintSameHost      = "same_host"
	hintDifferentHost = "different_host"
	hintNearHost      = "build_near_host_ip"
	hintNearCIDR      = "cidr"
)

// defaultNear is how near build_near_host_ip means when cidr does not say.
const defaultNear = "/24"

// wishes is what a request asks of single nodes. Most requests have none, and then it costs nothing. Requests of one command
// share theirs.
type wishes struct {
	group     *grouping
	same      []cluster.NodeID // the only nodes that will do, when together is set
	together  bool
	different []cluster.NodeID // nodes that will not do
	near      netip.Prefix     // of the node's address; invalid: anywhere
}

// wishesOf reads the wishes of an instance; nil: it has none.
func wishesOf(v *cluster.View, in *cluster.Instance) *wishes {
	w := wishes{group: groupingOf(v, in)}
	hints := in.Spec.Scheduling.Hints
	if ids := hints[hintSameHost]; ids != "" {
		w.together, w.same = true, nodesOfInstances(v, ids)
	}
	if ids := hints[hintDifferentHost]; ids != "" {
		w.different = nodesOfInstances(v, ids)
	}
	w.near = nearHost(hints)
	if w.group == nil && !w.together && len(w.different) == 0 && !w.near.IsValid() {
		return nil
	}
	return &w
}

// nodesOfInstances finds where instances are. Those that are not there, or nowhere yet, count as nowhere.
func nodesOfInstances(v *cluster.View, ids string) []cluster.NodeID {
	var nodes []cluster.NodeID
	for id := range strings.SplitSeq(ids, ",") {
		in, ok := v.Instance(cluster.InstanceID(strings.TrimSpace(id)))
		if ok && in.Node != "" && !slices.Contains(nodes, in.Node) {
			nodes = append(nodes, in.Node)
		}
	}
	return nodes
}

// nearHost reads the addresses among which a node's has to be. What does not parse is no wish, as in Nova.
func nearHost(hints map[string]string) netip.Prefix {
	host := hints[hintNearHost]
	if host == "" {
		return netip.Prefix{}
	}
	bits := hints[hintNearCIDR]
	if bits == "" {
		bits = defaultNear
	}
	if !strings.HasPrefix(bits, "/") {
		bits = "/" + bits
	}
	p, err := netip.ParsePrefix(host + bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p.Masked()
}

// grants tells whether a node is as wished.
func (w *wishes) grants(claims *groupClaims, n *cluster.Node) bool {
	return (w.group == nil || w.group.admits(claims, n.ID)) &&
		(!w.together || slices.Contains(w.same, n.ID)) &&
		!slices.Contains(w.different, n.ID) &&
		w.isNear(n)
}

func (w *wishes) isNear(n *cluster.Node) bool {
	if !w.near.IsValid() {
		return true
	}
	a, err := netip.ParseAddr(n.Address)
	return err == nil && w.near.Contains(a)
}

// only gives the nodes that are left to look at, when the wishes name them.
func (w *wishes) only(claims *groupClaims) ([]cluster.NodeID, bool) {
	switch {
	case w.together:
		return w.same, true
	case w.group != nil && w.group.settled(claims):
		return w.group.nodes(claims), true
	}
	return nil, false
}

func whySameHost(r *Request, s subject) string {
	if w := r.wishes; w == nil || !w.together || slices.Contains(w.same, s.node.ID) {
		return ""
	}
	return "has none of the instances of same_host"
}

func whyDifferentHost(r *Request, s subject) string {
	if w := r.wishes; w == nil || !slices.Contains(w.different, s.node.ID) {
		return ""
	}
	return "has an instance of different_host"
}

func whyNear(r *Request, s subject) string {
	if w := r.wishes; w == nil || w.isNear(s.node) {
		return ""
	}
	return "has an address outside " + r.wishes.near.String()
}
