package network

import (
	"crypto/rand"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

var portAttributes = []string{
	"name", "description", "network_id", "admin_state_up", "mac_address", "fixed_ips", "device_id", "device_owner", "port_security_enabled",
	"security_groups", "tenant_id", "project_id", "binding:host_id", "binding:vnic_type", "binding:profile", "allowed_address_pairs",
	"extra_dhcp_opts", "tags",
}

var portErrors = map[cluster.Code]string{
	cluster.Conflict: "IpAddressInUse", cluster.NoRoom: "IpAddressGenerationFailure", cluster.Invalid: "InvalidIpForSubnet",
}

func (s *server) portRoutes(r chi.Router) {
	r.Get("/ports", handle(http.StatusOK, s.listPorts))
	r.Post("/ports", handle(http.StatusCreated, s.createPorts))
	r.Get("/ports/{id}", handle(http.StatusOK, s.showPort))
	r.Put("/ports/{id}", handle(http.StatusOK, s.updatePort))
	r.Delete("/ports/{id}", handle(http.StatusNoContent, s.deletePort))
	r.Put("/ports/{id}/tags", handle(http.StatusOK, s.tagPort))
}

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
		"device_id": one(p.Device), "device_owner": one(p.DeviceOwner), "description": one(p.Description), "tags": p.Tags,
		"binding:host_id": one(host),
	}
	for _, ip := range p.FixedIPs {
		b.FixedIPs = append(b.FixedIPs, fixedIPBody{string(ip.Subnet), ip.Address})
		values["fixed_ips"] = append(values["fixed_ips"], "subnet_id="+string(ip.Subnet)+",ip_address="+ip.Address)
	}
	return item{id: string(p.ID), body: b, values: values}
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

// findPort finds a port of the caller's project, or on one of its networks.
func findPort(v *cluster.View, c *rest.Caller, id string) (*cluster.Port, error) {
	p, ok := v.Port(cluster.PortID(id))
	if !ok || !seesPort(v, c, p) {
		return nil, missing("Port", id)
	}
	return p, nil
}

func seesPort(v *cluster.View, c *rest.Caller, p *cluster.Port) bool {
	n, ok := v.Network(p.Network)
	return c.Sees(p.Project) || ok && c.Sees(n.Project)
}

func (s *server) listPorts(r *http.Request) (any, error) {
	v, c, err := s.reader(r)
	if err != nil {
		return nil, err
	}
	ports := v.Ports()
	switch q := r.URL.Query(); { // the two questions that Nova's clients ask of large clouds
	case len(q["device_id"]) == 1:
		ports = v.PortsOfDevice(q.Get("device_id"))
	case len(q["network_id"]) == 1:
		ports = v.PortsOf(cluster.NetworkID(q.Get("network_id")))
	}
	var items []item
	for p := range ports {
		if seesPort(v, c, p) {
			items = append(items, portItem(v, p, c))
		}
	}
	return list(r, "ports", items)
}

func (s *server) showPort(r *http.Request) (any, error) {
	v, c, err := s.reader(r)
	if err != nil {
		return nil, err
	}
	p, err := findPort(v, c, chi.URLParam(r, "id"))
	if err != nil {
		return nil, err
	}
	return show(r, "port", portItem(v, p, c))
}

func (s *server) createPorts(r *http.Request) (any, error) {
	v, c, err := s.member(r)
	if err != nil {
		return nil, err
	}
	all, many, err := objects(r, "port", portAttributes)
	if err != nil {
		return nil, err
	}
	var news []cluster.Port
	for _, a := range all {
		p, err := newPort(v, c, a)
		if err != nil {
			return nil, err
		}
		news = append(news, p)
	}
	var bodies []any
	for _, p := range news {
		res, err := rest.Change(r, s.Backend, &cluster.PutPort{Port: p})
		if err != nil {
			return nil, typed(err, portErrors)
		}
		body, err := s.portNow(r, c, res)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
	}
	return made("port", bodies, many), nil
}

func (s *server) portNow(r *http.Request, c *rest.Caller, res cluster.Result) (any, error) {
	v, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	p, err := findPort(v, c, res.IDs[0])
	if err != nil {
		return nil, err
	}
	return portItem(v, p, c).body, nil
}

func newPort(v *cluster.View, c *rest.Caller, a attributes) (cluster.Port, error) {
	p := cluster.Port{ID: cluster.PortID(rest.NewUUID())}
	var err error
	if p.Project, err = a.owner(c, "port"); err != nil {
		return p, err
	}
	var network string
	if err := a.text("network_id", &network, maxName); err != nil {
		return p, err
	}
	n, err := findNetwork(v, c, network)
	if err != nil {
		return p, err
	}
	p.Network, p.PortSecurity, p.MAC = n.ID, n.PortSecurity, NewMAC()
	if !c.Sees(n.Project) { // on somebody else's network: only what placing an instance there needs
		err = a.adminOnly(c, "create_port", "mac_address", "fixed_ips", "port_security_enabled")
	}
	if err != nil {
		return p, err
	}
	return p, applyPort(v, c, a, &p, "create_port")
}

// NewMAC draws a MAC address from the locally administered ones that begin with fa: 40 random bits, so that two networks
// never meet with the same.
func NewMAC() string {
	b := make([]byte, 6)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	b[0] = 0xfa
	return net.HardwareAddr(b).String()
}

