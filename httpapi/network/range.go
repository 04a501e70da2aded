package network

import (
	"net/netip"

	"github.com/kilonova/kilonova/cluster"
)

// checkOverlap refuses a range that shares addresses with another on the same wire, as the state would, in Neutron's words.
func checkOverlap(v *cluster.View, n *cluster.Subnet) error {
	if v.SharesAddresses(n) {
		return invalid("Requested subnet with cidr: %s for network: %s overlaps with another subnet", n.CIDR, n.Network)
	}
	return nil
}

// canonicalSubnet writes every address as the state keeps it.
func canonicalSubnet(n *cluster.Subnet) error {
	addresses := []*string{}
	if n.Gateway != "" {
		addresses = append(addresses, &n.Gateway)
	}
	for i := range n.Pools {
		addresses = append(addresses, &n.Pools[i].Start, &n.Pools[i].End)
	}
	for i := range n.DNS {
		addresses = append(addresses, &n.DNS[i])
	}
	for i := range n.Routes {
		p, err := netip.ParsePrefix(n.Routes[i].Destination)
		if err != nil {
			return cluster.Errorf(cluster.Invalid, "Invalid input for host_routes. Reason: '%s' is not a valid IP subnet.", clip(n.Routes[i].Destination))
		}
		n.Routes[i].Destination = p.Masked().String()
		addresses = append(addresses, &n.Routes[i].NextHop)
	}
	for _, a := range addresses {
		parsed, err := netip.ParseAddr(*a)
		if err != nil {
			return cluster.Errorf(cluster.Invalid, "'%s' is not a valid IP address.", clip(*a))
		}
		*a = parsed.String()
	}
	return nil
}

func ipVersion(cidr string) int {
	if p, err := netip.ParsePrefix(cidr); err == nil && p.Addr().Is6() {
		return 6
	}
	return 4
}
