package compute

import (
	"net/http"
	"strings"

	"github.com/kilonova/kilonova/cluster"
)

// network is the name of a network, under which servers list their addresses.
func (p *renderer) network(id cluster.NetworkID) string {
	name, ok := p.names[id]
	if !ok {
		if n, found := p.c.view.Network(id); found {
			name = n.Name
		}
		p.names[id] = name
	}
	return name
}

// addresses writes the addresses by network. Networks of one name are one member, as in Nova.
func (p *renderer) addresses(j *writer, in *cluster.Instance, extended bool) {
	j.open('{')
	if len(in.Ports) > 0 {
		var buf [4]*cluster.Port
		ports := buf[:0]
		for _, id := range in.Ports {
			if port, ok := p.c.view.Port(id); ok && len(port.FixedIPs) > 0 {
				ports = append(ports, port)
			}
		}
		for i, port := range ports {
			name := p.network(port.Network)
			if !p.named(ports[:i], name) {
				j.key(name)
				p.addressList(j, ports[i:], name, extended)
			}
		}
	}
	j.close('}')
}

func (p *renderer) named(ports []*cluster.Port, name string) bool {
	for _, port := range ports {
		if p.network(port.Network) == name {
			return true
		}
	}
	return false
}

func (p *renderer) addressList(j *writer, ports []*cluster.Port, name string, extended bool) {
	j.open('[')
	for _, port := range ports {
		if p.network(port.Network) != name {
			continue
		}
		for _, a := range port.FixedIPs {
			j.open('{').fieldNum("version", int64(ipVersion(a.Address))).field("addr", a.Address)
			if extended {
				j.field("OS-EXT-IPS:type", "fixed").field("OS-EXT-IPS-MAC:mac_addr", port.MAC)
			}
			j.close('}')
		}
	}
	j.close(']')
}

func ipVersion(address string) int {
	if strings.Contains(address, ":") {
		return 6
	}
	return 4
}

func (c *call) listAddresses() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("addresses")
	c.newRenderer().addresses(&j, in, false)
	j.close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) showAddresses() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	p, name := c.newRenderer(), c.param("network")
	var ports []*cluster.Port
	for _, id := range in.Ports {
		if port, ok := c.view.Port(id); ok && p.network(port.Network) == name {
			ports = append(ports, port)
		}
	}
	if len(ports) == 0 {
		return notFound("Instance is not a member of specified network")
	}
	var j writer
	j.open('{').key(name)
	p.addressList(&j, ports, name, false)
	j.close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) listInterfaces() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("interfaceAttachments").open('[')
	for _, id := range in.Ports {
		if port, ok := c.view.Port(id); ok {
			c.writeInterface(&j, in, port)
		}
	}
	j.close(']').close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) showInterface() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	id := cluster.PortID(c.param("port"))
	port, ok := c.view.Port(id)
	if !ok || port.Device != string(in.ID) {
		return notFound("Port id %s could not be found.", id)
	}
	var j writer
	j.open('{').key("interfaceAttachment")
	c.writeInterface(&j, in, port)
	j.close('}')
	return c.send(http.StatusOK, &j)
}

// writeInterface writes a port of a server. It is ACTIVE while the guest runs with it, as Neutron's binding would say.
func (c *call) writeInterface(j *writer, in *cluster.Instance, p *cluster.Port) {
	state := "DOWN"
	if in.Status.Power == cluster.PowerRunning && !p.Down {
		state = "ACTIVE"
	}
	j.open('{').field("net_id", string(p.Network)).field("port_id", string(p.ID)).field("mac_addr", p.MAC).field("port_state", state)
	j.key("fixed_ips").open('[')
	for _, a := range p.FixedIPs {
		j.open('{').field("subnet_id", string(a.Subnet)).field("ip_address", a.Address).close('}')
	}
	j.close(']')
	if c.v >= 70 {
		j.key("tag").null()
	}
	j.close('}')
}
