package cluster

import (
	"net/netip"
	"strings"
)

// subnetPools is a subnet's ranges, parsed, with a mark in each pool below which no address is free. The mark
// makes taking the lowest free address cheap however many are in use; without it the answer is the same.
type subnetPools struct {
	cidr     netip.Prefix
	reserved [3]netip.Addr // gateway, network and broadcast address, as far as there are such
	pools    []addressPool
}

type addressPool struct {
	start, end netip.Addr
	next       netip.Addr // no address of the pool below it is free
}

// poolsOf gives the pools of a subnet of the state.
func (s *State) poolsOf(n *Subnet) *subnetPools {
	if p, ok := s.pools[n.ID]; ok {
		return p
	}
	p := parsePools(n)
	s.pools[n.ID] = p
	return p
}

// parsePools reads the ranges of a subnet that checkSubnet has looked at.
func parsePools(n *Subnet) *subnetPools {
	p := &subnetPools{cidr: netip.MustParsePrefix(n.CIDR)}
	if n.Gateway != "" {
		p.reserved[0] = netip.MustParseAddr(n.Gateway)
	}
	if p.cidr.Bits() <= p.cidr.Addr().BitLen()-2 { // a range of one or two addresses has neither (RFC 3021, RFC 6164)
		p.reserved[1] = p.cidr.Addr() // in IPv6, the subnet router's anycast address
		if p.cidr.Addr().Is4() {
			p.reserved[2] = lastOf(p.cidr)
		}
	}
	for _, r := range n.Pools {
		start := netip.MustParseAddr(r.Start)
		p.pools = append(p.pools, addressPool{start: start, end: netip.MustParseAddr(r.End), next: start})
	}
	return p
}

// lastOf gives the last address of a range.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func (p *subnetPools) isReserved(a netip.Addr) bool {
	return a.IsValid() && (a == p.reserved[0] || a == p.reserved[1] || a == p.reserved[2])
}

// freeAddress gives the lowest free address of the first pool that has one.
func (s *State) freeAddress(n *Subnet) (netip.Addr, bool) {
	p := s.poolsOf(n)
	for i := range p.pools {
		pool := &p.pools[i]
		a := s.firstGap(n.ID, p, pool)
		if a.IsValid() && !pool.end.Less(a) {
			pool.next = a
			return a, true
		}
		pool.next = pool.end // so that the next search is short
	}
	return netip.Addr{}, false
}

// firstGap walks the addresses in use from the pool's mark to the first that is not, which may lie behind the
// pool's end. It is not valid when the numbers end there.
func (s *State) firstGap(id SubnetID, p *subnetPools, pool *addressPool) netip.Addr {
	free := pool.next
	prefix := string(id) + sep
	s.t.addresses.Ascend(prefix+addressBytes(free), func(k string, _ PortID) bool {
		for p.isReserved(free) {
			free = free.Next()
		}
		if !strings.HasPrefix(k, prefix) || !free.IsValid() || pool.end.Less(free) {
			return false
		}
		taken := k[len(prefix):]
		if taken == addressBytes(free) {
			free = free.Next()
			return free.IsValid()
		}
		return taken < addressBytes(free) // a reserved address that somebody asked for by name
	})
	for p.isReserved(free) {
		free = free.Next()
	}
	return free
}

// addressBytes is the form in which addresses are keys: their order is that of the numbers.
func addressBytes(a netip.Addr) string {
	b := a.As16()
	return string(b[:])
}

// addressFreed lowers the mark of the pool that an address belongs to.
func (s *State) addressFreed(ip FixedIP) {
	p, ok := s.pools[ip.Subnet]
	if !ok {
		return
	}
	a, err := netip.ParseAddr(ip.Address)
	if err != nil {
		return
	}
	for i := range p.pools {
		pool := &p.pools[i]
		if !a.Less(pool.start) && a.Less(pool.next) {
			pool.next = a
		}
	}
}

