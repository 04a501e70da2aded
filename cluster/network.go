package cluster

import "slices"

// Network is a layer 2 segment: on each node, the Linux bridge that the node's configuration names for the
// network's Physical label.
type Network struct {
	ID           NetworkID `json:"id"`
	Revision     uint64    `json:"revision"`
	Project      ProjectID `json:"project"`
	Name         string    `json:"name"`
	Description  string    `json:"description,omitempty"`
	Physical     string    `json:"physical"` // provider:physical_network, e.g. "lan"
	MTU          int       `json:"mtu"`
	Down         bool      `json:"down,omitempty"` // admin_state_up is false
	Shared       bool      `json:"shared,omitempty"`
	External     bool      `json:"external,omitempty"`
	PortSecurity bool      `json:"port_security"` // default for new ports
	Tags         []string  `json:"tags,omitempty"`
	Created      Time      `json:"created"`
	Updated      Time      `json:"updated"`
}

// Subnet is a range of addresses on a network.
type Subnet struct {
	ID          SubnetID      `json:"id"`
	Revision    uint64        `json:"revision"`
	Project     ProjectID     `json:"project"`
	Network     NetworkID     `json:"network"`
	Name        string        `json:"name"`
	Description string        `json:"description,omitempty"`
	CIDR        string        `json:"cidr"`              // canonical, e.g. 10.0.0.0/24 or fd00::/64
	Gateway     string        `json:"gateway,omitempty"` // "": none
	Pools       []AddressPool `json:"pools"`             // what may be given out, in order
	DNS         []string      `json:"dns,omitempty"`
	Routes      []Route       `json:"routes,omitempty"`
	DHCP        bool          `json:"dhcp"` // enable_dhcp as the user set it; guests learn addresses from the config drive
	Tags        []string      `json:"tags,omitempty"`
	Created     Time          `json:"created"`
	Updated     Time          `json:"updated"`
}

// AddressPool is an inclusive range of addresses.
type AddressPool struct {
	Start string `json:"start"`
	End   string `json:"end"`
}

// Route is a host route of a subnet.
type Route struct {
	Destination string `json:"destination"`
	NextHop     string `json:"nexthop"`
}

// FixedIP is an address of a port. In a command, an empty Address asks for any free one; in the state it is
// always set.
type FixedIP struct {
	Subnet  SubnetID `json:"subnet"`
	Address string   `json:"address"`
}

// Port is a network card that an instance has, or may be given.
type Port struct {
	ID           PortID    `json:"id"`
	Revision     uint64    `json:"revision"`
	Project      ProjectID `json:"project"`
	Network      NetworkID `json:"network"`
	Name         string    `json:"name,omitempty"`
	Description  string    `json:"description,omitempty"`
	MAC          string    `json:"mac"` // lower case, colons; unique on its physical network
	FixedIPs     []FixedIP `json:"fixed_ips,omitempty"`
	Down         bool      `json:"down,omitempty"` // admin_state_up is false
	PortSecurity bool      `json:"port_security"`  // false: MAC and addresses are not filtered
	Device       string    `json:"device,omitempty"`
	DeviceOwner  string    `json:"device_owner,omitempty"`
	AutoDelete   bool      `json:"auto_delete,omitempty"` // made for its instance; goes with it
	Tags         []string  `json:"tags,omitempty"`
	Created      Time      `json:"created"`
	Updated      Time      `json:"updated"`
}

// Clone returns a copy that may be changed.
func (p *Port) Clone() *Port {
	c := *p
	c.FixedIPs = slices.Clone(p.FixedIPs)
	c.Tags = slices.Clone(p.Tags)
	return &c
}

// Clone returns a copy that may be changed.
func (n *Network) Clone() *Network {
	c := *n
	c.Tags = slices.Clone(n.Tags)
	return &c
}

// Clone returns a copy that may be changed.
func (s *Subnet) Clone() *Subnet {
	c := *s
	c.Pools, c.DNS, c.Routes = slices.Clone(s.Pools), slices.Clone(s.DNS), slices.Clone(s.Routes)
	c.Tags = slices.Clone(s.Tags)
	return &c
}
