package cluster

import (
	"net/netip"
	"strings"
)

func (s *State) saveNetwork(o *PutNetwork) ([]string, *Error) {
	n := o.Network
	old, exists := lookup(&s.t.networks, n.ID)
	if err := firstOf(checkNetwork(&n), revised("Network", string(n.ID), n.Revision, old.Revision, exists)); err != nil {
		return nil, err
	}
	if exists {
		if n.Project != old.Project {
			return nil, Errorf(Invalid, "A network keeps its project")
		}
		if n.Physical != old.Physical && (s.portsOn(n.ID) != nil || s.subnetsOf(n.ID) != nil) {
			return nil, Errorf(Conflict, "Network %s has subnets or ports and keeps its physical network", n.ID)
		}
	} else {
		u, _ := s.t.usage.Get(n.Project)
		if err := firstOf(s.checkProjectIs(n.Project), s.checkNetworkQuota(n.Project, QuotaNetworks, u.Networks)); err != nil {
			return nil, err
		}
	}
	n.Revision, n.Created, n.Updated = s.t.meta.Index, firstTime(old.Created, s.t.meta.Time), s.t.meta.Time
	s.putNetwork(&n)
	return []string{string(n.ID)}, nil
}

// portsOn gives the IDs of the ports of a network.
func (s *State) portsOn(id NetworkID) []string {
	var ids []string
	for p := range resolved(&s.t.portOf, &s.t.ports, string(id)+sep) {
		ids = append(ids, string(p.ID))
	}
	return ids
}

func (s *State) deleteNetwork(o *DeleteNetwork) ([]string, *Error) {
	n, ok := s.t.networks.Get(o.ID)
	if !ok {
		return nil, missing("Network", string(o.ID))
	}
	if ports := s.portsOn(o.ID); ports != nil {
		return nil, Errorf(Conflict, "Unable to complete operation on network %s. There are one or more ports still in use on the network, "+
			"id for these ports is: %s.", o.ID, strings.Join(ports[:min(len(ports), maxReasons)], ","))
	}
	for _, sub := range s.subnetsOf(o.ID) {
		s.dropSubnet(sub)
	}
	s.dropNetwork(n)
	return []string{string(o.ID)}, nil
}

func (s *State) subnetsOf(id NetworkID) []*Subnet {
	var list []*Subnet
	for sub := range resolved(&s.t.subnetOf, &s.t.subnets, string(id)+sep) {
		list = append(list, sub)
	}
	return list
}

func checkNetwork(n *Network) *Error {
	return firstOf(
		checkID("Network", n.ID),
		checkText("The network's name", n.Name),
		checkLines("The network's description", n.Description, maxText),
		checkText("The physical network", n.Physical),
		checkAmount("mtu", int64(n.MTU), 0, maxMTU),
		checkTexts("The network's tags", n.Tags, maxTags, maxTagLength),
	)
}

func (s *State) saveSubnet(o *PutSubnet) ([]string, *Error) {
	n := o.Subnet
	old, exists := lookup(&s.t.subnets, n.ID)
	if err := firstOf(checkSubnet(&n), revised("Subnet", string(n.ID), n.Revision, old.Revision, exists)); err != nil {
		return nil, err
	}
	if exists {
		if n.Network != old.Network || n.CIDR != old.CIDR || n.Project != old.Project {
			return nil, Errorf(Invalid, "A subnet keeps its network, its range and its project")
		}
	} else if err := s.checkNewSubnet(&n); err != nil {
		return nil, err
	}
	n.Revision, n.Created, n.Updated = s.t.meta.Index, firstTime(old.Created, s.t.meta.Time), s.t.meta.Time
	s.putSubnet(&n)
	return []string{string(n.ID)}, nil
}

func (s *State) checkNewSubnet(n *Subnet) *Error {
	if _, ok := s.t.networks.Get(n.Network); !ok {
		return missing("Network", string(n.Network))
	}
	u, _ := s.t.usage.Get(n.Project)
	if err := firstOf(s.checkProjectIs(n.Project), s.checkNetworkQuota(n.Project, QuotaSubnets, u.Subnets)); err != nil {
		return err
	}
	if s.t.sharesAddresses(n) {
		return Errorf(Conflict, "Invalid input for operation: Requested subnet with cidr: %s for network: %s overlaps with another subnet.",
			n.CIDR, n.Network)
	}
	return nil
}

