package cluster

func (s *State) putNetwork(n *Network) {
	if old, ok := s.t.networks.Set(n.ID, n); ok {
		s.use(old.Project, Usage{Networks: -1})
	}
	s.use(n.Project, Usage{Networks: 1})
}

func (s *State) dropNetwork(n *Network) {
	s.t.networks.Delete(n.ID)
	s.use(n.Project, Usage{Networks: -1})
}

func (s *State) putSubnet(n *Subnet) {
	if old, ok := s.t.subnets.Get(n.ID); ok {
		s.dropSubnet(old)
	}
	s.t.subnets.Set(n.ID, n)
	s.t.subnetOf.Set(key(string(n.Network), string(n.ID)), n.ID)
	s.use(n.Project, Usage{Subnets: 1})
}

func (s *State) dropSubnet(n *Subnet) {
	s.t.subnets.Delete(n.ID)
	s.t.subnetOf.Delete(key(string(n.Network), string(n.ID)))
	s.use(n.Project, Usage{Subnets: -1})
	delete(s.pools, n.ID)
}

// putPort stores a port. Whoever replaces one gives the same network and project.
func (s *State) putPort(p *Port) {
	if old, ok := s.t.ports.Get(p.ID); ok {
		s.dropPort(old)
	}
	s.t.ports.Set(p.ID, p)
	s.t.portOf.Set(key(string(p.Network), string(p.ID)), p.ID)
	if p.Device != "" {
		s.t.portOfDevice.Set(key(p.Device, string(p.ID)), p.ID)
	}
	for _, ip := range p.FixedIPs {
		s.t.addresses.Set(addressKey(ip.Subnet, ip.Address), p.ID)
	}
	s.t.macs.Set(s.t.macKey(p), p.ID)
	s.use(p.Project, Usage{Ports: 1})
}

func (s *State) dropPort(p *Port) {
	s.t.ports.Delete(p.ID)
	s.t.portOf.Delete(key(string(p.Network), string(p.ID)))
	if p.Device != "" {
		s.t.portOfDevice.Delete(key(p.Device, string(p.ID)))
	}
	for _, ip := range p.FixedIPs {
		s.t.addresses.Delete(addressKey(ip.Subnet, ip.Address))
		s.addressFreed(ip)
	}
	s.t.macs.Delete(s.t.macKey(p))
	s.use(p.Project, Usage{Ports: -1})
}