// claimAddresses works out the addresses of a port and takes them, so that the next choice sees them. On
// refusal nothing is taken. The port is stored by putPort afterwards. With fill, a port that asks for none gets one of
// each IP version.
func (s *State) claimAddresses(p *Port, fill bool) *Error {
	var claimed []FixedIP
	give := func(n *Subnet, a netip.Addr) {
		ip := FixedIP{Subnet: n.ID, Address: a.String()}
		s.t.addresses.Set(addressKey(ip.Subnet, ip.Address), p.ID)
		claimed = append(claimed, ip)
	}
	err := s.chooseAddresses(p, fill, give)
	if err != nil {
		for _, ip := range claimed {
			s.t.addresses.Delete(addressKey(ip.Subnet, ip.Address))
			s.addressFreed(ip)
		}
		return err
	}
	p.FixedIPs = claimed
	return nil
}

// chooseAddresses gives each address that the port asks for by name, then each that it leaves open.
func (s *State) chooseAddresses(p *Port, fill bool, give func(*Subnet, netip.Addr)) *Error {
	if len(p.FixedIPs) == 0 && fill {
		return s.chooseForEachVersion(p, give)
	}
	if len(p.FixedIPs) > maxFixedIPs {
		return Errorf(Invalid, "Exceeded maximum amount of fixed ips per port.")
	}
	var open []*Subnet
	for _, ip := range p.FixedIPs {
		n, err := s.subnetFor(p.Network, ip)
		if err != nil {
			return err
		}
		if ip.Address == "" {
			open = append(open, n)
			continue
		}
		a, err := s.checkFixedIP(p.Network, n, ip.Address)
		if err != nil {
			return err
		}
		give(n, a)
	}
	for _, n := range open {
		a, ok := s.freeAddress(n)
		if !ok {
			return noAddress(n.Network)
		}
		give(n, a)
	}
	return nil
}

func noAddress(id NetworkID) *Error {
	return Errorf(NoRoom, "No more IP addresses available on network %s.", id)
}

// chooseForEachVersion gives one address of each IP version that the network has a subnet for.
func (s *State) chooseForEachVersion(p *Port, give func(*Subnet, netip.Addr)) *Error {
	var asked, given [2]bool
	for _, n := range s.subnetsOf(p.Network) {
		version := 0
		if s.poolsOf(n).cidr.Addr().Is6() {
			version = 1
		}
		asked[version] = true
		if given[version] {
			continue
		}
		if a, ok := s.freeAddress(n); ok {
			give(n, a)
			given[version] = true
		}
	}
	if asked != given {
		return noAddress(p.Network)
	}
	return nil
}

// subnetFor finds the subnet of a fixed IP: the one that it names, or the one that its address lies in.
func (s *State) subnetFor(network NetworkID, ip FixedIP) (*Subnet, *Error) {
	if ip.Subnet != "" {
		n, ok := s.t.subnets.Get(ip.Subnet)
		if !ok || n.Network != network {
			return nil, Errorf(Invalid, "Invalid input for operation: Failed to create port on network %s, because fixed_ips included invalid subnet %.64s.",
				network, ip.Subnet)
		}
		return n, nil
	}
	a, err := netip.ParseAddr(ip.Address)
	if err == nil {
		for _, n := range s.subnetsOf(network) {
			if s.poolsOf(n).cidr.Contains(a) {
				return n, nil
			}
		}
	}
	return nil, Errorf(Invalid, "Invalid input for operation: IP address %.80s is not a valid IP for any of the subnets on the specified network.", ip.Address)
}

// checkFixedIP judges an address that was asked for by name. It may lie outside the pools.
func (s *State) checkFixedIP(network NetworkID, n *Subnet, address string) (netip.Addr, *Error) {
	if err := checkAddress("The fixed IP", address); err != nil {
		return netip.Addr{}, err
	}
	a := netip.MustParseAddr(address)
	p := s.poolsOf(n)
	if !p.cidr.Contains(a) || p.reserved[1].IsValid() && (a == p.reserved[1] || a == p.reserved[2]) {
		return netip.Addr{}, Errorf(Invalid, "Invalid input for operation: IP address %s is not a valid IP for the specified subnet.", address)
	}
	if _, taken := s.t.addresses.Get(addressKey(n.ID, address)); taken {
		return netip.Addr{}, Errorf(Conflict, "Unable to complete operation for network %s. The IP address %s is in use.", network, address)
	}
	return a, nil
}

// inSubnet tells whether an address lies in a subnet's range.
func inSubnet(n *Subnet, address string) bool {
	cidr, err := netip.ParsePrefix(n.CIDR)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(address)
	return err == nil && cidr.Contains(a)
}
