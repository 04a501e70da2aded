package network

import (
	"slices"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// physical chooses the provider network of a network that shall be made. In Neutron these are the administrators' alone; here an
// operator may open one to members, who do not name it. An administrator need not name it if there is just one.
func physical(v *cluster.View, c *rest.Caller, label string) (string, error) {
	labels, open := provided(v)
	switch {
	case label != "" && slices.Contains(labels, label):
		return label, nil
	case label != "":
		return "", invalid("physical_network '%s' unknown for flat provider network; the nodes have %v", label, labels)
	case len(labels) == 0:
		return "", invalid("no node has a provider network: start one with --bridge NETWORK=BRIDGE")
	case !c.Admin() && len(open) == 0:
		return "", deniedAttribute("create_network", "provider:physical_network")
	case !c.Admin():
		return open[0], nil
	case len(labels) == 1:
		return labels[0], nil
	}
	return "", invalid("physical_network required: the nodes have %v", labels)
}

// provided gives the labels of the provider networks that there are, and of those that are open to members: every node that
// has one must say so. Both are sorted.
func provided(v *cluster.View) (labels, open []string) {
	closed := map[string]bool{}
	for n := range v.Nodes() {
		for l := range n.Bridges {
			if !slices.Contains(labels, l) {
				labels = append(labels, l)
			}
			closed[l] = closed[l] || !slices.Contains(n.Open, l)
		}
	}
	slices.Sort(labels)
	for _, l := range labels {
		if !closed[l] {
			open = append(open, l)
		}
	}
	return labels, open
}
