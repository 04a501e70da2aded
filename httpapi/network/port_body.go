package network

import (
	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

type fixedIPBody struct {
	Subnet  string `json:"subnet_id,omitempty"`
	Address string `json:"ip_address,omitempty"`
}

// portBody is what clients see.
// tidy: as many fields as Neutron shows, in its order.
type portBody struct {
	ID             cluster.PortID    `json:"id"`
	Name           string            `json:"name"`
	NetworkID      cluster.NetworkID `json:"network_id"`
	TenantID       cluster.ProjectID `json:"tenant_id"`
	MAC            string            `json:"mac_address"`
	AdminStateUp   bool              `json:"admin_state_up"`
	Status         string            `json:"status"`
	Device         string            `json:"device_id"`
	DeviceOwner    string            `json:"device_owner"`
	FixedIPs       []fixedIPBody     `json:"fixed_ips"`
	AddressPairs   []string          `json:"allowed_address_pairs"`
	DHCPOptions    []string          `json:"extra_dhcp_opts"`
	SecurityGroups []string          `json:"security_groups"`
	Description    string            `json:"description"`
	VNICType       string            `json:"binding:vnic_type"`
	PortSecurity   bool              `json:"port_security_enabled"`
	QosPolicy      *string           `json:"qos_policy_id"`
	Tags           []string          `json:"tags"`
	CreatedAt      string            `json:"created_at"`
	UpdatedAt      string            `json:"updated_at"`
	RevisionNumber uint64            `json:"revision_number"`
	ProjectID      cluster.ProjectID `json:"project_id"`
	*bindingBody
}

// bindingBody is what only administrators see of a port.
type bindingBody struct {
	Host    string         `json:"binding:host_id"`
	Type    string         `json:"binding:vif_type"`
	Details map[string]any `json:"binding:vif_details"`
	Profile map[string]any `json:"binding:profile"`
}

func portItem(v *cluster.View, p *cluster.Port, c *rest.Caller) item {
	b := portBody{
		ID: p.ID, Name: p.Name, NetworkID: p.Network, TenantID: p.Project, MAC: p.MAC, AdminStateUp: !p.Down, Status: "DOWN",
		Device: p.Device, DeviceOwner: p.DeviceOwner, FixedIPs: []fixedIPBody{}, AddressPairs: []string{}, DHCPOptions: []string{},
		SecurityGroups: []string{}, Description: p.Description, VNICType: "normal", PortSecurity: p.PortSecurity, Tags: orEmpty(p.Tags),
		CreatedAt: rest.Nova(p.Created), UpdatedAt: rest.Nova(p.Updated), RevisionNumber: p.Revision, ProjectID: p.Project,
	}
	host, active := binding(v, p)
	if active && !p.Down {
		b.Status = "ACTIVE"
	}
	if c.Admin() {
		b.bindingBody = &bindingBody{Host: host, Type: "unbound", Details: map[string]any{}, Profile: map[string]any{}}
		if host != "" {
			b.Type, b.Details = "bridge", map[string]any{"port_filter": p.PortSecurity}
		}
	}
	values := map[string][]string{
		"id": one(string(p.ID)), "name": one(p.Name), "network_id": one(string(p.Network)), "tenant_id": one(string(p.Project)),
		"project_id": one(string(p.Project)), "mac_address": one(p.MAC), "admin_state_up": flag(!p.Down), "status": one(b.Status),
		"device_id": one(p.Device), "device_owner": one(p.DeviceOwner), "description": one(p.Description),
		"binding:host_id": one(host), "fixed_ips": nil, // a filter that a port without addresses does not pass
	}
	for _, ip := range p.FixedIPs {
		b.FixedIPs = append(b.FixedIPs, fixedIPBody{string(ip.Subnet), ip.Address})
		values["fixed_ips"] = append(values["fixed_ips"], "subnet_id="+string(ip.Subnet)+",ip_address="+ip.Address)
	}
	return item{id: string(p.ID), body: b, values: values, tags: p.Tags}
}

// binding is the node that the port's instance is on, and whether the instance runs.
func binding(v *cluster.View, p *cluster.Port) (host string, active bool) {
	in, ok := v.Instance(cluster.InstanceID(p.Device))
	if !ok {
		return "", false
	}
	if n, ok := v.Node(in.Node); ok {
		host = n.Name
	}
	return host, in.Status.Power == cluster.PowerRunning
}
