package cluster

// PutNetwork makes or replaces a network. OverQuota past the project's limit.
type PutNetwork struct {
	Network Network `json:"network"`
}

// DeleteNetwork removes a network and its subnets. Conflict while it has ports.
type DeleteNetwork struct {
	ID NetworkID `json:"id"`
}

// PutSubnet makes or replaces a subnet. Conflict when its range overlaps another subnet of its network, or one of
// another project on the same provider network; Invalid when a pool or the gateway lies outside the range.
type PutSubnet struct {
	Subnet Subnet `json:"subnet"`
}

// DeleteSubnet removes a subnet. Conflict while a port has an address on it.
type DeleteSubnet struct {
	ID SubnetID `json:"id"`
}

// PutPort makes or replaces a port. A fixed IP without an address gets the lowest free one of its subnet's
// pools; a port without fixed IPs, when it is made, gets one of each IP version that the network has a subnet
// for. (An address is a pure function of the state, so Apply chooses it: chosen by the proposer, creates
// at many nodes at once would refuse each other.) Conflict when an address or the MAC is taken, NoRoom when no
// address is free, OverQuota past the project's limit.
//
// Bare makes a port without fixed IPs stay without.
type PutPort struct {
	Port Port `json:"port"`
	Bare bool `json:"bare,omitempty"`
}

// DeletePort removes a port and frees its addresses. Removing one that an instance uses takes it off the instance.
type DeletePort struct {
	ID PortID `json:"id"`
}

// Kind of each op.
func (*PutNetwork) Kind() Kind    { return KindPutNetwork }
func (*DeleteNetwork) Kind() Kind { return KindDeleteNetwork }
func (*PutSubnet) Kind() Kind     { return KindPutSubnet }
func (*DeleteSubnet) Kind() Kind  { return KindDeleteSubnet }
func (*PutPort) Kind() Kind       { return KindPutPort }
func (*DeletePort) Kind() Kind    { return KindDeletePort }