// sharesAddresses tells whether a new subnet, which checkSubnet accepted, has addresses of another on the same wire:
// of its network, or of another project's network on the same provider network. Such networks are one segment, where
// whoever may choose a range could otherwise take the gateway's address, or that of somebody else's guest. What a
// project does to itself is its own affair.
func (t *tables) sharesAddresses(n *Subnet) bool {
	cidr := netip.MustParsePrefix(n.CIDR)
	home, ok := t.networks.Get(n.Network)
	if !ok {
		return false
	}
	for other := range values(&t.subnets) {
		if !netip.MustParsePrefix(other.CIDR).Overlaps(cidr) {
			continue
		}
		if other.Network == n.Network {
			return true
		}
		there, ok := t.networks.Get(other.Network)
		if ok && there.Physical == home.Physical && there.Project != home.Project {
			return true
		}
	}
	return false
}

func (s *State) deleteSubnet(o *DeleteSubnet) ([]string, *Error) {
	n, ok := s.t.subnets.Get(o.ID)
	if !ok {
		return nil, missing("Subnet", string(o.ID))
	}
	for range prefixed(&s.t.addresses, string(o.ID)+sep) {
		return nil, Errorf(Conflict, "Unable to complete operation on subnet %s: One or more ports have an IP allocation from this subnet.", o.ID)
	}
	s.dropSubnet(n)
	return []string{string(o.ID)}, nil
}

func checkSubnet(n *Subnet) *Error {
	if err := firstOf(
		checkID("Subnet", n.ID),
		checkText("The subnet's name", n.Name),
		checkLines("The subnet's description", n.Description, maxText),
		checkTexts("The subnet's tags", n.Tags, maxTags, maxTagLength),
		checkAmount("The number of pools", int64(len(n.Pools)), 0, maxPools),
		checkAmount("The number of name servers", int64(len(n.DNS)), 0, maxDNS),
		checkAmount("The number of routes", int64(len(n.Routes)), 0, maxRoutes),
		checkOptionalAddress("The gateway", n.Gateway),
	); err != nil {
		return err
	}
	cidr, err := netip.ParsePrefix(n.CIDR)
	if err != nil || cidr.Masked() != cidr || cidr.Addr().Is4In6() || cidr.String() != n.CIDR {
		return Errorf(Invalid, "Invalid input for operation: '%.80s' is not a valid IP subnet in canonical form.", n.CIDR)
	}
	if n.Gateway != "" {
		if g := netip.MustParseAddr(n.Gateway); !cidr.Contains(g) {
			return Errorf(Invalid, "Invalid input for operation: Gateway is not valid on subnet.")
		}
	}
	for _, d := range n.DNS {
		if err := checkAddress("The name server", d); err != nil {
			return err
		}
	}
	for _, r := range n.Routes {
		if _, err := netip.ParsePrefix(r.Destination); err != nil {
			return Errorf(Invalid, "Invalid input for operation: '%.80s' is not a valid IP subnet.", r.Destination)
		}
		if err := checkAddress("The next hop", r.NextHop); err != nil {
			return err
		}
	}
	return checkPools(n.Pools, cidr)
}

// checkPools takes ranges that lie inside the subnet and do not overlap.
func checkPools(pools []AddressPool, cidr netip.Prefix) *Error {
	type span struct{ start, end netip.Addr }
	var spans []span
	for _, p := range pools {
		if err := firstOf(checkAddress("The start of a pool", p.Start), checkAddress("The end of a pool", p.End)); err != nil {
			return err
		}
		one := span{netip.MustParseAddr(p.Start), netip.MustParseAddr(p.End)}
		if !cidr.Contains(one.start) || !cidr.Contains(one.end) {
			return Errorf(Invalid, "The allocation pool %s-%s spans beyond the subnet cidr %s.", p.Start, p.End, cidr)
		}
		if one.end.Less(one.start) {
			return Errorf(Invalid, "The allocation pool %s-%s is not valid.", p.Start, p.End)
		}
		for _, other := range spans {
			if !one.end.Less(other.start) && !other.end.Less(one.start) {
				return Errorf(Conflict, "Found overlapping allocation pools: %s-%s and %s-%s for subnet %s.",
					p.Start, p.End, other.start, other.end, cidr)
			}
		}
		spans = append(spans, one)
	}
	return nil
}
