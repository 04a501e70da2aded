package cluster

import "slices"

func (s *State) savePort(o *PutPort) ([]string, *Error) {
	p := *o.Port.Clone()
	old, exists := lookup(&s.t.ports, p.ID)
	if err := firstOf(checkPort(&p), revised("Port", string(p.ID), p.Revision, old.Revision, exists)); err != nil {
		return nil, err
	}
	if p.Device != old.Device && s.isInstance(p.Device) {
		return nil, Errorf(Conflict, "Port %s can be given to instance %s only by the compute service", p.ID, p.Device)
	}
	var err *Error
	if exists {
		err = s.replacePort(old, &p)
	} else {
		err = s.makePort(&p, o.Bare)
	}
	if err != nil {
		return nil, err
	}
	return []string{string(p.ID)}, nil
}

func (s *State) isInstance(device string) bool {
	_, ok := s.t.instances.Get(InstanceID(device))
	return ok
}

// makePort stores a new port. One that asks for no addresses gets them all the same, unless it is to be bare.
func (s *State) makePort(p *Port, bare bool) *Error {
	if _, ok := s.t.networks.Get(p.Network); !ok {
		return missing("Network", string(p.Network))
	}
	u, _ := s.t.usage.Get(p.Project)
	if err := firstOf(
		s.checkProjectIs(p.Project),
		s.checkNetworkQuota(p.Project, QuotaPorts, u.Ports),
		s.checkMACFree(p),
	); err != nil {
		return err
	}
	if err := s.claimAddresses(p, !bare); err != nil {
		return err
	}
	p.Revision, p.Created, p.Updated = s.t.meta.Index, s.t.meta.Time, s.t.meta.Time
	s.putPort(p)
	return nil
}

// macKey is what only one port has: its MAC on its physical network. Networks that are on the same one are on the same bridges,
// where two cards of one MAC take each other's frames.
func (t *tables) macKey(p *Port) string {
	if n, ok := t.networks.Get(p.Network); ok {
		return key(n.Physical, p.MAC)
	}
	return key("", p.MAC)
}

func (s *State) checkMACFree(p *Port) *Error {
	if id, taken := s.t.macs.Get(s.t.macKey(p)); taken && id != p.ID {
		return Errorf(Conflict, "Unable to complete operation for network %s. The mac address %s is in use.", p.Network, p.MAC)
	}
	return nil
}

// replacePort stores a port in place of old. What ties it to its instance stays as it is.
func (s *State) replacePort(old, p *Port) *Error {
	if p.Network != old.Network || p.Project != old.Project {
		return Errorf(Invalid, "A port keeps its network and its project")
	}
	in, bound := s.t.instances.Get(InstanceID(old.Device))
	if bound {
		if p.MAC != old.MAC {
			return Errorf(Conflict, "Unable to complete operation on port %s, port is already bound, port type: bridge", p.ID)
		}
		p.Device, p.DeviceOwner, p.AutoDelete = old.Device, old.DeviceOwner, old.AutoDelete
	}
	if err := s.checkMACFree(p); err != nil {
		return err
	}
	s.dropPort(old) // its addresses may be asked for again
	if err := s.claimAddresses(p, false); err != nil {
		s.putPort(old)
		return err
	}
	p.Revision, p.Created, p.Updated = s.t.meta.Index, old.Created, s.t.meta.Time
	s.putPort(p)
	if bound && (!slices.Equal(old.FixedIPs, p.FixedIPs) || old.PortSecurity != p.PortSecurity || old.Down != p.Down) {
		c := in.Clone() // its domain's card and filter change
		c.Generation++
		s.saveInstance(c)
	}
	return nil
}

func (s *State) deletePort(o *DeletePort) ([]string, *Error) {
	p, ok := s.t.ports.Get(o.ID)
	if !ok {
		return nil, missing("Port", string(o.ID))
	}
	s.dropPort(p)
	if in, bound := s.t.instances.Get(InstanceID(p.Device)); bound {
		c := in.Clone()
		c.Ports = slices.DeleteFunc(c.Ports, func(id PortID) bool { return id == o.ID })
		c.Generation++
		s.saveInstance(c)
	}
	return []string{string(o.ID)}, nil
}

func checkPort(p *Port) *Error {
	return firstOf(
		checkID("Port", p.ID),
		checkText("The port's name", p.Name),
		checkLines("The port's description", p.Description, maxText),
		checkMAC(p.MAC),
		checkText("The device", p.Device),
		checkText("The device's owner", p.DeviceOwner),
		checkTexts("The port's tags", p.Tags, maxTags, maxTagLength),
	)
}

// bindPort gives an instance a port that is there already.
func (s *State) bindPort(id PortID, in *Instance, owner string) (*Port, *Error) {
	old, ok := s.t.ports.Get(id)
	if !ok || old.Project != in.Project {
		return nil, Errorf(Invalid, "Port id %.64s could not be found.", id)
	}
	if old.Device != "" {
		return nil, Errorf(Conflict, "Port %s is still in use.", id)
	}
	p := old.Clone()
	p.Device, p.DeviceOwner = string(in.ID), owner
	p.Revision, p.Updated = s.t.meta.Index, s.t.meta.Time
	s.putPort(p)
	return old, nil
}

// releasePorts lets go of the ports of an instance that is gone: those made for it go too.
func (s *State) releasePorts(in *Instance) {
	for _, id := range in.Ports {
		p, ok := s.t.ports.Get(id)
		if !ok {
			continue
		}
		s.dropPort(p)
		if p.AutoDelete {
			continue
		}
		c := p.Clone()
		c.Device, c.DeviceOwner = "", ""
		c.Revision, c.Updated = s.t.meta.Index, s.t.meta.Time
		s.putPort(c)
	}
}

// setPortOwner names the zone of an instance in its ports, as Nova does.
func (s *State) setPortOwner(in *Instance, owner string) {
	for _, id := range in.Ports {
		p, ok := s.t.ports.Get(id)
		if !ok || p.DeviceOwner == owner {
			continue
		}
		c := p.Clone()
		c.DeviceOwner = owner
		c.Revision, c.Updated = s.t.meta.Index, s.t.meta.Time
		s.putPort(c)
	}
}
