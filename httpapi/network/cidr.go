package network

import (
	"net/netip"

	"github.com/kilonova/kilonova/cluster"
)

// parseCIDR reads a range. Bits beyond the prefix are dropped, as Neutron does.
func parseCIDR(cidr string, version int) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(cidr)
	switch {
	case cidr == "":
		return p, cluster.Errorf(cluster.Invalid, "Bad subnets request: a subnetpool must be specified in the absence of a cidr.")
	case err != nil || p.Addr().Is4In6():
		return p, cluster.Errorf(cluster.Invalid, "Invalid input for cidr. Reason: '%s' is not a valid IP subnet.", clip(cidr))
	case version != 0 && version != ipVersion(p.String()):
		return p, invalid("cidr '%s' does not match the ip_version '%d'", cidr, version)
	}
	return p.Masked(), nil
}

// roomy tells whether a range has an address for a gateway beside others.
func roomy(p netip.Prefix) bool { return p.Addr().BitLen()-p.Bits() >= 2 }

// defaultPools are all the addresses of a range but the gateway's, and for IPv4 the network's and the broadcast one.
func defaultPools(p netip.Prefix, gateway string) []cluster.AddressPool {
	first, last := p.Addr(), lastOf(p)
	if roomy(p) {
		first = first.Next()
		if p.Addr().Is4() {
			last = last.Prev()
		}
	}
	gw, err := netip.ParseAddr(gateway)
	if err != nil || gw.Less(first) || last.Less(gw) {
		return pool(nil, first, last)
	}
	return pool(pool(nil, first, gw.Prev()), gw.Next(), last)
}

func pool(pools []cluster.AddressPool, first, last netip.Addr) []cluster.AddressPool {
	if !first.IsValid() || !last.IsValid() || last.Less(first) {
		return pools
	}
	return append(pools, cluster.AddressPool{Start: first.String(), End: last.String()})
}

// lastOf is the last address of a range.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