// applyPort reads the attributes of a request into a port.
func applyPort(v *cluster.View, c *rest.Caller, a attributes, p *cluster.Port, rule string) error {
	if err := a.adminOnly(c, rule, "binding:host_id", "binding:profile"); err != nil {
		return err
	}
	if err := unsupportedPort(a); err != nil {
		return err
	}
	up, mac := !p.Down, p.MAC
	for _, err := range []error{
		a.text("name", &p.Name, maxName), a.text("description", &p.Description, maxDescription), a.boolean("admin_state_up", &up),
		a.boolean("port_security_enabled", &p.PortSecurity), a.text("device_id", &p.Device, maxName),
		a.text("device_owner", &p.DeviceOwner, maxName), a.text("mac_address", &mac, maxName), read(a, "tags", &p.Tags),
	} {
		if err != nil {
			return err
		}
	}
	p.Down = !up
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 || hw[0]&1 == 1 {
		return cluster.Errorf(cluster.Invalid, "Invalid input for mac_address. Reason: '%s' is not a valid MAC address.", clip(mac))
	}
	p.MAC = strings.ToLower(hw.String())
	return applyFixedIPs(v, a, p)
}

// unsupportedPort refuses what would have no effect here.
func unsupportedPort(a attributes) error {
	for _, key := range []string{"allowed_address_pairs", "extra_dhcp_opts", "security_groups"} {
		var list []any
		if err := read(a, key, &list); err != nil {
			return err
		}
		if len(list) > 0 {
			return invalid("%s are not supported", key)
		}
	}
	vnic := "normal"
	if err := a.text("binding:vnic_type", &vnic, maxName); err != nil {
		return err
	}
	if vnic != "normal" && vnic != "" {
		return invalid("binding:vnic_type '%s' is not supported", vnic)
	}
	return nil
}

// applyFixedIPs reads the addresses that a request asks for. An address without a subnet finds its own.
func applyFixedIPs(v *cluster.View, a attributes, p *cluster.Port) error {
	if !a.has("fixed_ips") {
		return nil
	}
	var asked []fixedIPBody
	if err := read(a, "fixed_ips", &asked); err != nil {
		return err
	}
	p.FixedIPs = nil
	for _, ip := range asked {
		f := cluster.FixedIP{Subnet: cluster.SubnetID(ip.Subnet)}
		if ip.Address != "" {
			addr, err := netip.ParseAddr(ip.Address)
			if err != nil {
				return cluster.Errorf(cluster.Invalid, "Invalid input for fixed_ips. Reason: '%s' is not a valid IP address.", clip(ip.Address))
			}
			f.Address = addr.String()
			if f.Subnet == "" {
				f.Subnet = subnetWith(v, p.Network, addr)
			}
		}
		sub, ok := v.Subnet(f.Subnet)
		if !ok || sub.Network != p.Network {
			return invalid("Failed to create port on network %s, because fixed_ips included invalid subnet or address %s%s", p.Network, ip.Subnet, ip.Address)
		}
		if !slices.Contains(p.FixedIPs, f) || f.Address == "" {
			p.FixedIPs = append(p.FixedIPs, f)
		}
	}
	return nil
}

func subnetWith(v *cluster.View, id cluster.NetworkID, a netip.Addr) cluster.SubnetID {
	for sub := range v.SubnetsOf(id) {
		if p, err := netip.ParsePrefix(sub.CIDR); err == nil && p.Contains(a) {
			return sub.ID
		}
	}
	return ""
}

func (s *server) updatePort(r *http.Request) (any, error) {
	_, c, err := s.member(r)
	if err != nil {
		return nil, err
	}
	a, err := single(r, "port", portAttributes)
	if err != nil {
		return nil, err
	}
	for _, key := range []string{"network_id", "tenant_id", "project_id"} {
		if a.has(key) {
			return nil, cluster.Errorf(cluster.Invalid, "Cannot update read-only attribute %s", key)
		}
	}
	if err := a.adminOnly(c, "update_port", "mac_address"); err != nil {
		return nil, err
	}
	return s.changePort(r, c, func(v *cluster.View, p *cluster.Port) error { return applyPort(v, c, a, p, "update_port") })
}

func (s *server) changePort(r *http.Request, c *rest.Caller, change func(*cluster.View, *cluster.Port) error) (any, error) {
	res, err := rest.Update(r, s.Backend, func(v *cluster.View) (cluster.Op, error) {
		p, err := findPort(v, c, chi.URLParam(r, "id"))
		if err != nil {
			return nil, err
		}
		next := p.Clone()
		if err := change(v, next); err != nil {
			return nil, err
		}
		return &cluster.PutPort{Port: *next}, nil
	})
	if err != nil {
		return nil, typed(err, portErrors)
	}
	body, err := s.portNow(r, c, res)
	return map[string]any{"port": body}, err
}

func (s *server) deletePort(r *http.Request) (any, error) {
	v, c, err := s.member(r)
	if err != nil {
		return nil, err
	}
	p, err := findPort(v, c, chi.URLParam(r, "id"))
	if err != nil {
		return nil, err
	}
	_, err = rest.Change(r, s.Backend, &cluster.DeletePort{ID: p.ID})
	return nil, typed(err, map[cluster.Code]string{cluster.Conflict: "PortInUse"})
}

func (s *server) tagPort(r *http.Request) (any, error) {
	_, c, err := s.member(r)
	if err != nil {
		return nil, err
	}
	body, err := rest.DecodeStrict[tagsBody](r)
	if err != nil {
		return nil, err
	}
	_, err = s.changePort(r, c, func(_ *cluster.View, p *cluster.Port) error { p.Tags = body.Tags; return nil })
	return body, err
}
